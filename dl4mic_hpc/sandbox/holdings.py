"""What the engine keeps for an instance: containers, networks, volumes; found by label, never by name alone."""

from __future__ import annotations

from typing import Literal

from dl4mic_hpc.sandbox.engine import Engine
from dl4mic_hpc.sandbox.instance import LABEL, Instance

Kind = Literal["container", "network", "volume"]

STOPPING = "5"
"""Seconds that a container's daemons have to write down what they know."""


def names(here: Instance, engine: Engine, kind: Kind) -> list[str]:
    """The instance's containers, networks or volumes, sorted."""
    every, field = (["--all"], "Names") if kind == "container" else ([], "Name")
    return sorted(
        engine.lines(kind, "ls", *every, f"--filter=label={LABEL}={here.id}", f"--format={{{{.{field}}}}}")
    )


def remove(here: Instance, engine: Engine, kind: Kind) -> list[str]:
    """Removes them all, whatever state they are in; their names."""
    found = names(here, engine, kind)
    if found and kind == "container":
        # Not `rm --force` alone: with docker it kills at once, and accounting would lose its last words.
        engine.call("stop", "--time", STOPPING, *found, timeout=120)
        engine.run("rm", "--force", "--volumes", *found, timeout=120)
    elif found:
        engine.run(kind, "rm", *found, timeout=120)
    return found
