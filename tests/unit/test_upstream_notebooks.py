"""The proof on real notebooks sees what is wrong: a small notebook, its conversion, and damage done to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.kernel import colab_notebook
from upstream import conversion, differential
from upstream.conversion import Pair
from upstream.notebooks import EXPECTED
from upstream.originals import Original

from dl4mic_hpc import catalog
from dl4mic_hpc.catalog import Pinned

TRAINING = """\
#@title Train
#@markdown The rate of learning
import network
rate = 1e-4 #@param {type:"number"}
path = "" #@param {type:"string"}
kind = "small" #@param ["small", "large"]
model = network.Model(kind, rate)
print(path, rate)
"""
AFTER = """\
#@markdown Look at it
for step in range(3):
    model.fit(step)
    """
NOTEBOOK = Original(
    name="small",
    data=colab_notebook(
        "# **1. Install**", "!pip install network", "# **2. Train**\nSee section 1.", TRAINING, AFTER
    ),
    sections=("1.",),
    python="3.9",
)

Cells = list[dict[str, Any]]


def damaged(change: Callable[[Cells], object]) -> Pair:
    """The conversion with its cells changed; the bytes are all that is looked at."""
    pair = conversion.convert(NOTEBOOK)
    document = json.loads(pair.converted.notebook)
    for cell in document["cells"]:
        cell["source"] = "".join(cell["source"])
    change(document["cells"])
    return Pair(pair.original, replace(pair.converted, notebook=json.dumps(document).encode()))


def edited(old: str, new: str) -> Callable[[Cells], object]:
    def change(cells: Cells) -> None:
        assert any(old in cell["source"] for cell in cells), old
        for cell in cells:
            cell["source"] = cell["source"].replace(old, new)

    return change


def form_of(cells: Cells) -> dict[str, Any]:
    return next(cell for cell in cells if "form" in cell["metadata"]["dl4mic_hpc"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (edited("rate = 1e-4 #@param", "rate = 1e-4 #"), "cell 4: 3 times @param, 2 accounted for"),
        (edited("rate = 1e-4 #@param", "rate = 1e-4 #"), "cell 4: the field rate is not in the form"),
        (lambda cells: cells.remove(form_of(cells)), "cell 4: lost"),
        (lambda cells: cells.append(form_of(cells)), "the order of the cells has changed"),
        (edited("range(3):", "range(3:"), "cell 5 does not compile"),
        (edited("model.fit(step)", "match step:\n        case 1: pass"), "cell 5 does not compile"),
        (edited("model.fit(step)", "!pip install that"), "cell 5: an install is left: pip install that"),
        (edited("import network", "from google.colab import drive"), ""),
        (edited("section 1 (not needed here)", "section 1"), "section 1 is gone, and not marked"),
        (edited("2. Train", "1. Train"), "section 1 is called ['train'] now"),
        (edited("The rate of learning", "The rate"), "cell 4: a text is lost: 'The rate of learning'"),
        (edited("Look at it", "Look"), "cell 5: a text is lost: 'Look at it'"),
        (lambda cells: form_of(cells).update(outputs=[{}]), "outputs are left"),
        (lambda cells: form_of(cells).update(id=cells[-1]["id"]), "two cells have one id"),
    ],
)
def test_damage_is_seen(change: Callable[[Cells], object], said: str) -> None:
    bytes_differ = {"converted twice, the bytes differ", "converting what was converted changes it"}
    faults = set(conversion.faults(damaged(change))) - bytes_differ
    assert any(said in fault for fault in faults) if said else not faults


def test_a_conversion_has_no_faults() -> None:
    assert list(conversion.faults(conversion.convert(NOTEBOOK))) == []


def test_the_table_of_fields_tells_every_difference() -> None:
    tables = [conversion.expectation(conversion.convert(NOTEBOOK))]
    for old, new in (("1e-4", "1e-3"), ('["small", ', '["tiny", "small", '), ('"number"', '"raw"')):
        data = NOTEBOOK.data.replace(json.dumps(old)[1:-1].encode(), json.dumps(new)[1:-1].encode())
        tables.append(conversion.expectation(conversion.convert(replace(NOTEBOOK, data=data))))
    assert tables[0]["fields"] == {"dropdown": 1, "number": 1, "string": 1}
    assert len({table["table_sha256"] for table in tables}) == 4


def test_every_notebook_of_the_catalogue_has_an_expectation_at_its_revision() -> None:
    expected = json.loads(EXPECTED.read_text(encoding="utf-8"))
    specs = [catalog.load(name) for name in catalog.names()]
    pinned = {spec.id: spec.revision for spec in specs if isinstance(spec.notebook, Pinned)}
    assert {name: facts["revision"] for name, facts in expected.items()} == pinned
    assert sum(count for facts in expected.values() for count in facts["fields"].values()) == 1087


def test_two_kernels_tell_what_a_cell_does_otherwise(tmp_path: Path) -> None:
    """One cell after the other: a value, a call, an exception, a name too few and one too many."""
    cells = ["import os\nx = 1", "import library\nlibrary.call(2)", "y = [][1]", "z = 3", "w = 4"]
    original = colab_notebook(*cells, TRAINING)
    pair = conversion.convert(Original(name="small", data=original))
    alike = differential.compare(
        original, pair.converted.notebook, tmp_path / "alike", differential.MODES[1:]
    )
    assert (alike.faults, alike.cells, alike.completed, alike.fields) == ([], 6, 5, 3)

    text = pair.converted.notebook.decode()
    for old, new in (
        ("x = 1", "x = 2"),
        ("call(2)", "call(3)"),
        ("[][1]", "{}[1]"),
        ("z = 3", "3"),
        ("w = 4", "w = v = 4"),
        ('["small\\", \\"large\\"]'.replace('["', '[\\"'), '[\\"small\\", \\"huge\\"]'),
    ):
        assert old in text, old
        text = text.replace(old, new)
    found = differential.compare(original, text.encode(), tmp_path / "damaged", differential.MODES[:1])
    seen = {(cell, fault.partition(" [")[0]) for cell, fault in found.faults}
    assert {
        (1, "name x is 2, not 1"),
        (2, "does 'library.call(3; )', not 'library.call(2; )'"),
        (4, "name z is missing"),
        (5, "name v should not be there"),
        (6, "field kind: offers"),
    } <= seen
    assert any(cell == 3 and "KeyError" in fault for cell, fault in found.faults)
