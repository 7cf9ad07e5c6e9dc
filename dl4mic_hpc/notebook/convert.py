"""A Colab-form notebook -> the same notebook for JupyterLab, with working forms, and a report of what was done.

The code is left alone. A cell with a form becomes `%%dl4mic_form <id>` followed by its own source, which the
files in dl4mic_forms/ beside the notebook show as a form and run with the values put into it, as Colab does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Any

from nbformat import NotebookNode

from dl4mic_hpc import __version__
from dl4mic_hpc.errors import NotebookError
from dl4mic_hpc.notebook import findings, passes, reading, references, texts
from dl4mic_hpc.notebook.dl4mic_forms.forms import Form, parse
from dl4mic_hpc.notebook.dl4mic_forms.parameters import KEY, MAGIC
from dl4mic_hpc.notebook.report import Change, FormField, Ledger, Remark, Report, Use

OLDEST_PYTHON = (3, 7)
"""What the files in dl4mic_forms/ need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """The new notebook's bytes and what was done to it.

    `runtime` tells whether it needs `runtime_files()` beside it.
    """

    notebook: bytes
    report: Report
    runtime: bool

    @property
    def changes(self) -> tuple[Change, ...]:
        return self.report.changes

    @property
    def fields(self) -> Mapping[str, tuple[FormField, ...]]:
        """The fields of each form by the form's id."""
        return self.report.fields


def convert(
    notebook: bytes,
    *,
    name: str,
    sections_to_remove: Sequence[str] = (),
    provenance: Mapping[str, str] = MappingProxyType({}),
    python: str = "",
) -> Converted:
    """The JupyterLab form of a Colab notebook. Same input, same bytes; a converted notebook comes back as it is.

    `name` is what messages and stored settings call the notebook, `sections_to_remove` are numbers such as
    "1.1." and `provenance` (id, version, hash of the original …) goes into the notebook's metadata. `python` is
    the version that the notebook will run on: below 3.7 it goes without the files in dl4mic_forms/, which is no
    loss if it has no fields. NotebookError for what cannot be converted at all, with its cell and line (from 1).
    """
    work = reading.read(notebook, name)
    version = reading.converted(work)
    if version is not None:
        started = any(cell.source.startswith(texts.START) for cell in work.cells)
        return Converted(notebook=notebook, report=_as_it_is(work, name, version), runtime=started)
    runtime = not too_old(python)
    ledger = Ledger()
    chosen, problems = passes.choose_sections(work, sections_to_remove)
    _refuse(name, problems)
    where = references.survey(work.cells, {index for _, held in chosen for index in held})
    passes.prepare(work)
    passes.list_clones(work, chosen, ledger)
    passes.cut(work, chosen, ledger, runtime=runtime)
    if runtime:
        passes.own_words(work, ledger)
    passes.mark_references(work, where, ledger)
    passes.drop_installs(work, ledger)
    needs = _needs(work)
    if runtime:
        passes.bound_tables(work, ledger)
    forms = passes.find_forms(work, runtime=runtime)
    fields = {
        form_id: _fields(form, passes.origin(work.cells[index]))
        for index, (form_id, form) in forms.items()
        if form.fields
    }
    if fields and not runtime:
        text = f"{name} has form fields, which need Python 3.7 or newer; its configuration says {python}"
        raise NotebookError(text, hint="set python_version in the configuration to 3.7 or newer")
    passes.make_form_cells(work, forms, ledger)
    passes.promote_titles(work, forms, ledger)
    if runtime:
        passes.add_start(work, name, {form: [one.name for one in ones] for form, ones in fields.items()})
    else:
        ledger.warnings += [_not_served(use, python) for use in needs["colab_uses"]]
    passes.set_metadata(work, {**provenance, "name": name, "converter": __version__})
    report = _report(name, ledger, fields=fields, removed=tuple(section for section, _ in chosen), **needs)
    return Converted(notebook=reading.write(work, name), report=report, runtime=runtime)


def runtime_files() -> Mapping[str, bytes]:
    """The files that make the forms work, by their path beside the notebook ("dl4mic_forms/forms.py")."""
    return dict(sorted(_python_files(files("dl4mic_hpc.notebook").joinpath(texts.FORMS), texts.FORMS)))


