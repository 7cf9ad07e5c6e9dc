"""Reads the form of a Colab cell: `#@title`, `#@markdown` and `#@param` comments.

The one parser of the program: the conversion on the laptop, the command line and the forms inside a running
notebook share it. The grammar is the one of Colab's own page on forms and of the notebooks that are in use;
docs/reference/forms.md lists it. A line that is not understood is a Problem and stays code: it never stops
the rest of the form. It runs inside images with old Pythons: standard library and Python 3.7 syntax only.
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from dataclasses import dataclass, replace
from datetime import date
from keyword import iskeyword
from typing import Any, NamedTuple, Union

from .scan import Comment, Statement, cell_magic, comments, statements
from .spec import Spec, SpecError, literal_value, read, read_title

_TAG = re.compile(r"#+\s*@(param|title|markdown)\b[ \t]?(.*)")
_PARAM = re.compile(r"#\s*@param\b")
_SWITCHED_OFF = re.compile(r"#[#\s]*([^\W\d]\w*)\s*(?::[^=]+)?=(?!=).*#\s*@param\b")
_HEAD = re.compile(r"""\s*([^\W\d]\w*)\s*(?::(?:"[^"]*"|'[^']*'|[^="'])+)?=(?!=)(?:\s|\\\r?\n)*""")
_HEADING = re.compile(r"(#{1,6})(?=[^#\s])")
_PYTHON_MAGICS = ("%%time", "%%timeit", "%%capture", "%%prun")
_EXACT = 2**53
"""Up to here a whole number is the same after a browser, which knows only floats, has had it."""

TYPES = ("string", "raw", "number", "integer", "slider", "boolean", "date")
NUMBERS = ("number", "integer", "slider")
VERBATIM = ("raw", "raw dropdown", "untyped")
"""The kinds whose value is Python text, which goes into the code as it stands."""

Value = Union[str, int, float, bool, None]


@dataclass(frozen=True)
class Field:
    """One `name = default #@param …` statement.

    `kind` is one of TYPES, "untyped", "dropdown" (its choice is inserted in quotes) or "raw dropdown" (inserted
    as it stands). `source` is the default as written, from `start` to `end` (line from 1, column from 0);
    `value` is what it means to the form, and None where that is known only when the cell runs (`literal` is
    False) or where the field is empty. `line` is that of the comment. `minimum`, `maximum` and `step` are
    those of a slider; a default outside the range has widened it. A default need not be among the `options`.
    """

    name: str
    kind: str
    source: str
    value: Value
    literal: bool
    line: int
    start: tuple[int, int]
    end: tuple[int, int]
    options: tuple[str, ...] = ()
    minimum: float = 0
    maximum: float = 100
    step: float = 1
    allow_input: bool = False
    placeholder: str = ""
    help: str = ""


@dataclass(frozen=True)
class Markdown:
    """Text of the form: consecutive `#@markdown` lines, one paragraph each."""

    text: str


class Problem(NamedTuple):
    """A line (from 1) that was meant for the form and is not understood, with a sentence why."""

    line: int
    text: str


@dataclass(frozen=True)
class Form:
    """What a cell shows. `switched_off` names the fields whose assignment is commented out.

    `display` is "form" (the code is folded away), "code" or "both"; with `run_auto` every change runs the cell.
    """

    title: str = ""
    display: str = "form"
    run_auto: bool = False
    items: tuple[Markdown | Field, ...] = ()
    switched_off: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def fields(self) -> tuple[Field, ...]:
        return tuple(item for item in self.items if isinstance(item, Field))


class _NotUnderstoodError(ValueError):
    pass


def parse(source: str) -> Form:
    """The form of a cell. Every `#@param` comment is a field, switched off, or a problem; nothing is raised."""
    lines, form = source.split("\n"), Form()
    if foreign(source):
        return _refused(form, lines, 1, f"no form is understood under {cell_magic(source)[1]}")
    for statement in statements(source):
        if statement.shell:
            shell = lines[statement.first - 1 : statement.last]
            form = _refused(form, shell, statement.first, "a shell line or a magic cannot be a field")
        for comment in statement.comments:
            try:
                form = _read(form, lines, statement, comment)
            except (_NotUnderstoodError, SpecError) as problem:
                form = replace(form, problems=(*form.problems, Problem(comment.line, str(problem))))
    return form


def foreign(source: str) -> bool:
    """Whether a cell magic such as %%bash makes the cell something other than Python."""
    number, magic = cell_magic(source)
    while magic in _PYTHON_MAGICS:
        source = source.split("\n", number)[number] if source.count("\n") >= number else ""
        number, magic = cell_magic(source)
    return magic != ""


def is_date(text: str) -> bool:
    """Whether `text` is a date as the form writes it: YYYY-MM-DD."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def is_expression(text: str) -> bool:
    """Whether `text` is one Python expression on one line, which may replace a raw field's value."""
    return not re.search(r"[\n\r]", text) and not any(comments(text)) and _tree(text.strip()) is not None


def _tree(text: str) -> str | None:
    """A description of the expression `text`, the same for the same expression; None if it is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.dump(ast.parse(text, mode="eval"))
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return None


def _refused(form: Form, lines: list[str], first: int, why: str) -> Form:
    """`form` with a problem for every `#@param` of `lines`, which begin with line `first`."""
    found = (Problem(number, why) for number, line in enumerate(lines, first) if _PARAM.search(line))
    return replace(form, problems=(*form.problems, *found))


def _read(form: Form, lines: list[str], statement: Statement, comment: Comment) -> Form:
    tag = _TAG.match(comment.text)
    if tag is None:
        off = _SWITCHED_OFF.match(comment.text)
        alone = not lines[comment.line - 1][: comment.column].strip()
        if off is not None and alone:
            return replace(form, switched_off=(*form.switched_off, off.group(1)))
        if _PARAM.search(comment.text):
            raise _NotUnderstoodError("a field's #@param must follow its value, without a comment in between")
        return form
    kind, text = tag.groups()
    if kind == "markdown":
        return replace(form, items=_with_text(form.items, _HEADING.sub(r"\1 ", text.strip(), count=1)))
    if kind == "title":
        return _with_title(form, text.strip())
    field = _field(lines, statement, comment, text)
    if any(each.name == field.name for each in form.fields):
        raise _NotUnderstoodError(f"'{field.name}' is already a field of this cell")
    return replace(form, items=(*form.items, field))


def _with_text(items: tuple[Markdown | Field, ...], text: str) -> tuple[Markdown | Field, ...]:
    if not (items and isinstance(items[-1], Markdown)):
        return (*items, Markdown(text))
    above = items[-1].text
    rows = text.startswith("|") and above.rsplit("\n", 1)[-1].startswith("|")
    return (*items[:-1], Markdown(above + ("\n" if rows else "\n\n") + text))


def _with_title(form: Form, text: str) -> Form:
    title, options = read_title(text)
    display = options.get("display-mode", form.display)
    form = replace(
        form,
        display=display if display in ("form", "code", "both") else form.display,
        run_auto=form.run_auto or options.get("run") == "auto",
    )
    if form.title and title:  # a cell has one title; a second one is a heading within
        return replace(form, items=_with_text(form.items, title if title[0] == "#" else f"### {title}"))
    return replace(form, title=form.title or title)


def _field(lines: list[str], statement: Statement, comment: Comment, text: str) -> Field:
    columns = {each.line: each.column for each in statement.comments}
    code = "\n".join(
        lines[number - 1][: columns.get(number)] for number in range(statement.first, statement.last + 1)
    )
    head = _HEAD.match(code)
    if head is None or iskeyword(head.group(1)):
        raise _NotUnderstoodError("a field is a name, =, a value and #@param, with nothing before the name")
    name = head.group(1)
    value = re.sub(r"[\s;]+\Z", "", code[head.end() :])
    if not value:
        raise _NotUnderstoodError(f"'{name}' has no value")
    wrapped = "(\n" + value + "\n)"
    if _tree(wrapped) is None:
        raise _NotUnderstoodError(f"the value of '{name}' is not one expression: {_one_line(value)}")
    try:
        meaning, literal = literal_value(wrapped), True
    except ValueError:
        meaning, literal = None, False
    _check_place(lines, statement, comment, name, literal)
    start, end = _position(code, head.end(), statement), _position(code, head.end() + len(value), statement)
    spec = read(text)
    field = Field(
        name=name,
        kind=_kind(spec),
        source=_cut(lines, start, end),
        value=None,
        literal=literal,
        line=comment.line,
        start=start,
        end=end,
        options=tuple(each if isinstance(each, str) else repr(each) for each in spec.choices or ()),
        allow_input=bool(spec.choices) and spec.pairs.get("allow-input") is True,
        placeholder=str(spec.pairs.get("placeholder") or ""),
        help=spec.remark,
    )
    return _with_value(field, spec, meaning, value)


def _check_place(lines: list[str], statement: Statement, comment: Comment, name: str, literal: bool) -> None:
    """A comment within a value of several lines may belong to a part of it, as in a call's keyword."""
    if sum(_TAG.match(each.text) is not None for each in statement.comments) > 1:
        raise _NotUnderstoodError(f"the value of '{name}' has more than one comment of the form")
    before = lines[comment.line - 1][: comment.column].strip()
    opens = comment.line == statement.first and re.search(r"=\s*\(\Z", before)
    if not before or not (literal or opens or comment.line == statement.last):
        raise _NotUnderstoodError("a field's #@param stands at the end of its value, on the same line")


def _position(code: str, offset: int, statement: Statement) -> tuple[int, int]:
    before = code[:offset]
    return statement.first + before.count("\n"), offset - (before.rfind("\n") + 1)


def _cut(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    """The text from `start` to `end`."""
    if start[0] == end[0]:
        return lines[start[0] - 1][start[1] : end[1]]
    within = lines[start[0] : end[0] - 1]
    return "\n".join([lines[start[0] - 1][start[1] :], *within, lines[end[0] - 1][: end[1]]])


def _one_line(code: str) -> str:
    """Code of several lines, without comments, on one."""
    return " ".join(part.strip() for part in re.sub(r"\\\r?\n", "\n", code).split("\n"))


def _kind(spec: Spec) -> str:
    kind = spec.pairs.get("type")
    if spec.choices:
        return "raw dropdown" if kind in ("raw", "boolean", *NUMBERS) else "dropdown"
    return kind if kind in TYPES else "untyped"


def _with_value(field: Field, spec: Spec, meaning: Any, code: str) -> Field:
    """What the default means to the form. Untouched it stays as written, so nothing here can change a result.

    A default that its type cannot hold (None for a number, a tuple) makes the field a raw one, in which the
    expression itself can be edited.
    """
    kind = field.kind
    if kind not in VERBATIM and not field.literal:
        return field if kind != "slider" else _slider(field, spec, None)
    if kind == "string" or kind == "dropdown":
        return replace(field, value=meaning if isinstance(meaning, str) else _one_line(code))
    if kind == "boolean" and isinstance(meaning, int) and meaning in (0, 1):
        return replace(field, value=bool(meaning))
    if kind == "date" and (meaning is None or isinstance(meaning, str)):
        if meaning and not is_date(meaning):
            return replace(field, kind="string", value=meaning)
        return replace(field, value=meaning or None)
    number = _number(meaning)
    if kind in NUMBERS and number is not None:
        if kind == "slider":
            return _slider(field, spec, number)
        whole = kind == "number" or isinstance(number, int)
        return replace(field, kind=kind if whole else "number", value=number)
    if kind not in VERBATIM:
        kind = "raw"
    text = _one_line(code)
    if _tree(text) != _tree("(\n" + code + "\n)"):
        raise _NotUnderstoodError(f"the value of '{field.name}' cannot be shown on one line")
    for option in (str(meaning), repr(meaning)):
        if field.literal and text not in field.options and option in field.options:
            text = option
    return replace(field, kind=kind, value=text)


def _number(meaning: Any) -> int | float | None:
    """A number that a browser can hold, also one in quotes."""
    if isinstance(meaning, str):
        try:
            meaning = literal_value(meaning.strip())
        except ValueError:
            return None
    if isinstance(meaning, bool) or not isinstance(meaning, (int, float)):
        return None
    limit = math.inf if isinstance(meaning, float) else _EXACT + 1
    return meaning if abs(meaning) < limit else None


def _slider(field: Field, spec: Spec, value: int | float | None) -> Field:
    """A slider, or a plain number where the bounds make none."""
    low, high, step = (
        _number(spec.pairs.get(key, usual)) for key, usual in (("min", 0), ("max", 100), ("step", 1))
    )
    if low is None or high is None or step is None or low >= high or step <= 0:
        return replace(field, kind="number", value=value)
    if value is not None:
        low, high = min(low, value), max(high, value)
    return replace(field, value=value, minimum=low, maximum=high, step=step)
