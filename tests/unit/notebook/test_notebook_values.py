"""Values put into a cell's source: what is inserted, what is left alone, what a field cannot take."""

from __future__ import annotations

import ast

import pytest

from dl4mic_hpc.notebook.dl4mic_forms.forms import parse
from dl4mic_hpc.notebook.dl4mic_forms.values import convert_text, literal, substitute

CELL = """\
text = "a" #@param {type:"string"}
number = 5 #@param {type:"number"}
fraction = 0.10 #@param {type:"number"}
rate = 1e-4 #@param {type:"number"}
quoted = "5" #@param {type:"number"}
count = 5 #@param {type:"integer"}
level = 5 #@param {type:"slider", min:0, max:10, step:0.5}
flag = False #@param {type:"boolean"}
day = "2024-02-29" #@param {type:"date"}
free = [1, 2] #@param {type:"raw"}
plain = 'x' #@param
one = "a" #@param ["a", "b", 4]
odd = "z" #@param ["a", "b"]
many = "a" #@param ["a", "b"] {allow-input: true}
size = 8 #@param [4, 8, None] {type:"raw"}
any_size = 8 #@param [4, 8] {type:"raw", allow-input: true}
later = count * 2 #@param {type:"number"}
later_text = text + "b" #@param {type:"string"}
later_flag = not flag #@param {type:"boolean"}
later_one = text #@param ["a", "b"]
"""
FORM = parse(CELL)
FIELDS = {field.name: field for field in FORM.fields}


@pytest.mark.parametrize(
    ("name", "value", "source"),
    [
        ("text", 'it\'s "q" \\ \n\r\t ü', repr('it\'s "q" \\ \n\r\t ü')),
        ("text", "\ud800\x00\u2028#", "'\\ud800\\x00\\u2028#'"),
        ("text", "", "''"),
        ("number", 7, "7"),
        ("number", 7.0, "7"),
        ("number", 0.5, "0.5"),
        ("number", -1e-4, "-0.0001"),
        ("number", 10**400, "1" + "0" * 400),
        ("fraction", 7, "7.0"),
        ("fraction", 1e-300, "1e-300"),
        ("rate", 2e-05, "2e-05"),
        ("quoted", 6, "6"),
        ("count", 7.0, "7"),
        ("level", 0, "0"),
        ("level", 9.25, "9.25"),
        ("flag", True, "True"),
        ("day", "1999-12-31", "'1999-12-31'"),
        ("free", " a + b ", "a + b"),
        ("free", "(b := 2)", "(b := 2)"),
        ("free", "'#'", "'#'"),
        ("free", 3, "3"),
        ("free", True, "True"),
        ("plain", "y", "y"),
        ("one", "b", "'b'"),
        ("one", "4", "'4'"),
        ("one", 4, "'4'"),
        ("odd", "b", "'b'"),
        ("many", "anything", "'anything'"),
        ("size", "None", "None"),
        ("size", 4, "4"),
        ("any_size", "4 + 4", "4 + 4"),
        ("later", 7, "7"),
        ("later", 7.0, "7"),
        ("later", 7.5, "7.5"),
        ("later_text", "count", "'count'"),
        ("later_flag", False, "False"),
        ("later_one", "b", "'b'"),
    ],
)
def test_a_changed_field_becomes_a_literal(name: str, value: object, source: str) -> None:
    assert literal(FIELDS[name], value) == source
    changed = substitute(CELL, FORM, {name: value})
    before, after = CELL.split("\n"), changed.split("\n")
    assert [n for n, (a, b) in enumerate(zip(before, after, strict=True), 1) if a != b] == [FIELDS[name].line]
    assert f"{name} = {source} #@param" in changed
    assigned = ast.parse(changed).body[FIELDS[name].line - 1]
    assert ast.dump(assigned) == ast.dump(ast.parse(f"{name} = {source}").body[0])


