"""What a headless run is given, read and checked on this computer: nothing is submitted that would refuse to run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dl4mic_hpc.errors import UsageError
from dl4mic_hpc.notebook.dl4mic_forms import parameters, settings
from dl4mic_hpc.notebook.dl4mic_forms.parameters import Cell, ParameterError
from dl4mic_hpc.notebook.dl4mic_forms.values import convert_text

FILE = "dl4mic_parameters.json"
"""What the parameters are called beside the notebook, in the session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadlessRequest:
    """What the user asked for. `file`: JSON with parameters, or a settings file. `texts`: "NAME=VALUE" each.

    `sections`: such as "1-3,5,6.1", "" for all.
    """

    file: Path | None = None
    texts: Sequence[str] = ()
    sections: str = ""


def check(notebook: bytes, name: str, request: HeadlessRequest) -> dict[str, Any]:
    """The parameters by name or `form.name`; UsageError with everything that is wrong with them or the sections.

    notebook: the converted one, called `name` in settings files.
    """
    cells = parameters.read_cells(json.loads(notebook))
    given = _read(request.file, name) if request.file else {}
    problems: list[str] = []
    for text in request.texts:
        try:
            given |= _from_text(cells, text)
        except ParameterError as error:
            problems += error.problems
    chosen: Sequence[Cell] = ()
    try:
        chosen = parameters.choose(cells, request.sections)
    except ParameterError as error:
        problems += error.problems
    try:
        parameters.check(cells, chosen, given)
    except ParameterError as error:
        problems += error.problems
    if problems:
        count = (
            f"{len(problems)} things are wrong with what the notebook is given:\n  " if problems[1:] else ""
        )
        raise UsageError(
            count + "\n  ".join(problems),
            hint="`dl4mic-hpc notebook show NOTEBOOK` lists the forms and their fields; write --set NAME=VALUE, "
            "or --set FORM.NAME=VALUE for one form alone",
        )
    return given


def _read(file: Path, name: str) -> dict[str, Any]:
    try:
        return dict(settings.read_values(file, name))
    except OSError as error:
        raise UsageError(
            f"the parameters {file} cannot be read: {error.strerror}",
            hint="correct the path after --parameters",
        ) from error
    except ValueError as error:
        raise UsageError(
            str(error),
            hint='--parameters takes a JSON file such as {"Number_of_epochs": 10}, or a dl4mic_settings.json of a run',
        ) from error


def _from_text(cells: Sequence[Cell], text: str) -> dict[str, Any]:
    """The values of NAME=VALUE, for every form that has the field, each as that field understands it."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ParameterError([f"'{text}' is no parameter; write it like Number_of_epochs=10"])
    found: dict[str, Any] = {}
    for cell in cells:
        for field in cell.form.fields:
            own = f"{cell.form_id}.{field.name}"
            if key not in (field.name, own):
                continue
            try:
                found[own] = convert_text(field, value)
            except ValueError as problem:
                raise ParameterError([f"{cell.form_id}: {problem}"]) from problem
    # A name that no form has is told with the others.
    return found or {key: value}
