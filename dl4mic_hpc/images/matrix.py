"""Which images of the catalogue a change touches, by their keys: what the workflow that publishes them has to build.

A key changes with all that goes into an image, and with nothing else: a new version of a notebook, or another
description, touches no image.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dl4mic_hpc import catalog
from dl4mic_hpc.catalog import NotebookSpec, Pinned
from dl4mic_hpc.errors import Dl4micError
from dl4mic_hpc.images import room as rooms
from dl4mic_hpc.recipe.bundle import convert_environment
from dl4mic_hpc.recipe.key import CONVERTER
from dl4mic_hpc.recipe.outside import Outside
from dl4mic_hpc.sources import files, revisions

_CONFIGS = ("configs", "notebooks")
_CONVERTER = ("dl4mic_hpc/recipe/key.py", re.compile(r"^CONVERTER = (\d+)$", re.M))
_STANDARD_RECIPES = "dl4mic_hpc/catalog/recipes.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An image to build. tag: what it is published under. disk: GB that its build takes, about."""

    notebook: str
    key: str
    tag: str
    disk: float
    fits: bool
    why_not: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """rows: the touched ones; untouched: ids of the others."""

    rows: tuple[Row, ...]
    untouched: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """`include` is what a job's matrix takes; what does not fit stands in `too_large`."""
        return {
            "version": 1,
            "include": [asdict(row) for row in self.rows if row.fits],
            "too_large": [asdict(row) for row in self.rows if not row.fits],
            "untouched": list(self.untouched),
        }


def tag(notebook: str, key: str) -> str:
    """By the key, so that a launch can compute the tag of what it would have to build."""
    return f"{notebook}-{key}"


def compute(
    *,
    since: str,
    disk: float,
    cache: Path,
    outside: Outside,
    say: Callable[[str], None] = lambda text: None,
) -> Matrix:
    """since: a revision of the checkout that this is run in; everything is touched if it names none.

    disk: GB that the builder has. UsageError for an unknown revision; NotebookError and RecipeError for what cannot
    be fetched or converted now.
    """
    now = {name: catalog.load(name) for name in catalog.names()}
    touched = dict(now) if not revisions.names_one(since) else _touched(now, since, cache, outside, say)
    rows = []
    for name, wanted in touched.items():
        spec = files.obtain(wanted, cache=cache, say=say, parts=("requirements", "recipe"))
        key = key_of(spec, outside=outside)
        estimate = rooms.estimate(spec, spec.read_requirements().decode("utf-8-sig", "replace"))
        why_not = estimate.why_not(disk)
        rows.append(
            Row(
                notebook=name,
                key=key,
                tag=tag(name, key),
                disk=estimate.needed,
                fits=not why_not,
                why_not=why_not,
            )
        )
    return Matrix(rows=tuple(rows), untouched=tuple(name for name in now if name not in touched))


def key_of(spec: NotebookSpec, *, outside: Outside) -> str:
    """The key of the image that a launch of `spec` would build; its files are on this computer."""
    with spec.recipe_context() as context:
        return convert_environment(
            context / "Dockerfile", context=context, offered=spec.build_args(), outside=outside
        ).key


def _touched(
    now: Mapping[str, NotebookSpec],
    since: str,
    cache: Path,
    outside: Outside,
    say: Callable[[str], None],
) -> dict[str, NotebookSpec]:
    with revisions.tree(since) as before:
        if _converter(before) != str(CONVERTER):
            return dict(now)
        recipes = _text(before / _STANDARD_RECIPES) == _text(Path(__file__).parents[2] / _STANDARD_RECIPES)
        return {
            name: spec
            for name, spec in now.items()
            if not _same(spec, before.joinpath(*_CONFIGS, name), recipes, cache, outside, say)
        }


def _converter(tree: Path) -> str:
    path, pattern = _CONVERTER
    found = pattern.search(_text(tree / path))
    return found[1] if found else ""


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _same(
    spec: NotebookSpec,
    before: Path,
    same_standard_recipes: bool,
    cache: Path,
    outside: Outside,
    say: Callable[[str], None],
) -> bool:
    """Whether the configuration gave the same image before. What cannot be had any more counts as another one."""
    try:
        earlier = catalog.load_file(before / catalog.CONFIGURATION, name=spec.id)
    except Dl4micError:
        return False
    if isinstance(spec.recipe, Pinned) and not same_standard_recipes:
        return False
    if _inputs(spec) == _inputs(earlier):
        return True
    try:
        keys = [
            key_of(files.obtain(one, cache=cache, say=say, parts=("requirements", "recipe")), outside=outside)
            for one in (spec, earlier)
        ]
    except Dl4micError as problem:
        say(f"{spec.id}: what it was before cannot be computed ({problem.message})")
        return False
    return keys[0] == keys[1]


def _inputs(spec: NotebookSpec) -> object:
    """What the key is made from, as far as that is known without fetching anything."""
    parts = [
        part if isinstance(part, Pinned) else part.read_bytes() for part in (spec.requirements, spec.recipe)
    ]
    beside = (
        {}
        if isinstance(spec.recipe, Pinned)
        else {
            entry.name: entry.read_bytes()
            for entry in spec.folder.iterdir()
            if entry.is_file() and entry.name != catalog.CONFIGURATION
        }
    )
    return [parts, beside, spec.build_args()]
