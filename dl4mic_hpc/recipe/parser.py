"""Dockerfile text -> instructions with their lines, as BuildKit's parser sees them.

Covered: parser directives, comments, blank lines, continued lines (with comments and blank lines among them),
flags, either escape character. What the instructions mean is `evaluate`'s business; an unknown word in an
instruction's place and a here-document are refused here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from dl4mic_hpc.errors import RecipeError, perhaps_you_meant
from dl4mic_hpc.recipe import lexer

KEYWORDS = (
    *(
        "ADD",
        "ARG",
        "CMD",
        "COPY",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "FROM",
        "HEALTHCHECK",
        "LABEL",
        "MAINTAINER",
    ),
    *("ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
)

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*")
_DIRECTIVES = ("check", "escape", "syntax")
_SYNTAX = re.compile(r"(docker\.io/)?docker/dockerfile(:1([.-][\w.-]*)?)?")
_BLANKS = re.compile(r"[\t\v\f\r ]+")
_HEREDOC = re.compile(r"\d*<<-?\s*[^<]+")
_UNUSABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff]")
_HEREDOC_KEYWORDS = ("ADD", "COPY", "ONBUILD", "RUN")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction. keyword: in capitals. arguments: what follows it and its flags, on one line, trimmed.

    flags: `--name=value` words before the arguments, unquoted. line: where it begins, from 1.
    """

    keyword: str
    arguments: str
    flags: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dockerfile:
    """name: for messages (the file's name). escape: the escape character that the file chose."""

    name: str
    escape: str
    instructions: tuple[Instruction, ...]


def parse(data: bytes, *, name: str = "Dockerfile") -> Dockerfile:
    """The instructions in `data`. RecipeError with file and line if it is not a Dockerfile's text."""
    lines = _lines(data, name)
    escape, numbered = _directives(lines, name)
    instructions = []
    for number, first in numbered:
        text, more = _uncontinued("" if _is_comment(first) else first.lstrip(), escape)
        if not text and not more:
            continue
        parts = [text]
        while more and (following := next(numbered, None)):
            line = following[1]
            if line.strip() and not _is_comment(line):
                text, more = _uncontinued(line, escape)
                parts.append(text)
        instructions.append(_instruction("".join(parts), number, name, escape))
    return Dockerfile(name=name, escape=escape, instructions=tuple(instructions))


def refuse(name: str, line: int, what: str, *, hint: str) -> RecipeError:
    """The error for something that is not converted, in the one form that all of them have."""
    return RecipeError(f"{name}:{line}: {what}", hint=hint)


def _lines(data: bytes, name: str) -> list[str]:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise refuse(name, line, "this is not UTF-8 text", hint="save the file as UTF-8") from error
    lines = [line.rstrip("\r") for line in text.removeprefix("\ufeff").split("\n")]
    for number, content in enumerate(lines, start=1):
        if found := _UNUSABLE.search(content):
            what = f"the control character U+{ord(found.group()):04X} stands in this line"
            raise refuse(name, number, what, hint="delete it")
    return lines


def _uncontinued(line: str, escape: str) -> tuple[str, bool]:
    """The line without the escape character that ends it, and whether there was one: a doubled one is none."""
    bare = line.rstrip(" \t")
    if bare.endswith(escape) and not bare.endswith(escape * 2):
        return bare[:-1], True
    return line, False


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _directives(lines: list[str], name: str) -> tuple[str, Iterator[tuple[int, str]]]:
    """The escape character and the numbered lines after the parser directives."""
    seen: dict[str, str] = {}
    numbered = enumerate(lines, start=1)
    for number, line in enumerate(lines, start=1):
        found = _DIRECTIVE.fullmatch(line.lstrip())
        key = found.group(1).lower() if found else ""
        if not found or key not in _DIRECTIVES:
            break
        next(numbered)
        if key in seen:
            raise refuse(
                name, number, f"the directive '{key}' stands here a second time", hint="delete one of them"
            )
        seen[key] = found.group(2)
        if key == "escape" and seen[key] not in ("\\", "`"):
            raise refuse(name, number, f"'{seen[key]}' is no escape character", hint="choose \\ or `")
        if key == "syntax" and not _SYNTAX.fullmatch(seen[key]):
            what = f"the recipe is written for another language: {seen[key]}"
            raise refuse(name, number, what, hint="only docker/dockerfile:1 is converted")
    return seen.get("escape", "\\"), numbered


def _instruction(text: str, line: int, name: str, escape: str) -> Instruction:
    word, *rest = _BLANKS.split(text.strip(), maxsplit=1)
    keyword = word.upper()
    if keyword not in KEYWORDS:
        hint = f"{perhaps_you_meant(word, KEYWORDS)}; if the line continues the one above, that one needs a {escape} at its end"
        raise refuse(name, line, f"there is no instruction '{word}'", hint=hint)
    arguments, flags = _flags(rest[0] if rest else "", escape)
    if keyword in _HEREDOC_KEYWORDS and "<<" in text:
        for candidate in lexer.raw_words(text):
            if _HEREDOC.fullmatch(candidate):
                what = f"here-documents ({candidate}) are not converted yet"
                raise refuse(name, line, what, hint="put the text into a file of its own and COPY it")
    return Instruction(keyword=keyword, arguments=arguments.strip(), flags=flags, line=line)


def _flags(text: str, escape: str) -> tuple[str, tuple[str, ...]]:
    """The arguments without the `--…` words before them, and those words with quotes and escapes taken away."""
    flags = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        if not text.startswith("--", at):
            break
        word, at = _flag(text, at, escape)
        if word == "--":
            break
        flags.append(word)
    return text[at:], tuple(flags)


def _flag(text: str, at: int, escape: str) -> tuple[str, int]:
    word = quote = ""
    while at < len(text):
        char = text[at]
        if not quote and char.isspace():
            break
        if char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        elif char == escape:
            at += 1
            word += text[at : at + 1]
        else:
            word += char
        at += 1
    return word, at
