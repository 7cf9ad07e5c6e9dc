"""Dockerfile text -> instructions with their lines, as BuildKit's parser sees them.

Parser directives, comments, blank lines, continued lines (with comments and blank lines among them), flags,
here-documents, either escape character. The form of an instruction's arguments is `commands`' business, what they
mean `evaluate`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from dl4mic_hpc.errors import RecipeError, perhaps_you_meant
from dl4mic_hpc.recipe import arguments, heredocs, lexer
from dl4mic_hpc.recipe.heredocs import Heredoc as Heredoc
from dl4mic_hpc.recipe.lexer import SPACES

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

LINE_LIMIT = 65_535
"""Bytes in one line of the file, as in BuildKit."""
HEREDOC_LIMIT = 1 << 20
"""Bytes in one here-document. BuildKit has no such limit; Linux takes no more than 128 KiB as one command."""

_DIRECTIVE = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)[\t\f\r ]*=[\t\f\r ]*(.+?)[\t\f\r ]*")
_DIRECTIVES = ("check", "escape", "syntax")
# Docker's own front end, from wherever it is mirrored, in any version.
_SYNTAX = re.compile(r"(?:[\w.:-]+/)*docker/dockerfile(?:-upstream)?(?::[\w.-]+)?(?:@sha256:[0-9a-f]{64})?")
# Among the flags Docker's builder looks at bytes, not characters: no blank outside ASCII separates them.
_FLAG_SPACES = "\t\n\v\f\r "
_WITH_HEREDOCS = ("ADD", "COPY", "RUN")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction. keyword: in capitals. arguments: what follows it and its flags, on one line, trimmed.

    flags: `--name=value` words before the arguments, unquoted. heredocs: those that the arguments announce, in
    order. line: where it begins, from 1.
    """

    keyword: str
    arguments: str
    flags: tuple[str, ...]
    heredocs: tuple[Heredoc, ...] = ()
    line: int

    @property
    def whole(self) -> str:
        """The arguments with their here-documents as they were, for a shell, or for an image to keep (ONBUILD)."""
        return self.arguments + "".join(f"\n{each.content}{each.name}" for each in self.heredocs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dockerfile:
    """name: for messages (the file's name). escape: the escape character that the file chose."""

    name: str
    escape: str
    instructions: tuple[Instruction, ...]


def parse(data: bytes, *, name: str = "Dockerfile") -> Dockerfile:
    """The instructions in `data`, at least one. RecipeError with file and line if it is not a Dockerfile's text."""
    lines = _lines(data, name)
    escape = _escape(lines, name)
    instructions = tuple(_Parser(lines, name, escape).instructions())
    if not instructions:
        raise RecipeError(f"{name} has no FROM", hint="begin the recipe with FROM and the base image")
    return Dockerfile(name=name, escape=escape, instructions=instructions)


def refuse(name: str, line: int, what: str, *, hint: str) -> RecipeError:
    """The error for something that is not converted, in the one form that all of them have."""
    return RecipeError(f"{name}:{line}: {what}", hint=hint)


def _lines(data: bytes, name: str) -> list[str]:
    for number, line in enumerate(data.split(b"\n"), start=1):
        if len(line) > LINE_LIMIT:
            what = f"this line is longer than {LINE_LIMIT:,} bytes, and Docker takes no more"
            raise refuse(name, number, what, hint="put the text into a file of its own and COPY it")
        if b"\0" in line:
            raise refuse(name, number, "a NUL character stands in this line", hint="delete it")
    try:
        return data.decode("utf-8").removeprefix("\ufeff").split("\n")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise refuse(name, number, "this is not UTF-8 text", hint="save the file as UTF-8") from error


def _escape(lines: list[str], name: str) -> str:
    """The escape character that the directives choose. RecipeError for a file in another front end's language."""
    # Docker looks for `syntax` after a line for the kernel, and takes that line for a comment otherwise.
    has_shebang = lines[0].startswith("#!")
    seen: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if number == 1 and has_shebang:
            continue
        bare = line.strip(SPACES)
        found = _DIRECTIVE.fullmatch(bare[1:].lstrip(SPACES)) if bare.startswith("#") else None
        key = found.group(1).lower() if found else ""
        if not found or key not in _DIRECTIVES:
            break
        if key in seen:
            what = f"the directive '{key}' stands here a second time"
            raise refuse(name, number, what, hint="delete one of them")
        value = seen[key] = found.group(2)
        if key == "escape" and value not in ("\\", "`") and not has_shebang:
            raise refuse(name, number, f"'{value}' is no escape character", hint="choose \\ or `")
        if key == "syntax" and not _SYNTAX.fullmatch(value.partition(" ")[0]):
            what = f"the recipe is written for another language: {value}"
            raise refuse(name, number, what, hint="only docker/dockerfile is converted")
    return "\\" if has_shebang else seen.get("escape", "\\")


class _Parser:
    """One pass over the lines, whose ends are still as they are in the file but for the line feed."""

    def __init__(self, lines: list[str], name: str, escape: str) -> None:
        self.name, self.escape = name, escape
        self.numbered = enumerate(lines, start=1)

    def instructions(self) -> Iterator[Instruction]:
        for number, first in self.numbered:
            text = self.joined(first.rstrip("\r"))
            if text is not None:
                yield self.instruction(text, number)

    def joined(self, first: str) -> str | None:
        """The instruction that begins with this line, on one line; None for a comment or a blank line."""
        text, more = self.uncontinued("" if _is_comment(first) else first.lstrip(SPACES))
        if not text and not more:
            return None
        parts = [text]
        while more and (following := next(self.numbered, None)):
            line = following[1].rstrip("\r")
            if line.strip(SPACES) and not _is_comment(line):
                text, more = self.uncontinued(line)
                parts.append(text)
        return "".join(parts)

    def uncontinued(self, line: str) -> tuple[str, bool]:
        """The line without the escape character that ends it, and whether there was one: a doubled one is none."""
        bare = line.rstrip(" \t")
        if bare.endswith(self.escape) and not bare.endswith(self.escape * 2):
            return bare[:-1], True
        return line, False

    def instruction(self, text: str, line: int) -> Instruction:
        word, rest = arguments.first_word(text)
        keyword = word.upper()
        if keyword not in KEYWORDS:
            hint = (
                f"{perhaps_you_meant(word, KEYWORDS)}; if the line continues the one above, "
                f"that one needs a {self.escape} at its end"
            )
            raise refuse(self.name, line, f"there is no instruction '{word}'", hint=hint)
        bare, flags = split_flags(rest, self.escape)
        if garbled := [flag for flag in flags if not flag.isascii()]:
            what = f"Docker garbles what is not plain ASCII in an option: {garbled[0]}"
            raise refuse(self.name, line, what, hint="write it without accents and the like")
        try:
            announced = heredocs.announced(text) if self.may_announce(keyword, bare) else ()
        except (arguments.ArgumentError, lexer.LexError) as error:
            hint = "docs/reference/recipes.md shows the form"
            raise refuse(self.name, line, f"{keyword}: {error}", hint=hint) from error
        read = tuple(self.read(heredoc, line) for heredoc in announced)
        return Instruction(keyword=keyword, arguments=bare, flags=flags, heredocs=read, line=line)

    def may_announce(self, keyword: str, text: str) -> bool:
        """Whether the instruction, or the one that its ONBUILD keeps, is of a form that takes here-documents."""
        if keyword == "ONBUILD":
            word, rest = arguments.first_word(text)
            keyword, (text, _) = word.upper(), split_flags(rest, self.escape)
        return keyword in _WITH_HEREDOCS and arguments.json_array(text) is None

    def read(self, heredoc: Heredoc, line: int) -> Heredoc:
        """The here-document with the lines up to its end."""
        content: list[str] = []
        size = 0
        for _, text in self.numbered:
            if heredoc.ends_at(text):
                return replace(heredoc, content="".join(content))
            content.append(f"{text}\n")
            size += len(content[-1].encode())
            if size > HEREDOC_LIMIT:
                what = f"the here-document {heredoc.name} is longer than {HEREDOC_LIMIT:,} bytes"
                raise refuse(self.name, line, what, hint="put the text into a file of its own and COPY it")
        what = f"the here-document {heredoc.name} has no end"
        raise refuse(self.name, line, what, hint=f"write {heredoc.name} alone on a line after its last one")


def _is_comment(line: str) -> bool:
    return line.lstrip(SPACES).startswith("#")


def split_flags(text: str, escape: str) -> tuple[str, tuple[str, ...]]:
    """The arguments without the `--…` words before them, and those words with quotes and escapes taken away."""
    flags = []
    at = 0
    while at < len(text):
        if text[at] in _FLAG_SPACES:
            at += 1
            continue
        if not text.startswith("--", at):
            break
        word, at = _flag(text, at, escape)
        if word == "--":
            break
        flags.append(word)
    return text[at:].strip(SPACES), tuple(flags)


def _flag(text: str, at: int, escape: str) -> tuple[str, int]:
    word = quote = ""
    while at < len(text):
        char = text[at]
        if not quote and char in _FLAG_SPACES:
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
