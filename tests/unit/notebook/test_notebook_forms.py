"""The grammar of Colab forms: what each line means, what is reported, and that nothing is lost or raised."""

from __future__ import annotations

import ast
import random
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from dl4mic_hpc.notebook import dl4mic_forms
from dl4mic_hpc.notebook.dl4mic_forms import scan
from dl4mic_hpc.notebook.dl4mic_forms.forms import Field, Markdown, Problem, foreign, parse
from dl4mic_hpc.notebook.dl4mic_forms.scan import cell_magic, comments, magic_first, statements

RUNTIME = Path(dl4mic_forms.__file__).parent


def only(source: str) -> Field:
    form = parse(source)
    assert form.problems == ()
    (field,) = form.fields
    return field


FIELDS: list[tuple[str, str, object, dict[str, Any]]] = [
    # types
    ('x = "a" #@param {type:"string"}', "string", "a", {}),
    ("x = 'a b' #@param {type:'string'}", "string", "a b", {}),
    ('x = "" #@param {type:"string", placeholder:"a, {folder}"}', "string", "", {"placeholder": "a, {folder}"}),
    ('x = 5 #@param {type:"number"}', "number", 5, {}),
    ('x=5#@param{type:"number"}', "number", 5, {}),
    ('x = 1e-4 # @param {"type":"number"}', "number", 1e-4, {}),
    ('    x = -5 #@param {type:"integer"}', "integer", -5, {}),
    ('x = True #@param {type:"boolean"}', "boolean", True, {}),
    ('x = 5 #@param {type:"slider"}', "slider", 5, {"minimum": 0, "maximum": 100, "step": 1}),
    ('x = 0.5 #@param {type:"slider", min:-1, max:1.5, step:0.25}', "slider", 0.5, {"minimum": -1, "maximum": 1.5, "step": 0.25}),
    ('x = 5 #@param {type:"slider", min:"2", max:\'10\'}', "slider", 5, {"minimum": 2, "maximum": 10, "step": 1}),
    ('x = "2024-02-29" #@param {type:"date"}', "date", "2024-02-29", {}),
    ('x = 2 ** 3 #@param {type:"raw"}', "raw", "2 ** 3", {"literal": False}),
    ('x = {"a": [1, 2]} #@param {type:"raw"}', "raw", '{"a": [1, 2]}', {"literal": True}),
    ("x = 5 #@param", "untyped", "5", {}),
    ("x = ''  #@param", "untyped", "''", {}),
    ('x = "a" #@param {type:"text"}', "untyped", '"a"', {}),
    ("x = 5 #@param {}", "untyped", "5", {}),
    ('x = 5 #@param {type: number}', "number", 5, {}),
    # choices
    ('x = "b" #@param ["a", "b"]', "dropdown", "b", {"options": ("a", "b")}),
    ('x = "b, ]" #@param ["a", \'b, ]\',] {type:"string"}', "dropdown", "b, ]", {"options": ("a", "b, ]")}),
    ('x = "don\'t" #@param ["don\'t", "\\"q\\""]', "dropdown", "don't", {"options": ("don't", '"q"')}),
    ('x = "0" #@param ["None", 0, 1e-4, true, null]', "dropdown", "0", {"options": ("None", "0", "0.0001", "True", "None")}),
    ('x = 0 #@param ["None", 0]', "dropdown", "0", {}),
    ('x = 8 #@param [4, 8, "16"] {type:"raw"}', "raw dropdown", "8", {"options": ("4", "8", "16")}),
    ('x = "4" #@param ["4"] {type:"raw"}', "raw dropdown", "4", {}),
    ('x = 1e-4 #@param [1e-4, 1e-3]{type:"raw"}', "raw dropdown", "0.0001", {"options": ("0.0001", "0.001")}),
    ('x = None #@param [True, None] {type:"raw"}', "raw dropdown", "None", {"options": ("True", "None")}),
    ('x = A.b #@param [A.b, C] {type:"raw"}', "raw dropdown", "A.b", {"options": ("A.b", "C"), "literal": False}),
    ('x = (1, 2) #@param ["(1, 2)", (2, 3)] {type:"raw"}', "raw dropdown", "(1, 2)", {"options": ("(1, 2)", "(2, 3)")}),
    ('x = 2 #@param [2, 4] {type:"integer"}', "raw dropdown", "2", {"options": ("2", "4")}),
    ('x = "c" #@param ["a"] {allow-input: true}', "dropdown", "c", {"options": ("a",), "allow_input": True}),
    ('x = 3 #@param {type:"raw", "allow-input": true} [1, 2]', "raw dropdown", "3", {"options": ("1", "2"), "allow_input": True}),
    ('x = "a" #@param {type:"string"} ["a", "b"]', "dropdown", "a", {"options": ("a", "b"), "allow_input": True}),
    ('x = "c" #@param ["a", "b"]', "dropdown", "c", {"options": ("a", "b"), "allow_input": False}),
    ('x = "a" #@param [] {type:"string", allow-input: true}', "string", "a", {"options": (), "allow_input": False}),
    # what stands around
    ('x = "#@param" #@param {type:"string"}', "string", "#@param", {}),
    ('x = "it\'s # \\"here\\"" #@param {type:"string"}', "string", 'it\'s # "here"', {}),
    ('x = r"C:\\d" #@param {type:"string"}', "string", "C:\\d", {}),
    ('x = "C:\\d" #@param {type:"string"}', "string", "C:\\d", {}),
    ('x = -2.5 #@param {type:"number"} # in micrometres', "number", -2.5, {"help": "in micrometres"}),
    ('x = 5 ##  @param {type:"number"} in [pixels]', "number", 5, {"help": "in [pixels]"}),
    ('x: float = 5 #@param {type:"number"}', "number", 5, {}),
    ('x: "dict[str, int]" = 5; #@param {type:"number"}', "number", 5, {"source": "5"}),
    ('x = 5 #@param {type:"number", label:"y"}', "number", 5, {}),
    ('x = 5 #@param {type:"number"}\r', "number", 5, {"help": ""}),
    # a default that is known only when the cell runs
    ('x = y #@param {type:"number"}', "number", None, {"source": "y", "literal": False}),
    ('x = a + "/b" #@param {type:"string"}', "string", None, {"source": 'a + "/b"', "literal": False}),
    ('x = not y #@param {type:"boolean"}', "boolean", None, {}),
    ('x = y #@param {type:"slider", min:2}', "slider", None, {"minimum": 2}),
    ('x = y #@param ["a", "b"]', "dropdown", None, {}),
    ('x = today() #@param {type:"date"}', "date", None, {}),
    # a default that its type cannot hold
    ('x = None #@param {type:"number"}', "raw", "None", {}),
    ('x = (128,128,8) #@param {type:"number"} # in pixels', "raw", "(128,128,8)", {"help": "in pixels"}),
    ('x = 9007199254740993 #@param {type:"integer"}', "raw", "9007199254740993", {}),
    ('x = 1e999 #@param {type:"number"}', "raw", "1e999", {}),
    ('x = "off" #@param {type:"boolean"}', "raw", '"off"', {}),
    ('x = True #@param {type:"integer"}', "raw", "True", {}),
    ('x = 1 #@param {type:"boolean"}', "boolean", True, {"source": "1"}),
    ('x = 5.5 #@param {type:"integer"}', "number", 5.5, {}),
    ('x = "5" #@param {type:"number"}', "number", 5, {"source": '"5"'}),
    ('x = 5 #@param {type:"string"}', "string", "5", {}),
    ('x = None #@param {type:"string"}', "string", "None", {}),
    ('x = "" #@param {type:"date"}', "date", None, {"literal": True}),
    ('x = "29.2.2024" #@param {type:"date"}', "string", "29.2.2024", {}),
    ('x = 200 #@param {type:"slider", min:0, max:100}', "slider", 200, {"minimum": 0, "maximum": 200}),
    ('x = 5 #@param {type:"slider", min:10, max:10}', "number", 5, {}),
    ('x = 5 #@param {type:"slider", min:"a"}', "number", 5, {}),
    ('x = 5 #@param {type:"slider", step:0}', "number", 5, {}),
]  # fmt: skip


