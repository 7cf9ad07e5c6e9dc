"""One practice cluster of this checkout: its names, folders, ports and what is remembered of it.

Everything that the engine keeps globally (containers, network, volumes) carries the instance in its name, so
that two checkouts, each with a home of its own, never meet.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from dl4mic_hpc import resources

RECORD_VERSION = 1
LABEL = "dl4mic-hpc.instance"
PLAN_LABEL = "dl4mic-hpc.plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """`id`: the first 6 hex digits of the SHA-256 of the configuration folder's path."""

    id: str
    config: Path
    state: Path

    def name(self, part: str) -> str:
        """The engine's name for a container or volume of this instance."""
        return f"dl4mic-{self.id}-{part}"

    @property
    def network(self) -> str:
        return self.name("net")

    @property
    def folder(self) -> Path:
        """Keys and the record (0700)."""
        return self.state / "sandbox"

    @property
    def record_file(self) -> Path:
        return self.folder / "instance.json"

    @property
    def profile_file(self) -> Path:
        return self.config / "clusters" / "sandbox.yaml"

    @property
    def known_hosts(self) -> Path:
        return self.config / "known_hosts"

    def subnets(self) -> Iterator[IPv4Network]:
        """Networks to try, from the private range 10.0.0.0/8; the same ones at every call."""
        for attempt in range(16):
            digest = hashlib.sha256(f"{self.id}/{attempt}".encode()).digest()
            yield IPv4Network((f"10.{digest[0]}.{digest[1]}.0", 24))


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What must stay the same from one `up` to the next. Ports are on 127.0.0.1."""

    engine: str
    subnet: str
    ssh_port: int
    registry_port: int
    runtime: str | None = None
    ulimits: tuple[str, ...] = ()
    pushed: str | None = None

    def addresses(self, nodes: list[str]) -> dict[str, str]:
        """A fixed address for every host name, so that slurmctld never meets a node that has moved."""
        base = IPv4Network(self.subnet).network_address
        fixed = {"ctl": base + 10, "login": base + 11, "registry": base + 12}
        fixed |= {name: base + 21 + index for index, name in enumerate(nodes)}
        return {name: str(IPv4Address(address)) for name, address in fixed.items()}


def current() -> Instance:
    """The instance that belongs to this program's home folder (`DL4MIC_HPC_HOME`)."""
    config = resources.home("config")
    digest = hashlib.sha256(str(config).encode()).hexdigest()
    return Instance(id=digest[:6], config=config, state=resources.home("state"))


def load(instance: Instance) -> Record | None:
    """The record, or None where there is none or none that this version understands."""
    try:
        values = json.loads(instance.record_file.read_text(encoding="utf-8"))
        if values.pop("version") != RECORD_VERSION:
            return None
        known = {field.name: values[field.name] for field in fields(Record) if field.name in values}
        return replace(Record(**known), ulimits=tuple(known.get("ulimits", ())))
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


def save(instance: Instance, record: Record) -> None:
    write_private(
        instance.record_file, json.dumps({"version": RECORD_VERSION, **asdict(record)}, indent=1) + "\n"
    )


def write_private(path: Path, text: str) -> None:
    """Writes a file of mode 0600 by temporary file and replace; folders that it makes are 0700."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as stream:
        stream.write(text)
    temporary.replace(path)


def port_is_free(port: int) -> bool:
    """Whether 127.0.0.1:port can be bound now."""
    with socket.socket() as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 that are free now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
