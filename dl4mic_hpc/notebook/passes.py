"""The steps of a conversion. Each changes the working copy in one way and says what it did."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from nbformat import NotebookNode, v4

from dl4mic_hpc.notebook import findings, installs, references, sections, texts
from dl4mic_hpc.notebook.dl4mic_forms.forms import Field, Form, foreign, parse
from dl4mic_hpc.notebook.dl4mic_forms.parameters import KEY, MAGIC
from dl4mic_hpc.notebook.dl4mic_forms.scan import magic_first
from dl4mic_hpc.notebook.report import Ledger, Reference, Remark, RemovedSection, Requirement

_COLAB_METADATA = {"id", "colab", "colab_type", "outputId", "cellView", "accelerator", "gpuClass"}

Forms = Mapping[int, tuple[str, Form]]
"""The id ("" for a cell that stays as it is) and the form of every code cell, by its index in the working copy."""

Cut = tuple[RemovedSection, range]
"""A section to remove and the cells that it holds."""


def prepare(work: NotebookNode) -> None:
    """Takes Colab's own metadata away and writes into every cell where it came from."""
    numbers = sections.numbers(work.cells)
    for index, cell in enumerate(work.cells):
        kept = {key: value for key, value in cell.metadata.items() if key not in _COLAB_METADATA}
        hidden = cell.metadata.get("cellView") == "form"
        own = {"source_cell": index}
        cell.metadata = NotebookNode(kept, **{KEY: NotebookNode(own)})
        cell.id = f"cell-{index}"
        if cell.cell_type == "code":
            cell.metadata[KEY]["section"] = numbers[index]
            cell.outputs, cell.execution_count = [], None
            cell.source = magic_first(cell.source)
            if hidden:
                _hide(cell, True)


def choose_sections(work: NotebookNode, numbers: Sequence[str]) -> tuple[list[Cut], list[str]]:
    """The sections to remove with the cells that they hold, and sentences about those that cannot be cut out."""
    found, problems = [], []
    for number in numbers:
        try:
            section, held = sections.find(work.cells, number)
        except sections.SectionError as error:
            problems.append(f"cell {error.cell + 1}: {error}" if error.cell is not None else str(error))
            continue
        about = RemovedSection(
            number=section.number, title=section.text, cell=held.start + 1, cells=len(held)
        )
        found.append((about, held))
    return found, problems


def drop_installs(work: NotebookNode, ledger: Ledger) -> None:
    """Takes the installing of software out of the code, and points to what installs in another way."""
    for cell in _code(work):
        cell.source, dropped = installs.drop(cell.source)
        at = origin(cell)
        for each in dropped:
            ledger.changed("install", at, f"line {each.line} left out: {each.text}")
            ledger.requirements += [
                Requirement(cell=at, line=each.line, requirement=requirement)
                for requirement in each.requirements
            ]
        ledger.warnings += [
            Remark(cell=at, line=line, text=text) for line, text in installs.by_python(cell.source)
        ]


def list_clones(work: NotebookNode, chosen: Sequence[Cut], ledger: Ledger) -> None:
    """Writes down the repositories that the notebook clones, also in the sections that will be removed."""
    gone = {index for _, held in chosen for index in held}
    for index, cell in enumerate(work.cells):
        if cell.cell_type == "code":
            ledger.clones += findings.clones(cell.source, index + 1, removed=index in gone)


def bound_tables(work: NotebookNode, ledger: Ledger) -> None:
    """Has tables that are read from an address read with a time limit: compute nodes are often offline."""
    readers = findings.pandas_readers(cell.source for cell in _code(work))
    for cell in _code(work):
        cell.source, found = findings.bound_tables(cell.source, readers, f"{texts.FORMS}.read_csv")
        for line, address in found:
            ledger.changed("table", origin(cell), f"line {line}: {address} is read with a time limit")


