"""Marks what points to sections that were removed, and leads links to headings where JupyterLab finds them.

"Section 2" in a text becomes "section 2 (not needed here)". Nothing is renumbered. Marked are Markdown cells and
comments; a string of the code that names a removed section is reported only.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from dl4mic_hpc.notebook.lines import statements
from dl4mic_hpc.notebook.sections import Heading, headings, shown

MARK = "(not needed here)"

_WORD = re.compile(r"\b[Ss](?:ections?|ECTIONS?)(?=[\s*_`])")
_NUMBER = re.compile(r"[\s*_`]*(?:[Ss]ections?[\s*_`]+)?(\d+(?:\.\d+)*)(?!\w)")
_BETWEEN = re.compile(
    r"[*_`]*\.?\s*[*_`]*(?:,\s*(?:and|or)\b|and/or\b|and\b|or\b|to\b|through\b|[,\-–—/&])(?=[\s*_`\d])"
)
_ESCAPED_IN_LINKS = '"<>`'
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(\s*<?([^)\s>]*)>?\s*\)")
_HREF = re.compile(r"(<a\b[^>]*?\bhref\s*=\s*)([\"'])(.*?)\2([^>]*>)(.*?)</a>", re.I | re.S)
_NAMED = re.compile(r"<\w+\b[^>]*?\b(?:name|id)\s*=\s*[\"']([^\"']+)[\"']", re.I)
_SCROLL = re.compile(r"scrollTo=([\w-]+)")
_ENTRY = re.compile(r"\s*(?:[-*+]|\d+[.)])?\s*(.*?)\s*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A reference: `line` from 1, `section` its number or the link's address."""

    line: int
    section: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Map:
    """What there is to point to. Cells by their index in the original notebook, `gone` those that were removed.

    `removed` are the numbers that no heading has any more; `ids` finds a cell by Colab's id, `names` by an anchor.
    """

    headings: Sequence[Heading]
    gone: Set[int]
    removed: Set[str]
    titles: Set[str]
    ids: Mapping[str, int]
    names: Mapping[str, int]


def survey(cells: Sequence[Any], gone: Set[int]) -> Map:
    """The map of the original notebook, whose cells `gone` are to be removed."""
    tree = list(headings(cells))
    kept = {each.number for each in tree if each.cell not in gone}
    names: dict[str, int] = {}
    ids: dict[str, int] = {}
    for index, cell in enumerate(cells):
        colab = cell.metadata.get("id")
        if isinstance(colab, str):
            ids.setdefault(colab, index)
        for name in _NAMED.findall(cell.source) if cell.cell_type == "markdown" else ():
            names.setdefault(name, index)
    return Map(
        headings=tree,
        gone=gone,
        removed={each.number for each in tree if each.cell in gone and each.number} - kept,
        titles={_plain(each.title) for each in tree if each.cell in gone and each.title},
        ids=ids,
        names=names,
    )


@dataclass(slots=True, kw_only=True)
class Marked:
    """A text with its references marked; `broken` are links that lead nowhere."""

    text: str
    marked: list[Found] = field(default_factory=list)
    broken: list[Found] = field(default_factory=list)


def markdown(text: str, where: Map) -> Marked:
    """A Markdown cell's text with its links led to headings and its references marked."""
    result = Marked(text=text)
    if not (where.removed or "](#" in text or "scrollTo=" in text or "href" in text):
        return result
    result.text = _links(text, where, result)
    if where.removed:
        lines = result.text.split("\n")
        for number, line in enumerate(lines, 1):
            lines[number - 1] = _line(line, where, number, result)
        result.text = "\n".join(lines)
    result.marked.sort(key=lambda each: each.line)
    return result


def code(source: str, where: Map) -> Marked:
    """A code cell with the references in its comments marked; `broken` names those in strings, which stay."""
    result = Marked(text=source)
    if not where.removed or not _WORD.search(source):
        return result
    lines = source.split("\n")
    for statement in statements(source):
        for offset, (line, bare) in enumerate(zip(statement.lines, statement.code, strict=True)):
            number = statement.number + offset
            if statement.kind == "python":
                comment = _references(line[len(bare) :], where.removed, number, result.marked)
                lines[number - 1] = bare + comment
            _references(bare, where.removed, number, result.broken)
    result.text = "\n".join(lines)
    return result


