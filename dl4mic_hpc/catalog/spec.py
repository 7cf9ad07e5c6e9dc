"""One notebook of the catalogue as a value: what it is, and what its image is built from."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import as_file
from importlib.resources.abc import Traversable
from pathlib import Path

from dl4mic_hpc.catalog.weights import Weights
from dl4mic_hpc.errors import NotebookError

RECIPE = "Dockerfile"
REQUIREMENTS = "requirements.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """A file that lies elsewhere. `url`: at the pinned revision, or as written where none is pinned.

    `sha256` is that of the file's bytes, "" where nobody has written one down. `name` is the file's name.
    """

    url: str
    sha256: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """Something to cite. `address`: of the DOI where there is one, else of a page, or ""."""

    text: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookSpec:
    """One notebook with what its image is built from; `folder` holds its configuration.

    `title` is for people, `id` for the command line and the image. Versions are as written, "" where left open.
    `notebook`, `requirements` and `recipe` lie in `folder` or have to be fetched (`sources.files.obtain`), unless
    the command line gave others. `moving_url` has the addresses at the head of their branch of "notebook",
    "requirements", "recipe" and "configuration", as far as there are any.
    `state` is "works", "untested" or "broken"; `corrected` says why facts here differ from those upstream.
    `weights`: pretrained ones that it fetches while it runs.
    `updated`: the pins are the user's own (`notebook update --apply`), not those that ship.
    """

    id: str
    title: str
    folder: Traversable
    notebook: Traversable | Pinned
    requirements: Traversable | Pinned
    recipe: Traversable | Pinned
    version: str
    description: str
    sections_to_remove: tuple[str, ...]
    ubuntu_version: str
    python_version: str
    cuda_version: str
    cudnn_version: str
    docker_hub_image: str
    task: str
    dimensions: tuple[str, ...]
    framework: str
    input: str
    output: str
    layout: str
    state: str
    state_note: str
    cite: tuple[Paper, ...]
    corrected: Mapping[str, str]
    revision: str
    moving_url: Mapping[str, str]
    weights: tuple[Weights, ...] = ()
    updated: bool = False

    @property
    def notebook_file(self) -> str:
        """The notebook's name in the session."""
        return self.notebook.name

    def read_notebook(self) -> bytes:
        return _here(self.notebook).read_bytes()

    def read_requirements(self) -> bytes:
        return _here(self.requirements).read_bytes()

    def build_args(self) -> Mapping[str, str]:
        """The build arguments of DL4MicEverywhere's Dockerfiles; what the configuration leaves open is left out."""
        given = {
            "UBUNTU_VERSION": self.ubuntu_version,
            "CUDA_VERSION": self.cuda_version,
            "CUDNN_VERSION": self.cudnn_version,
            "PYTHON_VERSION": self.python_version,
            "GPU_FLAG": "1" if self.cuda_version else "0",
            "PATH_TO_NOTEBOOK": self.notebook.name,
            "PATH_TO_REQUIREMENTS": REQUIREMENTS,
            "SECTIONS_TO_REMOVE": " ".join(self.sections_to_remove),
            "NOTEBOOK_NAME": self.notebook_file,
        }
        return {name: value for name, value in given.items() if value}

    @contextlib.contextmanager
    def recipe_context(self) -> Iterator[Path]:
        """A folder with the recipe and what it copies; recipe and requirements under their usual names.

        A recipe of the configuration's own may copy any file that lies beside it.
        """
        recipe, requirements = _here(self.recipe), _here(self.requirements)
        own = self.folder.joinpath(RECIPE).is_file()
        with tempfile.TemporaryDirectory(prefix="dl4mic-hpc-") as name, as_file(self.folder) as source:
            context = Path(name)
            for entry in source.iterdir() if own else ():
                if entry.is_file():
                    (context / entry.name).write_bytes(entry.read_bytes())
            (context / RECIPE).write_bytes(recipe.read_bytes())
            (context / REQUIREMENTS).write_bytes(requirements.read_bytes())
            yield context


def _here(file: Traversable | Pinned) -> Traversable:
    if isinstance(file, Pinned):
        raise NotebookError(
            f"{file.url} has not been fetched yet",
            hint="connect this computer to the internet, or give files of your own with -n and -r",
        )
    return file
