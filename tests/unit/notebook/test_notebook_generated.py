"""Generated cells: values put in by the form leave behind what the same values written in by hand do.

Hundreds of cells run in IPython itself, some of them through the widgets of a real kernel. They nest every kind
of block and bind names in every way that Python has; fields of every kind stand in all of these places.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from support.kernel import Desk, colab_notebook, open_notebook
from traitlets.config import Config

from dl4mic_hpc.notebook.dl4mic_forms.forms import parse
from dl4mic_hpc.notebook.dl4mic_forms.scan import magic_first
from dl4mic_hpc.notebook.dl4mic_forms.values import substitute

CELLS, IN_A_KERNEL = 240, 15
Choice = tuple[Any, str]
"""A value as the form gives it, and as a person would write it."""
Draw = Callable[[random.Random], Choice]


def a_text(chance: random.Random, least: int = 0) -> Choice:
    value = "".join(chance.choices("ab c\"'\\#{}[]%!,;\n\té\u2028", k=chance.randrange(least, 12)))
    plain = (char if char.isascii() and char.isalnum() else f"\\U{ord(char):08x}" for char in value)
    return value, '"{}"'.format("".join(plain))


def a_word(chance: random.Random) -> Choice:
    return a_text(chance, least=1)  # an empty field keeps a value that only the code knows


def over_two_lines(chance: random.Random) -> Choice:
    value, written = a_text(chance)
    return value, f"({written}\n)"


def a_number(chance: random.Random) -> Choice:
    if chance.random() < 0.5:
        whole = chance.randrange(-(10**6), 10**6)
        return whole, str(whole)
    value = (chance.randrange(-999, 999) + 0.5) * 10.0 ** chance.randrange(-12, 3)
    return value, format(value, ".17g") if value % 1 else str(int(value))


def a_float(chance: random.Random) -> Choice:
    value, _ = a_number(chance)
    written = format(float(value), ".17g")
    return value, written if "." in written or "e" in written else f"{written}.0"


def one_of(*choices: Choice) -> Draw:
    return lambda chance: chance.choice(choices)


FIELDS: list[tuple[str, str, Draw]] = [
    ('"a # b"', '{type:"string"}', a_text),
    ('""', '{type:"string", placeholder:"a"}', a_text),
    ('"""a\nb"""', "{type: string}", over_two_lines),
    ('"a" + str(1)', '{type:"string"}', a_word),
    ("5", '{type:"number"}', a_number),
    ("1e-4", '{type:"number"} # a remark', a_float),
    ("len('abc') / 2", '{type:"number"}', a_number),
    ("5", '{type:"integer"}', one_of((7, "7"), (-1, "-1"), (8.0, "8"))),
    ("5", '{type:"slider", min:0, max:10}', one_of((0, "0"), (10, "10"), (3.0, "3"))),
    ("0.5", '{type:"slider", min:0, max:1, step:0.1}', one_of((0.25, "0.25"), (1, "1.0"))),
    ("True", '{type:"boolean"}', one_of((False, "False"), (True, "True"))),
    ("not 1", '{type:"boolean"}', one_of((True, "True"), (False, "False"))),
    ('"2024-02-29"', '{type:"date"}', one_of(("1999-12-31", '"1999-12-31"'))),
    ("{1: [2]}", '{type:"raw"}', one_of(("(1, 'a'), 2", "(1, 'a'), 2"), ("max(3, 4)", "max(3, 4)"))),
    ("'x'", "", one_of(("sorted('ba')", "sorted('ba')"), ("3", "3"))),
    ('"a, b"', '["a, b", "c]", 4]', one_of(("c]", '"c]"'), ("4", '"4"'))),
    ('"a"', '["a"] {allow-input:true}', a_text),
    ("4", '[4, "8", None] {type:"raw"}', one_of(("8", "8"), ("None", "None"))),
    ("None", '{type:"number"}', one_of(("0.5", "0.5"), ("None", "None"))),
]


@dataclass
class Cell:
    """A cell with its own values, the same with others written in by hand, and those others for the form."""

    number: int
    chance: random.Random
    original: list[str] = field(default_factory=list)
    by_hand: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    names: int = 0

    @property
    def prefix(self) -> str:
        return f"cell{self.number}_"

    def name(self) -> str:
        self.names += 1
        return f"{self.prefix}{self.names}"

    def add(self, indent: str, *lines: str) -> None:
        self.original += [indent + line for line in lines]
        self.by_hand += [indent + line for line in lines]

    def add_field(self, indent: str, name: str, notes: Sequence[str] = ("", "", ": object")) -> None:
        """On one line or laid out as a formatter does, touched or not."""
        default, spec, draw = self.chance.choice(FIELDS)
        value, written = draw(self.chance)
        comment = f"{self.chance.choice(['#', '# ', '## '])}@param {spec}"
        layout = self.chance.choice(
            ["{} #", "{} #", "{}; #", "{}#", "(\n  {}\n)  #", "( #\n  {}\n)", "\\\n  {} #"]
        )
        note = self.chance.choice(notes)
        touched = self.chance.random() < 0.8
        if touched:
            self.values[name] = value
        for lines, source in ((self.original, default), (self.by_hand, written if touched else default)):
            rows = f"{name}{note} = {layout.replace('#', comment).replace('{}', source, 1)}".split("\n")
            lines += [indent + row for row in rows]


def block(cell: Cell, indent: str, inside: str) -> None:
    """A few statements; `inside` is "module", "def" or "class", the innermost of them."""
    for _ in range(cell.chance.randrange(1, 4)):
        STATEMENTS[cell.chance.randrange(len(STATEMENTS))](cell, indent, inside)


def nested(header: Callable[[Cell], str], body: str = "", after: str = "") -> Callable[..., None]:
    def statement(cell: Cell, indent: str, inside: str) -> None:
        lines = header(cell).split("\n")
        cell.add(indent, *lines)
        deeper = indent + " " * cell.chance.choice([2, 4])
        cell.add(deeper, *filter(None, [body]))
        if len(indent) < 8:
            block(cell, deeper, "class" if lines[0].startswith("class") else inside)
        else:
            cell.add_field(deeper, cell.name())
        if after:
            cell.add(deeper if after == "break" else indent, after)
            if after.endswith(":"):
                cell.add_field(deeper, cell.name())

    return statement


def a_field(cell: Cell, indent: str, inside: str) -> None:
    name = cell.name()
    cell.add_field(indent, name)
    if cell.chance.random() < 0.5:
        cell.add(indent, f"{cell.name()} = repr({name})[:3], 'r'")


def a_binding(cell: Cell, indent: str, inside: str) -> None:
    one, two = cell.name(), cell.name()
    lines = [
        f"import math as {one}, os.path as {two}",
        f"from math import pi as {one}",
        f"{one}, (*{two}, _) = 1, (2, 3, 4)",
        f"{one} = 1; {one} += 2",
        f"{one} = [{two} for {two} in range(3) if {two}]",
        f"{one}: int = 3  # {two} = 4",
        f"{one} = '''#@param\n{two} = 5 #@param'''",
        f"{one} = {two} = lambda: 4",
        f"{one} = {two} = 2\ndel {two}",
    ]
    if inside != "class":
        lines.append(f"print([{one} := {two} for {two} in 'ab'])")
    if inside == "module" and not indent:
        lines.append("from __future__ import annotations")
    if inside == "module":
        lines += [f"%time {one} = 7", f"{one} = %pwd"]
        if cell.chance.random() < 0.05:
            lines.append(f"{one} = !echo a; echo b")
    chosen = cell.chance.choice(lines)
    first, *rest = chosen.split("\n")
    cell.add(indent, first)
    cell.add("" if "'''" in chosen else indent, *rest)


def a_function(cell: Cell, indent: str, inside: str) -> None:
    name, inner = cell.name(), cell.name()
    cell.add(indent, f"def {name}({inner}=1):")
    if inside == "module" and cell.chance.random() < 0.5:
        outer = cell.name()
        cell.add(indent, f"  global {outer}")
        cell.add_field(indent + "  ", outer, notes=[""])
    if len(indent) < 8:
        block(cell, indent + "  ", "def")
    cell.add_field(indent + "  ", cell.name())
    cell.add(indent, "  return [each for _, each in sorted(locals().items()) if type(each) in (int, str)]")
    cell.add(indent, f"{cell.name()} = {name}()")


STATEMENTS: list[Callable[[Cell, str, str], None]] = [
    *[a_field] * 6,
    *[a_binding] * 6,
    a_function,
    nested(lambda cell: f"class {cell.name()}:", "#@markdown text"),
    nested(lambda cell: f"for {cell.name()} in range(2):", after="else:"),
    nested(lambda cell: "while True:", after="break"),
    nested(lambda cell: f"with __import__('contextlib').nullcontext(3) as {cell.name()}:"),
    nested(lambda cell: f"try:\n  1 / 0\nexcept ZeroDivisionError as {cell.name()}:", after="finally:"),
    nested(lambda cell: f"if ({cell.name()} := 1):", after="else:"),
]


def generated(number: int, *, fails: bool = True) -> Cell:
    cell = Cell(number=number, chance=random.Random(number))
    magic = number % 8 == 0
    cell.add("", *cell.chance.sample(["%%time"] * magic + [f"#@title cell {number}"], k=1 + magic))
    for _ in range(3):
        block(cell, "", "def" if magic else "module")
    cell.add_field("", cell.name())
    if fails and cell.chance.random() < 0.2:
        cell.add("", f"raise KeyError({cell.prefix}{cell.names})")
    return cell


def seen(prefix: str, names: Mapping[str, Any]) -> dict[str, str]:
    """What a cell left behind, comparable: functions by their code and its lines, classes by what they hold."""

    def look(value: Any) -> str:
        if hasattr(value, "co_code"):
            return f"{value.co_firstlineno} {value.co_names} {[look(each) for each in value.co_consts]}"
        if hasattr(value, "__code__"):
            return look(value.__code__) + look(value.__defaults__)
        if isinstance(value, type):
            return repr([(key, look(each)) for key, each in vars(value).items() if not key.startswith("__")])
        if isinstance(value, (list, tuple)):
            return f"{type(value).__name__} {[look(each) for each in value]}"
        return f"{type(value).__name__} {value!r}"

    return {name: look(value) for name, value in names.items() if name.startswith(prefix)}


@pytest.fixture
def shell(tmp_path: Path) -> InteractiveShell:
    config = Config()
    config.HistoryManager.enabled = False
    return InteractiveShell(config=config, ipython_dir=str(tmp_path / "ipython"))


def run(shell: InteractiveShell, source: str, prefix: str) -> tuple[dict[str, str], object]:
    """What the source leaves behind, and how it failed: the error and its line."""
    with capture_output() as captured:
        result = shell.run_cell(source, store_history=False)
    assert result.error_before_exec is None, captured.stdout
    error = result.error_in_exec
    line = error.__traceback__.tb_next.tb_lineno if error and error.__traceback__.tb_next else 0
    names = seen(prefix, shell.user_ns)
    for name in names:
        del shell.user_ns[name]
    return names, (type(error), str(error), line)


@pytest.mark.parametrize("number", range(0, CELLS, 30))
def test_a_form_and_a_hand_leave_the_same(shell: InteractiveShell, number: int) -> None:
    for cell in (generated(each) for each in range(number, number + 30)):
        source, by_hand = "\n".join(cell.original), "\n".join(cell.by_hand)
        form = parse(source)
        assert not form.problems, source
        assert {*cell.values} <= {each.name for each in form.fields}
        changed = substitute(source, form, cell.values)
        assert substitute(source, form, {}) == source
        assert changed.count("\n") == source.count("\n")
        left = []
        for program in (changed, by_hand):
            shell.compile.reset_compiler_flags()  # a late __future__ import is meant for later cells, too
            left.append(run(shell, magic_first(program), cell.prefix))
        assert left[0] == left[1], f"{changed}\n---\n{by_hand}"


def test_every_kind_of_field_and_statement_is_among_them() -> None:
    cells = [generated(number) for number in range(CELLS)]
    forms = [parse("\n".join(cell.original)) for cell in cells]
    kinds = {each.kind for form in forms for each in form.fields}
    assert len(kinds) == 10
    assert sum(len(cell.values) for cell in cells) > 1000
    lines = {line.split("@param ")[-1] for cell in cells for line in cell.original if "@param" in line}
    assert {spec for _, spec, _ in FIELDS} <= lines
    words = {word for cell in cells for line in cell.original for word in line.split()[:1]}
    assert {"class", "def", "for", "while", "with", "try:", "except", "finally:", "if", "else:"} <= words
    assert {"global", "del", "import", "from", "%time", "%%time", "raise"} <= words


def type_in(desk: Desk, form: str, name: str, value: Any) -> str:
    """As the browser does it, for whatever widget the field has; the kind of widget."""
    widget = desk.widget(form, name)
    model = widget["_model_name"]
    if model == "DropdownModel":
        label = ("no", "yes")[value] if isinstance(value, bool) else str(value)
        desk.fill(form, name, key="index", value=list(widget["_options_labels"]).index(label))
    elif model == "DatePickerModel":
        year, month, day = (int(part) for part in value.split("-"))
        desk.fill(form, name, value={"year": year, "month": month - 1, "date": day})
    else:
        text = model in ("TextModel", "TextareaModel", "ComboboxModel")
        desk.fill(form, name, value=str(value) if text else value)
    return str(model)


def test_the_widgets_of_a_real_kernel_leave_the_same(
    tmp_path: Path, shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cells = [generated(number, fails=False) for number in range(CELLS, CELLS + IN_A_KERNEL)]
    with open_notebook(tmp_path, colab_notebook(*("\n".join(cell.original) for cell in cells))) as desk:
        assert {outcome.status for outcome in desk.run_all()} == {"ok"}
        desk.run("from typing import *\n" + inspect.getsource(seen))
        used = set()
        for cell in cells:
            form = f"cell-{cell.number}"
            used |= {type_in(desk, form, name, value) for name, value in cell.values.items()}
            assert desk.press(form).errors == []
            lines = magic_first("\n".join(cell.by_hand)).split("\n")
            lines.insert(1 if lines[0].startswith("%%") else 0, "# here stands the magic of the form")
            by_hand, _ = run(shell, "\n".join(lines), cell.prefix)
            assert desk.value(f"seen({cell.prefix!r}, globals())") == by_hand
    kinds = "Text Textarea Combobox IntText FloatText IntSlider FloatSlider Checkbox Dropdown DatePicker"
    assert used == {f"{kind}Model" for kind in kinds.split()}
