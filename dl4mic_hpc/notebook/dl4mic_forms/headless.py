"""Forms without a browser: their cells run at once, with the parameters written into the source.

Python 3.7 syntax only.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Mapping, Sequence

from . import folders, parameters
from .forms import parse
from .parameters import MAGIC, ParameterError
from .plain import PlainError
from .runs import Run, program
from .settings import read_values
from .values import literal, substitute

CHECKED = "checked"
"""The value of DL4MIC_HEADLESS by which the runner says that it has looked at the parameters already."""


class Headless:
    """Replaces every form cell, as IPython is about to run it, by its own code with the values in it."""

    def __init__(self, shell: Any, notebook: str, given: Mapping[str, Any]) -> None:
        self._shell, self._notebook, self._given = shell, notebook, given
        self._run: Run | None = None

    def install(self) -> None:
        self._shell.input_transformers_cleanup.insert(0, self._transform)
        self._shell.events.register("pre_run_cell", self._before)
        self._shell.events.register("post_run_cell", self._after)

    @staticmethod
    def is_installed(shell: Any) -> bool:
        known = shell.input_transformers_cleanup
        return any(isinstance(getattr(each, "__self__", None), Headless) for each in known)

    def _transform(self, lines: list[str]) -> list[str]:
        if not lines or not lines[0].startswith(MAGIC):
            return lines
        form_id, source = lines[0][len(MAGIC) :].strip(), "".join(lines[1:])
        form = parse(source)
        problems = parameters.refusals(form_id, form, source, self._given)
        if problems:
            raise PlainError("\n".join(problems))
        changed = substitute(source, form, parameters.values_of(form_id, form, self._given))
        return program(form_id, changed).splitlines(True)

    def _before(self, info: Any) -> None:
        first, _, source = (info.raw_cell or "").partition("\n")
        if not first.startswith(MAGIC):
            return
        form_id = first[len(MAGIC) :].strip()
        form = parse(source)
        values: dict[str, Any] = {field.name: field.value for field in form.fields}
        values.update(parameters.values_of(form_id, form, self._given))
        try:
            literals = {field.name: literal(field, values[field.name]) for field in form.fields}
        except ValueError:
            return  # the transformer has raised it already, in the cell
        for name, text in literals.items():
            print(f"{name} = {text}")  # noqa: T201
        self._run = Run(self._shell, self._notebook, form_id, values, literals)
        self._run.begin()
        if self._run.unsaved:
            print(self._run.unsaved.strip())  # noqa: T201

    def _after(self, result: Any) -> None:
        if self._run is not None:
            self._run.end(result.error_before_exec or result.error_in_exec)
            self._run = None


def given(notebook: str, fields: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The parameters of the file that DL4MIC_PARAMETERS names, checked as far as can be before the first cell.

    Beside the notebook's own file that is completely; elsewhere their names now, and their values in each cell.
    """
    path = os.environ.get("DL4MIC_PARAMETERS")
    try:
        values = read_values(Path(path), notebook) if path else {}
        if os.environ["DL4MIC_HEADLESS"] == CHECKED:
            return values
        cells = parameters.find_cells(folders.HOME, notebook)
        if cells is not None:
            parameters.check(cells, cells, values)
            return values
        problems = parameters.unknown(fields, values)
        if problems:
            raise ParameterError(problems)
    except ParameterError as error:
        raise PlainError("Nothing was run.\n  " + "\n  ".join(error.problems)) from None
    except (OSError, ValueError) as problem:
        raise PlainError(f"The parameters cannot be read: {problem}") from None
    return values
