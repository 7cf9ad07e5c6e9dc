"""Puts the values of a form into the source of its cell, as Colab does.

A field that still has its default keeps its source untouched; the others are replaced by a literal in its
place, so lines never move and error messages point at the right one. It runs inside images with old Pythons:
standard library and Python 3.7 syntax only.
"""

from __future__ import annotations

import math
from typing import Any, Mapping

from .forms import NUMBERS, VERBATIM, Field, Form, Value, is_date, is_expression
from .scan import comments

_YES_OR_NO = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def substitute(source: str, form: Form, values: Mapping[str, Any]) -> str:
    """`source` with `values` (by field name) in place; ValueError says which value its field cannot take.

    A field that is not among the values, or whose value is None, keeps what is written.
    """
    lines = source.split("\n")
    for field in form.fields:
        new = literal(field, values.get(field.name))
        if new != field.source:
            first, last = field.start[0], field.end[0]
            before, after = lines[first - 1][: field.start[1]], lines[last - 1][field.end[1] :]
            if first == last:
                lines[first - 1] = before + new + after
            else:
                lines[first - 1 : last] = _over_lines(new, before, after, field, source)
    return "\n".join(lines)


def literal(field: Field, value: Any) -> str:
    """The source text for `value` in `field`; ValueError, in plain words, if the field cannot take it."""
    if value is None or (value == field.value and isinstance(value, bool) == isinstance(field.value, bool)):
        return field.source
    if field.kind in NUMBERS:
        return _number(field, value)
    if field.kind == "boolean":
        if not isinstance(value, bool):
            raise ValueError(f"'{field.name}' is yes or no (true or false), not {value!r}")
        return repr(value)
    if (field.options or field.kind in VERBATIM) and isinstance(value, (bool, int, float)):
        value = repr(value)
    if not isinstance(value, str):
        raise ValueError(f"'{field.name}' is a text, not {value!r}")
    if field.options and value not in field.options and value != field.value and not field.allow_input:
        raise ValueError(
            "'{}' cannot be {!r}; choose one of: {}".format(field.name, value, ", ".join(field.options))
        )
    if field.kind == "date" and not is_date(value):
        raise ValueError(f"'{field.name}' is a date written YYYY-MM-DD, not {value!r}")
    if field.kind in VERBATIM:
        if not is_expression(value):
            raise ValueError(f"'{field.name}' must be one Python expression, which {value!r} is not")
        return value.strip()
    return repr(value)


def convert_text(field: Field, text: str) -> Value:
    """The value that `text` (of a command line, or of settings) is in `field`; ValueError in plain words.

    An empty text is None, the value as written, where the field has no value of its own to show.
    """
    word = text.strip()
    value: Value = text
    if not word and field.value is None:
        return None
    if field.kind in NUMBERS:
        value = _read_number(field, word)
    elif field.kind == "boolean":
        if word.lower() not in _YES_OR_NO:
            raise ValueError(f"'{field.name}' is yes or no (true or false), not {text!r}")
        value = _YES_OR_NO[word.lower()]
    elif field.kind == "date" or field.kind in VERBATIM:
        value = word
    literal(field, value)
    return value


def _over_lines(new: str, before: str, after: str, field: Field, source: str) -> list[str]:
    """`new` in the place of a value of several lines: as many lines, with the comments that stood in it."""
    first, last = field.start[0], field.end[0]
    lines = [""] * (last - first + 1)
    lines[0], lines[-1] = f"{before}({new}", f"){after}"
    for comment in comments(source):
        if first <= comment.line < last:
            lines[comment.line - first] += "  " + comment.text
    return lines


def _read_number(field: Field, word: str) -> int | float:
    for convert in (int, float):
        try:
            return convert(word)
        except ValueError:
            continue
    point = word.replace(",", ".", 1)
    meant = f"; write {point}" if "," in word and point.replace(".", "", 1).strip("+-").isdigit() else ""
    raise ValueError(f"'{field.name}' is a number, not {word!r}{meant}")


def _number(field: Field, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < math.inf:
        raise ValueError(f"'{field.name}' is a number, not {value!r}")
    if field.kind == "slider" and not field.minimum <= value <= field.maximum:
        raise ValueError(f"'{field.name}' goes from {field.minimum} to {field.maximum}; {value!r} is outside")
    if field.kind == "integer" and value != int(value):
        raise ValueError(f"'{field.name}' is a whole number, not {value!r}")
    whole = not isinstance(field.value, float) and value == int(value)
    return repr(int(value) if whole else float(value))
