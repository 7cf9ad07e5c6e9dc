"""The arguments of one instruction, split the way BuildKit splits them: words, KEY=VALUE pairs, JSON arrays."""

from __future__ import annotations

import json
import re

_BLANKS = re.compile(r"[\t\v\f\r ]+")


class ArgumentError(ValueError):
    """The arguments do not have the form that the instruction asks for; the message says which."""


def words(text: str) -> tuple[str, ...]:
    """`text` split at blanks; quotes mean nothing here."""
    return tuple(_BLANKS.split(text)) if text else ()


def quoted_words(text: str, *, escape: str) -> tuple[str, ...]:
    """`text` split at blanks that are neither quoted nor escaped; quotes and escapes stay in for the expansion."""
    found: list[str] = []
    word: str | None = None
    quote = ""
    at = 0
    while at < len(text):
        char = text[at]
        if not quote and char.isspace():
            if word is not None:
                found.append(word)
            word = None
        elif char == escape and quote != "'":
            # An escape at the very end escapes nothing and is dropped.
            word = (word or "") + (text[at : at + 2] if at + 1 < len(text) else "")
            at += 1
        else:
            if char == quote:
                quote = ""
            elif not quote and char in "'\"":
                quote = char
            word = (word or "") + char
        at += 1
    if word is not None:
        found.append(word)
    return tuple(word for word in found if word)


def pairs(text: str, *, escape: str) -> tuple[tuple[str, str], ...]:
    """The `KEY=VALUE …` of ENV and LABEL, unexpanded. ArgumentError for the old form `KEY VALUE` and for none."""
    found = []
    for word in quoted_words(text, escape=escape):
        key, equals, value = word.partition("=")
        if not equals:
            raise ArgumentError(f"'{word}' is not of the form KEY=VALUE")
        if not key:
            raise ArgumentError(f"'{word}' has no name before the =")
        found.append((key, value))
    if not found:
        raise ArgumentError("KEY=VALUE is missing")
    return tuple(found)


def json_array(text: str) -> tuple[str, ...] | None:
    """The strings of a JSON array, None if `text` is none. ArgumentError for an array that holds anything else.

    A text that merely begins like an array (`[ -d /x ] && …`) is a shell command to Docker, and None here. An array
    with something after it is read in two ways by Docker's builders, and refused.
    """
    start = text.lstrip()
    if not start.startswith("["):
        return None
    try:
        values, end = json.JSONDecoder(parse_constant=_no_constant).raw_decode(start)
    except (ValueError, RecursionError):
        return None
    if start[end:].strip():
        raise ArgumentError(f"after the JSON array stands {start[end:].strip()!r}")
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ArgumentError("a JSON array here may hold strings only")
    for value in values:
        if re.search(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]", value):
            raise ArgumentError(f"a control character stands in {value!r}")
    return tuple(values)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