def mark_references(work: NotebookNode, where: references.Map, ledger: Ledger) -> None:
    """Marks references to removed sections in the cells that stay."""
    for cell in work.cells:
        if cell.cell_type == "raw" or "made" in cell.metadata[KEY]:
            continue
        text, at = cell.cell_type == "markdown", origin(cell)
        done = references.markdown(cell.source, where) if text else references.code(cell.source, where)
        cell.source = done.text
        ledger.references += [Reference(cell=at, line=one.line, section=one.section) for one in done.marked]
        if done.marked:
            named = ", ".join(dict.fromkeys(found.section for found in done.marked))
            ledger.changed("reference", at, f"marked as not needed here: {named}")
        what = "a link that leads nowhere" if text else "a text of the code names a removed section"
        ledger.warnings += [
            Remark(cell=at, line=one.line, text=f"{what}: {one.section}") for one in done.broken
        ]


def cut(work: NotebookNode, chosen: Sequence[Cut], ledger: Ledger, *, runtime: bool) -> None:
    """Takes the chosen sections out and puts in their place what a session has instead."""
    gone = {index for _, held in chosen for index in held}
    instead: dict[int, list[NotebookNode]] = {}
    taken: set[str] = set()
    for section, held in chosen:
        text = f"section {section.number} '{section.title}' removed ({section.cells} cells)"
        ledger.changed("section", section.cell, text)
        inside = any(set(held) < set(other) for _, other in chosen)
        made = [] if inside else texts.instead(work.cells, held, runtime=runtime)
        for cell in made:
            cell.id = next(name for name in _numbered(cell.id) if name not in taken)
            taken.add(cell.id)
        instead[held.start] = made
    work.cells = [
        each
        for index, cell in enumerate(work.cells)
        for each in (*instead.get(index, ()), *([] if index in gone else [cell]))
    ]


def find_forms(work: NotebookNode, *, runtime: bool) -> Forms:
    """Reads the form of every code cell and gives it an id that outlives a new version of the notebook.

    The id is made of the form's title, or else of the heading above it, and not of its place. In a notebook with
    fields every cell that Colab shows as a form is one, if only with text or a button: it most often needs what a
    form above it sets, and has to wait for a click as that does. A cell that stays as it is has no id.
    """
    above = {
        each.cell: each.text for each in sections.headings(work.cells) if "made" not in _own(work, each.cell)
    }
    heading, titles, forms = "", {}, {}
    for index, cell in enumerate(work.cells):
        heading = above.get(index, heading)
        if cell.cell_type == "code" and "made" not in cell.metadata[KEY]:
            forms[index] = parse(cell.source)
            titles[index] = _slug(forms[index].title or heading)
    with_fields = [index for index, form in forms.items() if form.fields]
    of_text = [
        index
        for index in forms
        if index not in with_fields and _shown_as_form(work.cells[index], forms[index])
    ]
    taken = {"dl4mic-start", *(name for cell in work.cells for name in (cell.id, f"{cell.id}-title"))}
    ids: dict[int, str] = {}
    for index in [*with_fields, *(of_text if with_fields and runtime else ())]:
        ids[index] = next(name for name in _numbered(titles[index]) if name not in taken)
        taken.add(ids[index])
    return {index: (ids.get(index, ""), form) for index, form in forms.items()}


def _shown_as_form(cell: NotebookNode, form: Form) -> bool:
    folded = cell.metadata.get("jupyter", {}).get("source_hidden", False)
    return bool(form.title or form.items or (folded and cell.source.strip() and not foreign(cell.source)))


def make_form_cells(work: NotebookNode, forms: Forms, ledger: Ledger) -> None:
    """Puts the magic above the source of every cell that has fields."""
    for index, (form_id, form) in forms.items():
        cell = work.cells[index]
        at = origin(cell)
        ledger.not_understood += [Remark(cell=at, line=each.line, text=each.text) for each in form.problems]
        for name in form.switched_off:
            ledger.changed("note", at, f"field {name} is commented out and stays so")
        if not form_id:
            continue
        cell.source = f"{MAGIC} {form_id}\n{cell.source}"
        cell.id = form_id
        cell.metadata[KEY]["form"] = form_id
        cell.metadata.pop(
            "scrolled", None
        )  # JupyterLab would show the form, and what it prints, in a small window
        _hide(
            cell, form.display == "form" and not form.problems
        )  # what is no field has to be seen, to be edited
        names = ", ".join(field.name for field in form.fields)
        ledger.changed("form", at, f"form '{form_id}' with {names or 'a Run button'}")


