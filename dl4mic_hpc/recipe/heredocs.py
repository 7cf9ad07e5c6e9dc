"""Here-documents: the lines after RUN, COPY or ADD up to a word that the instruction names after `<<`.

The rules are BuildKit's (https://docs.docker.com/reference/dockerfile/#here-documents). They are read with the
backslash as escape character, whatever the file has chosen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dl4mic_hpc.recipe import lexer

_FORM = re.compile(r"[0-9]*<<(-?)[\t\n\f\r ]*([^<]*)")
_TABS = re.compile(r"^\t+", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heredoc:
    """One here-document.

    name: the word that ends it, which for COPY and ADD is also the file's name. content: its lines as they are
    written, with their ends. expand: variables in it are replaced (`lexer.expand` with quotes=False), which holds
    unless a part of the word is quoted. chomp: it began with `<<-`.
    """

    name: str
    content: str = ""
    expand: bool
    chomp: bool

    @property
    def text(self) -> str:
        """The content without the tabs that `<<-` takes from the beginning of each line."""
        return _TABS.sub("", self.content) if self.chomp else self.content

    def ends_at(self, line: str) -> bool:
        bare = line.rstrip("\r\n")
        return (bare.lstrip("\t") if self.chomp else bare) == self.name


def read(word: str) -> Heredoc | None:
    """The here-document, still empty, that `word` (`<<EOF`, `3<<-"END"`) announces; None if it is no such word."""
    try:
        return _read(word)
    except lexer.LexError:
        return None


def announced(line: str) -> tuple[Heredoc, ...]:
    """Those that a whole instruction announces, in order, still empty. LexError for a malformed word."""
    try:
        words = lexer.raw_words(line)
    except lexer.LexError:
        # Not to be split, as with the apostrophe of `RUN echo it's`: BuildKit takes it for a line without any.
        return ()
    return tuple(found for word in words if (found := _read(word)))


def _read(word: str) -> Heredoc | None:
    form = _FORM.fullmatch(word)
    if not form:
        return None
    dash, rest = form.groups()
    names = lexer.raw_words(rest, keep_quotes=False, keep_escapes=False)
    if len(names) != 1:
        return None
    written = "".join(lexer.raw_words(rest, keep_escapes=False))
    return Heredoc(name=names[0], expand=_quotes(names[0]) == _quotes(written), chomp=dash == "-")


def _quotes(text: str) -> int:
    return text.count("'") + text.count('"')
