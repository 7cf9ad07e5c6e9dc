"""The description of a practice site: templates/sandbox/sites/<site>.yaml -> checked values.

A site is data, so that a site with awkward habits (nodes that refuse logins, tiny disks, odd limits) is one
more YAML file and no code. Every mistake is reported at once, with file, line and key.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dl4mic_hpc import resources, yamlfile
from dl4mic_hpc.errors import SandboxError, perhaps_you_meant
from dl4mic_hpc.profile import check_time

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
Limit = Annotated[str, Field(pattern=r"^[A-Za-z0-9/:=,_-]+$")]

RESERVED = ("ctl", "login", "registry")
GPU_MEMORY = {"a100": 40960, "v100": 16384, "h100": 81559, "rtx2080": 11264}
"""MiB that the stand-in for nvidia-smi claims for a type; 16384 for any other."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Device(_Part):
    """One simulated GPU of a node. `memory` in MiB."""

    index: int
    type: str
    memory: int
    uuid: str


class Node(_Part):
    """A compute node: what it claims to have (CPUs; `memory` in MiB) and what it takes from the login node."""

    name: Name
    gpus: dict[Name, Annotated[int, Field(ge=1, le=16)]] = Field(default_factory=dict)
    cpus: int = Field(16, ge=1)
    memory: int = Field(64000, ge=1000)
    features: tuple[Name, ...] = ()
    refuses_login_node: bool = False

    @property
    def devices(self) -> list[Device]:
        """The node's GPUs in the order of their /dev/nvidia<index>."""
        types = [gpu for gpu, count in self.gpus.items() for _ in range(count)]
        return [
            Device(
                index=index,
                type=gpu,
                memory=GPU_MEMORY.get(gpu, 16384),
                uuid="GPU-" + hashlib.sha256(f"{self.name}:{index}".encode()).hexdigest()[:32],
            )
            for index, gpu in enumerate(types)
        ]


class Partition(_Part):
    name: Name
    nodes: tuple[Name, ...] = Field(min_length=1)
    default: bool = False
    max_time: str
    default_time: str = "00:30:00"

    @field_validator("max_time", "default_time")
    @classmethod
    def _time(cls, value: str) -> str:
        return check_time(value)


class Qos(_Part):
    """A quality of service; the limits are sacctmgr's MaxWall, MaxJobsPerUser and MaxTRESPerUser."""

    name: Name
    priority: int = Field(0, ge=0)
    max_wall: str | None = None
    max_jobs_per_user: int | None = Field(None, ge=1)
    max_tres_per_user: Limit | None = None

    @field_validator("max_wall")
    @classmethod
    def _time(cls, value: str | None) -> str | None:
        return None if value is None else check_time(value)


class Account(_Part):
    name: Name
    qos: tuple[Name, ...] = Field(min_length=1)
    default_qos: Name


class User(_Part):
    """A person; `login`: has a key for the login node."""

    name: Name
    accounts: tuple[Name, ...] = Field(min_length=1)
    login: bool = False


class Disk(_Part):
    """A small disk of its own, the same on every node, in memory."""

    path: Annotated[str, Field(pattern=r"^/[a-z][a-z0-9_-]*$")]
    megabytes: int = Field(ge=1, le=1024)


class BuildDefaults(_Part):
    cpus: int = 2
    mem: str = "8G"
    time: str = "00:30:00"


class ProfileDefaults(_Part):
    """What the profile that `up` writes asks for when the user asks for nothing."""

    user: Name
    partition: Name
    time: str = "01:00:00"
    mem: str = "4G"
    cpus: int = 2
    build: BuildDefaults = Field(default_factory=BuildDefaults)


class Site(_Part):
    cluster: Name
    nodes: tuple[Node, ...] = Field(min_length=1)
    partitions: tuple[Partition, ...] = Field(min_length=1)
    qos: tuple[Qos, ...] = Field(min_length=1)
    accounts: tuple[Account, ...] = Field(min_length=1)
    users: tuple[User, ...] = Field(min_length=1)
    disks: tuple[Disk, ...] = ()
    profile: ProfileDefaults

    @property
    def gpu_types(self) -> list[str]:
        return sorted({gpu for node in self.nodes for gpu in node.gpus})

    @property
    def profile_user(self) -> User:
        return next(user for user in self.users if user.name == self.profile.user)

    @property
    def profile_account(self) -> Account:
        return next(account for account in self.accounts if account.name == self.profile_user.accounts[0])

    @model_validator(mode="after")
    def _names_fit(self) -> Site:
        nodes = [node.name for node in self.nodes]
        partitions = [partition.name for partition in self.partitions]
        qos = [entry.name for entry in self.qos]
        accounts = [account.name for account in self.accounts]
        users = [user.name for user in self.users]
        wrong = [f"'{name}' is the name of another container" for name in nodes if name in RESERVED]
        for what, names in (
            ("node", nodes),
            ("partition", partitions),
            ("QoS", qos),
            ("account", accounts),
            ("user", users),
        ):
            wrong += [
                f"{what} '{name}' is there twice" for name in sorted(set(names)) if names.count(name) > 1
            ]
        uses = [("partitions.nodes", name, nodes) for entry in self.partitions for name in entry.nodes]
        uses += [("accounts.qos", name, qos) for entry in self.accounts for name in entry.qos]
        uses += [("accounts.default_qos", entry.default_qos, list(entry.qos)) for entry in self.accounts]
        uses += [("users.accounts", name, accounts) for entry in self.users for name in entry.accounts]
        uses += [("profile.partition", self.profile.partition, partitions)]
        uses += [("profile.user", self.profile.user, [user.name for user in self.users if user.login])]
        wrong += [
            f"key '{key}': there is no '{name}' ({perhaps_you_meant(name, known)})"
            for key, name, known in uses
            if name not in known
        ]
        if sum(partition.default for partition in self.partitions) != 1:
            wrong.append("exactly one partition must say default: true")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


def names() -> list[str]:
    """The sites that ship with the program, sorted."""
    found = [entry.name for entry in resources.data("templates", "sandbox", "sites").iterdir()]
    return sorted(name.removesuffix(".yaml") for name in found if name.endswith(".yaml"))


def load(name: str) -> Site:
    """The site `name`. SandboxError if there is none, or with every mistake in its file."""
    file = resources.data("templates", "sandbox", "sites", f"{name}.yaml")
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name) or not file.is_file():
        raise SandboxError(
            f"there is no practice site '{name}'",
            hint=f"{perhaps_you_meant(name, names())}; `dl4mic-hpc sandbox up` alone takes 'default'",
        )
    return parse(file.read_text(encoding="utf-8"), where=str(file))


def parse(text: str, *, where: str) -> Site:
    """The checked site in `text`; SandboxError lists all mistakes, each with its line in the file `where`."""
    try:
        return yamlfile.parse(text, Site, where=where)
    except yamlfile.YamlError as error:
        raise SandboxError(
            error.message, hint=f"edit {where}; docs/reference/sandbox.md explains every key"
        ) from error
