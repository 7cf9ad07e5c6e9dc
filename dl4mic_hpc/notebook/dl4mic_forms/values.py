"""Puts the values of a form into the source of its cell, as Colab does.

A field that still has its default keeps its source untouched; the others are replaced by a literal on their
line, so lines never move and error messages point at the right one. It runs inside images with old Pythons:
standard library and Python 3.7 syntax only.
"""

from __future__ import annotations

import math
from typing import Any, Mapping

from .forms import Field, Form, is_date, is_expression


def substitute(source: str, form: Form, values: Mapping[str, Any]) -> str:
    """`source` with `values` (by field name) in place; ValueError says which value its field cannot take."""
    lines = source.split("\n")
    for field in form.fields:
        if field.name in values:
            line = lines[field.line - 1]
            lines[field.line - 1] = (
                line[: field.start] + literal(field, values[field.name]) + line[field.end :]
            )
    return "\n".join(lines)


def literal(field: Field, value: Any) -> str:
    """The source text for `value` in `field`; ValueError, in plain words, if the field cannot take it."""
    if value == field.value and isinstance(value, bool) == isinstance(field.value, bool):
        return field.source
    if field.kind in ("number", "integer", "slider"):
        return _number(field, value)
    if field.kind == "boolean":
        if not isinstance(value, bool):
            raise ValueError(f"'{field.name}' is yes or no (true or false), not {value!r}")
        return repr(value)
    if field.kind in ("raw", "raw dropdown") and isinstance(value, (bool, int, float)):
        value = repr(value)
    if not isinstance(value, str):
        raise ValueError(f"'{field.name}' is a text, not {value!r}")
    if field.options and value not in field.options and not field.allow_input:
        raise ValueError(
            "'{}' cannot be {!r}; choose one of: {}".format(field.name, value, ", ".join(field.options))
        )
    if field.kind == "date" and not is_date(value):
        raise ValueError(f"'{field.name}' is a date written YYYY-MM-DD, not {value!r}")
    if field.kind in ("raw", "raw dropdown"):
        if not is_expression(value):
            raise ValueError(f"'{field.name}' must be one Python expression, which {value!r} is not")
        return value.strip()
    return repr(value)


def _number(field: Field, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"'{field.name}' is a number, not {value!r}")
    if field.kind == "slider" and not field.minimum <= value <= field.maximum:
        raise ValueError(f"'{field.name}' goes from {field.minimum} to {field.maximum}; {value!r} is outside")
    if field.kind == "integer" and value != int(value):
        raise ValueError(f"'{field.name}' is a whole number, not {value!r}")
    whole = isinstance(field.value, int) and value == int(value)
    return repr(int(value) if whole else float(value))
