"""The notebooks on offer: configuration.yaml files in DL4MicEverywhere's format -> checked values.

A configuration lies in a folder with the files that it names: notebook, requirements and, beside it, the
Dockerfile. The catalogue's own are in configs/notebooks/; `launch -c` takes anybody's.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import as_file
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from dl4mic_hpc import resources, yamlfile
from dl4mic_hpc.errors import NotebookError, UsageError, perhaps_you_meant

CONFIGURATION = "configuration.yaml"
RECIPE = "Dockerfile"

_SECTION = re.compile(r"[0-9]+(?:\.[0-9]+)*\.?")


class _Facts(BaseModel):
    """The keys of config.dl4miceverywhere.

    Source: https://github.com/HenriquesLab/DL4MicEverywhere/blob/main/docs/FORMAT.md
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    notebook_url: Annotated[str, Field(min_length=1)]
    requirements_url: Annotated[str, Field(min_length=1)]
    sections_to_remove: str = ""
    notebook_version: str = ""
    dl4miceverywhere_version: str = ""
    description: str = ""
    docker_hub_image: str = ""
    ubuntu_version: str = ""
    python_version: str = ""
    cuda_version: str = ""
    cudnn_version: str = ""

    @field_validator("notebook_url", "requirements_url")
    @classmethod
    def _beside(cls, value: str) -> str:
        if "://" in value:
            raise ValueError(f"'{value}' is an address; name a file that lies beside the configuration")
        if value != Path(value).name:
            raise ValueError(f"'{value}' is a path; name a file that lies beside the configuration")
        return value

    @field_validator("sections_to_remove")
    @classmethod
    def _sections(cls, value: str) -> str:
        for word in value.split():
            if not _SECTION.fullmatch(word):
                raise ValueError(f"'{word}' is no section number; write them like '1.1. 2.'")
        return value


class _Config(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    dl4miceverywhere: _Facts


class _File(BaseModel):
    """The file is one of the BioImage Model Zoo, whose other keys (authors, tags, links …) nothing here needs."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str = ""
    config: _Config


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookSpec:
    """One notebook with what its image is built from. `folder` holds the Dockerfile and its build context.

    `title` is for people, `id` for the command line and the image. Versions are as written, "" where left open.
    `notebook` and `requirements` lie in `folder`, unless the command line gave others.
    """

    id: str
    title: str
    folder: Traversable
    notebook: Traversable
    requirements: Traversable
    version: str
    description: str
    sections_to_remove: tuple[str, ...]
    ubuntu_version: str
    python_version: str
    cuda_version: str
    cudnn_version: str
    docker_hub_image: str

    @property
    def notebook_file(self) -> str:
        """The notebook's name in the session."""
        return self.notebook.name

    def read_notebook(self) -> bytes:
        return self.notebook.read_bytes()

    def build_args(self) -> Mapping[str, str]:
        """The build arguments of DL4MicEverywhere's Dockerfiles; what the configuration leaves open is left out."""
        given = {
            "UBUNTU_VERSION": self.ubuntu_version,
            "CUDA_VERSION": self.cuda_version,
            "CUDNN_VERSION": self.cudnn_version,
            "PYTHON_VERSION": self.python_version,
            "GPU_FLAG": "1" if self.cuda_version else "0",
            "PATH_TO_NOTEBOOK": self.notebook.name,
            "PATH_TO_REQUIREMENTS": "requirements.txt",
            "SECTIONS_TO_REMOVE": " ".join(self.sections_to_remove),
            "NOTEBOOK_NAME": self.notebook_file,
        }
        return {name: value for name, value in given.items() if value}

    @contextlib.contextmanager
    def recipe_context(self) -> Iterator[Path]:
        """A folder with the Dockerfile and what it copies; requirements under their usual name."""
        with tempfile.TemporaryDirectory(prefix="dl4mic-hpc-") as name, as_file(self.folder) as source:
            context = Path(name)
            for entry in source.iterdir():
                if entry.is_file():
                    (context / entry.name).write_bytes(entry.read_bytes())
            (context / "requirements.txt").write_bytes(self.requirements.read_bytes())
            yield context


def names() -> list[str]:
    """The catalogue's notebooks, sorted."""
    root = resources.data("configs", "notebooks")
    return sorted(entry.name for entry in root.iterdir() if entry.joinpath(CONFIGURATION).is_file())


def load(name: str) -> NotebookSpec:
    """The catalogue's notebook `name`; UsageError if there is none."""
    if name not in names():
        raise UsageError(
            f"there is no notebook '{name}'",
            hint=f"{perhaps_you_meant(name, names())}; `dl4mic-hpc notebook list` shows them all",
        )
    folder = resources.data("configs", "notebooks", name)
    return _parse(
        folder.joinpath(CONFIGURATION).read_text(encoding="utf-8"),
        name,
        folder,
        where=f"{name}/{CONFIGURATION}",
    )


def load_file(path: Path) -> NotebookSpec:
    """The notebook that a configuration.yaml outside the catalogue describes, named after its folder."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"the configuration {path} cannot be read: {error.strerror}", hint="correct the path after -c"
        ) from error
    except UnicodeDecodeError as error:
        raise NotebookError(f"{path} is no text file", hint="-c takes a configuration.yaml") from error
    folder = path.absolute().parent
    name = re.sub(r"[^a-z0-9_]+", "_", folder.name.lower()).strip("_") or "notebook"
    return _parse(text, name, folder, where=str(path))


def _parse(text: str, name: str, folder: Traversable, *, where: str) -> NotebookSpec:
    """NotebookError lists every mistake with file, line and key."""
    hint = f"edit {where}; docs/reference/notebooks.md explains the keys"
    try:
        file = yamlfile.parse(text, _File, where=where, verbatim=True)
    except yamlfile.YamlError as error:
        raise NotebookError(error.message, hint=hint) from error
    facts = file.config.dl4miceverywhere
    missing = [
        each
        for each in (facts.notebook_url, facts.requirements_url, RECIPE)
        if not folder.joinpath(each).is_file()
    ]
    if missing:
        raise NotebookError(f"{where}: not there beside the configuration: {', '.join(missing)}", hint=hint)
    return NotebookSpec(
        id=name,
        title=file.name or name,
        folder=folder,
        notebook=folder.joinpath(facts.notebook_url),
        requirements=folder.joinpath(facts.requirements_url),
        version=facts.notebook_version,
        description=facts.description,
        sections_to_remove=tuple(facts.sections_to_remove.split()),
        ubuntu_version=facts.ubuntu_version,
        python_version=facts.python_version,
        cuda_version=facts.cuda_version,
        cudnn_version=facts.cudnn_version,
        docker_hub_image=facts.docker_hub_image,
    )
