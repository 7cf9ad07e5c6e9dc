"""The text of a configuration.yaml -> its checked values.

The format is DL4MicEverywhere's: an application of the BioImage Model Zoo, whose keys are left alone, with a part
of its own (https://github.com/HenriquesLab/DL4MicEverywhere/blob/main/docs/FORMAT.md), and a part of ours.
"""

from __future__ import annotations

import re
from pathlib import Path, PureWindowsPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from dl4mic_hpc import yamlfile
from dl4mic_hpc.catalog import addresses
from dl4mic_hpc.catalog.weights import WeightsEntry, listed
from dl4mic_hpc.errors import NotebookError, UsageError

_SECTION = re.compile(r"[0-9]+(?:\.[0-9]+)*\.?")
_COMMIT = r"[0-9a-f]{40}|"
_SHA256 = r"[0-9a-f]{64}|"


def _open(value: Any) -> Any:
    """YAML's ways to leave a value open: the files are read as texts, `null` too."""
    return "" if value in ("null", "Null", "NULL", "~") else value


Text = Annotated[str, BeforeValidator(_open)]


def _place(value: str) -> str:
    if addresses.is_address(value):
        if wrong := addresses.mistake(value):
            raise ValueError(wrong)
    elif value in (".", "..") or value != PureWindowsPath(value).name:  # parts at both slashes
        raise ValueError(
            f"'{value}' is a path; give an address, or the name of a file that lies beside the configuration"
        )
    return value


class Facts(BaseModel):
    """The keys of config.dl4miceverywhere."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    notebook_url: Annotated[str, Field(min_length=1)]
    requirements_url: Annotated[str, Field(min_length=1)]
    sections_to_remove: Text = ""
    notebook_version: Text = ""
    dl4miceverywhere_version: Text = ""
    description: Text = ""
    docker_hub_image: Text = ""
    ubuntu_version: Text = ""
    python_version: Text = ""
    cuda_version: Text = ""
    cudnn_version: Text = ""

    _files = field_validator("notebook_url", "requirements_url")(_place)

    @field_validator("sections_to_remove")
    @classmethod
    def _sections(cls, value: str) -> str:
        for word in value.split():
            if not _SECTION.fullmatch(word):
                raise ValueError(f"'{word}' is no section number; write them like '1.1. 2.'")
        return value


class Ours(BaseModel):
    """The keys of config.dl4mic_hpc: what the catalogue shows, and what is pinned.

    `revision` is a commit of the git repository that notebook and requirements lie in; `requirements_revision`
    another one for the requirements alone. `configuration_url` is where the facts were taken from. `weights`: what the
    notebook fetches while it runs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Text = ""
    dimensions: tuple[Literal["2D", "3D"], ...] = ()
    framework: Text = ""
    input: Text = ""
    output: Text = ""
    layout: Text = ""
    state: Literal["works", "untested", "broken"] = "untested"
    state_note: Text = ""
    configuration_url: Annotated[Text, Field(pattern=r"^(?:https?://\S+)?$")] = ""
    revision: Text = ""
    requirements_revision: Text = ""
    notebook_sha256: Text = ""
    requirements_sha256: Text = ""
    corrected: dict[str, str] = {}
    weights: tuple[WeightsEntry, ...] = ()

    _weights = field_validator("weights")(listed)

    @field_validator("revision", "requirements_revision")
    @classmethod
    def _commit(cls, value: str) -> str:
        if not re.fullmatch(_COMMIT, value):
            raise ValueError(f"'{value}' is no git commit; all 40 digits (0 to 9, a to f) are needed")
        return value

    @field_validator("notebook_sha256", "requirements_sha256")
    @classmethod
    def _hash(cls, value: str) -> str:
        if not re.fullmatch(_SHA256, value):
            raise ValueError(f"'{value}' is no SHA-256; all 64 digits (0 to 9, a to f) are needed")
        return value


class _Config(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    dl4miceverywhere: Facts
    dl4mic_hpc: Ours = Ours()


class _Cited(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    text: Text = ""
    doi: Text = ""
    url: Text = ""


class Configuration(BaseModel):
    """The whole file. The Model Zoo's other keys (authors, tags, links …) are nobody's business here."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: Text = ""
    cite: tuple[_Cited, ...] = ()
    config: _Config

    @property
    def facts(self) -> Facts:
        return self.config.dl4miceverywhere

    @property
    def ours(self) -> Ours:
        return self.config.dl4mic_hpc

    @model_validator(mode="after")
    def _pins(self) -> Configuration:
        for key, url, revision in (
            ("notebook_url", self.facts.notebook_url, self.ours.revision),
            ("requirements_url", self.facts.requirements_url, self.requirements_revision),
        ):
            if revision and addresses.is_address(url) and addresses.at(url, revision) is None:
                raise ValueError(
                    f"a revision is given in config.dl4mic_hpc, but {key} is no address of "
                    "raw.githubusercontent.com; leave the revision out, or name the file there"
                )
        return self

    @property
    def requirements_revision(self) -> str:
        return self.ours.requirements_revision or self.ours.revision


def parse(text: str, *, where: str) -> Configuration:
    """NotebookError lists every mistake with file, line and key."""
    try:
        return yamlfile.parse(text, Configuration, where=where, verbatim=True)
    except yamlfile.YamlError as error:
        raise _refused(error, where) from error


def parse_file(path: Path) -> Configuration:
    """The same for a file; UsageError if it cannot be read."""
    try:
        return parse(read_text(path), where=str(path))
    except yamlfile.YamlError as error:
        raise _refused(error, str(path)) from error


def read_text(path: Path) -> str:
    """The file's text. UsageError if it cannot be read, YamlError if it is no text."""
    try:
        return yamlfile.read_text(path)
    except OSError as error:
        raise UsageError(
            f"the configuration {path} cannot be read: {error.strerror}", hint="correct the path"
        ) from error


def _refused(error: yamlfile.YamlError, where: str) -> NotebookError:
    return NotebookError(error.message, hint=f"edit {where}; docs/reference/catalogue.md explains the keys")
