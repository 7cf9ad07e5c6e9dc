"""The plan of a practice cluster: which containers, with which options and files. Pure: nothing is done here.

The same site, record and keys give the same plan; its fingerprint, kept as a label, says whether what runs is
still what the program would start.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, StrictUndefined

from dl4mic_hpc import resources
from dl4mic_hpc.sandbox.instance import LABEL, PLAN_LABEL, VOLUMES, Instance, Record
from dl4mic_hpc.sandbox.keys import KeyPair
from dl4mic_hpc.sandbox.machine import BASE_SUITE, Machine
from dl4mic_hpc.sandbox.site import Node, Site

SHARED_MEMORY = "2g"
"""Size limit of /dev/shm on every node; the engines' own default of 64 MB is no node's."""

_SOURCES = """\
Types: deb
URIs: {uri}
Suites: {suite}
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """munge: the shared secret. hosts: host keys, by node. users: keys of those who may log in, by name."""

    munge: bytes
    hosts: dict[str, KeyPair]
    users: dict[str, KeyPair]


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    path: str
    content: bytes
    mode: int = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """`host`: its name inside the cluster. `options`: words for the engine's `create`, without image and role."""

    name: str
    host: str
    role: str
    options: tuple[str, ...]
    files: tuple[File, ...]


def pack(files: Iterable[File]) -> bytes:
    """The files as a tar to be unpacked at /."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for file in files:
            entry = tarfile.TarInfo(file.path.lstrip("/"))
            entry.size, entry.mode = len(file.content), file.mode
            archive.addfile(entry, io.BytesIO(file.content))
    return packed.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """`options`: words for the engine's `volume create`."""

    name: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    containers: tuple[Container, ...]
    volumes: tuple[Volume, ...]
    image: str
    fingerprint: str


def render(name: str, **values: Any) -> bytes:
    """A template of templates/sandbox/; an undefined name is an error, never an empty word."""
    text = resources.data("templates", "sandbox", *name.split("/")).read_text(encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=False)
    return environment.from_string(text).render(**values).encode()


def profile_text(site: Site, record: Record, *, identity_file: str, environment: dict[str, Any]) -> str:
    """The profile `sandbox` (see profile.ClusterProfile)."""
    return render(
        "profile.yaml.j2",
        port=record.ssh_port,
        identity_file=identity_file,
        defaults=site.profile,
        user=site.profile_user,
        account=site.profile_account,
        environment=environment,
    ).decode()


def make(
    instance: Instance, site: Site, record: Record, keys: Keys, *, image: str, hosts: dict[str, str]
) -> Plan:
    """The plan. `hosts`: further names -> addresses that the nodes have to know (see machine.Machine)."""
    addresses = record.addresses([node.name for node in site.nodes])
    table = {**hosts, **addresses}
    disks = {disk.path: instance.name(f"disk-{disk.path.strip('/')}") for disk in site.disks}
    shared = {"/home": instance.name("home"), "/work": instance.name("work"), **disks}
    volumes = [Volume(name=instance.name(part)) for part in VOLUMES]
    volumes += [Volume(name=disks[disk.path], options=_memory_disk(disk.megabytes)) for disk in site.disks]
    roles: list[tuple[str, str, dict[str, str], list[str]]] = [
        (
            "registry",
            "registry",
            {"/var/lib/dl4mic": instance.name("registry")},
            [f"{record.registry_port}:5000"],
        ),
        ("ctl", "controller", {"/var/lib/dl4mic": instance.name("controller")}, []),
        ("login", "login", shared, [f"{record.ssh_port}:22"]),
        *((node.name, "gpu", shared, []) for node in site.nodes),
    ]
    nodes = {node.name: node for node in site.nodes}
    containers = []
    for host, role, binds, ports in roles:
        options = [f"--name={instance.name(host)}", f"--hostname={host}", f"--label={LABEL}={instance.id}"]
        options += [f"--network={instance.network}", f"--ip={addresses[host]}", f"--shm-size={SHARED_MEMORY}"]
        options += ["--pids-limit=-1"]
        options += [f"--add-host={name}:{address}" for name, address in sorted(table.items())]
        options += [f"--volume={volume}:{path}" for path, volume in binds.items()]
        options += [f"--publish=127.0.0.1:{port}" for port in ports]
        files = _files(role, site, keys, addresses, host, nodes.get(host))
        containers.append(
            Container(
                name=instance.name(host), host=host, role=role, options=tuple(options), files=tuple(files)
            )
        )
    digest = hashlib.sha256(image.encode())
    for container in containers:
        digest.update(repr(container).encode())
    return Plan(
        containers=tuple(containers), volumes=tuple(volumes), image=image, fingerprint=digest.hexdigest()[:16]
    )


