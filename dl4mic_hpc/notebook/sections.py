"""The numbered sections of a notebook, as ZeroCostDL4Mic numbers them, and which cells each of them holds."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

_HEADING = re.compile(r"\s{0,3}(#{1,6})\s*(.*?)\s*#*\s*")
_NUMBER = re.compile(r"(\d+(?:\.\d+)*)\.?(?=\s|$)\s*(.*)")
_FENCE = re.compile(r"\s{0,3}(```|~~~)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A heading line. `title` is what a reader sees of it, split into `number` ("" or such as "1.2") and `text`.

    `level` counts its # marks, `first` tells that nothing stands above it in its cell.
    """

    cell: int
    level: int
    title: str
    number: str
    text: str
    first: bool

    def within(self, section: Heading) -> bool:
        """Whether this heading, coming after `section`, still belongs to it: deeper in numbers or in marks."""
        if self.number and section.number:
            return self.number.startswith(f"{section.number}.")
        return self.level > section.level


class SectionError(ValueError):
    """A section that cannot be removed; `cell` is its index, or None where there is no such section."""

    def __init__(self, message: str, cell: int | None = None) -> None:
        super().__init__(message)
        self.cell = cell


def headings(cells: Sequence[Any]) -> Iterator[Heading]:
    """Every heading of the Markdown cells, in order."""
    for index, cell in enumerate(cells):
        fenced, first = False, True
        for line in cell.source.split("\n") if cell.cell_type == "markdown" else ():
            if _FENCE.match(line):
                fenced = not fenced
            found = None if fenced else _HEADING.fullmatch(line)
            if found:
                title = shown(found[2])
                number = _NUMBER.fullmatch(title)
                yield Heading(
                    cell=index,
                    level=len(found[1]),
                    title=title,
                    number=number[1] if number else "",
                    text=number[2] if number else title,
                    first=first,
                )
            first = first and not shown(line).strip("-*_ ")  # a rule or an anchor is no text


def shown(text: str) -> str:
    """What a reader sees of a line of Markdown: no emphasis marks, tags or addresses of links."""
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)|<[^>]*>", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"(?<!\\)(?:[*`]|\b_|_\b)", "", text)
    return html.unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)).strip()


def numbers(cells: Sequence[Any]) -> list[str]:
    """For every cell the number of the innermost numbered section that it lies in, "" above the first."""
    open_: list[Heading] = []
    found = []
    tree = list(headings(cells))
    for index in range(len(cells)):
        for heading in (each for each in tree if each.cell == index):
            while open_ and not heading.within(open_[-1]):
                open_.pop()
            open_.append(heading)
        found.append(next((each.number for each in reversed(open_) if each.number), ""))
    return found


def find(cells: Sequence[Any], number: str) -> tuple[Heading, range]:
    """The section `number` ("1.1" or "1.1.") and the cells it holds, up to the next heading outside it.

    SectionError if there is none or more than one, or if it does not begin and end between cells.
    """
    wanted = number.rstrip(".")
    tree = list(headings(cells))
    found = [heading for heading in tree if heading.number == wanted]
    if not found:
        there = ", ".join(heading.number for heading in tree if heading.number) or "none"
        raise SectionError(f"there is no section {wanted} to remove; the numbered sections are: {there}")
    section = found[0]
    if len(found) > 1:
        raise SectionError(
            f"section {wanted} exists {len(found)} times, so it is not clear which to remove", found[1].cell
        )
    after = tree[tree.index(section) + 1 :]
    end = next((heading for heading in after if not heading.within(section)), None)
    for edge in (section, end):
        if edge is not None and not edge.first:
            raise SectionError(
                f"section {wanted} cannot be cut out: the heading '{edge.text}' is not the first line of its cell",
                edge.cell,
            )
    return section, range(section.cell, end.cell if end else len(cells))
