"""Takes the practice cluster away, with all that it left on this machine but its images."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dl4mic_hpc.errors import SandboxError
from dl4mic_hpc.sandbox import engine as engines
from dl4mic_hpc.sandbox import holdings, image, instance, keys, report
from dl4mic_hpc.sandbox.engine import Engine
from dl4mic_hpc.sandbox.instance import Instance
from dl4mic_hpc.sandbox.lock import held
from dl4mic_hpc.sandbox.report import ImageStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxRemoved:
    """What `down` took away, by name; `images_left` stay for the next `up`, or because another sandbox uses them."""

    instance: str
    containers: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    images_removed: tuple[ImageStatus, ...] = ()
    images_left: tuple[ImageStatus, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The documented shape of `sandbox down --json` (docs/reference/json.md)."""
        return {"version": 1, **json.loads(json.dumps(asdict(self), default=str))}


def down(*, purge: bool, say: Callable[[str], None]) -> SandboxRemoved:
    """Removes this instance's containers, network, volumes, keys, profile, host keys and session records.

    What is not there is no error. `purge` removes the images too, unless another sandbox of this machine uses
    them. SandboxError if the engine that the sandbox was made with does not answer.
    """
    here = instance.current()
    with held(here.state / "sandbox.lock", say, remove=True):
        engine = _engine(here)
        removed = SandboxRemoved(instance=here.id)
        if engine is not None:
            say("removing containers, network and disks …")
            removed = SandboxRemoved(
                instance=here.id,
                containers=tuple(holdings.remove(here, engine, "container")),
                networks=tuple(holdings.remove(here, engine, "network")),
                volumes=tuple(holdings.remove(here, engine, "volume")),
                images_removed=_purge(engine, say) if purge else (),
                images_left=report.images(engine),
            )
        removed = replace(removed, files=tuple(_forget(here)))
    for folder in (here.profile_file.parent, here.config, here.state / "sessions", here.state):
        with suppress(OSError):  # not empty, or not there
            folder.rmdir()
    return removed


def _engine(here: Instance) -> Engine | None:
    """The engine that the instance was made with; any that works if that is not known; None if there is none."""
    record = instance.load(here)
    if record is not None:
        return report.recorded(record)
    try:
        return engines.find()
    except SandboxError:
        return None


def _purge(engine: Engine, say: Callable[[str], None]) -> tuple[ImageStatus, ...]:
    say("removing images …")
    found = report.images(engine)
    nodes = [one for one in found if one.name != image.BASE]
    gone = [one for one in nodes if engine.call("rmi", one.name, timeout=120).returncode == 0]
    # The base only if nothing stands on it any more: its identity is part of the node images' tags.
    bases = [one for one in found if one.name == image.BASE] if gone == nodes else []
    gone += [one for one in bases if engine.call("rmi", one.name, timeout=120).returncode == 0]
    return tuple(gone)


def _forget(here: Instance) -> list[Path]:
    """Removes the instance's files; the paths of what was there."""
    gone = []
    if here.known_hosts.is_file():
        text = here.known_hosts.read_text(encoding="utf-8")
        left = keys.known_hosts(text, own=keys.host_keys(here), add={}, comment=here.name("sandbox"))
        if left != text:
            gone.append(here.known_hosts)
            if left:
                instance.write_private(here.known_hosts, left)
            else:
                here.known_hosts.unlink()
    for record in sorted((here.state / "sessions").glob("*.json")):
        with suppress(ValueError, OSError):
            if json.loads(record.read_text(encoding="utf-8")).get("cluster") == "sandbox":
                record.unlink()
                gone.append(record)
    if here.profile_file.is_file():
        here.profile_file.unlink()
        gone.append(here.profile_file)
    if here.folder.is_dir():
        shutil.rmtree(here.folder)
        gone.append(here.folder)
    return gone
