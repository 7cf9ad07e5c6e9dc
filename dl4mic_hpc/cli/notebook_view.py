"""How notebooks of the catalogue are shown: as text in the terminal's width, and as JSON."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from importlib.resources.abc import Traversable
from itertools import groupby
from typing import TYPE_CHECKING, Any

from dl4mic_hpc.cli import console

if TYPE_CHECKING:
    from dl4mic_hpc.catalog import NotebookSpec, Pinned
    from dl4mic_hpc.notebook import Converted, FormField

_LABEL = 14
"""Columns of the labels on the left of `notebook show`."""

_STATE_COLOURS = {"works": "green", "broken": "red"}


def width() -> int:
    """Columns to write in; a page that is read wants no more than 120."""
    return max(70, min(shutil.get_terminal_size((100, 24)).columns, 120))


def searched(spec: NotebookSpec) -> str:
    """What --search looks in."""
    return "\n".join(
        (spec.id, spec.title, spec.description, spec.task, spec.framework, spec.input, spec.output)
    )


def row(spec: NotebookSpec) -> dict[str, Any]:
    return {
        "id": spec.id, "title": spec.title, "version": spec.version, "description": spec.description,
        "task": spec.task, "dimensions": list(spec.dimensions), "framework": spec.framework,
        "state": spec.state, "state_note": spec.state_note, "updated": spec.updated,
    }  # fmt: skip


def tell_list(specs: Sequence[NotebookSpec]) -> None:
    """Grouped by task; what works and what is broken is marked in front of its description."""
    ids = max(len(spec.id) for spec in specs)
    indent = " " * (2 + ids + 2 + 5 + 2)
    ordered = sorted(specs, key=lambda spec: (spec.task, spec.id))
    for number, (task, group) in enumerate(groupby(ordered, key=lambda spec: spec.task)):
        if number:
            console.answer("")
        console.answer(console.strong(task or "Others"))
        for spec in group:
            mark = f"{spec.state}: " if spec.state in _STATE_COLOURS else ""
            lines = textwrap.wrap(mark + spec.description, max(width() - len(indent), 30)) or [""]
            if mark and lines[0].startswith(mark.rstrip()):
                coloured = console.coloured(spec.state, _STATE_COLOURS[spec.state])
                lines[0] = coloured + lines[0].removeprefix(spec.state)
            console.answer(f"  {spec.id:<{ids}}  {' '.join(spec.dimensions):<5}  {lines[0]}".rstrip())
            for line in lines[1:]:
                console.answer(indent + line)
    console.tell("\nUnmarked: not tried with this program. `dl4mic-hpc notebook show NAME` says more.")


def facts(spec: NotebookSpec, converted: Converted | None, missing: str | None) -> dict[str, Any]:
    """Every answer of `notebook show --json`; `fields` is null where the notebook could not be had."""
    return {
        "version": 1, **{key: value for key, value in row(spec).items() if key != "version"},
        "notebook": spec.notebook_file, "notebook_version": spec.version,
        "input": spec.input, "output": spec.output, "layout": spec.layout,
        "cite": [{"text": one.text, "address": one.address or None} for one in spec.cite],
        "corrected": dict(spec.corrected),
        "files": {what: _origin(getattr(spec, what)) for what in ("notebook", "requirements", "recipe")},
        "weights": [
            {"name": one.name, "url": one.url, "sha256": one.sha256 or None, "library": one.root}
            for one in spec.weights
        ],
        "build_args": dict(spec.build_args()),
        "fields": None if converted is None else converted.report.as_json()["fields"],
        "fields_missing": missing,
    }  # fmt: skip


def _origin(file: Traversable | Pinned) -> dict[str, str | None]:
    from dl4mic_hpc.catalog import Pinned

    if isinstance(file, Pinned):
        return {"name": file.name, "url": file.url, "sha256": file.sha256 or None}
    return {"name": file.name, "url": None, "sha256": None}


def tell_notebook(spec: NotebookSpec, converted: Converted | None, missing: str | None) -> None:
    name = f"{spec.id} {spec.version}".rstrip()
    gap = " " * max(width() - len(spec.title) - len(name), 2)
    console.answer(console.strong(spec.title) + gap + name)
    _paragraph(spec.description)
    console.answer("")
    _told("task", ", ".join(part for part in (spec.task, *spec.dimensions) if part))
    _told("framework", spec.framework)
    _state(spec)
    _told("goes in", spec.input)
    _told("comes out", spec.output)
    for number, line in enumerate(spec.layout.rstrip().splitlines()):
        console.answer(f"{'data layout' if not number else '':<{_LABEL}}{line}")
    for number, paper in enumerate(spec.cite):
        _told("please cite" if not number else "", paper.text)
        if paper.address:
            console.answer(" " * _LABEL + paper.address)
    console.answer("")
    for what in ("notebook", "requirements", "recipe"):
        _told(what, _place(spec, what))
    _told("image", _image(spec))
    _told("weights", ", ".join(one.name for one in spec.weights))
    for key, why in spec.corrected.items():
        _told("corrected", f"{key}: {why}")
    if spec.updated:
        _told("updated", "by `dl4mic-hpc notebook update`; what came with the program is older")
    console.answer("")
    if converted is None:
        _paragraph(f"The form fields cannot be shown: {missing}")
    elif not converted.fields:
        console.answer("The notebook has no forms.")
    for form, fields in (converted.fields if converted else {}).items():
        _form(form, fields)


def _place(spec: NotebookSpec, what: str) -> str:
    """The file, and the repository and commit that it is of; the whole address is in the answer as JSON."""
    from dl4mic_hpc.catalog import addresses

    origin = _origin(getattr(spec, what))
    if origin["url"] is None:
        return f"{origin['name']}, beside the configuration"
    return f"{origin['name']} of {addresses.shown(origin['url'])}"


def _state(spec: NotebookSpec) -> None:
    words = {"works": "works.", "untested": "not tried with this program.", "broken": "broken."}
    lines = textwrap.wrap(f"{words[spec.state]} {spec.state_note}".rstrip(), width() - _LABEL)
    first = words[spec.state].split()[0]
    if spec.state in _STATE_COLOURS:
        lines[0] = console.coloured(first, _STATE_COLOURS[spec.state]) + lines[0].removeprefix(first)
    for number, line in enumerate(lines):
        console.answer(f"{'state' if not number else '':<{_LABEL}}{line}")


def _image(spec: NotebookSpec) -> str:
    parts = (
        ("Ubuntu", spec.ubuntu_version), ("Python", spec.python_version),
        ("CUDA", spec.cuda_version), ("cuDNN", spec.cudnn_version),
    )  # fmt: skip
    return ", ".join(f"{name} {version}" for name, version in parts if version)


def _told(label: str, text: str) -> None:
    if text:
        _paragraph(text, f"{label:<{_LABEL}}", " " * _LABEL)


def _paragraph(text: str, start: str = "", indent: str = "") -> None:
    lines = textwrap.wrap(
        text,
        width(),
        initial_indent=start,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    console.answer("\n".join(lines))


def _form(form: str, fields: Sequence[FormField]) -> None:
    if not fields:
        return
    console.answer(console.strong(form))
    names = max(len(one.name) for one in fields)
    kinds = max(len(one.kind) for one in fields)
    room = max(width() - names - kinds - 6, 12)
    for one in fields:
        default = "" if one.default is None else str(one.default)
        told = default or ("(empty)" if one.kind == "string" else "")
        if one.options:
            others = ", ".join(option for option in one.options if option != default)
            told = f"{default}  (or {others})" if others else default
        short = told if len(told) <= room else told[: room - 1] + "…"
        console.answer(f"  {one.name:<{names}}  {one.kind:<{kinds}}  {short}".rstrip())
