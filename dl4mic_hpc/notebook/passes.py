"""The steps of a conversion. Each changes the working copy in one way and says what it did."""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nbformat import NotebookNode, v4

from dl4mic_hpc.notebook import sections
from dl4mic_hpc.notebook.dl4mic_forms.forms import Field, Form, FormError, foreign, parse

KEY = "dl4mic_hpc"
MAGIC = "%%dl4mic_form"
FORMS = "dl4mic_forms"

_COLAB_METADATA = {"id", "colab", "colab_type", "outputId", "cellView", "accelerator", "gpuClass"}
_COLAB_ONLY = (
    (re.compile(r"\bgoogle\.colab\b"), "uses google.colab, which exists on Colab only"),
    (re.compile(r"/content\b|/gdrive\b"), "names a folder that exists on Colab only"),
    (
        re.compile(r"^\s*[!%]\s*(?:pip3?|conda|mamba|apt|apt-get|python3? -m pip)\b.*\b(?:un)?install\b"),
        "installs software, which the image has to bring",
    ),
)
_INTRO = """\
**Start here:** choose *Run → Run All Cells* in the menu. Every section then shows its form; nothing is computed \
until you press a form's **Run** button. Go through the forms from top to bottom.

* Your data is under `/home/data`; write results to `/home/results`: they are brought back to your computer.
* **Load previous** puts in the values of your last run, **Reset** those that the notebook came with.
* The code is hidden, not gone: click the bar with the three dots above a form to see and edit it.
* After a restart of the kernel choose *Run All Cells* again."""
_START = """\
# Makes the forms below work; the folder {folder} beside this notebook belongs to it.
try:
    import {folder}
except ModuleNotFoundError as problem:
    if problem.name != "{folder}":
        raise
    raise ModuleNotFoundError(
        "The folder {folder} is missing beside this notebook, so its forms cannot be shown. "
        "Start the notebook again with `dl4mic-hpc launch`, which puts it there."
    ) from None
{folder}.start({name}, {fields})"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that was done: `kind` is section, form, title or note; cells count from 1 as they were."""

    kind: str
    cell: int
    text: str


Forms = Mapping[int, tuple[str, Form]]
"""The id and form of every code cell, by the cell's index in the working copy."""


def prepare(work: NotebookNode) -> None:
    """Takes outputs and Colab's own metadata away and writes into every cell where it came from."""
    for index, cell in enumerate(work.cells):
        metadata = cell.get("metadata", {})
        kept = {key: value for key, value in metadata.items() if key not in _COLAB_METADATA}
        cell.metadata = NotebookNode(kept, **{KEY: {"source_cell": index}})
        cell.id = f"cell-{index}"
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            _hide(cell, metadata.get("cellView") == "form")


def remove_sections(work: NotebookNode, numbers: Sequence[str], problems: list[str]) -> list[Change]:
    """Cuts sections out with everything below their headings. The others keep their numbers."""
    gone: set[int] = set()
    changes = []
    for number in numbers:
        try:
            section, held = sections.find(work.cells, number)
        except sections.SectionError as error:
            problems.append(f"cell {error.cell + 1}: {error}" if error.cell is not None else str(error))
            continue
        gone.update(held)
        text = f"section {section.number} '{section.text}' removed ({len(held)} cells)"
        changes.append(Change(kind="section", cell=held.start + 1, text=text))
    work.cells = [cell for index, cell in enumerate(work.cells) if index not in gone]
    return changes


def find_forms(work: NotebookNode, problems: list[str]) -> Forms:
    """Reads the form of every code cell and gives it an id that outlives a new version of the notebook.

    The id is made of the form's title, or else of the heading above it, and not of its place.
    """
    found: dict[int, tuple[str, Form]] = {}
    taken = {"dl4mic-start", "dl4mic-how-to", *(cell.id for cell in work.cells)}
    above = {heading.cell: heading.text for heading in sections.headings(work.cells)}
    heading = ""
    for index, cell in enumerate(work.cells):
        heading = above.get(index, heading)
        if cell.cell_type != "code":
            continue
        try:
            form = parse(cell.source)
        except FormError as error:
            problems += [f"cell {_origin(cell)}, line {line}: {text}" for line, text in error.problems]
            continue
        if foreign(cell.source) and "@param" in cell.source:
            problems.append(
                f"cell {_origin(cell)}, line 1: no form is understood under {cell.source.split()[0]}"
            )
        form_id = next(name for name in _numbered(_slug(form.title or heading)) if name not in taken)
        if form.fields:
            taken.add(form_id)
        found[index] = (form_id, form)
    return found


