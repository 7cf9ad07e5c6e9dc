"""What a headless run is given, checked before anything is submitted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dl4mic_hpc import catalog, notebook
from dl4mic_hpc.errors import UsageError
from dl4mic_hpc.sessions.parameters import HeadlessRequest, check

TRAIN = """#@title Train
epochs = 10 #@param {type:"integer"}
share = 25 #@param {type:"slider", min:10, max:50, step:5}
folder = "/home/data" #@param {type:"string"}
"""
PREDICT = """#@title Predict
folder = "/home/data" #@param {type:"string"}
epochs = "last" #@param ["last", "best"]
"""


def cell(kind: str, source: str) -> dict[str, object]:
    code = {"outputs": [], "execution_count": None} if kind == "code" else {}
    return {"cell_type": kind, "metadata": {}, "source": source, **code}


@pytest.fixture(scope="module")
def converted() -> bytes:
    cells = [
        cell("markdown", "# **1. Train**"),
        cell("code", TRAIN),
        cell("markdown", "# **2. Predict**"),
        cell("code", PREDICT),
    ]
    source = json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": cells}).encode()
    return notebook.convert(source, name="demo.ipynb").notebook


def test_nothing_given_is_nothing_to_check(converted: bytes):
    assert check(converted, "demo.ipynb", HeadlessRequest()) == {}


def test_a_value_is_read_as_each_field_of_that_name_understands_it(converted: bytes):
    given = check(converted, "demo.ipynb", HeadlessRequest(texts=["folder=/home/data/a=b", "share=30"]))
    assert sorted(given.values(), key=str) == ["/home/data/a=b", "/home/data/a=b", 30]
    assert all(name.endswith((".folder", ".share")) for name in given)


def test_the_command_line_wins_over_the_file(converted: bytes, tmp_path: Path):
    (tmp_path / "p.json").write_text('{"share": 15}')
    form = next(iter(check(converted, "demo.ipynb", HeadlessRequest(texts=["share=20"]))))
    given = check(converted, "demo.ipynb", HeadlessRequest(file=tmp_path / "p.json", texts=["share=20"]))
    assert given == {"share": 15, form: 20}


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (HeadlessRequest(texts=["Share=20"]), ["'Share'", "perhaps you meant 'share'"]),
        (HeadlessRequest(texts=["share=60"]), ["from 10 to 50"]),
        (HeadlessRequest(texts=["share=many"]), ["is a number, not 'many'"]),
        (HeadlessRequest(texts=["predict.epochs=worst"]), ["predict: 'epochs' cannot be 'worst'"]),
        (HeadlessRequest(texts=["share"]), ["'share' is no parameter", "Number_of_epochs=10"]),
        (HeadlessRequest(sections="1,7"), ["no cell is in section 7", "1, 2"]),
        (
            HeadlessRequest(texts=["share=60", "Shar=1"], sections="7"),
            ["3 things", "60", "Shar", "section 7"],
        ),
    ],
)
def test_everything_that_is_wrong_is_told_at_once(
    converted: bytes, request_: HeadlessRequest, says: list[str]
):
    with pytest.raises(UsageError) as problem:
        check(converted, "demo.ipynb", request_)
    for words in says:
        assert words in problem.value.message


@pytest.mark.parametrize(
    ("content", "says"),
    [("{", "is not JSON"), ("[1]", "must hold names and values"), (None, "cannot be read")],
)
def test_a_file_that_holds_no_parameters(converted: bytes, tmp_path: Path, content: str | None, says: str):
    if content is not None:
        (tmp_path / "p.json").write_text(content)
    with pytest.raises(UsageError, match=says) as problem:
        check(converted, "demo.ipynb", HeadlessRequest(file=tmp_path / "p.json"))
    assert "--parameters" in problem.value.hint


def test_the_demo_runs_with_nothing_given():
    spec = catalog.load("pixel_segmentation")
    demo = notebook.convert(
        spec.read_notebook(), name=spec.notebook_file, sections_to_remove=spec.sections_to_remove
    )
    assert check(demo.notebook, spec.notebook_file, HeadlessRequest()) == {}
