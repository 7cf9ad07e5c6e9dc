"""A Colab-form notebook -> the same notebook for JupyterLab, with working forms.

The code is left alone. A cell with a form becomes `%%dl4mic_form <id>` followed by its own source, which the
files in dl4mic_forms/ beside the notebook show as a form and run with the values put into it, as Colab does.
What is not understood is refused, all of it at once, with cell and line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType

import nbformat
from nbformat import NotebookNode, v4

from dl4mic_hpc import __version__
from dl4mic_hpc.errors import NotebookError
from dl4mic_hpc.notebook import passes
from dl4mic_hpc.notebook.dl4mic_forms.forms import FormError, Value, parse
from dl4mic_hpc.notebook.passes import Change

_RUNTIME = ("__init__.py", "forms.py", "panel.py", "results.py", "scan.py", "session.py", "values.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """One field that a person can fill in; `default` is what it holds at first."""

    name: str
    kind: str
    default: Value
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """The new notebook's bytes, what was done to it, and the fields of each of its forms by the form's id."""

    notebook: bytes
    changes: tuple[Change, ...]
    fields: Mapping[str, tuple[FormField, ...]]


def convert(
    notebook: bytes,
    *,
    name: str,
    sections_to_remove: Sequence[str] = (),
    provenance: Mapping[str, str] = MappingProxyType({}),
) -> Converted:
    """The JupyterLab form of a Colab notebook. Same input, same bytes; a converted notebook comes back as it is.

    `name` is what messages and stored settings call the notebook, `sections_to_remove` are numbers such as
    "1.1." and `provenance` (id, version, hash of the original …) goes into the notebook's metadata.
    NotebookError with everything that cannot be converted, each with its cell and line (both from 1).
    """
    work = _read(notebook, name)
    if passes.KEY in work.metadata:
        return Converted(notebook=_bytes(work), changes=(), fields=_fields(work, name))
    problems: list[str] = []
    passes.prepare(work)
    changes = passes.remove_sections(work, sections_to_remove, problems)
    forms = passes.find_forms(work, problems)
    problems += passes.colab_only(work)
    _refuse(name, problems)
    changes += passes.make_form_cells(work, forms)
    changes += passes.promote_titles(work, forms)
    fields = _fields(work, name)
    if fields:
        passes.add_start(
            work, name, {form: [field.name for field in found] for form, found in fields.items()}
        )
    passes.set_metadata(work, {**provenance, "name": name, "converter": __version__})
    try:
        nbformat.validate(work)
    except nbformat.ValidationError as error:
        _refuse(name, [str(error).splitlines()[0]])
    ordered = tuple(sorted(changes, key=lambda change: change.cell))
    return Converted(notebook=_bytes(work), changes=ordered, fields=fields)


def runtime_files() -> Mapping[str, bytes]:
    """The files that make the forms work, by their path beside the notebook ("dl4mic_forms/forms.py")."""
    folder = files("dl4mic_hpc.notebook").joinpath(passes.FORMS)
    return {f"{passes.FORMS}/{name}": folder.joinpath(name).read_bytes() for name in _RUNTIME}


def _read(data: bytes, name: str) -> NotebookNode:
    hint = "give a Jupyter notebook (.ipynb) of format 4 with Python cells"
    try:
        raw = json.loads(data.decode("utf-8-sig"))
        version, cells, about = raw["nbformat"], raw.get("cells"), raw.get("metadata", {})
        language = about.get("kernelspec", {}).get("language") or about.get("language_info", {}).get("name")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise NotebookError(f"{name} is not a Jupyter notebook ({error!r})", hint=hint) from error
    if version != 4:
        raise NotebookError(f"{name} is a notebook of format {version}, not 4", hint=hint)
    if not cells or not isinstance(cells, list):
        raise NotebookError(f"{name} is a notebook without cells", hint=hint)
    if str(language or "python").lower() != "python":
        raise NotebookError(f"{name} is a notebook for {language}, not Python", hint=hint)
    kinds = [
        (cell.get("cell_type"), cell.get("source")) if isinstance(cell, dict) else None for cell in cells
    ]
    for index, kind in enumerate(kinds, 1):
        if kind is None or kind[0] not in ("code", "markdown", "raw") or not isinstance(kind[1], str | list):
            raise NotebookError(f"{name}: cell {index} is no cell of a notebook", hint=hint)
    try:
        notebook: NotebookNode = v4.reads(json.dumps({**raw, "metadata": about}))
    except (AttributeError, TypeError) as error:
        raise NotebookError(f"{name} is not a valid notebook ({error})", hint=hint) from error
    return notebook


def _bytes(notebook: NotebookNode) -> bytes:
    text: str = v4.writes(notebook)
    return text.encode() + b"\n"


def _refuse(name: str, problems: Sequence[str]) -> None:
    if problems:
        count = f"{len(problems)} things cannot be converted:\n  " if len(problems) > 1 else ""
        raise NotebookError(
            f"{name}: {count}" + "\n  ".join(problems),
            hint="edit the notebook or `sections_to_remove`; docs/reference/notebooks.md says what is understood",
        )


def _fields(converted: NotebookNode, name: str) -> Mapping[str, tuple[FormField, ...]]:
    """What the form cells of a converted notebook ask for; NotebookError if one was edited beyond understanding."""
    found: dict[str, tuple[FormField, ...]] = {}
    problems: list[str] = []
    for index, cell in enumerate(converted.cells, 1):
        first, _, source = cell.source.partition("\n")
        if cell.cell_type != "code" or not first.startswith(f"{passes.MAGIC} "):
            continue
        try:
            found[first.removeprefix(passes.MAGIC).strip()] = tuple(
                FormField(name=each.name, kind=each.kind, default=each.value, options=each.options)
                for each in parse(source).fields
            )
        except FormError as error:
            problems += [f"cell {index}, line {line + 1}: {text}" for line, text in error.problems]
    _refuse(name, problems)
    return found
