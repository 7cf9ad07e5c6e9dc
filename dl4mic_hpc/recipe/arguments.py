"""The arguments of one instruction, split the way BuildKit splits them: words, KEY=VALUE pairs, JSON arrays."""

from __future__ import annotations

import json
import math
import re

from dl4mic_hpc.recipe.lexer import SPACES

_BLANKS = re.compile(r"[\t\v\f\r ]+")
_SURROGATES = re.compile(r"[\ud800-\udfff]")


class ArgumentError(ValueError):
    """The arguments do not have the form that the instruction asks for; the message says which."""


def words(text: str) -> tuple[str, ...]:
    """`text` split at blanks; quotes mean nothing here."""
    return tuple(_BLANKS.split(text)) if text else ()


def first_word(text: str) -> tuple[str, str]:
    """The first word and what follows it: an instruction and its arguments, HEALTHCHECK's `CMD` and its command."""
    word, *rest = _BLANKS.split(text.strip(SPACES), maxsplit=1)
    return word, "".join(rest)


def quoted_words(text: str, *, escape: str) -> tuple[str, ...]:
    """`text` split at blanks that are neither quoted nor escaped; quotes and escapes stay in for the expansion."""
    found: list[str] = []
    word = quote = ""
    at = 0
    while at < len(text):
        char = text[at]
        if not quote and char in SPACES:
            found.append(word)
            word = ""
        elif char == escape and quote != "'":
            # An escape at the very end escapes nothing and is dropped.
            word += text[at : at + 2] if at + 1 < len(text) else ""
            at += 1
        else:
            if char == quote:
                quote = ""
            elif not quote and char in "'\"":
                quote = char
            word += char
        at += 1
    return tuple(word for word in (*found, word) if word)


def pairs(text: str, *, escape: str) -> tuple[tuple[str, str], ...]:
    """The `KEY=VALUE …` of ENV and LABEL, unexpanded. ArgumentError for anything else.

    Where the first word has no `=` the old form `KEY VALUE` is meant: one pair, and all the rest is its value.
    """
    split = quoted_words(text, escape=escape)
    if not split:
        raise ArgumentError("KEY=VALUE is missing")
    if "=" in split[0]:
        return tuple(_pair(word) for word in split)
    name, value = first_word(text)
    if not value:
        raise ArgumentError(f"'{name}' has no value; write {name}=VALUE")
    return ((name, value),)


def _pair(word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals:
        raise ArgumentError(f"'{word}' is not of the form KEY=VALUE")
    if not key:
        raise ArgumentError(f"'{word}' has no name before the =")
    return key, value


def json_array(text: str) -> tuple[str, ...] | None:
    """The strings of a JSON array, None if `text` is none. ArgumentError for an array that holds anything else.

    A text that merely begins like an array (`[ -d /x ] && …`, `["a"] b`) is a shell command to Docker, and None
    here. (Until BuildKit 0.13 what followed the array was ignored.)
    """
    if not text.lstrip(SPACES).startswith("["):
        return None
    try:
        values = json.loads(
            text.lstrip(SPACES), parse_constant=_no_constant, parse_float=_number, parse_int=_number
        )
    except RecursionError as error:
        raise ArgumentError("the JSON array is nested too deeply") from error
    except ValueError:
        return None
    if not all(isinstance(value, str) for value in values):
        raise ArgumentError("a JSON array here may hold strings only")
    if any("\0" in value for value in values):
        raise ArgumentError("a NUL character stands in the JSON array")
    # Half of a surrogate pair is no character: Go puts the replacement character there.
    return tuple(_SURROGATES.sub("\ufffd", value) for value in values)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _number(text: str) -> float:
    """Go takes no number that a float cannot hold, Python does."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is too large")
    return value