def anchor(title: str) -> str:
    """JupyterLab's anchor of a heading: its shown text with blanks as dashes (packages/rendermime, createHeaderId).

    Escaped exactly as a browser does it: JupyterLab 4 compares the two without decoding. It therefore does not
    follow links to headings with letters beyond ASCII, its own included; JupyterLab 3 does.
    """
    return "".join(
        char if char.isascii() and char not in _ESCAPED_IN_LINKS else _percent(char)
        for char in title.replace(" ", "-")
    )


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode())


def _decoded(address: str) -> str:
    return re.sub(
        r"(?:%[0-9A-Fa-f]{2})+",
        lambda found: bytes.fromhex(found[0].replace("%", "")).decode(errors="replace"),
        address,
    )


def _line(line: str, where: Map, number: int, result: Marked) -> str:
    done = _references(line, where.removed, number, result.marked)
    entry = _ENTRY.fullmatch(line)
    if (
        done == line
        and entry
        and not line.lstrip().startswith("#")
        and _plain(shown(entry[1])) in where.titles
    ):
        result.marked.append(Found(line=number, section=shown(entry[1])))
        return f"{line.rstrip()} {MARK}"
    return done


def _references(text: str, removed: Set[str], line: int, found: list[Found]) -> str:
    """`text` with every number of a removed section marked, if it stands behind the word "section"."""
    parts, done = [], 0
    for word in _WORD.finditer(text):
        position = word.end()
        if position < done:
            continue
        while number := _NUMBER.match(text, position):
            position = number.end()
            if number[1] in removed and not text[position:].lstrip(" ").startswith(MARK):
                found.append(Found(line=line, section=number[1]))
                parts += [text[done:position], f" {MARK}"]
                done = position
            between = _BETWEEN.match(text, position)
            if between is None:
                break
            position = between.end()
    return "".join([*parts, text[done:]])


def _links(text: str, where: Map, result: Marked) -> str:
    def line_of(match: re.Match[str]) -> int:
        return text.count("\n", 0, match.start()) + 1

    def lead(match: re.Match[str], address: str, shown_text: str, write: Callable[[str], str]) -> str:
        target = _target(address, where)
        if target is None:
            return match[0]
        if target < 0:
            target = _named_in(shown_text, where)
        found = Found(line=line_of(match), section=address)
        if target in where.gone:
            result.marked.append(found)
            return shown_text if _WORD.search(shown_text) else f"{shown_text} {MARK}"
        title = "" if target < 0 else _title_at(target, where)
        if not title:
            result.broken.append(found)
            return match[0]
        return write(f"#{anchor(_references(title, where.removed, 0, []))}")

    text = _LINK.sub(
        lambda m: lead(
            m, m[2], m[1], lambda to: f"[{m[1]}](<{to}>)" if set("()") & set(to) else f"[{m[1]}]({to})"
        ),
        text,
    )
    return _HREF.sub(
        lambda m: lead(m, m[3], m[5], lambda to: f"{m[1]}{m[2]}{html.escape(to)}{m[2]}{m[4]}{m[5]}</a>"), text
    )


def _target(address: str, where: Map) -> int | None:
    """The cell that a link leads to; -1 if there is none in this notebook, None if the link leads elsewhere."""
    scroll = _SCROLL.search(address)
    if scroll:
        outside = -1 if address.startswith("#") else None
        return where.ids.get(scroll[1], outside)
    if not address.startswith("#") or address == "#":
        return None
    name = _decoded(address[1:])
    if name in where.names:
        return where.names[name]
    for heading in where.headings:
        if name in (heading.title.replace(" ", "-"), heading.text.replace(" ", "-")) or _plain(
            name
        ) == _plain(heading.title):
            return heading.cell
    return -1


def _named_in(text: str, where: Map) -> int:
    """The cell of the section that a link's own words name, -1 if they name none."""
    word = _WORD.search(text)
    number = word and _NUMBER.match(text, word.end())
    return next((each.cell for each in where.headings if number and each.number == number[1]), -1)


def _title_at(cell: int, where: Map) -> str:
    """The first heading of a cell, or the last one above it that stays."""
    inside = [each.title for each in where.headings if each.cell == cell]
    above = [each.title for each in where.headings if each.cell < cell and each.cell not in where.gone]
    return inside[0] if inside else above[-1] if above else ""


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", text.casefold())
