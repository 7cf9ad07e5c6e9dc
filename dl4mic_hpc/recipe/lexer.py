"""Word expansion as Docker's builder does it: quotes, escapes and `$NAME`, `${NAME}`, `${NAME:-word}` …

The rules are those of the Dockerfile reference (https://docs.docker.com/reference/dockerfile/#environment-replacement)
as BuildKit carries them out. They resemble a shell's and are not the same: there is no command substitution,
a double-quoted escape keeps its backslash before an ordinary letter, and an empty quoted word vanishes when a
text is split. The pattern forms (`${NAME#…}`, `${NAME%…}`, `${NAME/…/…}`) are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_MODIFIERS = "-+?"
_PATTERNS = "#%/"
_SPECIAL = "@*#?-$!"


class LexError(ValueError):
    """The text is no word that Docker's builder would take; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """What a text became.

    text: the whole, expanded. words: the same split at blanks that were not quoted.
    missing: names that were used and have no value. presumed: names without a value for which the text itself
    says what to do (`${NAME:-word}`): true only if nothing else gives them a value.
    """

    text: str
    words: tuple[str, ...]
    missing: frozenset[str]
    presumed: frozenset[str]


def expand(text: str, environment: Mapping[str, str], *, escape: str = "\\") -> Expansion:
    """`text` with its variables replaced, quotes and escapes taken away. LexError if it is malformed."""
    scanner = _Scanner(text, environment, escape, raw=False)
    result, words = scanner.until("")
    return Expansion(
        text=result,
        words=words,
        missing=frozenset(scanner.missing),
        presumed=frozenset(scanner.presumed) - scanner.missing,
    )


def raw_words(text: str, *, escape: str = "\\") -> tuple[str, ...]:
    """`text` split at unquoted blanks with quotes, escapes and variables left in; () if it is malformed."""
    try:
        return _Scanner(text, {}, escape, raw=True).until("")[1]
    except LexError:
        return ()


@dataclass(slots=True)
class _Words:
    done: list[str] = field(default_factory=list)
    current: str = ""

    def split(self, text: str) -> None:
        for char in text:
            if not char.isspace():
                self.current += char
            elif self.current:
                self.done.append(self.current)
                self.current = ""

    def finish(self) -> tuple[str, ...]:
        return (*self.done, self.current) if self.current else tuple(self.done)


class _Scanner:
    """One pass over one text. `raw` keeps everything as written and only splits."""

    def __init__(self, text: str, environment: Mapping[str, str], escape: str, *, raw: bool) -> None:
        self.text, self.environment, self.escape, self.raw = text, environment, escape, raw
        self.at = 0
        self.missing: set[str] = set()
        self.presumed: set[str] = set()

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self) -> str:
        char = self.peek()
        self.at += 1
        return char

    def until(self, stop: str) -> tuple[str, tuple[str, ...]]:
        """Everything up to the character `stop` ("": to the end), expanded; as a whole and as words."""
        result = ""
        words = _Words()
        while char := self.peek():
            if char == stop:
                self.take()
                return result, words.finish()
            if char == "$":
                value = self.variable()
                words.split(value)
            elif char in "'\"":
                value = self.single_quoted() if char == "'" else self.double_quoted()
                words.current += value
            elif char == self.escape:
                self.take()
                value = (char if self.raw else "") + self.take()
                words.current += value
            else:
                value = self.take()
                words.split(value)
            result += value
        if stop:
            raise LexError(f"the closing '{stop}' is missing")
        return result, words.finish()

    def single_quoted(self) -> str:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            raise LexError("the closing single quote is missing")
        inner = self.text[self.at + 1 : end]
        self.at = end + 1
        return f"'{inner}'" if self.raw else inner

    def double_quoted(self) -> str:
        self.take()
        result = ""
        while char := self.peek():
            if char == '"':
                self.take()
                return f'"{result}"' if self.raw else result
            if char == "$":
                result += self.variable()
                continue
            self.take()
            if char == self.escape:
                following = self.peek()
                if following and following in ('"', "$", self.escape):
                    result += (char if self.raw else "") + self.take()
                    continue
                if not following:
                    break
            result += char
        raise LexError("the closing double quote is missing")

    def variable(self) -> str:
        start = self.at
        value = self._variable()
        return self.text[start : self.at] if self.raw else value

    def _variable(self) -> str:
        self.take()
        if self.peek() != "{":
            name = self.name()
            return self.plain(name) if name else "$"
        self.take()
        if self.peek() in ("", "{", "}", ":"):
            raise LexError("this is no variable: '${" + self.peek() + "'")
        name = self.name()
        char = self.take()
        if char == "}":
            return self.plain(name)
        null_counts = char == ":"
        modifier = self.take() if null_counts else char
        if not modifier:
            raise LexError("the closing '}' is missing")
        shown = "${" + name + (":" if null_counts else "") + modifier + "…}"
        if modifier in _PATTERNS and not null_counts and name:
            if self.raw:
                self.until("}")
                return ""
            raise LexError(f"the pattern form {shown} is not covered yet")
        if modifier not in _MODIFIERS or not name:
            raise LexError(f"this is no variable: {shown}")
        missing, presumed = set(self.missing), set(self.presumed)
        word, _ = self.until("}")
        value = self.environment.get(name)
        present = value is not None and not (null_counts and not value)
        if present == (modifier != "+"):
            self.missing, self.presumed = missing, presumed
        if value is None:
            self.presumed.add(name)
        if modifier == "+":
            return word if present else ""
        if not present and modifier == "?" and not self.raw:
            raise LexError(f"{name}: {word or 'has no value'}")
        return value or "" if present else word

    def plain(self, name: str) -> str:
        value = self.environment.get(name)
        if value is None:
            self.missing.add(name)
        return value or ""

    def name(self) -> str:
        first = self.peek()
        if first.isdecimal():
            end = self.at
            while self.text[end : end + 1].isdecimal():
                end += 1
        elif first and first in _SPECIAL:
            end = self.at + 1
        else:
            end = self.at
            while (char := self.text[end : end + 1]) and (char.isalpha() or char.isdecimal() or char == "_"):
                end += 1
        name = self.text[self.at : end]
        self.at = end
        return name
