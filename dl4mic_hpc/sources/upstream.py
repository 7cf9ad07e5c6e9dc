"""What has changed upstream since a notebook of the catalogue was pinned, and pinning it anew for one's own use.

The catalogue itself ships with the program. New pins are written to a configuration of the user's own, which
`catalog.load` prefers.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dl4mic_hpc import catalog, notebook
from dl4mic_hpc.catalog import NotebookSpec, Pinned, addresses, configuration
from dl4mic_hpc.errors import NotebookError, RecipeError
from dl4mic_hpc.notebook import FormField
from dl4mic_hpc.recipe.steps import Git
from dl4mic_hpc.sources import files, git
from dl4mic_hpc.sources.cache import Cache

_FACTS = (
    "notebook_url", "requirements_url", "sections_to_remove", "notebook_version", "dl4miceverywhere_version",
    "docker_hub_image", "ubuntu_version", "python_version", "cuda_version", "cudnn_version",
)  # fmt: skip
"""The keys that are taken from upstream's configuration; the descriptions are our own."""

_BRANCH = re.compile(r"https?://raw\.githubusercontent\.com/([^/]+/[^/]+)/(?:refs/heads/)?([^/]+)/.+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """`what` is configuration, notebook or requirements."""

    what: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A notebook as it is upstream now. `facts`: the keys of the configuration that differ."""

    spec: NotebookSpec
    facts: Mapping[str, str]
    changes: tuple[Change, ...]


def look(spec: NotebookSpec, *, cache: Path) -> Head | None:
    """Compares with the heads of the branches; None if nothing of this notebook lies elsewhere.

    NotebookError if a file cannot be had, or is nothing that can be understood.
    """
    if not {"notebook", "requirements", "configuration"} & set(spec.moving_url):
        return None
    own = _own(spec)
    facts = _differences(own, spec)
    here = files.obtain(spec, cache=cache, parts=("notebook", "requirements"))
    now = dataclasses.replace(
        here,
        sections_to_remove=tuple(facts.get("sections_to_remove", own.facts.sections_to_remove).split()),
        python_version=facts.get("python_version", own.facts.python_version),
    )
    changes = [
        Change(
            what="configuration",
            text=f"{key}: {getattr(own.facts, key) or '(open)'} is now {value or '(open)'}",
        )
        for key, value in facts.items()
    ]
    for part, compare in (("notebook", _notebooks), ("requirements", _requirements)):
        address = facts.get(f"{part}_url", getattr(own.facts, f"{part}_url"))
        if not addresses.is_address(address):
            continue
        before, after = getattr(here, part).read_bytes(), files.read(address)
        if before != after:
            found = list(compare(before, after, here, now))
            changes += [Change(what=part, text=text) for text in found or ["other texts or code"]]
    return Head(spec=spec, facts=facts, changes=tuple(changes))


def _own(spec: NotebookSpec) -> configuration.Configuration:
    return configuration.parse(_text(spec), where=f"{spec.id}/{catalog.CONFIGURATION}")


def _text(spec: NotebookSpec) -> str:
    return spec.folder.joinpath(catalog.CONFIGURATION).read_text(encoding="utf-8")


def _differences(own: configuration.Configuration, spec: NotebookSpec) -> dict[str, str]:
    """What upstream's configuration says otherwise, but for what is known to be wrong there."""
    address = spec.moving_url.get("configuration")
    if address is None:
        return {}
    text = files.read(address).decode("utf-8-sig", errors="replace")
    theirs = configuration.parse(text, where=address).facts
    return {
        key: getattr(theirs, key)
        for key in _FACTS
        if key not in own.ours.corrected and getattr(theirs, key) != getattr(own.facts, key)
    }


def _notebooks(before: bytes, after: bytes, here: NotebookSpec, now: NotebookSpec) -> Iterator[str]:
    """Sections and form fields that are new, gone or different."""
    headings = [_headings(data, here.notebook_file) for data in (before, after)]
    yield from _more_or_less("section", *headings)
    old, new = (_fields(data, spec) for data, spec in ((before, here), (after, now)))
    yield from _more_or_less("field", list(old), list(new))
    for name in old.keys() & new.keys():
        for what in ("kind", "default", "options"):
            was, is_now = getattr(old[name], what), getattr(new[name], what)
            if was != is_now:
                yield f"field {name}: {what} {_shown(was)} is now {_shown(is_now)}"


def _fields(data: bytes, spec: NotebookSpec) -> dict[str, FormField]:
    converted = notebook.convert(
        data, name=spec.notebook_file, sections_to_remove=spec.sections_to_remove, python=spec.python_version
    )
    return {f"{form}.{one.name}": one for form, ones in converted.fields.items() for one in ones}


def _headings(data: bytes, name: str) -> list[str]:
    try:
        cells = json.loads(data)["cells"]
        texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    except (ValueError, KeyError, TypeError) as error:
        raise NotebookError(f"{name} upstream is no notebook", hint="look at its address") from error
    lines = [line.strip() for text in texts for line in text.splitlines()]
    return [re.sub(r"<[^>]*>|[#*]", "", line).strip() for line in lines if line.startswith("#")]


def _requirements(before: bytes, after: bytes, here: NotebookSpec, now: NotebookSpec) -> Iterator[str]:
    yield from _more_or_less("requirement", *(_lines(data) for data in (before, after)))


def _lines(data: bytes) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in data.decode("utf-8-sig", "replace").splitlines())
    return [line for line in lines if line]


