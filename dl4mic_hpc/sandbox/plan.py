"""The plan of a practice cluster: which containers, with which options and files. Pure: nothing is done here.

The same site, record and keys give the same plan; its fingerprint, kept as a label, says whether what runs is
still what the program would start.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from dl4mic_hpc.sandbox import files
from dl4mic_hpc.sandbox.files import File, Keys
from dl4mic_hpc.sandbox.instance import LABEL, PLAN_LABEL, Instance, Record
from dl4mic_hpc.sandbox.site import Site

SHARED_MEMORY = "2g"
"""Size limit of /dev/shm on every node; the engines' own default of 64 MB is no node's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """`host`: its name inside the cluster. `options`: words for the engine's `create`, without image and role."""

    name: str
    host: str
    role: str
    options: tuple[str, ...]
    files: tuple[File, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """`options`: words for the engine's `volume create`."""

    name: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`image`: the tag that all containers run."""

    containers: tuple[Container, ...]
    volumes: tuple[Volume, ...]
    image: str
    fingerprint: str

    @property
    def label(self) -> str:
        """The word for the engine's `create` that marks a container as made from this plan."""
        return f"--label={PLAN_LABEL}={self.fingerprint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Host:
    """`binds`: folder -> volume. `ports`: port on this machine's loopback -> port of the container."""

    name: str
    role: str
    binds: dict[str, str]
    ports: dict[int, int] = field(default_factory=dict)


def make(
    instance: Instance, site: Site, record: Record, keys: Keys, *, image: str, hosts: dict[str, str]
) -> Plan:
    """The plan. `hosts`: further names -> addresses that the nodes have to know (see machine.Machine)."""
    addresses = record.addresses([node.name for node in site.nodes])
    table = sorted({**hosts, **addresses}.items())
    containers = tuple(
        Container(
            name=instance.name(host.name),
            host=host.name,
            role=host.role,
            options=tuple(_options(instance, host, addresses[host.name], table)),
            files=tuple(files.of_container(host.role, host.name, site, keys, addresses)),
        )
        for host in _hosts(instance, site, record)
    )
    return Plan(
        containers=containers,
        volumes=tuple(_volumes(instance, site)),
        image=image,
        fingerprint=hashlib.sha256(repr((image, containers)).encode()).hexdigest()[:16],
    )


def _hosts(instance: Instance, site: Site, record: Record) -> Iterator[_Host]:
    state = "/var/lib/dl4mic"
    shared = {"/home": instance.name("home"), "/scratch": instance.name("work")}
    shared |= {disk.path: _disk(instance, disk.path) for disk in site.disks}
    yield _Host(
        name="registry",
        role="registry",
        binds={state: instance.name("registry")},
        ports={record.registry_port: 5000},
    )
    yield _Host(name="ctl", role="controller", binds={state: instance.name("controller")})
    yield _Host(name="login", role="login", binds=shared, ports={record.ssh_port: 22})
    for node in site.nodes:
        yield _Host(name=node.name, role="gpu", binds=shared)


def _options(instance: Instance, host: _Host, address: str, table: list[tuple[str, str]]) -> Iterator[str]:
    yield f"--name={instance.name(host.name)}"
    yield f"--hostname={host.name}"
    yield f"--label={LABEL}={instance.id}"
    yield f"--network={instance.network}"
    yield f"--ip={address}"
    yield f"--shm-size={SHARED_MEMORY}"
    yield "--pids-limit=-1"
    for name, known in table:
        yield f"--add-host={name}:{known}"
    for path, volume in host.binds.items():
        yield f"--volume={volume}:{path}"
    for outside, inside in host.ports.items():
        yield f"--publish=127.0.0.1:{outside}:{inside}"


def _volumes(instance: Instance, site: Site) -> Iterator[Volume]:
    for part in ("home", "work", "controller", "registry"):
        yield Volume(name=instance.name(part))
    for disk in site.disks:
        # One tmpfs that all containers see, gone with the last of them. Its size is in blocks of 4 KiB
        # (tmpfs(5)), because podman 4 takes the word "size" for a disk quota.
        blocks = disk.megabytes * 256
        options = ("--opt=type=tmpfs", "--opt=device=tmpfs", f"--opt=o=nr_blocks={blocks},mode=1777")
        yield Volume(name=_disk(instance, disk.path), options=options)


def _disk(instance: Instance, path: str) -> str:
    return instance.name(f"disk-{path.strip('/')}")