@pytest.mark.parametrize(("source", "kind", "value", "more"), FIELDS, ids=[row[0] for row in FIELDS])
def test_a_field(source: str, kind: str, value: object, more: dict[str, Any]) -> None:
    field = only(f"import os\n{source}")
    assert (field.name, field.kind, field.value, type(field.value)) == ("x", kind, value, type(value))
    assert {name: getattr(field, name) for name in more} == more
    assert (field.line, field.start[0], field.end[0]) == (2, 2, 2)
    assert source[field.start[1] : field.end[1]] == field.source


@pytest.mark.parametrize(
    ("source", "kind", "value"),
    [
        ('x = (\n    "a"\n    "b"\n)  # @param {type:"string"}', "string", "ab"),
        ('x = (  # @param {type:"string"}\n    "a"\n)', "string", "a"),
        ('x = (  # @param {type:"number"}\n    y\n)', "number", None),
        ('x = (\n  1e-3  #@param {type:"number"}\n)', "number", 1e-3),
        ('x = 1 + \\\n  y  #@param {type:"number"}', "number", None),
        ('x = \\\n  5  #@param {type:"integer"}', "integer", 5),
        ("x = [\n  1,  # one\n  2,\n];  #@param {type:'raw'}", "raw", "[ 1, 2, ]"),
        ('x = """a\nb"""  #@param {type:"string"}', "string", "a\nb"),
        ('x = \\\r\n  2 + \\\r\n  3  #@param {type:"raw"}', "raw", "2 + 3"),
        ('if y:\n  x = (\n  "a"\n  )  # @param ["a", "b"]', "dropdown", "a"),
    ],
)
def test_a_value_over_several_lines(source: str, kind: str, value: object) -> None:
    field = only(f"import os\n{source}\nprint(x)")
    assert (field.name, field.kind, field.value) == ("x", kind, value)
    lines = f"import os\n{source}".split("\n")
    assert "@param" in lines[field.line - 1]
    before = "\n".join([*lines[: field.start[0] - 1], lines[field.start[0] - 1][: field.start[1]]])
    after = "\n".join([lines[field.end[0] - 1][field.end[1] :], *lines[field.end[0] :]])
    assert f"{before}{field.source}{after}" == "\n".join(lines)
    assert (
        re.fullmatch(r"import os\s+(if y:\s+)?x = (\\\r?\n  )?", before) and "@param" in field.source + after
    )


