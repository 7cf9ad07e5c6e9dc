"""Word expansion as Docker's builder does it: quotes, escapes and `$NAME`, `${NAME}`, `${NAME:-word}`, `${NAME%.*}` …

The rules are those of the Dockerfile reference (https://docs.docker.com/reference/dockerfile/#environment-replacement)
as BuildKit carries them out. They resemble a shell's and are not the same: there is no command substitution,
a double-quoted escape keeps its backslash before an ordinary letter, and an empty quoted word vanishes when a
text is split.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from dl4mic_hpc.recipe import substitution

SPACES = (
    "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
)
"""What separates words. (Python's own notion of blanks has four control characters more.)"""

_SPACES = re.compile(f"[{SPACES}]")
_PLAIN = re.compile(r"[^$'\"<\\`}/]+")
_SPECIAL = "@*#?-$!"
# Stands around a late name until the text is complete. No text or value can hold it: they are checked.
_MARK = "\0"


class LexError(ValueError):
    """The text is no word that Docker's builder would take; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """What a text became.

    parts: literal texts at even places, late names at odd ones (`steps.Late.parts`); one part if there are none.
    text: the whole; late names stand in it as `$NAME`, for messages. words: the same split at blanks that were not
    quoted. missing: names that were used and have no value, and late names in a pattern. presumed: names without
    a value for which the text itself says what to do (`${NAME:-word}`): true only if nothing else gives them one.
    """

    text: str
    words: tuple[str, ...]
    parts: tuple[str, ...]
    missing: frozenset[str]
    presumed: frozenset[str]


def expand(
    text: str,
    environment: Mapping[str, str],
    *,
    escape: str = "\\",
    late: AbstractSet[str] = frozenset(),
    quotes: bool = True,
) -> Expansion:
    """`text` with its variables replaced, quotes and escapes taken away. LexError if it is malformed.

    late: names that are left open, whatever `environment` says of them. quotes: False for a here-document, in which
    quotes are letters.
    """
    scanner = _Scanner(text, environment, escape=escape, late=late, quotes=quotes)
    result, words = scanner.until("")
    return Expansion(
        text=_shown(result),
        words=tuple(_shown(word) for word in words),
        parts=tuple(result.split(_MARK)),
        missing=frozenset(scanner.missing),
        presumed=frozenset(scanner.presumed) - scanner.missing,
    )


def raw_words(text: str, *, keep_quotes: bool = True, keep_escapes: bool = True) -> tuple[str, ...]:
    """`text` split at unquoted blanks, with its variables left in. LexError if it is malformed.

    A `<<` and the blanks after it count as quoted, so that a here-document's mark stays one word.
    """
    scanner = _Scanner(text, {}, raw=True, keep_quotes=keep_quotes, keep_escapes=keep_escapes)
    return scanner.until("")[1]


def _shown(marked: str) -> str:
    parts = marked.split(_MARK)
    return "".join(f"${part}" if at % 2 else part for at, part in enumerate(parts))


def _is_in_name(char: str) -> bool:
    return char.isalpha() or char.isdecimal() or char == "_"


@dataclass(slots=True)
class _Words:
    done: list[str] = field(default_factory=list)
    current: str = ""

    def split(self, text: str) -> None:
        first, *others = _SPACES.split(text)
        self.current += first
        for word in others:
            self.end()
            self.current = word

    def end(self) -> None:
        if self.current:
            self.done.append(self.current)
        self.current = ""


class _Scanner:
    """One pass over one text. `raw`: no variable has a value, and those that are used stay as they are written."""

    def __init__(
        self,
        text: str,
        environment: Mapping[str, str],
        *,
        escape: str = "\\",
        late: AbstractSet[str] = frozenset(),
        quotes: bool = True,
        raw: bool = False,
        keep_quotes: bool = False,
        keep_escapes: bool = False,
    ) -> None:
        # Go's scanner, on which BuildKit's stands, drops a byte-order mark.
        self.text = text.removeprefix("\ufeff")
        self.environment, self.escape, self.late = environment, escape, late
        self.quotes = "'\"" if quotes else ""
        self.raw, self.keep_quotes, self.keep_escapes = raw, keep_quotes, keep_escapes
        self.at = self.length = 0
        self.missing: set[str] = set()
        self.presumed: set[str] = set()
        self.check(text)

    def check(self, text: str) -> None:
        if _MARK in text:
            raise LexError("a NUL character stands in it")

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self) -> str:
        char = self.peek()
        self.at += 1
        return char

    def plain(self) -> str:
        """The characters from here on that mean nothing, or one that does if it comes first."""
        found = _PLAIN.match(self.text, self.at)
        if not found:
            return self.take()
        self.at = found.end()
        return found.group()

    def until(self, stop: str, *, keep_escapes: bool | None = None) -> tuple[str, tuple[str, ...]]:
        """Everything up to the character `stop` ("": to the end), expanded; as a whole and as words."""
        outside = self.keep_escapes
        if keep_escapes is not None:
            self.keep_escapes = keep_escapes
        result = ""
        words = _Words()
        while (char := self.peek()) and char != stop:
            if char == "$":
                value = self.variable()
                words.split(value)
            elif char in self.quotes:
                value = self.single_quoted() if char == "'" else self.double_quoted()
                words.current += value
            elif char == "<":
                value = self.angle()
                words.current += value
            elif char == self.escape:
                self.take()
                value = (char if self.keep_escapes else "") + self.take()
                words.current += value
            else:
                value = self.plain()
                words.split(value)
            result += value
        if self.take() != stop:
            raise LexError(f"the closing '{stop}' is missing")
        words.end()
        self.keep_escapes = outside
        return result, tuple(words.done)

    def single_quoted(self) -> str:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            raise LexError("the closing single quote is missing")
        inner = self.text[self.at + 1 : end]
        self.at = end + 1
        return f"'{inner}'" if self.keep_quotes else inner

    def double_quoted(self) -> str:
        self.take()
        result = ""
        while (char := self.peek()) and char != '"':
            if char == "$":
                result += self.variable()
            elif char == self.escape:
                self.take()
                # A kept escape before an ordinary letter comes twice: it is itself, and it is escaped.
                following = self.peek()
                result += char if self.keep_escapes else ""
                result += self.take() if following and following in ('"', "$", char) else char
            else:
                result += self.plain()
        if not self.take():
            raise LexError("the closing double quote is missing")
        return f'"{result}"' if self.keep_quotes else result

    def angle(self) -> str:
        start = self.at
        self.take()
        if self.peek() == "<":
            self.take()
            while (char := self.peek()) and char in "\t\r ":
                self.take()
        return self.text[start : self.at]

    def variable(self) -> str:
        self.take()
        if self.peek() != "{":
            name = self.name()
            return self.value(name, "$" + name) if name else "$"
        self.take()
        if self.peek() in ("", "{", "}", ":"):
            raise LexError("this is no variable: '${" + self.peek() + "'")
        name = self.name()
        char = self.take()
        if char == "}":
            return self.value(name, "${" + name + "}")
        if char == "/":
            return self.replaced(name)
        colon = char if char == ":" else ""
        modifier = self.take() if colon else char
        if not modifier:
            raise LexError("the closing '}' is missing")
        if modifier in "#%" and not colon:
            return self.trimmed(name, modifier)
        if modifier in "-+?" or (colon and self.raw and modifier not in "#%"):
            return self.conditional(name, colon, modifier)
        raise LexError("this is no variable: ${" + name + colon + modifier + "…}")

    def conditional(self, name: str, colon: str, modifier: str) -> str:
        missing, presumed = set(self.missing), set(self.presumed)
        word, _ = self.until("}", keep_escapes=False)
        if self.raw:
            return "${" + name + colon + modifier + word + "}"
        value = self.known(name)
        present = value is not None and not (colon and not value)
        if present == (modifier != "+"):
            self.missing, self.presumed = missing, presumed
        if value is None and name:
            self.presumed.add(name)
        if modifier == "+":
            return word if present else ""
        if not present and modifier == "?":
            raise LexError(f"{name}: {_shown(word) or 'has no value'}")
        return value or "" if present else word

    def trimmed(self, name: str, end: str) -> str:
        pattern = self.settled(self.until("}", keep_escapes=True)[0])
        if self.raw:
            return "${" + name + end + pattern + "}"
        longest = pattern.startswith(end)
        cut = substitution.without_prefix if end == "#" else substitution.without_suffix
        try:
            return cut(self.settled(self.value(name, "")), pattern[longest:], longest=longest)
        except substitution.PatternError as error:
            raise LexError(str(error)) from error

    def replaced(self, name: str) -> str:
        every = self.peek() == "/"
        if every:
            self.take()
        pattern = self.settled(self.until("/", keep_escapes=True)[0])
        text = self.settled(self.until("}", keep_escapes=True)[0])
        if self.raw:
            return "${" + f"{name}/{pattern}/{text}" + "}"
        try:
            return substitution.replaced(self.settled(self.value(name, "")), pattern, text, every=every)
        except substitution.PatternError as error:
            raise LexError(str(error)) from error

    def settled(self, text: str) -> str:
        """`text` without late names: what is computed from it needs their values now, so they count as missing."""
        parts = text.split(_MARK)
        self.missing.update(parts[1::2])
        return "".join(parts[::2])

    def value(self, name: str, written: str) -> str:
        if self.raw:
            return written
        if name in self.late:
            return _MARK + name + _MARK
        value = self.known(name)
        if value is None and name:
            self.missing.add(name)
        return value or ""

    def known(self, name: str) -> str | None:
        value = None if name in self.late else self.environment.get(name)
        if value:
            self.check(value)
        return value if value is None else self.counted(value)

    def counted(self, value: str) -> str:
        self.length += len(value)
        if self.length > substitution.LIMIT:
            raise LexError(f"its variables come to more than {substitution.LIMIT:,} characters")
        return value

    def name(self) -> str:
        first = self.peek()
        end = self.at + 1
        if first.isdecimal():
            while self.text[end : end + 1].isdecimal():
                end += 1
        elif not first or first not in _SPECIAL:
            end = self.at
            while _is_in_name(self.text[end : end + 1]):
                end += 1
        name = self.text[self.at : end]
        self.at = end
        return name
