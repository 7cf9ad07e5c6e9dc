"""Finds the comments of a notebook cell.

Python's own tokenizer stops at `!ls` and `%time`, which notebook cells are full of; this scanner only follows
strings, brackets and continued lines, and steps over shell and magic lines. It runs inside images with old
Pythons: standard library and Python 3.7 syntax only.
"""

from __future__ import annotations

import re
from typing import Iterator, NamedTuple

_SHELL = re.compile(r"\s*(?:[!%]|[\w.,\s]+=\s*[!%])")


class Comment(NamedTuple):
    """A comment, with what stands before it on its line. Lines count from 1.

    `whole` tells that the code before it is all of its statement so far: the statement starts on this line and
    no bracket is open.
    """

    line: int
    code: str
    text: str
    whole: bool


def comments(source: str) -> Iterator[Comment]:
    """Every comment of `source` that stands outside strings, shell lines and magic lines."""
    quote, depth, continued, shell = "", 0, False, False
    for number, line in enumerate(source.split("\n"), 1):
        starts = not (quote or depth or continued)
        if starts:
            shell = _SHELL.match(line) is not None
        if shell:
            continued = line.endswith("\\")
            continue
        column, size = 0, len(line)
        while column < size:
            char = line[column]
            if quote:
                if char == "\\":
                    column += 2
                    continue
                if line.startswith(quote, column):
                    column += len(quote)
                    quote = ""
                    continue
            elif char == "#":
                whole = starts and not depth
                yield Comment(number, line[:column], line[column:], whole)
                break
            elif char in "\"'":
                quote = char * 3 if line.startswith(char * 3, column) else char
                column += len(quote)
                continue
            elif char in "([{":
                depth += 1
            elif char in ")]}":
                depth = max(0, depth - 1)
            column += 1
        continued = column >= size and line.endswith("\\")
        if len(quote) == 1 and not continued:
            quote = ""