PROBLEMS = [
    ('x = 1 + #@param {type:"raw"}', "the value of 'x' is not one expression: 1 +"),
    ('x = y = 3 #@param {type:"raw"}', "the value of 'x' is not one expression: y = 3"),
    ('x = 1; y = 2 #@param {type:"raw"}', "the value of 'x' is not one expression"),
    ('x = #@param {type:"raw"}', "'x' has no value"),
    ('x = "a" #@param ["a", "b"', "of the list of choices is not closed"),
    ('x = "a" #@param ["a, "b"]', 'the choices cannot be read from here on: "a, "b"'),
    ('x = "a" #@param ["a" b]', 'the choices cannot be read from here on: "a" b'),
    ('x = 5 #@param {type:"number"', "of the {…} after it is not closed"),
    ('x = 5 #@param {type:"number}', "a quote is not closed"),
    ("x = 5 #@param {number}", "the options cannot be read from here on: number"),
    ('x = 5 # note #@param {type:"number"}', "must follow its value"),
    ('x = 5 # y = 2 #@param {type:"number"}', "must follow its value"),
    ('#@param {type:"number"}', "a field is a name"),
    ('x, y = 5 #@param {type:"number"}', "a field is a name"),
    ('x.y = 5 #@param {type:"number"}', "a field is a name"),
    ('x == 5 #@param {type:"number"}', "a field is a name"),
    ('x += 5 #@param {type:"number"}', "a field is a name"),
    ('else: x = 5 #@param {type:"number"}', "a field is a name"),
    ('if y: x = 5 #@param {type:"number"}', "a field is a name"),
    ('f(x = 5) #@param {type:"number"}', "a field is a name"),
    ('x = f(a=5, #@param {type:"number"}\n b=6)', "at the end of its value"),
    ('x = (\n  #@param {type:"number"}\n  5)', "at the end of its value"),
    ('x = (5, #@param {type:"raw"}\n 6 #@param {type:"raw"}\n)', "more than one comment"),
    ('x = """\na  b""" #@param', "cannot be shown on one line"),
    ('!ls #@param {type:"string"}', "a shell line or a magic"),
    ('x = %env HOME #@param {type:"string"}', "a shell line or a magic"),
]


