"""The notebooks on offer: configuration.yaml files in DL4MicEverywhere's format -> checked values.

    configuration  a file's text -> its checked keys
    addresses      which addresses are files, and where they stand at one revision
    recipes        the recipe of a configuration that has none of its own
    spec           NotebookSpec: one notebook as a value
    weights        pretrained weights that notebooks fetch while they run
    check          everything that is wrong with a configuration, at once, by means of
    combinations   versions of Ubuntu, Python, CUDA and cuDNN,
    requirements   what the requirements ask for,
    frameworks     TensorFlow and PyTorch as requirements name them, and
    platforms      the tables of what goes together
    gpus           which GPUs, releases of CUDA and drivers go together

The catalogue's own configurations are in configs/notebooks/; `launch -c` takes anybody's.
"""

from __future__ import annotations

import re
from importlib.resources.abc import Traversable
from pathlib import Path

from dl4mic_hpc import resources
from dl4mic_hpc.catalog import addresses, configuration, recipes
from dl4mic_hpc.catalog.configuration import Configuration
from dl4mic_hpc.catalog.spec import RECIPE, NotebookSpec, Paper, Pinned
from dl4mic_hpc.errors import NotebookError, UsageError, perhaps_you_meant

__all__ = [
    "CONFIGURATION", "NotebookSpec", "Paper", "Pinned", "find", "load", "load_file", "names", "updates",
]  # fmt: skip

CONFIGURATION = "configuration.yaml"


def names() -> list[str]:
    """The catalogue's notebooks, sorted."""
    root = resources.data("configs", "notebooks")
    return sorted(entry.name for entry in root.iterdir() if entry.joinpath(CONFIGURATION).is_file())


def updates(name: str) -> Path:
    """The user's own configuration of a notebook of the catalogue, if `notebook update --apply` has written one."""
    return resources.home("config") / "notebooks" / name / CONFIGURATION


def find(text: str) -> str:
    """The name in the catalogue of what somebody typed: `CARE_2D` and `care-2d` are care_2d.

    UsageError if there is none.
    """
    known = {_plain(name): name for name in names()}
    name = known.get(_plain(text)) or known.get(_plain(re.sub(r"(?i)_DL4Mic$", "", text)))
    if name is None or set(text) & set("/\\"):
        raise UsageError(
            f"there is no notebook '{text}'",
            hint=f"{perhaps_you_meant(text, names())}; `dl4mic-hpc notebook list` shows them all",
        )
    return name


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def load(name: str) -> NotebookSpec:
    """The catalogue's notebook `name`; UsageError if there is none."""
    name = find(name)
    folder = resources.data("configs", "notebooks", name)
    own = updates(name)
    if own.is_file():
        return load_file(own, name=name, updated=True)
    text = folder.joinpath(CONFIGURATION).read_text(encoding="utf-8")
    return _spec(configuration.parse(text, where=f"{name}/{CONFIGURATION}"), name, folder)


def load_file(path: Path, *, name: str = "", updated: bool = False) -> NotebookSpec:
    """The notebook that a configuration.yaml outside the catalogue describes, named after its folder."""
    read = configuration.parse_file(path)
    folder = path.absolute().parent
    name = name or re.sub(r"[^a-z0-9_]+", "_", folder.name.lower()).strip("_") or "notebook"
    return _spec(read, name, folder, where=str(path), updated=updated)


def _spec(
    read: Configuration, name: str, folder: Traversable, *, where: str = "", updated: bool = False
) -> NotebookSpec:
    facts, ours = read.facts, read.ours
    missing = [
        each
        for each in (facts.notebook_url, facts.requirements_url)
        if not addresses.is_address(each) and not folder.joinpath(each).is_file()
    ]
    if missing:
        where = where or f"{name}/{CONFIGURATION}"
        raise NotebookError(
            f"{where}: not there beside the configuration: {', '.join(missing)}",
            hint=f"edit {where}, or put the files there",
        )
    gpu, own_recipe = bool(facts.cuda_version), folder.joinpath(RECIPE)
    moving = {
        "notebook": facts.notebook_url if addresses.is_address(facts.notebook_url) else "",
        "requirements": facts.requirements_url if addresses.is_address(facts.requirements_url) else "",
        "recipe": "" if own_recipe.is_file() else recipes.moving_url(gpu=gpu),
        "configuration": ours.configuration_url,
    }
    return NotebookSpec(
        id=name,
        title=read.name or name,
        folder=folder,
        notebook=_file(folder, facts.notebook_url, ours.revision, ours.notebook_sha256),
        requirements=_file(
            folder, facts.requirements_url, read.requirements_revision, ours.requirements_sha256
        ),
        recipe=own_recipe if own_recipe.is_file() else recipes.standard(gpu=gpu),
        version=facts.notebook_version,
        description=facts.description,
        sections_to_remove=tuple(facts.sections_to_remove.split()),
        ubuntu_version=facts.ubuntu_version,
        python_version=facts.python_version,
        cuda_version=facts.cuda_version,
        cudnn_version=facts.cudnn_version,
        docker_hub_image=facts.docker_hub_image,
        task=ours.task,
        dimensions=ours.dimensions,
        framework=ours.framework,
        input=ours.input,
        output=ours.output,
        layout=ours.layout,
        state=ours.state,
        state_note=ours.state_note,
        cite=tuple(Paper(text=one.text, address=one.doi or one.url) for one in read.cite),
        corrected=ours.corrected,
        revision=ours.revision,
        moving_url={what: address for what, address in moving.items() if address},
        weights=tuple(one.value() for one in ours.weights),
        updated=updated,
    )


def _file(folder: Traversable, place: str, revision: str, sha256: str) -> Traversable | Pinned:
    if not addresses.is_address(place):
        return folder.joinpath(place)
    url = addresses.at(place, revision) if revision else None
    return Pinned(url=url or place, sha256=sha256, name=addresses.file_name(place))
