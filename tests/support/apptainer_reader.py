"""How Apptainer 1.4 reads a definition file, as far as it matters to what is written into one.

In order, as its build command does: the file is cut before every line that begins with `Bootstrap:`; `{{ name }}`
is a template; each part is read by lines through a buffer of 64 KiB that has to hold a whole section and the line
after it; a line ends at a line feed, and a carriage return before that is dropped; a line whose first word begins
with `%` starts a section; sections of one name are joined.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

BUFFER = 64 * 1024
SECTIONS = {
    *(
        "arguments",
        "environment",
        "files",
        "help",
        "labels",
        "post",
        "pre",
        "runscript",
        "setup",
        "startscript",
        "test",
    )
}


class ReadError(ValueError):
    """Apptainer would not take the definition, or would make something else of it."""


@dataclass(frozen=True)
class Definition:
    """The header's keys in small letters, and each section's body."""

    header: dict[str, str]
    sections: dict[str, str]


def read(text: str) -> Definition:
    """The one stage in `text`."""
    found = read_stages(text)
    if len(found) != 1:
        raise ReadError(f"{len(found)} stages")
    return found[0]


def read_stages(text: str) -> list[Definition]:
    """The stages in `text`, in order. `%files from NAME` is a section of that name, its lines joined."""
    if template := re.search(r"\{\{\s*\w+\s*\}\}", text):
        raise ReadError(f"a template: {template.group()}")
    starts = [found.start() for found in re.finditer(r"^bootstrap:", text, re.IGNORECASE | re.MULTILINE)]
    if starts[:1] != [0]:
        raise ReadError(f"stages at {starts}")
    return [_read_stage(text[start:end]) for start, end in itertools.pairwise([*starts, len(text)])]


def _read_stage(text: str) -> Definition:
    parts: list[list[str]] = [[]]
    for line in text.split("\n"):
        line = line.removesuffix("\r")
        words = line.split()
        if words and words[0].startswith("%"):
            parts.append([])
        parts[-1].append(line)
        if len(("\n".join(parts[-1]) + "\n").encode()) > BUFFER:
            raise ReadError("token too long")
    for section, following in itertools.pairwise(parts):
        if len(("\n".join(section) + "\n" + following[0] + "\n").encode()) > BUFFER:
            raise ReadError("token too long")
    header = {}
    for line in parts[0]:
        key, colon, value = line.split("#")[0].partition(":")
        if key.strip():
            if not colon:
                raise ReadError(f"a header without a value: {line}")
            header[key.strip().lower()] = value.strip()
    sections: dict[str, str] = {}
    for start, *lines in parts[1:]:
        name, *arguments = start.lstrip("%").lower().split()
        if name not in SECTIONS or (arguments and (name != "files" or arguments[0] != "from")):
            raise ReadError(f"a foreign section: {start}")
        name = " ".join([name, *arguments])
        sections[name] = sections.get(name, "") + "\n".join(lines) + "\n"
    return Definition(header=header, sections=sections)