@pytest.mark.parametrize(("source", "says"), PROBLEMS, ids=[row[0] for row in PROBLEMS])
def test_what_is_not_understood_is_reported_and_the_rest_lives(source: str, says: str) -> None:
    above, below = 'a = 1 #@param {type:"integer"}\n', '\nb = 2 #@param {type:"integer"}'
    form = parse(above + source + below)
    assert [field.name for field in form.fields] == ["a", "b"]
    marked = [number for number, line in enumerate(source.split("\n"), 2) if "@param" in line]
    assert [problem.line for problem in form.problems] == marked
    assert says in form.problems[0].text


def test_a_name_is_a_field_once() -> None:
    form = parse('a = 1 #@param {type:"raw"}\nif a:\n  a = 2 #@param {type:"raw"}')
    assert [field.value for field in form.fields] == ["1"]
    assert form.problems == (Problem(3, "'a' is already a field of this cell"),)


@pytest.mark.parametrize(
    "line",
    ["#x = 3 #@param {type:'number'}", "  # x: int = 3 # @param", "## x=y #@param [1] # x"],
)
def test_a_field_that_is_commented_out_stays_off(line: str) -> None:
    form = parse(f"if 1:\n{line}\n  y = [\n{line}\n  ]")
    assert (form.fields, form.switched_off, form.problems) == ((), ("x", "x"), ())


def test_a_whole_form() -> None:
    form = parse(
        textwrap.dedent("""\
            %%time
            #@title ## Train {run: "auto", display-mode: "both"}
            #@markdown ###First
            #@markdown second
            text = '''
            n = 1 #@param {type:"number"}
            '''
            !echo "quote #param
            class A:
              def f(self):
                for _ in text:
                  a = 1 #@param {type:"number"}
            # @markdown |a|b|
            #@markdown |-|-|
                  # @title Third
                  print(a)
            """)
    )
    assert (form.title, form.display, form.run_auto) == ("## Train", "both", True)
    assert form.items[0] == Markdown("### First\n\nsecond")
    assert [field.name for field in form.fields] == ["a"]
    assert form.items[2:] == (Markdown("|a|b|\n|-|-|\n\n### Third"),)
    assert form.problems == ()


@pytest.mark.parametrize(
    ("line", "title", "display", "run_auto"),
    [
        ("#@title", "", "form", False),
        ("#@title A {B}", "A {B}", "form", False),
        ('# @title A { vertical-output: true, form-width: "30%" }', "A", "form", False),
        ('#@title { display-mode: "code" }', "", "code", False),
        ('#@title A {"run":"auto","display-mode":"odd"}', "A", "form", True),
        ("#@title A {run: 'off'}", "A", "form", False),
    ],
)
def test_a_title(line: str, title: str, display: str, run_auto: bool) -> None:
    form = parse(line)
    assert (form.title, form.display, form.run_auto, form.problems) == (title, display, run_auto, ())


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("a = '#' # yes", [(1, "# yes")]),
        ('a = """\n# no\n""" # yes', [(3, "# yes")]),
        ("a = 'it\\'s # no' # yes", [(1, "# yes")]),
        ("a = r'\\' # no", []),  # to Python, too, the quote is escaped and the line is broken
        ("a = 'one\\\n# no' # yes", [(2, "# yes")]),
        ("a = [ # one\n 1] # two", [(1, "# one"), (2, "# two")]),
        ("a = 1 + \\\n 2 # yes", [(2, "# yes")]),
        ("a = 'b\\\r\n' + \\\r\n 2 # yes", [(3, "# yes")]),
        ("!ls # no\n%cd x # no\nfiles = !ls # no\nb = 5 % 2 # yes", [(4, "# yes")]),
        ("print 'Python 2\n# yes", [(2, "# yes")]),
        ("!ls \\\n # no\nb # yes", [(3, "# yes")]),
        ("a = (1, # one\nb = 2 # two", [(1, "# one"), (2, "# two")]),
        ("a = '''\nb = 2 # two", [(2, "# two")]),
    ],
)
def test_comments(source: str, found: list[tuple[int, str]]) -> None:
    assert [(each.line, each.text) for each in comments(source)] == found
    lines = source.split("\n")
    assert all(lines[line - 1][column:] == text for line, column, text in comments(source))


def test_fields_are_found_even_where_a_bracket_is_never_closed() -> None:
    form = parse('f(\na = 1 #@param {type:"integer"}\nb = (2\nc = 3 #@param {type:"integer"}')
    assert [field.name for field in form.fields] == ["a", "c"]