def _memory_disk(megabytes: int) -> tuple[str, ...]:
    """A volume that the engine keeps in memory: one tmpfs that all containers see, gone with the last of them.

    Its size in blocks of 4 KiB (tmpfs(5)): podman 4 takes the word "size" for a disk quota.
    """
    return ("--opt=type=tmpfs", "--opt=device=tmpfs", f"--opt=o=nr_blocks={megabytes * 256},mode=1777")


def label(plan: Plan) -> str:
    return f"--label={PLAN_LABEL}={plan.fingerprint}"


def _files(
    role: str, site: Site, keys: Keys, addresses: dict[str, str], host: str, node: Node | None
) -> list[File]:
    files = [File(path="/etc/dl4mic/start", content=render("start/start.sh"), mode=0o755)]
    if role == "registry":
        return [*files, File(path="/etc/dl4mic/registry.yml", content=render("registry/config.yml"))]
    files.append(File(path="/etc/munge/munge.key", content=keys.munge, mode=0o400))
    if role != "gpu":  # the compute nodes ask slurmctld for theirs
        files.append(
            File(
                path="/etc/slurm/slurm.conf",
                content=render("slurm/slurm.conf.j2", site=site, addresses=addresses),
            )
        )
    if role == "controller":
        files += [
            File(path="/etc/slurm/gres.conf", content=render("slurm/gres.conf.j2", site=site)),
            File(path="/etc/slurm/cgroup.conf", content=render("slurm/cgroup.conf")),
            File(path="/etc/slurm/slurmdbd.conf", content=render("slurm/slurmdbd.conf"), mode=0o600),
            File(path="/etc/dl4mic/accounts.sh", content=render("slurm/accounts.sh.j2", site=site)),
        ]
        return [*files, *_people(site, keys)]
    files += _people(site, keys)
    files += [
        File(path="/etc/ssh/ssh_host_ed25519_key", content=keys.hosts[host].private.encode(), mode=0o600),
        File(path="/etc/ssh/sshd_config.d/dl4mic.conf", content=render("network/sshd.conf")),
    ]
    if node is not None:
        files.append(File(path="/etc/dl4mic/gpus", content=f"{len(node.devices)}\n".encode()))
        if node.devices:
            tool = render("start/nvidia-smi.j2", devices=node.devices)
            files.append(File(path="/usr/local/bin/nvidia-smi", content=tool, mode=0o755))
        if node.refuses_login_node:
            rules = render("network/firewall.nft.j2", login=addresses["login"])
            files.append(File(path="/etc/dl4mic/firewall.nft", content=rules))
    return files


def _people(site: Site, keys: Keys) -> list[File]:
    users = [(user.name, 2001 + index) for index, user in enumerate(site.users)]
    subids = [f"{name}:{100000 + 65536 * index}:65536" for index, (name, _) in enumerate(users)]
    files = [
        File(path="/etc/dl4mic/users", content="".join(f"{name} {uid}\n" for name, uid in users).encode()),
        File(path="/etc/dl4mic/subids", content="".join(f"{line}\n" for line in subids).encode()),
    ]
    files += [
        File(path=f"/etc/dl4mic/keys/{name}.pub", content=f"{pair.public}\n".encode())
        for name, pair in sorted(keys.users.items())
    ]
    return files


def build_environment(machine: Machine) -> dict[str, File]:
    """The build environment: key of the profile (see profile.BuildEnvironment) -> the file on the work disk."""
    found = {}
    if machine.ca:
        found["ca_file"] = File(path="/work/site/ca-certificates.crt", content=machine.ca)
    if machine.pip:
        found["pip_config"] = File(path="/work/site/pip.conf", content=machine.pip.encode(), mode=0o600)
    if machine.mirror:
        sources = _SOURCES.format(uri=machine.mirror, suite=BASE_SUITE)
        found["apt_sources"] = File(path="/work/site/apt.sources", content=sources.encode())
    if machine.apt:
        found["apt_options"] = File(path="/work/site/apt.conf", content=machine.apt.encode(), mode=0o600)
    return found
