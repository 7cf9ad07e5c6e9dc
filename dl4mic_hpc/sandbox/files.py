"""The files of a practice cluster: what each container is given, and what the user gets. Pure."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, StrictUndefined

from dl4mic_hpc import resources
from dl4mic_hpc.sandbox.instance import Record
from dl4mic_hpc.sandbox.keys import KeyPair
from dl4mic_hpc.sandbox.machine import BASE_SUITE, Machine
from dl4mic_hpc.sandbox.site import Node, Site

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
    """`path` is absolute, inside the container."""

    path: str
    content: bytes
    mode: int = 0o644


def pack(files: Iterable[File]) -> bytes:
    """The files as a tar to be unpacked at /."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for file in files:
            entry = tarfile.TarInfo(file.path.lstrip("/"))
            entry.size, entry.mode = len(file.content), file.mode
            archive.addfile(entry, io.BytesIO(file.content))
    return packed.getvalue()


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


def of_container(role: str, host: str, site: Site, keys: Keys, addresses: dict[str, str]) -> Iterator[File]:
    """What the container `host` is given. `addresses`: of all hosts of the cluster."""
    yield File(path="/etc/dl4mic/start", content=render("start/start.sh"), mode=0o755)
    if role == "registry":
        yield File(path="/etc/dl4mic/registry.yml", content=render("registry/config.yml"))
        return
    yield File(path="/etc/munge/munge.key", content=keys.munge, mode=0o400)
    yield from _people(site, keys)
    if role != "gpu":  # compute nodes ask slurmctld for their configuration
        slurm = render("slurm/slurm.conf.j2", site=site, addresses=addresses)
        yield File(path="/etc/slurm/slurm.conf", content=slurm)
    if role == "controller":
        yield File(path="/etc/slurm/gres.conf", content=render("slurm/gres.conf.j2", site=site))
        yield File(path="/etc/slurm/cgroup.conf", content=render("slurm/cgroup.conf"))
        yield File(path="/etc/slurm/slurmdbd.conf", content=render("slurm/slurmdbd.conf"), mode=0o600)
        yield File(path="/etc/dl4mic/accounts.sh", content=render("slurm/accounts.sh.j2", site=site))
        return
    private = keys.hosts[host].private.encode()
    yield File(path="/etc/ssh/ssh_host_ed25519_key", content=private, mode=0o600)
    yield File(path="/etc/ssh/sshd_config.d/dl4mic.conf", content=render("network/sshd.conf"))
    if role == "gpu":
        node = next(node for node in site.nodes if node.name == host)
        yield from _gpus(node)
        if node.refuses_login_node:
            rules = render("network/firewall.nft.j2", login=addresses["login"])
            yield File(path="/etc/dl4mic/firewall.nft", content=rules)


def _gpus(node: Node) -> Iterator[File]:
    yield File(path="/etc/dl4mic/gpus", content=f"{len(node.devices)}\n".encode())
    if node.devices:
        tool = render("start/nvidia-smi.j2", devices=node.devices)
        yield File(path="/usr/local/bin/nvidia-smi", content=tool, mode=0o755)


def _people(site: Site, keys: Keys) -> Iterator[File]:
    """The same numbers for the same people on every node; each has 65536 subordinate ids, as Apptainer wants."""
    users = [(user.name, 2001 + index) for index, user in enumerate(site.users)]
    subids = [f"{name}:{100000 + 65536 * index}:65536" for index, (name, _) in enumerate(users)]
    yield File(path="/etc/dl4mic/users", content="".join(f"{name} {uid}\n" for name, uid in users).encode())
    yield File(path="/etc/dl4mic/subids", content="".join(f"{line}\n" for line in subids).encode())
    for name, pair in sorted(keys.users.items()):
        yield File(path=f"/etc/dl4mic/keys/{name}.pub", content=f"{pair.public}\n".encode())


def build_environment(machine: Machine) -> dict[str, File]:
    """The build environment: key of the profile (see profile.BuildEnvironment) -> the file on the work disk."""
    found = {}
    if machine.ca:
        found["ca_file"] = File(path="/scratch/site/ca-certificates.crt", content=machine.ca)
    if machine.pip:
        found["pip_config"] = File(path="/scratch/site/pip.conf", content=machine.pip.encode(), mode=0o600)
    if machine.mirror:
        sources = _SOURCES.format(uri=machine.mirror, suite=BASE_SUITE)
        found["apt_sources"] = File(path="/scratch/site/apt.sources", content=sources.encode())
    if machine.apt:
        found["apt_options"] = File(path="/scratch/site/apt.conf", content=machine.apt.encode(), mode=0o600)
    return found