def test_a_cell_that_is_no_python_is_read_in_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = scan._line
    monkeypatch.setattr(scan, "_line", lambda line, *state: read.append(line) or real(line, *state))
    assert len(list(statements("f(\n" * 500))) == 501
    assert len(read) < 3 * 501


@pytest.mark.parametrize(
    ("source", "magic", "other_language"),
    [
        ("x = 1\n%%time", (0, ""), False),
        ("%%time\nx = 1", (1, "%%time"), False),
        ("# @title A\n\n%%capture out\n%%time", (3, "%%capture"), False),
        ("#@title A\n%%time\nx = 1", (2, "%%time"), False),
        ("%%bash\nls", (1, "%%bash"), True),
        ("%%time\n%%bash\nls", (1, "%%time"), True),
        ("%%time", (1, "%%time"), False),
    ],
)
def test_cell_magics(source: str, magic: tuple[int, str], other_language: bool) -> None:
    assert (cell_magic(source), foreign(source)) == (magic, other_language)
    first = magic_first(source)
    assert first.startswith(magic[1])
    assert sorted(first.split("\n")) == sorted(source.split("\n"))
    assert first.split("\n")[magic[0] :] == source.split("\n")[magic[0] :]


def test_another_language_has_no_form() -> None:
    form = parse('%%bash\nx=1 #@param {type:"number"}\n#@title A')
    assert (form.title, form.items) == ("", ())
    assert form.problems == (Problem(2, "no form is understood under %%bash"),)


def test_whatever_is_written_nothing_is_raised_and_every_param_is_accounted_for() -> None:
    chance = random.Random(4)
    rows = [row[0] for row in (*FIELDS, *PROBLEMS)]
    for _ in range(3000):
        text = list("\n".join(chance.sample(rows, 2)))
        for _ in range(chance.randrange(6)):
            place = chance.randrange(len(text))
            text[place] = chance.choice([*"\"'#()[]{},:;=\\\n\r\t %!0x@\0\ud800é", "'''", "@param ", ""])
        source = "".join(text)
        form = parse(source)
        marked = [each for each in comments(source) if re.search(r"#\s*@param\b", each.text)]
        shell = [each for each in statements(source) if each.shell]
        lines = source.split("\n")
        hidden = [line for each in shell for line in lines[each.first - 1 : each.last]]
        expected = len(marked) + sum(re.search(r"#\s*@param\b", line) is not None for line in hidden)
        if not foreign(source):
            assert len(form.fields) + len(form.switched_off) + len(form.problems) == expected, source
        assert all(isinstance(problem.line, int) and problem.text for problem in form.problems)


def test_the_reference_page_shows_what_is_understood_and_what_is_not() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "forms.md").read_text(encoding="utf-8")
    example = parse(page.partition("```python\n")[2].partition("```")[0])
    assert (example.problems, [field.kind for field in example.fields]) == (
        (), ["integer", "number", "string", "dropdown"],
    )  # fmt: skip
    kinds = page.partition("| `#@param` |")[2].partition("\n\n")[0]
    specs = re.findall(r"^\| `(.*?)` \|", kinds, re.M)
    understood = [only(f'x = "a" #@param {spec}') for spec in specs]
    assert len({field.kind for field in understood}) > 3 and len(specs) == 10
    refused = re.findall(r"^\| `(.*#@param.*?)` \|", page.partition("stays code")[2], re.M)
    assert len(refused) == 10
    for line in refused:
        form = parse(line if line.count("(") == line.count(")") else f"{line}\n  b=2)")
        assert (form.fields, len(form.problems)) == ((), 1), line


@pytest.mark.parametrize("path", sorted(RUNTIME.rglob("*.py")), ids=lambda path: path.name)
def test_what_runs_in_images_is_old_python_with_few_imports(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 7))
    roots = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            roots.add(str(node.module).partition(".")[0])
    if path.name in ("scan.py", "spec.py", "forms.py", "values.py"):  # the conversion needs these, too
        assert roots <= {*sys.stdlib_module_names}
    else:
        assert roots <= {
            *sys.stdlib_module_names,
            "IPython",
            "ipywidgets",
            "traitlets",
            "nbclient",
            "nbformat",
        }
