"""Reads the form of a Colab cell: `#@title`, `#@markdown` and `#@param` comments.

The one parser of the program: the conversion on the laptop and the forms inside a running notebook share it.
The grammar is the one that Colab's own page on forms describes, narrowed to what docs/reference/notebooks.md
lists; anything else is refused with its line and never guessed. It runs inside images with old Pythons:
standard library and Python 3.7 syntax only.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, replace
from datetime import date
from keyword import iskeyword
from typing import Any, Sequence, Union

from .scan import Comment, comments

_TAG = re.compile(r"#+\s*@(param|title|markdown)(?![\w-])[ \t]?(.*)", re.DOTALL)
_SWITCHED_OFF = re.compile(r"#.*=.*#+\s*@param(?![\w-])")
_ASSIGNMENT = re.compile(r"(\s*)([^\W\d]\w*)\s*(?::[^=]+)?=(?!=)\s*(.*?)\s*")
_STRING = r'"(?:[^"\\]|\\.)*"|' + r"'(?:[^'\\]|\\.)*'"
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_ELEMENT = re.compile(rf"\s*({_STRING}|{_NUMBER}|True|False|None)\s*([,\]])")
_PAIR = re.compile(
    rf"""\s*(["']?)([A-Za-z][\w-]*)\1\s*:\s*({_STRING}|{_NUMBER}|true|false|True|False)\s*([,}}])"""
)
_TITLE_OPTIONS = re.compile(r"\{[^{}]*\}\s*$")
_PYTHON_MAGICS = ("%%time", "%%timeit", "%%capture", "%%prun")

TYPES = ("string", "raw", "number", "integer", "slider", "boolean", "date")
KEYS = ("type", "min", "max", "step", "allow-input", "placeholder")

Value = Union[str, int, float, bool]


@dataclass(frozen=True)
class Field:
    """One `name = default #@param …` line.

    `kind` is one of TYPES, or "dropdown" (its choice is inserted in quotes) or "raw dropdown" (inserted as it
    stands). `source` is the default as written, `value` what it means; `start` and `end` are the columns of
    `source` on `line` (from 1). `minimum`, `maximum` and `step` are set for sliders.
    """

    name: str
    kind: str
    source: str
    value: Value
    line: int
    start: int
    end: int
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


@dataclass(frozen=True)
class Form:
    """What a cell shows. `switched_off` names the fields whose assignment is commented out."""

    title: str
    show_code: bool
    items: tuple[Markdown | Field, ...]
    switched_off: tuple[str, ...]

    @property
    def fields(self) -> tuple[Field, ...]:
        return tuple(item for item in self.items if isinstance(item, Field))


class FormError(ValueError):
    """What cannot be understood: `problems` holds (line, sentence) for each of them."""

    def __init__(self, problems: Sequence[tuple[int, str]]) -> None:
        super().__init__("; ".join(f"line {line}: {text}" for line, text in problems))
        self.problems = tuple(problems)


class _NotUnderstoodError(ValueError):
    pass


def parse(source: str) -> Form:
    """The form of a cell; FormError with every line that cannot be understood."""
    title, show_code = "", False
    items: list[Markdown | Field] = []
    switched_off: list[str] = []
    problems: list[tuple[int, str]] = []
    if foreign(source):
        return Form("", False, (), ())
    for comment in comments(source):
        tag = _TAG.match(comment.text)
        try:
            if tag is None:
                if not comment.code.strip() and _SWITCHED_OFF.match(comment.text):
                    switched_off.append(comment.text.split("=")[0].strip("# \t"))
                elif re.search(r"#\s*@param(?![\w-])", comment.text):
                    raise _NotUnderstoodError(
                        "the field's #@param must follow the value, without a comment in between"
                    )
            elif tag.group(1) == "title":
                if title:
                    raise _NotUnderstoodError("a cell has one #@title; this is the second")
                title, show_code = _title(tag.group(2).strip())
            elif tag.group(1) == "markdown":
                items = _with_markdown(items, tag.group(2).strip())
            else:
                field = _field(comment, tag.group(2))
                if any(isinstance(item, Field) and item.name == field.name for item in items):
                    raise _NotUnderstoodError(f"'{field.name}' is already a field of this cell")
                items.append(field)
        except _NotUnderstoodError as problem:
            problems.append((comment.line, str(problem)))
    if problems:
        raise FormError(problems)
    return Form(title, show_code, tuple(items), tuple(switched_off))


def foreign(source: str) -> bool:
    """Whether a cell magic such as %%bash makes the cell something other than Python."""
    first = source.lstrip().split("\n")[0]
    return first.startswith("%%") and first.split()[0] not in _PYTHON_MAGICS


def _with_markdown(items: list[Markdown | Field], text: str) -> list[Markdown | Field]:
    if items and isinstance(items[-1], Markdown):
        return [*items[:-1], Markdown(items[-1].text + "\n\n" + text)]
    return [*items, Markdown(text)]


def _title(text: str) -> tuple[str, bool]:
    found = _TITLE_OPTIONS.search(text)
    if found is None:
        return text, False
    options, _ = _pairs(found.group())
    mode = options.pop("display-mode", "form")
    if options or mode not in ("form", "code", "both"):
        raise _NotUnderstoodError("of a title's options only display-mode: form, code or both is understood")
    return text[: found.start()].rstrip(), mode != "form"


def _field(comment: Comment, text: str) -> Field:
    assignment = _ASSIGNMENT.fullmatch(comment.code)
    if not comment.whole or assignment is None or not assignment.group(3) or iskeyword(assignment.group(2)):
        raise _NotUnderstoodError("a field is one line: name = value #@param …")
    name, source, start = assignment.group(2), assignment.group(3), assignment.start(3)
    options: list[str] | None = None
    spec: dict[str, Any] = {}
    rest = text.lstrip()
    if rest.startswith("["):
        options, rest = _options(rest)
        rest = rest.lstrip()
    if rest.startswith("{"):
        spec, rest = _pairs(rest)
    for key in spec:
        if key not in KEYS:
            raise _NotUnderstoodError("'{}' is no key of a field; there is: {}".format(key, ", ".join(KEYS)))
    kind = _kind(name, spec, options)
    field = Field(
        name=name,
        kind=kind,
        source=source,
        value=_default(name, kind, source),
        line=comment.line,
        start=start,
        end=start + len(source),
        options=tuple(options or ()),
        allow_input=spec.get("allow-input") is True,
        placeholder=str(spec.get("placeholder", "")),
        help=rest.strip().lstrip("#").strip(),
    )
    if kind == "slider":
        return _slider(field, spec)
    if any(key in spec for key in ("min", "max", "step")):
        raise _NotUnderstoodError(f"min, max and step belong to a slider; '{name}' is of type {kind}")
    if options and not field.allow_input and field.value not in field.options:
        raise _NotUnderstoodError(f"the value {source} of '{name}' is not among its choices")
    return field


def _kind(name: str, spec: dict[str, Any], options: list[str] | None) -> str:
    kind = spec.get("type")
    if options is not None:
        if not options:
            raise _NotUnderstoodError(f"'{name}' has no choices")
        if kind not in (None, "string", "raw"):
            raise _NotUnderstoodError(
                f"a field with choices is of type string or raw; '{name}' is of type {kind}"
            )
        return "raw dropdown" if kind == "raw" else "dropdown"
    if kind is None:
        raise _NotUnderstoodError("'{}' has no type: write one of {}".format(name, ", ".join(TYPES)))
    if kind not in TYPES:
        raise _NotUnderstoodError("'{}' is no type of field; there is: {}".format(kind, ", ".join(TYPES)))
    if "allow-input" in spec:
        raise _NotUnderstoodError(f"allow-input belongs to a field with choices, which '{name}' has not")
    return str(kind)


def _default(name: str, kind: str, source: str) -> Value:
    """What the written default means to the form; raw defaults stay text."""
    if kind in ("raw", "raw dropdown"):
        if not is_expression(source):
            raise _NotUnderstoodError(f"the value of '{name}' is no expression: {source}")
        return source
    try:
        value: Any = ast.literal_eval(source)
    except (ValueError, SyntaxError):
        value = None
    types = {"number": (int, float), "slider": (int, float), "integer": (int,), "boolean": (bool,)}
    fits = isinstance(value, types.get(kind, (str,))) and isinstance(value, bool) == (kind == "boolean")
    if not fits:
        raise _NotUnderstoodError(f"'{name}' is of type {kind}, which {source} is not")
    if kind == "date" and not is_date(value):
        raise _NotUnderstoodError(f"the date of '{name}' is written YYYY-MM-DD, which {source} is not")
    result: Value = value
    return result


def _slider(field: Field, spec: dict[str, Any]) -> Field:
    low, high, step = spec.get("min", 0), spec.get("max", 100), spec.get("step", 1)
    for bound in (low, high, step):
        if isinstance(bound, bool) or not isinstance(bound, (int, float)):
            raise _NotUnderstoodError(f"min, max and step of '{field.name}' must be numbers")
    if not (low < high and step > 0 and low <= float(field.value) <= high):
        raise _NotUnderstoodError(
            f"the slider '{field.name}' needs min < max, step > 0 and a value in between; "
            f"it has {field.source} from {low} to {high} in steps of {step}"
        )
    return replace(field, minimum=low, maximum=high, step=step)


def is_date(text: str) -> bool:
    """Whether `text` is a date as the form writes it: YYYY-MM-DD."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def is_expression(text: str) -> bool:
    """Whether `text` is one Python expression on one line, which may replace a raw field's value."""
    try:
        ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError):
        return False
    return "\n" not in text and not any(comments(text))


def _options(text: str) -> tuple[list[str], str]:
    """The choices of a list, quotes taken off, and what follows the list."""
    found: list[str] = []
    position = 1
    if re.match(r"\s*\]", text[1:]):
        return found, text[text.index("]") + 1 :]
    while True:
        element = _ELEMENT.match(text, position)
        if element is None:
            raise _NotUnderstoodError(
                "the choices cannot be read from here on: {}".format(text[position:].strip() or "(end)")
            )
        word = element.group(1)
        found.append(str(ast.literal_eval(word)) if word[0] in "\"'" else word)
        position = element.end()
        if element.group(2) == "]":
            return found, text[position:]


def _pairs(text: str) -> tuple[dict[str, Any], str]:
    """The `{key: value, …}` of a field or title, and what follows it."""
    found: dict[str, Any] = {}
    position = 1
    while True:
        pair = _PAIR.match(text, position)
        if pair is None:
            raise _NotUnderstoodError(
                "the options cannot be read from here on: {}".format(text[position:].strip() or "(end)")
            )
        word = pair.group(3)
        found[pair.group(2)] = word.lower() == "true" if word[0] in "tTfF" else ast.literal_eval(word)
        position = pair.end()
        if pair.group(4) == "}":
            return found, text[position:]
