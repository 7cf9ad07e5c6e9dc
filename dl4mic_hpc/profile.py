"""Cluster profiles: the YAML file that describes a cluster -> checked values.

A profile is a file that people write, so every mistake is reported at once, with file, line and key.
The user's own profiles (`cluster add` writes them) win over the ones that ship in configs/clusters/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from dl4mic_hpc import resources, yamlfile
from dl4mic_hpc.errors import ProfileError, UsageError, perhaps_you_meant

SIMULATED = "simulated"

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MEMORY = re.compile(r"[1-9][0-9]*[KMGT]?")
_TIME = re.compile(r"(?:[0-9]+-[0-9]{1,2}(?::[0-9]{2}){0,2}|[0-9]+(?::[0-9]{2}){0,2})")
_GPUS = re.compile(r"(?:[A-Za-z][A-Za-z0-9._-]*|[0-9]+g\.[0-9]+gb[A-Za-z0-9.+_]*)(?::[1-9][0-9]*)?|[0-9]+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def check_gpus(value: str) -> str:
    """A GPU request as `-g` takes it: "0", "2", "a100", "a100:2", a MIG name; ValueError if it is none."""
    if not _GPUS.fullmatch(value):
        raise ValueError(
            f"'{value}' is no GPU request: write a number, a type, or type:number such as a100:2"
        )
    return value


def check_time(value: str) -> str:
    """A time limit as sbatch's --time takes it (https://slurm.schedmd.com/sbatch.html)."""
    if not _TIME.fullmatch(value):
        raise ValueError(f"'{value}' is no time limit: write minutes, HH:MM:SS or D-HH:MM:SS")
    return value


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Line = Annotated[str, Field(min_length=1)]
Lines = Annotated[
    tuple[Line, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]
"""One line or a list of lines, as people write it."""


class BuildEnvironment(_File):
    """What a build on this cluster needs from outside; part of no bundle, key or image.

    ca_file, pip_config, apt_sources: files on the cluster, bound read-only into the build. `proxies`: the
    *_proxy variables. `apt_options`: a file of apt configuration.
    """

    ca_file: PurePosixPath | None = None
    pip_config: PurePosixPath | None = None
    apt_sources: PurePosixPath | None = None
    apt_options: PurePosixPath | None = None
    proxies: dict[str, Line] = Field(default_factory=dict)

    @field_validator("proxies")
    @classmethod
    def _only_proxies(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not re.fullmatch(r"(?i)(https?|ftp|all|no)_proxy", name):
                raise ValueError(f"'{name}' is no proxy variable (http_proxy, https_proxy, no_proxy …)")
        return value


class Build(_File):
    """The job that pulls or builds an image.

    `tmp_dir`: a folder on the compute nodes' own disks to unpack in; looked for if left out. `internet`: from where
    registries can be reached ("auto": what a look at the cluster found). `on_login_node`: the site allows such work
    on its login node, which is asked for only where compute nodes have no internet.
    """

    partition: Lines = ()
    cpus: int = Field(4, ge=1)
    mem: str = "32G"
    time: str = "02:00:00"
    tmp_dir: PurePosixPath | None = None
    internet: Literal["auto", "nodes", "login", "laptop"] = "auto"
    on_login_node: bool = False
    environment: BuildEnvironment = Field(default_factory=BuildEnvironment)

    @field_validator("tmp_dir")
    @classmethod
    def _absolute(cls, value: PurePosixPath | None) -> PurePosixPath | None:
        return None if value is None else _check_absolute(value, example="/local/scratch")

    @field_validator("mem")
    @classmethod
    def _mem(cls, value: str) -> str:
        return _check_memory(value)

    @field_validator("time", mode="before")
    @classmethod
    def _time(cls, value: object) -> str:
        return check_time(_text(value))


class ClusterProfile(_File):
    """One cluster: how to reach it, what to ask Slurm for, where files go.

    `time` as sbatch takes it; `mem` with Slurm's suffixes (K, M, G, T; M if none). `gpus` is the default
    request, or "simulated" in the sandbox's own profile alone. `gres_style`: how GPUs are asked for:
    "gres" (--gres=gpu:TYPE:N), "gpus" (--gpus=TYPE:N) or "gpus-per-node". `image_folders`: folders with images that
    others keep (a group's), never written to; `trusted_owners`: the users whose images are used from there.
    """

    name: str = Field(exclude=True)
    path: Path | None = Field(default=None, exclude=True)

    host: Line
    user: Line | None = None
    port: int | None = Field(None, ge=1, le=65535)
    identity_file: Path | None = None
    route: Literal["auto", "hop", "step"] = "auto"

    work_dir: PurePosixPath
    partition: Lines = ()
    account: Line | None = None
    qos: Line | None = None
    constraint: Line | None = None
    nodelist: Line | None = None
    time: str = "08:00:00"
    mem: str = "32G"
    cpus: int = Field(4, ge=1)
    gpus: str = "1"
    gres_style: Literal["gres", "gpus", "gpus-per-node"] = "gres"
    sbatch_extra: Lines = ()

    modules: Lines = ()
    pre_script: str = ""
    apptainer: Line = "apptainer"
    build: Build = Field(default_factory=Build)
    image_folders: Annotated[
        tuple[PurePosixPath, ...],
        BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    ] = ()
    trusted_owners: Lines = ()
    registry_mirrors: dict[Line, Line] = Field(default_factory=dict)
    insecure_registries: Lines = ()

    @property
    def simulated(self) -> bool:
        """Whether the GPUs are stand-ins that compute nothing (the sandbox)."""
        return self.gpus == SIMULATED

    @property
    def default_gpus(self) -> str:
        return "1" if self.simulated else self.gpus

    @field_validator("work_dir")
    @classmethod
    def _absolute(cls, value: PurePosixPath) -> PurePosixPath:
        return _check_absolute(value, example="/scratch/me/dl4mic")

    @field_validator("image_folders")
    @classmethod
    def _all_absolute(cls, value: tuple[PurePosixPath, ...]) -> tuple[PurePosixPath, ...]:
        return tuple(_check_absolute(path, example="/groups/lab/dl4mic/images") for path in value)

    @field_validator("mem")
    @classmethod
    def _mem(cls, value: str) -> str:
        return _check_memory(value)

    @field_validator("time", mode="before")
    @classmethod
    def _time(cls, value: object) -> str:
        return check_time(_text(value))

    @field_validator("gpus", mode="before")
    @classmethod
    def _gpus(cls, value: object) -> str:
        return check_gpus(_text(value))

    @field_validator("sbatch_extra")
    @classmethod
    def _options(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for option in value:
            if not option.startswith("-"):
                raise ValueError(f"'{option}' is no sbatch option: write --name=value")
        return value

    @model_validator(mode="before")
    @classmethod
    def _no_control_characters(cls, values: Any) -> Any:
        for key, value in values.items() if isinstance(values, dict) else ():
            if key == "pre_script":
                continue
            for text in _texts(value):
                if _CONTROL.search(text):
                    raise ValueError(f"key '{key}': control characters are not allowed in {text!r}")
        return values

    @model_validator(mode="after")
    def _simulated_only_in_the_sandbox(self) -> ClusterProfile:
        if self.simulated and not (self.name.startswith("sandbox") and self.host == "127.0.0.1"):
            raise ValueError("key 'gpus': only the sandbox's own profile may say 'simulated'; write gpus: 1")
        return self


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("write it in quotes")
    return str(value)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(key)
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _check_absolute(value: PurePosixPath, *, example: str) -> PurePosixPath:
    if not value.is_absolute():
        raise ValueError(f"must be an absolute path on the cluster, such as {example}")
    return value


def _check_memory(value: str) -> str:
    if not _MEMORY.fullmatch(value):
        raise ValueError(f"'{value}' is no memory size: write a number with K, M, G or T, such as 32G")
    return value


def folder() -> Path:
    """Where the user's own profiles lie."""
    return resources.home("config") / "clusters"


def names() -> list[str]:
    """The profiles there are, the user's and the shipped ones, sorted."""
    shipped = resources.data("configs", "clusters")
    found = {entry.name for entry in shipped.iterdir()} if shipped.is_dir() else set()
    if folder().is_dir():
        found |= {entry.name for entry in folder().iterdir()}
    return sorted(name.removesuffix(".yaml") for name in found if name.endswith(".yaml"))


def load(name: str) -> ClusterProfile:
    """The profile `name`. UsageError if there is none, ProfileError with every mistake in its file."""
    own = folder() / f"{name}.yaml"
    shipped = resources.data("configs", "clusters", f"{name}.yaml")
    if not _NAME.fullmatch(name) or not (own.is_file() or shipped.is_file()):
        raise UsageError(
            f"there is no cluster '{name}'",
            hint=f"{perhaps_you_meant(name, names())}; `dl4mic-hpc cluster add {name}` makes one",
        )
    if own.is_file():
        return parse(own.read_text(encoding="utf-8"), name=name, path=own)
    return parse(shipped.read_text(encoding="utf-8"), name=name)


def parse(text: str, *, name: str, path: Path | None = None) -> ClusterProfile:
    """The checked profile in `text`; ProfileError lists all mistakes, each with its line and key."""
    where = str(path or f"{name}.yaml")
    try:
        return yamlfile.parse(text, ClusterProfile, where=where, also={"name": name, "path": path})
    except yamlfile.YamlError as error:
        raise ProfileError(
            error.message, hint=f"edit {where}; docs/reference/profile.md explains every key"
        ) from error


def check_name(name: str) -> str:
    """A cluster's name, which becomes a file name; UsageError if it cannot be one."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"'{name}' is no name for a cluster", hint="use letters, digits, '.', '_' and '-', such as myuni"
        )
    return name
