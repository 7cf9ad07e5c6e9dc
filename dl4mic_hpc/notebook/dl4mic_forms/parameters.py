"""What a run without a browser is given, checked as a whole before its first cell: parameters and sections.

The runner, the kernel and the laptop's command line share it. A parameter is called by its field's name, which
holds in every form that has such a field, or by `form.name`, which wins. Standard library and Python 3.7 syntax
only.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

from .forms import Form, parse
from .required import deletes, missing, never_empty
from .values import literal

MAGIC = "%%dl4mic_form"
KEY = "dl4mic_hpc"

_SECTION = re.compile(r"(\d+(?:\.\d+)*)\.?(?:\s*[-–]\s*(\d+(?:\.\d+)*)\.?)?")


class ParameterError(ValueError):
    """Everything that is wrong with what was given, a sentence each in `problems`."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Cell:
    """A code cell of a converted notebook; `number` counts all cells from 1.

    `section` is the number of the innermost numbered heading above, "" above the first, and None where the
    notebook does not tell. A cell with a form has its id, its form and its source below the magic.
    """

    number: int
    section: str | None
    made: bool
    form_id: str
    form: Form
    source: str

    @property
    def always(self) -> bool:
        """Whether the cell runs whatever sections are chosen."""
        return self.made or self.section == ""

    def __str__(self) -> str:
        where = [f"section {self.section}"] * bool(self.section) + [f"form {self.form_id}"] * bool(
            self.form_id
        )
        return f"cell {self.number}" + " ({})".format(", ".join(where)) * bool(where)


def read_cells(notebook: Mapping[str, Any]) -> list[Cell]:
    """The code cells of a converted notebook, given as the content of its file."""
    found = []
    for number, cell in enumerate(notebook["cells"], 1):
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        about = cell.get("metadata", {}).get(KEY, {})
        form_id, form = "", Form()
        if source.startswith(MAGIC):
            first, _, source = source.partition("\n")
            form_id, form = first[len(MAGIC) :].strip(), parse(source)
        found.append(Cell(number, about.get("section"), "made" in about, form_id, form, source))
    return found


def find_cells(folder: Path, name: str) -> list[Cell] | None:
    """The cells of the notebook called `name` in its metadata, if exactly one file in `folder` is that notebook."""
    found = []
    for path in sorted(folder.glob("*.ipynb")):
        try:
            notebook = json.loads(path.read_text(encoding="utf-8"))
            if notebook["metadata"][KEY]["name"] == name:
                found.append(read_cells(notebook))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found[0] if len(found) == 1 else None


def choose(cells: Sequence[Cell], sections: str) -> list[Cell]:
    """The cells of `sections`, such as "1-3,5,6.1", and those that always run; all if it is empty.

    A section's number stands for its subsections too. ParameterError for a section that the notebook has not.
    """
    if not sections.strip():
        return list(cells)
    numbers = {cell.section: _parts(cell.section) for cell in cells if cell.section}
    if not numbers:
        raise ParameterError(["This notebook does not tell its sections; convert it again."])
    chosen: set[str | None] = set()
    problems = []
    for part in sections.split(","):
        match = _SECTION.fullmatch(part.strip())
        if match is None:
            problems.append(f"'{part.strip()}' is no section; write them like 1-3,5,6.1")
            continue
        first, last = _parts(match.group(1)), _parts(match.group(2) or match.group(1))
        fits = {
            text
            for text, each in numbers.items()
            if each[: len(first)] >= first and each[: len(last)] <= last
        }
        chosen |= fits
        if not fits:
            there = ", ".join(sorted(numbers, key=numbers.__getitem__))
            problems.append(f"no cell is in section {part.strip()}; sections with cells are: {there}")
    if problems:
        raise ParameterError(problems)
    return [cell for cell in cells if cell.always or cell.section in chosen]


def check(cells: Sequence[Cell], chosen: Sequence[Cell], parameters: Mapping[str, Any]) -> None:
    """ParameterError if a parameter is unknown to `cells`, or wrong or missing for those that are `chosen`."""
    problems = unknown(
        {cell.form_id: [field.name for field in cell.form.fields] for cell in cells}, parameters
    )
    for cell in chosen:
        problems += refusals(cell.form_id, cell.form, cell.source, parameters)
    if problems:
        raise ParameterError(problems)


def unknown(fields: Mapping[str, Iterable[str]], parameters: Mapping[str, Any]) -> list[str]:
    """A sentence for each parameter that no form has, with the nearest that one has."""
    known = {name: name for names in fields.values() for name in names}
    known.update({f"{form}.{name}": name for form, names in fields.items() for name in names})
    problems = []
    for name in sorted(set(parameters) - set(known)):
        near = get_close_matches(name, known, n=1)
        near += [each for each in known if each.lower() == name.lower()]
        perhaps = f"; perhaps you meant '{near[-1]}'" if near else ""
        problems.append(f"'{name}' is set, which no form of this notebook has{perhaps}")
    return problems


def values_of(form_id: str, form: Form, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that this form takes, by field name."""
    found = {}
    for field in form.fields:
        for key in (field.name, f"{form_id}.{field.name}"):
            if key in parameters:
                found[field.name] = parameters[key]
    return found


def refusals(form_id: str, form: Form, source: str, parameters: Mapping[str, Any]) -> list[str]:
    """Why this form cannot run with these parameters: a sentence for each wrong value and each empty path."""
    given = values_of(form_id, form, parameters)
    problems = []
    for field in form.fields:
        try:
            literal(field, given.get(field.name))
        except ValueError as problem:
            problems.append(f"{form_id}: {problem}")
    for name in missing(form, given) if not problems else ():
        meant = given.get(name) == "" and not deletes(source) and not never_empty(name)
        if not meant:
            problems.append(f"{form_id}: '{name}' is empty; it must be set")
    return problems


def _parts(number: str) -> tuple[int, ...]:
    return tuple(int(part) for part in number.split("."))
