"""Finds the statements and comments of a notebook cell.

Python's own tokenizer stops at `!ls` and `%time`, which notebook cells are full of; this scanner only follows
strings, brackets and continued lines, and steps over shell and magic lines. It runs inside images with old
Pythons: standard library and Python 3.7 syntax only.
"""

from __future__ import annotations

import re
from typing import Iterator, NamedTuple

_SHELL = re.compile(r"\s*(?:[!%]|[\w.,\s]+=\s*[!%])")
_SPECIAL = re.compile(r"[\"'#()\[\]{}]")
_END_OF_STRING = {
    quote: re.compile(rf"(?:[^\\]|\\.)*?{quote}") for quote in ('"', "'", '"""', "'''")
}  # a backslash keeps a quote from ending even a raw string


class Comment(NamedTuple):
    """A comment: its line (from 1), the column of its first `#` (from 0), and its text from there on."""

    line: int
    column: int
    text: str


class Statement(NamedTuple):
    """The lines `first` to `last` (from 1) of one statement, or of several on one line, with its comments.

    A line that is blank or holds only a comment is one, too. `shell` tells that IPython hands it to a shell or
    a magic; no comment is seen in it.
    """

    first: int
    last: int
    comments: tuple[Comment, ...]
    shell: bool


def statements(source: str) -> Iterator[Statement]:
    """The statements of `source`, in order; every line belongs to exactly one.

    Where a bracket or a string is never closed, the rest of the cell is taken line by line: such a cell does
    not run, but its form can be shown.
    """
    lines = source.split("\n")
    first, broken = 0, False
    while first < len(lines):
        last, found, closed = _statement(lines, first, just_one_line=broken)
        broken = broken or not closed
        yield Statement(first + 1, last + 1, tuple(found), _is_shell(lines[first]))
        first = last + 1


def comments(source: str) -> Iterator[Comment]:
    """Every comment of `source` that stands outside strings, shell lines and magic lines."""
    for statement in statements(source):
        yield from statement.comments


def cell_magic(source: str) -> tuple[int, str]:
    """The line (from 1) and name of the first magic that takes the whole cell ("%%time"); (0, "") if none does.

    Comments may stand above it, as on Colab.
    """
    for number, line in enumerate(source.split("\n"), 1):
        if line.startswith("%%"):
            return number, line.split()[0]
        if line.strip() and not line.lstrip().startswith("#"):
            break
    return 0, ""


def magic_first(source: str) -> str:
    """`source` with the magic that takes the whole cell above the comments, where IPython looks for it."""
    number, _ = cell_magic(source)
    lines = source.split("\n")
    return "\n".join([lines[number - 1], *lines[: number - 1], *lines[number:]]) if number > 1 else source


def _is_shell(line: str) -> bool:
    return _SHELL.match(line) is not None


def _statement(lines: list[str], first: int, *, just_one_line: bool) -> tuple[int, list[Comment], bool]:
    """The index of the last line, the comments, and whether everything that was opened is closed again."""
    if _is_shell(lines[first]):
        last = first
        while lines[last].endswith("\\") and last + 1 < len(lines):
            last += 1
        return last, [], True
    found: list[Comment] = []
    quote, depth, last = "", 0, first
    while True:
        quote, depth, column, continued = _line(lines[last], quote, depth)
        if column is not None:
            found.append(Comment(last + 1, column, lines[last][column:]))
        if just_one_line or not (quote or depth or continued):
            return last, found, True
        if last + 1 == len(lines):
            if quote or depth:
                return first, [each for each in found if each.line == first + 1], False
            return last, found, True
        last += 1


def _line(line: str, quote: str, depth: int) -> tuple[str, int, int | None, bool]:
    """What is open after a line, the column of its comment, and whether a backslash continues it."""
    line = line.rstrip("\r")
    continued = (len(line) - len(line.rstrip("\\"))) % 2 == 1
    column = 0
    while True:
        if quote:
            end = _END_OF_STRING[quote].match(line, column)
            if end is None:
                return (quote if len(quote) == 3 or continued else ""), depth, None, continued
            quote, column = "", end.end()
        special = _SPECIAL.search(line, column)
        if special is None:
            return "", depth, None, continued
        char, column = special.group(), special.end()
        if char == "#":
            return "", depth, column - 1, False
        if char in "\"'":
            quote = char * 3 if line.startswith(char * 3, column - 1) else char
            column += len(quote) - 1
        else:
            depth = depth + 1 if char in "([{" else max(0, depth - 1)