def _python_files(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for each in folder.iterdir():
        if each.name.endswith(".py"):
            yield f"{path}/{each.name}", each.read_bytes()
        elif each.is_dir() and each.name != "__pycache__":
            yield from _python_files(each, f"{path}/{each.name}")


def _as_it_is(work: NotebookNode, name: str, version: str) -> Report:
    """The report of a notebook that was converted before; cells are those of the notebook as it is."""
    ledger = Ledger()
    fields: dict[str, tuple[FormField, ...]] = {}
    if version != __version__:
        text = f"converted by dl4mic-hpc {version} and left as it is; convert the original to have it as of {__version__}"
        ledger.warnings.append(Remark(cell=1, line=1, text=text))
    for number, cell in enumerate(work.cells, 1):
        first, _, source = cell.source.partition("\n")
        if cell.cell_type == "code" and first.startswith(f"{MAGIC} "):
            form = parse(source)
            if form.fields:
                fields[first.removeprefix(MAGIC).strip()] = _fields(form, number, above=1)
            ledger.not_understood += [
                Remark(cell=number, line=each.line + 1, text=each.text) for each in form.problems
            ]
    return _report(name, ledger, fields=fields, **_needs(work))


def _needs(work: NotebookNode) -> dict[str, Any]:
    """What the code expects of Colab, by the names that a report has for it."""
    found: dict[str, list[Any]] = {"network": [], "content_uses": [], "colab_uses": [], "colab_texts": []}
    for number, cell in enumerate(work.cells, 1):
        own = cell.metadata.get(KEY)
        own = own if isinstance(own, dict) else {}
        if "made" in own:
            continue
        at = own["source_cell"] + 1 if reading.converted(work) is None else number
        if cell.cell_type != "code":
            found["colab_texts"] += findings.texts(cell.source, at)
            continue
        found["network"] += findings.network(cell.source, at)
        found["content_uses"] += findings.content(cell.source, at)
        found["colab_uses"] += findings.colab(cell.source, at)
    return {kind: tuple(uses) for kind, uses in found.items()}


def _report(name: str, ledger: Ledger, **others: Any) -> Report:
    def ordered(entries: list[Any]) -> tuple[Any, ...]:
        return tuple(sorted(entries, key=lambda each: (each.cell, getattr(each, "line", 0))))

    return Report(
        notebook=name,
        changes=ordered(ledger.changes),
        requirements=ordered(ledger.requirements),
        clones=ordered(ledger.clones),
        references=ordered(ledger.references),
        not_understood=ordered(ledger.not_understood),
        warnings=ordered(ledger.warnings),
        **others,
    )


def _fields(form: Form, cell: int, above: int = 0) -> tuple[FormField, ...]:
    """`above` counts the lines of the cell above the form's source."""
    return tuple(
        FormField(
            cell=cell,
            line=each.line + above,
            name=each.name,
            kind=each.kind,
            default=each.value,
            options=each.options,
            **(
                {"minimum": each.minimum, "maximum": each.maximum, "step": each.step}
                if each.kind == "slider"
                else {}
            ),
        )
        for each in form.fields
    )


def _not_served(use: Use, python: str) -> Remark:
    text = f"{use.what} is there on Colab only, and has no stand-in on Python {python}"
    return Remark(cell=use.cell, line=use.line, text=text)


def too_old(python: str) -> bool:
    """Whether the files in dl4mic_forms/ cannot run on this version ("3.6"); "" is not known, and taken for new."""
    found = re.match(r"\s*(\d+)\.(\d+)", python)
    return found is not None and (int(found[1]), int(found[2])) < OLDEST_PYTHON


def _refuse(name: str, problems: Sequence[str]) -> None:
    if problems:
        count = f"{len(problems)} sections cannot be removed:\n  " if len(problems) > 1 else ""
        raise NotebookError(
            f"{name}: {count}" + "\n  ".join(problems),
            hint="correct `sections_to_remove` in the configuration; the numbers are those of the notebook's headings",
        )