def promote_titles(work: NotebookNode, forms: Forms, ledger: Ledger) -> None:
    """Shows the title and text of code that is no form, which would otherwise be a nameless bar."""
    for index in sorted(forms, reverse=True):
        form_id, form = forms[index]
        if form_id or not (form.title or form.items):
            continue
        cell = work.cells[index]
        title = form.title if form.title.startswith("#") else f"**{form.title}**"
        shown = [item.text for item in form.items if not isinstance(item, Field)]
        text = "\n\n".join([title, *shown] if form.title else shown)
        made = {KEY: {"made": "title"}}
        work.cells.insert(index, v4.new_markdown_cell(text, id=f"{cell.id}-title", metadata=made))
        _hide(cell, form.display == "form")
        what = f"'{form.title}'" if form.title else "the text of the form"
        ledger.changed("title", origin(cell), f"{what} shown above its folded code")


def own_words(work: NotebookNode, ledger: Ledger) -> None:
    """How to use the notebook and where data lies: in the authors' place for it, or under the title."""
    found = texts.own_how_to(work.cells)
    for cell in found:
        ledger.changed("text", origin(cell), "how to use the notebook, in our words")
    place = texts.after_before(work.cells)
    if place is not None:
        work.cells.insert(place, texts.data_cell())
    if not found:
        work.cells.insert(_under_the_title(work), texts.how_to_cell())


def add_start(work: NotebookNode, name: str, fields: Mapping[str, Sequence[str]]) -> None:
    """The folded cell that makes the forms work, under the notebook's title."""
    place = _under_the_title(work)
    if place < len(work.cells) and work.cells[place].id == "dl4mic-how-to":
        place += 1
    work.cells.insert(place, texts.start_cell(name, fields))


def set_metadata(work: NotebookNode, provenance: Mapping[str, str]) -> None:
    """Names the kernel, so that JupyterLab does not ask for it, and where the notebook came from."""
    kept = {key: value for key, value in work.metadata.items() if key not in _COLAB_METADATA}
    kept["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    kept["language_info"] = {"name": "python"}
    work.metadata = NotebookNode(kept, **{KEY: dict(provenance)})


def origin(cell: NotebookNode) -> int:
    """The cell's number in the original, from 1."""
    return int(cell.metadata[KEY]["source_cell"]) + 1


def _code(work: NotebookNode) -> Iterator[NotebookNode]:
    return (
        cell
        for cell in work.cells
        if cell.cell_type == "code" and "source_cell" in cell.metadata.get(KEY, {})
    )


def _own(work: NotebookNode, index: int) -> Mapping[str, object]:
    own: Mapping[str, object] = work.cells[index].metadata[KEY]
    return own


def _under_the_title(work: NotebookNode) -> int:
    first = work.cells[0] if work.cells else None
    return int(first is not None and first.cell_type == "markdown" and "made" not in first.metadata[KEY])


def _hide(cell: NotebookNode, hidden: bool) -> None:
    jupyter = cell.metadata.pop("jupyter", None)
    kept = {
        key: value
        for key, value in (jupyter if isinstance(jupyter, dict) else {}).items()
        if key != "source_hidden"
    }
    if hidden or kept:
        cell.metadata["jupyter"] = {**kept, **({"source_hidden": True} if hidden else {})}


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().casefold()
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"^[#\s\d.]+", "", plain)).strip("-")[:48] or "form"


def _numbered(base: str) -> Iterator[str]:
    yield base
    yield from (f"{base}-{number}" for number in itertools.count(2))