def _more_or_less(what: str, before: list[str], after: list[str]) -> Iterator[str]:
    yield from (f"new {what}: {one}" for one in dict.fromkeys(after) if one not in before)
    yield from (f"{what} is gone: {one}" for one in dict.fromkeys(before) if one not in after)


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else repr(value)


def pin(head: Head, *, cache: Path, say: Callable[[str], None] = lambda _: None) -> Path:
    """Writes the user's own configuration with the notebook as it is upstream now, and fetches its files.

    They are pinned to the branches' commits where git can tell those, else to their hashes alone.
    """
    values: dict[str, Any] = yaml.load(_text(head.spec), Loader=yaml.BaseLoader)
    facts, ours = values["config"]["dl4miceverywhere"], values["config"].setdefault("dl4mic_hpc", {})
    facts.update(head.facts)
    for part, key in (("notebook", "revision"), ("requirements", "requirements_revision")):
        address = facts[f"{part}_url"]
        if not addresses.is_address(address):
            continue
        commit = _commit(address, cache=cache, say=say)
        now = Pinned(
            url=(addresses.at(address, commit) if commit else None) or address,
            sha256="",
            name=addresses.file_name(address),
        )
        content = files.fetch(now, cache=cache, say=say).read_bytes()
        ours[key], ours[f"{part}_sha256"] = commit, hashlib.sha256(content).hexdigest()
    if "notebook_version" in head.facts:
        values["version"] = head.facts["notebook_version"]
    ours["state"] = "untested"
    path = catalog.updates(head.spec.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(name).replace(path)
    return path


def _commit(address: str, *, cache: Path, say: Callable[[str], None]) -> str:
    """The commit that the address's branch stands for now, "" where that cannot be told."""
    found = _BRANCH.fullmatch(address)
    if found is None:
        return ""
    branch = Git(
        repository=f"https://github.com/{found[1]}.git", ref=found[2], folder="", keep_git=False, checksum=""
    )
    try:
        return git.commit(branch, cache=Cache(folder=cache))
    except RecipeError as error:
        say(f"{error.message}; {address} is pinned by its hash alone")
        return ""


def unpin(name: str) -> bool:
    """Forgets the user's own pins of a notebook; whether there were any."""
    path = catalog.updates(name)
    if not path.is_file():
        return False
    path.unlink()
    return True
