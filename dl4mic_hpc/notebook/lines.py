"""The statements of a cell: which lines are Python, which go to a shell, and what of them is neither string nor comment.

Python's own tokenizer stops at `!ls` and `%time`, which notebooks are full of, and the laptop need not have
IPython. This scanner follows strings, brackets and continued lines only, which is enough to tell statements apart.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from dl4mic_hpc.notebook.dl4mic_forms.parameters import MAGIC

_SHELL = re.compile(r"\s*(?:[\w.,\s]+=\s*)?[!%]")
_MARK = re.compile(r"[#\"'()\[\]{}\\]")
_IN_STRING = {quote: re.compile(rf"\\|{quote}") for quote in ("'", '"', "'''", '"""')}
_SHELL_CELLS = ("bash", "sh", "shell", "system", "sx")
_PYTHON_CELLS = ("time", "timeit", "capture", "prun", "memit", "mprun")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Lines that belong together. `number` is the first one's, from 1.

    `kind` is python, shell (`!…`, `%…`, a line of a %%bash cell) or other (a cell in another language).
    `code` are the lines without their comments, `masked` those with the insides of strings blanked as well.
    """

    number: int
    kind: str
    lines: tuple[str, ...]
    code: tuple[str, ...]
    masked: tuple[str, ...]

    @property
    def indent(self) -> str:
        return self.lines[0][: len(self.lines[0]) - len(self.lines[0].lstrip())]

    @property
    def joined(self) -> str:
        """A shell's line with its continuations."""
        parts = [line.rstrip().removesuffix("\\") for line in self.lines[:-1]]
        return " ".join([*(part.rstrip() for part in parts), self.lines[-1].strip()]).strip()


def cell_magic(source: str) -> str:
    """The name of the cell magic on top, "" if there is none."""
    found = re.match(r"\s*%%(\w+)", source)
    return found[1] if found else ""


def shell_cell(source: str) -> bool:
    """Whether the lines of the cell are a shell's."""
    first = source.lstrip().split("\n", 1)[0].split()
    script = first[:1] == ["%%script"] and first[1:2] != [] and first[1].rsplit("/", 1)[-1] in _SHELL_CELLS
    return script or cell_magic(source) in _SHELL_CELLS


@functools.lru_cache(maxsize=512)  # every step of a conversion asks for the same cells
def statements(source: str) -> tuple[Statement, ...]:
    """Every statement in order, blank lines left out."""
    return tuple(_statements(source))


def _statements(source: str) -> Iterator[Statement]:
    lines = source.split("\n")
    magic = cell_magic(source)
    kind = "shell" if shell_cell(source) else "other"
    foreign = magic and not (magic in _PYTHON_CELLS or magic == MAGIC[2:])
    number = 0
    while number < len(lines):
        if not lines[number].strip():
            number += 1
            continue
        if foreign or _SHELL.match(lines[number]):
            end = _shell_end(lines, number)
            own = tuple(lines[number:end])
            yield Statement(
                number=number + 1, kind=kind if foreign else "shell", lines=own, code=own, masked=own
            )
        else:
            end, code, masked = _python(lines, number)
            own = tuple(lines[number:end])
            yield Statement(
                number=number + 1, kind="python", lines=own, code=tuple(code), masked=tuple(masked)
            )
        number = end


def _shell_end(lines: list[str], start: int) -> int:
    end = start
    while end < len(lines) - 1 and lines[end].rstrip().endswith("\\"):
        end += 1
    return end + 1


def _python(lines: list[str], start: int) -> tuple[int, list[str], list[str]]:
    """Where the Python statement that begins on line `start` ends, and its lines without comments and strings."""
    quote, depth = "", 0
    code: list[str] = []
    masked: list[str] = []
    for number in range(start, len(lines)):
        line, column, cut = lines[number], 0, len(lines[number])
        shown: list[str] = []
        while column < cut:
            found = (_IN_STRING[quote] if quote else _MARK).search(line, column)
            at = found.start() if found else cut
            shown.append(" " * (at - column) if quote else line[column:at])
            if found is None:
                break
            char, column = line[at], at + 1
            if char == "\\":
                column = min(at + 2, cut)
                shown.append(" " * (column - at) if quote else line[at:column])
                continue
            if char == "#":
                cut = at
                break
            if quote:
                column = at + len(quote)
                quote = ""
            elif char in "\"'":
                quote = char * 3 if line.startswith(char * 3, at) else char
                column = at + len(quote)
            else:
                depth = max(0, depth + (1 if char in "([{" else -1))
            shown.append(line[at:column])
        code.append(line[:cut])
        masked.append("".join(shown))
        continued = cut == len(line) and line.endswith("\\")
        if len(quote) == 1 and not continued:
            quote = ""
        if not (quote or depth or continued):
            return number + 1, code, masked
    return len(lines), code, masked
