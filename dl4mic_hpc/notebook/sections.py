"""The numbered sections of a notebook, as ZeroCostDL4Mic numbers them, and which cells each of them holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

_HEADING = re.compile(r"\s{0,3}(#{1,6})\s*(.*?)\s*#*\s*")
_NUMBER = re.compile(r"(\d+(?:\.\d+)*)\.?(?=\s|$)\s*(.*)")
_FENCE = re.compile(r"\s{0,3}(```|~~~)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A heading line. `number` is "" or such as "1.2"; `level` counts its # marks; `first` in its cell."""

    cell: int
    level: int
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
    """Every heading of the Markdown cells, in order, emphasis marks taken off."""
    for index, cell in enumerate(cells):
        fenced, first = False, True
        for line in cell.source.split("\n") if cell.cell_type == "markdown" else ():
            if _FENCE.match(line):
                fenced = not fenced
            found = None if fenced else _HEADING.fullmatch(line)
            if found:
                text = found[2].replace("*", "").strip()
                number = _NUMBER.fullmatch(text)
                yield Heading(
                    cell=index,
                    level=len(found[1]),
                    number=number[1] if number else "",
                    text=number[2] if number else text,
                    first=first,
                )
            first = first and not line.strip()


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
