"""The grammar of Colab forms: what each line means, and what is refused where."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path
from typing import Any

import pytest

from dl4mic_hpc.notebook import dl4mic_forms
from dl4mic_hpc.notebook.dl4mic_forms.forms import Field, FormError, Markdown, parse
from dl4mic_hpc.notebook.dl4mic_forms.scan import comments

RUNTIME = Path(dl4mic_forms.__file__).parent


def only(source: str) -> Field:
    (field,) = parse(source).fields
    return field


FIELDS: list[tuple[str, str, object, dict[str, Any]]] = [
    ('x = "a" #@param {type:"string"}', "string", "a", {}),
    ("x = 'a b' #@param {type:'string'}", "string", "a b", {}),
    ('x = "" #@param {type:"string", placeholder:"a folder"}', "string", "", {"placeholder": "a folder"}),
    ('x = "#@param" #@param {type:"string"}', "string", "#@param", {}),
    ('x = "it\'s # \\"here\\"" #@param {type:"string"}', "string", 'it\'s # "here"', {}),
    ('x = 5 #@param {type:"number"}', "number", 5, {}),
    ('x=5#@param{type:"number"}', "number", 5, {}),
    ('x = 1e-4 # @param {"type":"number"}', "number", 1e-4, {}),
    ('x = -2.5 #@param {type:"number"} # in micrometres', "number", -2.5, {"help": "in micrometres"}),
    ('x = 5 #@param {type:"number"} in pixels', "number", 5, {"help": "in pixels"}),
    ('x: float = 5 #@param {type:"number"}', "number", 5, {}),
    ('    x = 5 #@param {type:"integer"}', "integer", 5, {}),
    ('x = True #@param {type:"boolean"}', "boolean", True, {}),
    ('x = 5 #@param {type:"slider"}', "slider", 5, {"minimum": 0, "maximum": 100, "step": 1}),
    (
        'x = 0.5 #@param {type:"slider", min:-1, max:1.5, step:0.25}',
        "slider", 0.5, {"minimum": -1, "maximum": 1.5, "step": 0.25},
    ),
    ('x = "2024-02-29" #@param {type:"date"}', "date", "2024-02-29", {}),
    ('x = 2 ** 3 #@param {type:"raw"}', "raw", "2 ** 3", {}),
    ('x = {"a": [1, 2]} #@param {type:"raw"}', "raw", '{"a": [1, 2]}', {}),
    ('x = "b" #@param ["a", "b"]', "dropdown", "b", {"options": ("a", "b")}),
    ('x = "b, ]" #@param ["a", \'b, ]\'] {type:"string"}', "dropdown", "b, ]", {"options": ("a", "b, ]")}),
    ('x = "0" #@param ["None", 0, 1.5]', "dropdown", "0", {"options": ("None", "0", "1.5")}),
    ('x = 8 #@param [4, 8, "16"] {type:"raw"}', "raw dropdown", "8", {"options": ("4", "8", "16")}),
    ('x = None #@param [True, None] {type:"raw"}', "raw dropdown", "None", {"options": ("True", "None")}),
    ('x = A #@param ["A", "B"] {type:"raw"}', "raw dropdown", "A", {"options": ("A", "B")}),
    ('x = "c" #@param ["a"] {allow-input: true}', "dropdown", "c", {"options": ("a",), "allow_input": True}),
]  # fmt: skip


@pytest.mark.parametrize(("source", "kind", "value", "more"), FIELDS, ids=[row[0] for row in FIELDS])
def test_a_field(source: str, kind: str, value: object, more: dict[str, Any]) -> None:
    field = only(source)
    assert (field.name, field.kind, field.value, type(field.value)) == ("x", kind, value, type(value))
    assert {name: getattr(field, name) for name in more} == more
    assert source[field.start : field.end] == field.source


REFUSED = [
    ("x = 5 #@param", "'x' has no type"),
    ('x = 5 #@param {type:"int"}', "'int' is no type of field"),
    ('x = 5 #@param {typ:"number"}', "'typ' is no key of a field"),
    ('x = "5" #@param {type:"number"}', "'x' is of type number, which \"5\" is not"),
    ('x = True #@param {type:"integer"}', "'x' is of type integer"),
    ('x = 1 #@param {type:"boolean"}', "'x' is of type boolean"),
    ('x = 5.5 #@param {type:"integer"}', "'x' is of type integer"),
    ('x = y #@param {type:"number"}', "'x' is of type number, which y is not"),
    ('x = 5 #@param {type:"string"}', "'x' is of type string"),
    ('x = "2023-02-29" #@param {type:"date"}', "YYYY-MM-DD"),
    ('x = 1 + #@param {type:"raw"}', "'x' is no expression"),
    ('x = y = 3 #@param {type:"raw"}', "'x' is no expression"),
    ('x = 200 #@param {type:"slider"}', "'x' needs min < max"),
    ('x = 5 #@param {type:"slider", min:"a"}', "must be numbers"),
    ('x = 5 #@param {type:"number", min:1}', "belong to a slider"),
    ('x = "c" #@param ["a", "b"]', "the value \"c\" of 'x' is not among its choices"),
    ('x = "4" #@param ["4"] {type:"raw"}', "is not among its choices"),
    ('x = "a" #@param []', "'x' has no choices"),
    ('x = "a" #@param ["a", b]', "the choices cannot be read from here on: b]"),
    ('x = "a" #@param ["a", "b"', "the choices cannot be read from here on"),
    ('x = "a" #@param ["a"] {type:"number"}', "is of type string or raw"),
    ('x = 5 #@param {type:"number", allow-input:true}', "allow-input belongs to a field with choices"),
    ('x = 5 #@param {type:"number"', "the options cannot be read from here on"),
    ('x = 5 # note #@param {type:"number"}', "must follow the value"),
    ('x = 5 # y = 2 #@param {type:"number"}', "must follow the value"),
    ('#@param {type:"number"}', "a field is one line"),
    ('x, y = 5 #@param {type:"number"}', "a field is one line"),
    ('x == 5 #@param {type:"number"}', "a field is one line"),
    ('x += 5 #@param {type:"number"}', "a field is one line"),
    ('else: x = 5 #@param {type:"number"}', "a field is one line"),
    ('x = (5, #@param {type:"number"}\n 6)', "a field is one line"),
    ('y = (1,\n x = 5 #@param {type:"number"}', "a field is one line"),
    ('#@title A {run: "auto"}', "only display-mode"),
]


@pytest.mark.parametrize(("source", "says"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_is_not_understood_is_refused_with_its_line(source: str, says: str) -> None:
    with pytest.raises(FormError) as caught:
        parse("import os\n" + source)
    line, text = caught.value.problems[0]
    assert says in text
    assert line == 2 + ("x" in source and source.startswith("y"))


def test_all_mistakes_at_once() -> None:
    with pytest.raises(FormError) as caught:
        parse('a = 1 #@param\n#@title A\n#@title B\nb = 1 #@param {type:"raw"}\nb = 2 #@param {type:"raw"}')
    assert [line for line, _ in caught.value.problems] == [1, 3, 5]


def test_a_whole_form() -> None:
    form = parse(
        textwrap.dedent("""\
            %%time
            #@title ## Train {display-mode: "both"}
            #@markdown ### First
            #@markdown second
            #off = 3 #@param {type:"number"}
            text = '''
            n = 1 #@param {type:"number"}
            '''
            !echo "quote #@param
            if text:
              a = 1 #@param {type:"number"}
              # @markdown third
            """)
    )
    assert (form.title, form.show_code) == ("## Train", True)
    assert form.items[0] == Markdown("### First\n\nsecond")
    assert [field.name for field in form.fields] == ["a"]
    assert form.items[2] == Markdown("third")
    assert form.switched_off == ("off",)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("a = '#' # yes", [(1, "# yes", True)]),
        ('a = """\n# no\n""" # yes', [(3, "# yes", False)]),
        ("a = 'it\\'s # no' # yes", [(1, "# yes", True)]),
        ("a = r'\\' # yes", []),  # to Python, too, the quote is escaped and the line is broken
        ("a = [ # one\n 1] # two", [(1, "# one", False), (2, "# two", False)]),
        ("a = 1 + \\\n 2 # yes", [(2, "# yes", False)]),
        ("!ls # no\n%cd x # no\nfiles = !ls # no\nb = 5 % 2 # yes", [(4, "# yes", True)]),
        ("print 'Python 2\n# yes", [(2, "# yes", True)]),
        ("!ls \\\n # no\nb # yes", [(3, "# yes", True)]),
    ],
)
def test_comments(source: str, found: list[tuple[int, str, bool]]) -> None:
    assert [(each.line, each.text, each.whole) for each in comments(source)] == found


def test_another_language_has_no_form() -> None:
    assert parse('%%bash\nx=1 #@param {type:"number"}').items == ()


@pytest.mark.parametrize("path", sorted(RUNTIME.glob("*.py")), ids=lambda path: path.name)
def test_what_runs_in_images_is_old_python_with_few_imports(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 7))
    roots = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            roots.add(str(node.module).partition(".")[0])
    display = {"IPython", "ipywidgets", "traitlets"} if path.name in ("panel.py", "session.py") else set()
    standard = {
        "__future__", "ast", "concurrent", "contextlib", "dataclasses", "datetime", "difflib", "html", "json",
        "keyword", "math", "os", "pathlib", "platform", "re", "sys", "threading", "time", "traceback", "typing",
    }  # fmt: skip
    assert roots <= standard | display
