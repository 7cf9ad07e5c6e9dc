"""Values put into a cell's source: what is inserted, what is left alone, what a field cannot take."""

from __future__ import annotations

import ast

import pytest

from dl4mic_hpc.notebook.dl4mic_forms.forms import parse
from dl4mic_hpc.notebook.dl4mic_forms.values import literal, substitute

CELL = """\
text = "a" #@param {type:"string"}
number = 5 #@param {type:"number"}
fraction = 0.10 #@param {type:"number"}
count = 5 #@param {type:"integer"}
level = 5 #@param {type:"slider", min:0, max:10, step:0.5}
flag = False #@param {type:"boolean"}
day = "2024-02-29" #@param {type:"date"}
free = [1, 2] #@param {type:"raw"}
one = "a" #@param ["a", "b"]
many = "a" #@param ["a", "b"] {allow-input: true}
size = 8 #@param [4, 8, None] {type:"raw"}
"""
FORM = parse(CELL)
FIELDS = {field.name: field for field in FORM.fields}


@pytest.mark.parametrize(
    ("name", "value", "source"),
    [
        ("text", 'it\'s "q" \\ \n ü', repr('it\'s "q" \\ \n ü')),
        ("text", "", "''"),
        ("number", 7, "7"),
        ("number", 7.0, "7"),
        ("number", 0.5, "0.5"),
        ("number", -1e-4, "-0.0001"),
        ("number", 10**20, "100000000000000000000"),
        ("fraction", 7, "7.0"),
        ("fraction", 1e-300, "1e-300"),
        ("count", 7.0, "7"),
        ("level", 0, "0"),
        ("level", 9.5, "9.5"),
        ("flag", True, "True"),
        ("day", "1999-12-31", "'1999-12-31'"),
        ("free", " a + b ", "a + b"),
        ("free", 3, "3"),
        ("one", "b", "'b'"),
        ("many", "anything", "'anything'"),
        ("size", "None", "None"),
        ("size", 4, "4"),
    ],
)
def test_a_changed_field_becomes_a_literal(name: str, value: object, source: str) -> None:
    assert literal(FIELDS[name], value) == source
    if name not in ("free", "size"):
        assert ast.literal_eval(source) == value


def test_an_untouched_field_keeps_its_source() -> None:
    assert substitute(CELL, FORM, {name: each.value for name, each in FIELDS.items()}) == CELL


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("text", 5, "'text' is a text, not 5"),
        ("number", "5", "'number' is a number, not '5'"),
        ("number", True, "'number' is a number"),
        ("number", float("nan"), "'number' is a number"),
        ("fraction", float("inf"), "'fraction' is a number"),
        ("count", 5.5, "'count' is a whole number, not 5.5"),
        ("level", 11, "'level' goes from 0 to 10; 11 is outside"),
        ("flag", 1, "'flag' is yes or no"),
        ("flag", "true", "'flag' is yes or no"),
        ("day", "29.2.2024", "'day' is a date written YYYY-MM-DD"),
        ("free", "1; import os", "must be one Python expression"),
        ("free", "1 # a", "must be one Python expression"),
        ("free", "1\n+ 2", "must be one Python expression"),
        ("free", "", "must be one Python expression"),
        ("one", "c", "choose one of: a, b"),
        ("size", "6", "choose one of: 4, 8, None"),
        ("size", None, "'size' is a text, not None"),
    ],
)
def test_what_a_field_cannot_take(name: str, value: object, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        literal(FIELDS[name], value)
    assert says in str(caught.value)


def test_lines_stay_where_they_are_and_nothing_else_changes() -> None:
    source = 'if 1:\n    x = "a"   #@param {type:"string"} # why\nprint(x)'
    changed = substitute(source, parse(source), {"x": "b\nc", "unknown": 1})
    assert changed == "if 1:\n    x = 'b\\nc'   #@param {type:\"string\"} # why\nprint(x)"
    assert parse(changed).fields[0].value == "b\nc"