@pytest.mark.parametrize(
    "values",
    [{}, dict.fromkeys(FIELDS), {name: each.value for name, each in FIELDS.items()}, {"unknown": 1}],
)
def test_an_untouched_field_keeps_its_source(values: dict[str, object]) -> None:
    assert substitute(CELL, FORM, values) == CELL


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("text", 5, "'text' is a text, not 5"),
        ("number", "5", "'number' is a number, not '5'"),
        ("number", True, "'number' is a number"),
        ("number", float("nan"), "'number' is a number, not nan"),
        ("fraction", float("inf"), "'fraction' is a number, not inf"),
        ("count", 5.5, "'count' is a whole number, not 5.5"),
        ("level", 11, "'level' goes from 0 to 10; 11 is outside"),
        ("level", -0.5, "'level' goes from 0 to 10; -0.5 is outside"),
        ("flag", 1, "'flag' is yes or no"),
        ("flag", 0, "'flag' is yes or no"),
        ("flag", "true", "'flag' is yes or no"),
        ("day", "29.2.2024", "'day' is a date written YYYY-MM-DD"),
        ("day", "2023-02-29", "'day' is a date written YYYY-MM-DD"),
        ("free", "1; import os", "must be one Python expression"),
        ("free", "1 # a", "must be one Python expression"),
        ("free", "1\n+ 2", "must be one Python expression"),
        ("free", "(1\r, 2)", "must be one Python expression"),
        ("free", "1) + (2", "must be one Python expression"),
        ("free", "b := 2", "must be one Python expression"),
        ("free", "b = 2", "must be one Python expression"),
        ("free", "1 \\", "must be one Python expression"),
        ("free", "!ls", "must be one Python expression"),
        ("free", "\0", "must be one Python expression"),
        ("free", "(" * 500 + ")" * 500, "must be one Python expression"),
        ("free", "", "must be one Python expression"),
        ("any_size", "4 4", "must be one Python expression"),
        ("one", "c", "'one' cannot be 'c'; choose one of: a, b, 4"),
        ("size", "6", "choose one of: 4, 8, None"),
        ("later", "count", "'later' is a number"),
        ("many", [1], "'many' is a text, not [1]"),
    ],
)
def test_what_a_field_cannot_take(name: str, value: object, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        literal(FIELDS[name], value)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("text", " a ", " a "),
        ("text", "", ""),
        ("number", " 7 ", 7),
        ("number", "1e-4", 1e-4),
        ("fraction", "7", 7),
        ("count", "-7", -7),
        ("level", "2.5", 2.5),
        ("flag", "True", True),
        ("flag", "no", False),
        ("day", "1999-12-31", "1999-12-31"),
        ("free", " [1] ", "[1]"),
        ("one", "4", "4"),
        ("odd", "z", "z"),
        ("size", "None", "None"),
        ("later", "", None),
        ("later_flag", " ", None),
        ("later", "3", 3),
    ],
)
def test_a_text_becomes_the_value_of_its_field(name: str, text: str, value: object) -> None:
    assert convert_text(FIELDS[name], text) == value
    assert type(convert_text(FIELDS[name], text)) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("number", "five", "'number' is a number, not 'five'"),
        ("number", "", "'number' is a number, not ''"),
        ("number", "0,5", "'number' is a number, not '0,5'; write 0.5"),
        ("number", "nan", "'number' is a number, not nan"),
        ("number", "1e999", "'number' is a number, not inf"),
        ("count", "5.5", "'count' is a whole number, not 5.5"),
        ("level", "10.5", "goes from 0 to 10"),
        ("flag", "maybe", "'flag' is yes or no (true or false), not 'maybe'"),
        ("day", "tomorrow", "YYYY-MM-DD"),
        ("free", "a b", "must be one Python expression"),
        ("one", "c", "choose one of: a, b, 4"),
    ],
)
def test_a_text_that_its_field_cannot_take(name: str, text: str, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        convert_text(FIELDS[name], text)
    assert says in str(caught.value)


def test_lines_stay_where_they_are_and_nothing_else_changes() -> None:
    source = 'if 1:\n    x = "a"   #@param {type:"string"} # why\nprint(x)'
    changed = substitute(source, parse(source), {"x": "b\nc", "unknown": 1})
    assert changed == "if 1:\n    x = 'b\\nc'   #@param {type:\"string\"} # why\nprint(x)"
    assert parse(changed).fields[0].value == "b\nc"


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        ('x = (\n  "a"\n)  # @param {type:"string"}\ny', "x = ('b'\n\n)  # @param {type:\"string\"}\ny"),
        ('x = (  # @param ["a", "b"]\n  "a"\n);\ny', 'x = (\'b\'  # @param ["a", "b"]\n\n);\ny'),
        (
            'if y:\n  x = """a\n"""  #@param {type:"string"}',
            "if y:\n  x = ('b'\n)  #@param {type:\"string\"}",
        ),
        ('x = "a" \\\n  + y  #@param {type:"string"}', "x = ('b'\n)  #@param {type:\"string\"}"),
        ('x = [  # one\n  "a"  # two\n]  #@param', "x = (b  # one\n  # two\n)  #@param"),
    ],
)
def test_a_value_over_several_lines_takes_as_many(source: str, changed: str) -> None:
    assert substitute(source, parse(source), {"x": "b"}) == changed
    assert ast.parse(changed)
    assert parse(changed).fields[0].name == "x"
    again = substitute(changed, parse(changed), {"x": parse(changed).fields[0].value})
    assert again == changed


def test_several_fields_change_without_disturbing_each_other() -> None:
    source = (
        'a = (\n 1)  #@param {type:"number"}\nb = 2;  #@param {type:"number"}\nc = [\n]  #@param {type:"raw"}'
    )
    changed = substitute(source, parse(source), {"a": 10, "b": 20, "c": "{3}"})
    scope: dict[str, object] = {}
    exec(changed, scope)
    assert [scope[name] for name in "abc"] == [10, 20, {3}]
    assert changed.count("\n") == source.count("\n")
