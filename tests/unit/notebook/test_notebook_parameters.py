"""Parameters and sections of a run without a browser, checked as a whole before it begins."""

from __future__ import annotations

from typing import Any

import pytest

from dl4mic_hpc.notebook.dl4mic_forms import parameters
from dl4mic_hpc.notebook.dl4mic_forms.parameters import Cell, ParameterError, check, choose, read_cells


def code(source: str, section: str | None = "", **about: object) -> dict[str, Any]:
    told = {} if section is None else {"section": section}
    return {
        "cell_type": "code",
        "source": source.splitlines(True),
        "metadata": {"dl4mic_hpc": {**told, **about}},
    }


FORM = (
    "%%dl4mic_form {0}\n#@markdown ### Path to the data\n"
    'Data_folder = "/d" #@param {{type:"string"}}\nn = 1 #@param {{type:"slider", min:0, max:5}}\n'
)
NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "source": "# T"},
        code("start()", None, made="start"),
        code("above = 1", ""),
        *(code(f"x = '{number}'", number) for number in ("1", "1.2", "2", "3", "3.1")),
        code(FORM.format("train"), "3.2", form="train"),
        code(FORM.format("use") + "import shutil; shutil.rmtree(Data_folder)", "6.1", form="use"),
        code("last = 1", "10"),
    ]
}
CELLS = read_cells(NOTEBOOK)


@pytest.mark.parametrize(
    ("sections", "chosen"),
    [
        ("", ["", "1", "1.2", "2", "3", "3.1", "3.2", "6.1", "10"]),
        ("1", ["", "1", "1.2"]),
        ("1-2,6.1", ["", "1", "1.2", "2", "6.1"]),
        (" 3.1. – 3.2. ", ["", "3.1", "3.2"]),
        ("2-10", ["", "2", "3", "3.1", "3.2", "6.1", "10"]),
        ("6", ["", "6.1"]),
    ],
)
def test_sections_with_their_subsections_and_what_always_runs(sections: str, chosen: list[str]) -> None:
    found = choose(CELLS, sections)
    assert [cell.section for cell in found if not cell.made] == chosen
    assert [cell for cell in found if cell.made] == [CELLS[0]]


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ("4", ["no cell is in section 4; sections with cells are: 1, 1.2, 2, 3, 3.1, 3.2, 6.1, 10"]),
        (
            "1,x,2-",
            ["'x' is no section; write them like 1-3,5,6.1", "'2-' is no section; write them like 1-3,5,6.1"],
        ),
        ("3-1", ["no cell is in section 3-1; sections with cells are: 1, 1.2, 2, 3, 3.1, 3.2, 6.1, 10"]),
    ],
)
def test_sections_that_are_not_there(sections: str, says: list[str]) -> None:
    with pytest.raises(ParameterError) as caught:
        choose(CELLS, sections)
    assert list(caught.value.problems) == says


def test_a_notebook_that_does_not_tell_its_sections() -> None:
    with pytest.raises(ParameterError, match="does not tell its sections"):
        choose(read_cells({"cells": [code("x = 1", None)]}), "1")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"n": 2, "use.n": 3}, []),
        ({"N": 2}, ["'N' is set, which no form of this notebook has; perhaps you meant 'n'"]),
        ({"trian.n": 2}, ["'trian.n' is set, which no form of this notebook has; perhaps you meant 'train.n'"]),
        ({"n": 6, "train.n": 1}, ["use: 'n' goes from 0 to 5; 6 is outside"]),
        ({"n": "1"}, ["train: 'n' is a number, not '1'", "use: 'n' is a number, not '1'"]),
        ({"Data_folder": ""}, ["use: 'Data_folder' is empty; it must be set"]),
        ({"Data_folder": "  "}, [
            "train: 'Data_folder' is empty; it must be set", "use: 'Data_folder' is empty; it must be set",
        ]),
        ({"n": None, "Data_folder": None}, []),
    ],
)  # fmt: skip
def test_everything_that_is_wrong_is_said_at_once(given: dict[str, Any], says: list[str]) -> None:
    if not says:
        check(CELLS, CELLS, given)
        return
    with pytest.raises(ParameterError) as caught:
        check(CELLS, CELLS, given)
    assert list(caught.value.problems) == says


def test_only_the_chosen_cells_are_asked() -> None:
    chosen = choose(CELLS, "3")
    check(CELLS, chosen, {"use.n": 99})
    with pytest.raises(ParameterError):
        check(CELLS, chosen, {"train.n": 99})


def test_cells_are_named_for_people() -> None:
    assert [str(cell) for cell in CELLS if cell.form_id or cell.made] == [
        "cell 2", "cell 9 (section 3.2, form train)", "cell 10 (section 6.1, form use)",
    ]  # fmt: skip
    assert isinstance(CELLS[0], Cell)
    assert parameters.values_of("use", CELLS[-2].form, {"n": 1, "use.n": 2, "train.n": 3}) == {"n": 2}
