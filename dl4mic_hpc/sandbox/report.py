"""What there is of this instance's practice cluster."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from dl4mic_hpc.errors import SandboxError
from dl4mic_hpc.sandbox import engine as engines
from dl4mic_hpc.sandbox import holdings, image, instance
from dl4mic_hpc.sandbox.engine import Engine
from dl4mic_hpc.sandbox.instance import LABEL, PLAN_LABEL, Instance, Record

READY = ("idle", "mixed", "allocated", "completing", "planned", "reserved")
"""The states, as sinfo's %T shows them, of a node that takes jobs or runs some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStatus:
    """`state`: the engine's word, or "dead" where the engine says running and no process is left."""

    name: str
    role: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """As sinfo says: `gpus` such as "a100:2" ("" for none), `state` such as "idle"."""

    name: str
    gpus: str
    state: str

    @property
    def ready(self) -> bool:
        """Whether it takes jobs. sinfo's "-" and "+" behind a state say something about its jobs, others are faults."""
        return self.state.rstrip("-+") in READY


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStatus:
    """`size` in bytes."""

    name: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxStatus:
    """`state`: "absent" (no containers), "up" (all run, every node takes jobs), "partial" (anything else)."""

    instance: str
    state: Literal["absent", "partial", "up"]
    engine: str | None = None
    containers: tuple[ContainerStatus, ...] = ()
    nodes: tuple[NodeStatus, ...] = ()
    ssh_port: int | None = None
    profile: Path | None = None
    images: tuple[ImageStatus, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The documented shape of `sandbox status --json` (docs/reference/json.md)."""
        values = asdict(self)
        values["profile"] = str(self.profile) if self.profile else None
        return {"version": 1, **json.loads(json.dumps(values))}


def status() -> SandboxStatus:
    """The state of this instance now. SandboxError if the engine that it was made with does not answer."""
    here = instance.current()
    record = instance.load(here)
    if record is not None:
        return look(here, record, recorded(record))
    try:
        return look(here, None, engines.find())
    except SandboxError:
        return SandboxStatus(instance=here.id, state="absent")


def recorded(record: Record) -> Engine:
    """The engine that the instance was made with, with the options that were found to work."""
    return replace(engines.find(record.engine), runtime=record.runtime, ulimits=record.ulimits)


def look(here: Instance, record: Record | None, engine: Engine) -> SandboxStatus:
    """The state of the instance `here`, seen by `engine`."""
    found = containers(here, engine)
    alive = [container for container in found if container.state == "running"]
    nodes = slurm_nodes(here, engine) if any(container.role == "ctl" for container in alive) else ()
    profile = here.profile_file if here.profile_file.is_file() else None
    complete = record is not None and profile is not None and len(alive) == len(found)
    up = complete and bool(nodes) and all(node.ready for node in nodes)
    return SandboxStatus(
        instance=here.id,
        state="up" if up else "partial" if found else "absent",
        engine=engine.kind,
        containers=found,
        nodes=nodes,
        ssh_port=record.ssh_port if record else None,
        profile=profile,
        images=images(engine),
    )


def containers(here: Instance, engine: Engine) -> tuple[ContainerStatus, ...]:
    """The instance's containers. "Running" is not taken on trust: after a reboot podman still says it."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        return tuple(pool.map(lambda one: _if_alive(engine, one), listed(here, engine)))


def listed(here: Instance, engine: Engine) -> list[ContainerStatus]:
    """The instance's containers with the engine's word for their state."""
    names = holdings.names(here, engine, "container")
    if not names:
        return []
    lines = engine.lines("inspect", "--format={{.Name}} {{.State.Status}}", *names)
    found = [(name.lstrip("/"), state) for name, state in (line.split() for line in lines)]
    role = len(here.name(""))
    return [ContainerStatus(name=name, role=name[role:], state=state) for name, state in found]


def _if_alive(engine: Engine, container: ContainerStatus) -> ContainerStatus:
    if container.state == "running" and engine.call("exec", container.name, "/bin/true").returncode:
        return replace(container, state="dead")
    return container


def made_from(here: Instance, engine: Engine, fingerprint: str) -> set[str]:
    """The names of the instance's containers that were made from the plan with this fingerprint."""
    filters = (f"--filter=label={LABEL}={here.id}", f"--filter=label={PLAN_LABEL}={fingerprint}")
    return set(engine.lines("ps", "--all", *filters, "--format={{.Names}}"))


def slurm_nodes(here: Instance, engine: Engine) -> tuple[NodeStatus, ...]:
    """The nodes as Slurm's controller sees them; none while it does not answer."""
    asked = engine.call(
        "exec", here.name("ctl"), "sinfo", "--noheader", "--Node", "--format=%N|%G|%T", timeout=30
    )
    if asked.returncode:
        return ()
    found = {}
    for line in asked.stdout.decode().splitlines():
        name, gres, state = line.split("|")
        gpus = ",".join(
            word.removeprefix("gpu:").partition("(")[0] for word in gres.split(",") if word != "(null)"
        )
        found[name] = NodeStatus(name=name, gpus=gpus, state=state)
    return tuple(found[name] for name in sorted(found))


def images(engine: Engine) -> tuple[ImageStatus, ...]:
    """The sandbox's images on this machine, which all its instances share."""
    return tuple(ImageStatus(name=name, size=size) for name, size in image.sizes(engine))
