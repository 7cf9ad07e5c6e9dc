"""Reads what follows `#@param` and `#@title`: a list of choices, `{key: value}` pairs, and a remark.

Both are JavaScript on Colab, so quotes of both kinds, bare keys, true, false and null are understood beside
Python's words. Standard library and Python 3.7 syntax only.
"""

from __future__ import annotations

import ast
import re
import warnings
from typing import Any, Mapping, NamedTuple

_STRING = r'"(?:[^"\\]|\\.)*"|' + r"'(?:[^'\\]|\\.)*'"
_PIECE = re.compile(rf"{_STRING}|[\[\](){{}},]")
_PAIR = re.compile(rf"""(["']?)([A-Za-z][\w-]*)\1\s*:\s*({_STRING}|[^,}}\s]+)""")
_TITLE_OPTIONS = re.compile(r"\{[^{}]*\}\s*$")
_WORDS = {"true": True, "false": False, "null": None}


class SpecError(ValueError):
    """A sentence about what cannot be read."""


class Spec(NamedTuple):
    """`choices` is None where there is no list; `remark` is the text after list and pairs."""

    choices: tuple[Any, ...] | None
    pairs: Mapping[str, Any]
    remark: str


def read(text: str) -> Spec:
    """What stands behind `#@param`; SpecError if a bracket or quote is not closed."""
    choices: tuple[Any, ...] | None = None
    pairs: dict[str, Any] = {}
    rest = text.lstrip()
    while (rest[:1] == "[" and choices is None) or (rest[:1] == "{" and not pairs):
        elements, after = _elements(rest)
        if rest[0] == "[":
            choices = tuple(_choice(element) for element in elements)
            if pairs:  # behind the braces a list is not Colab's way: it offers, and restricts nothing
                pairs.setdefault("allow-input", True)
        else:
            pairs = _pairs(rest[1 : len(rest) - len(after) - 1])
        rest = after.lstrip()
    return Spec(choices, pairs, rest.strip().lstrip("#]}),;").strip())


def read_title(text: str) -> tuple[str, Mapping[str, Any]]:
    """A title and the options at its end; braces that hold no options belong to the title."""
    found = _TITLE_OPTIONS.search(text)
    if found is not None:
        try:
            pairs = _pairs(found.group().strip()[1:-1])
        except SpecError:
            pairs = {}
        if pairs:
            return text[: found.start()].strip(), pairs
    return text.strip(), {}


def literal_value(source: str) -> Any:
    """What a written-out value means; ValueError if it is no literal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "\d" in a path is a warning of newer Pythons
        try:
            return ast.literal_eval(source)
        except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
            raise ValueError(str(error)) from None


def _elements(text: str) -> tuple[list[str], str]:
    """The parts between the commas of the bracket that `text` begins with, and what follows the bracket."""
    found, depth, start = [], 0, 1
    for piece in _PIECE.finditer(text):
        char = piece.group()
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        if depth == 0 or (depth == 1 and char == ","):
            found.append(text[start : piece.start()].strip())
            start = piece.end()
        if depth == 0:
            return [element for element in found if element], text[start:]
    kind = "list of choices" if text[0] == "[" else "{…} after it"
    raise SpecError(f"a bracket or quote of the {kind} is not closed: {text.strip()}")


def _choice(element: str) -> Any:
    if element in _WORDS:
        return _WORDS[element]
    try:
        return literal_value(element)
    except ValueError:
        if re.search(r"[\"'\[\]{}]", element):
            raise SpecError(f"the choices cannot be read from here on: {element}") from None
        return element


def _pairs(inside: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in _PAIR.finditer(inside):
        word = pair.group(3)
        if word[0] in "\"'" and (len(word) == 1 or word[-1] != word[0]):
            raise SpecError(f"a quote is not closed: {word}")
        try:
            found[pair.group(2)] = _WORDS[word] if word in _WORDS else literal_value(word)
        except ValueError:
            found[pair.group(2)] = word
    if inside.strip() and not found:
        raise SpecError(f"the options cannot be read from here on: {inside.strip()}")
    return found