def colab_only(work: NotebookNode) -> Iterator[str]:
    """Complaints about code that works nowhere but on Colab."""
    for cell in work.cells:
        for number, line in enumerate(cell.source.split("\n") if cell.cell_type == "code" else (), 1):
            for pattern, what in _COLAB_ONLY:
                if pattern.search(line):
                    yield f"cell {_origin(cell)}, line {number}: {what}: {line.strip()}"


def make_form_cells(work: NotebookNode, forms: Forms) -> Iterator[Change]:
    """Puts the magic above the source of every cell that has fields."""
    for index, (form_id, form) in forms.items():
        if not form.fields:
            continue
        cell = work.cells[index]
        cell.source = f"{MAGIC} {form_id}\n{cell.source}"
        cell.id = form_id
        cell.metadata[KEY]["form"] = form_id
        _hide(cell, not form.show_code)
        names = ", ".join(field.name for field in form.fields)
        yield Change(kind="form", cell=_origin(cell), text=f"form '{form_id}' with {names}")
        for name in form.switched_off:
            yield Change(kind="note", cell=_origin(cell), text=f"field {name} is commented out and stays so")


def promote_titles(work: NotebookNode, forms: Forms) -> Iterator[Change]:
    """Shows the title and text of code without fields, which would otherwise be a nameless bar."""
    for index in sorted(forms, reverse=True):
        _, form = forms[index]
        if form.fields or not (form.title or form.items):
            continue
        cell = work.cells[index]
        title = form.title if form.title.startswith("#") else f"**{form.title}**"
        texts = [item.text for item in form.items if not isinstance(item, Field)]
        made = {KEY: {"source_cell": cell.metadata[KEY]["source_cell"], "made": "title"}}
        text = "\n\n".join([title, *texts] if form.title else texts)
        work.cells.insert(index, v4.new_markdown_cell(text, id=f"{cell.id}-title", metadata=made))
        _hide(cell, not form.show_code)
        yield Change(kind="title", cell=_origin(cell), text=f"'{form.title}' shown above its hidden code")


def add_start(work: NotebookNode, name: str, fields: Mapping[str, Sequence[str]]) -> None:
    """How to use the forms, and the hidden cell that makes them work, under the notebook's title."""
    source = _START.format(folder=FORMS, name=json.dumps(name), fields=json.dumps(fields, indent=4))
    start = v4.new_code_cell(source, id="dl4mic-start", metadata={KEY: {"made": "start"}})
    _hide(start, True)
    intro = v4.new_markdown_cell(_INTRO, id="dl4mic-how-to", metadata={KEY: {"made": "how-to"}})
    title = work.cells[0].cell_type == "markdown" and "made" not in work.cells[0].metadata[KEY]
    place = 1 if title else 0
    work.cells[place:place] = [intro, start]


def set_metadata(work: NotebookNode, provenance: Mapping[str, str]) -> None:
    """Names the kernel, so that JupyterLab does not ask for it, and where the notebook came from."""
    kept = {key: value for key, value in work.metadata.items() if key not in _COLAB_METADATA}
    kept["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    kept["language_info"] = {"name": "python"}
    work.metadata = NotebookNode(kept, **{KEY: dict(provenance)})
    work.nbformat, work.nbformat_minor = 4, 5


def _origin(cell: NotebookNode) -> int:
    return int(cell.metadata[KEY]["source_cell"]) + 1


def _hide(cell: NotebookNode, hidden: bool) -> None:
    if hidden:
        cell.metadata["jupyter"] = {**cell.metadata.get("jupyter", {}), "source_hidden": True}


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().casefold()
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"^[#\s\d.]+", "", plain)).strip("-")[:48] or "form"


def _numbered(base: str) -> Iterator[str]:
    yield base
    yield from (f"{base}-{number}" for number in itertools.count(2))
