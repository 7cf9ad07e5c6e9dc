"""The two languages of wildcards that a recipe knows: Go's `filepath.Match`, and that of .dockerignore.

Both are read as Docker's builder reads them, with what is odd in them: a character class may match `/`, a folder
that matches takes along what it holds, and the last pattern that speaks of a path wins
(https://pkg.go.dev/path/filepath#Match, https://docs.docker.com/build/concepts/context/#dockerignore-files).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

# Which patterns a path stands under, by itself or by a folder above it.
Standing = tuple[bool, ...]

_SPECIAL = re.compile(r"[*?\[\]\\]")
_REPEATED = re.compile(r"\{\d+(,\d*)?\}")
_STAR, _ONE, _ANYWHERE = "[^/]*", "[^/]", "(.*/)?"


def has_wildcards(path: str) -> bool:
    """Whether Docker looks for files that match, instead of for one of this name; a `\\` takes a meaning away."""
    return re.search(r"[*?\[]", re.sub(r"\\.", "", path, flags=re.DOTALL)) is not None


def glob(pattern: str) -> re.Pattern[str]:
    """`pattern` in Go's `filepath.Match`, as an expression for `fullmatch`. ValueError for a malformed one.

    As in Go, what follows a * is taken where it is found first, and what a class has taken is not given back.
    """
    chunks = [""]
    at = 0
    while at < len(pattern):
        char, at = pattern[at], at + 1
        if char == "*":
            chunks.append("")
        elif char == "?":
            chunks[-1] += _ONE
        elif char == "[":
            chars, at = _class(pattern, at)
            chunks[-1] += chars
        else:
            if char == "\\":
                char, at = _char(pattern, at - 1)
            chunks[-1] += re.escape(char)
    first, *starred = chunks
    if not starred:
        return re.compile(first)
    *between, last = starred
    middle = "".join(f"(?>[^/]*?{chunk})" for chunk in between if chunk)
    return re.compile(first + middle + "[^/]*" + last)


def _class(pattern: str, at: int) -> tuple[str, int]:
    """The character class that begins at `at`, behind its bracket, and the place behind its end."""
    negated = pattern.startswith("^", at)
    at += negated
    ranges: list[str] = []
    while not ranges or not pattern.startswith("]", at):
        low, at = _class_char(pattern, at)
        high = low
        if pattern.startswith("-", at):
            high, at = _class_char(pattern, at + 1)
        if low <= high:
            ranges.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            ranges.append("")
    inside = "".join(ranges)
    if not inside:
        return ("(?s:.)" if negated else "(?!)"), at + 1
    return f"[{'^' if negated else ''}{inside}]", at + 1


def _class_char(pattern: str, at: int) -> tuple[str, int]:
    if pattern.startswith(("-", "]"), at):
        raise ValueError(pattern)
    return _char(pattern, at)


def _char(pattern: str, at: int) -> tuple[str, int]:
    """The character at `at`, or the one behind the `\\` there, and the place behind it."""
    at += pattern.startswith("\\", at)
    if at >= len(pattern):
        raise ValueError(pattern)
    return pattern[at], at + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pattern:
    """One line. exception: it begins with !. prefix: how each path begins that matches it."""

    matches: Callable[[str], bool]
    exception: bool
    prefix: str


class Patterns:
    """The patterns of a .dockerignore or of `--exclude`, in their order."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """ValueError, with the pattern, for one that Docker refuses or that means what nobody can tell."""
        self._patterns = tuple(_pattern(text) for each in patterns if (text := each.strip()))

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def judge(self, path: str, above: Standing = ()) -> tuple[bool, Standing]:
        """Whether `path` is matched, and how it stands; `above`: how the folder that holds it stands."""
        matched = False
        standing = []
        for at, pattern in enumerate(self._patterns):
            hit = bool(above) and above[at]
            if not hit and pattern.exception is matched:
                hit = pattern.matches(path)
            standing.append(hit)
            if hit:
                matched = not pattern.exception
        return matched, tuple(standing)

    def judge_whole(self, path: str) -> tuple[bool, Standing]:
        """The same for a path of which nothing is known yet; the root, "", is never matched."""
        matched = False
        standing: Standing = ()
        if path and self._patterns:
            end = 0
            while end >= 0:
                end = path.find("/", end + 1)
                matched, standing = self.judge(path if end < 0 else path[:end], standing)
        return matched, standing

    def may_spare(self, folder: str) -> bool:
        """Whether an exception may hold for something in a folder that is matched."""
        below = f"{folder}/"
        return any(
            pattern.exception and (pattern.prefix.startswith(below) or below.startswith(pattern.prefix))
            for pattern in self._patterns
        )


def _pattern(text: str) -> _Pattern:
    cleaned = clean(text)
    exception = cleaned.startswith("!")
    bare = cleaned.removeprefix("!")
    if not bare:
        raise ValueError(text)
    glob(bare)
    special = _SPECIAL.search(bare)
    return _Pattern(
        matches=_matcher(bare), exception=exception, prefix=bare[: special.start()] if special else bare
    )


def clean(path: str) -> str:
    """`path` as Go's `path.Clean` writes it: no empty parts, no `.`, no `..` but at the beginning."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _matcher(pattern: str) -> Callable[[str], bool]:
    """What `pattern` matches. Simple ones are compared as text, which for `**x` says more than the expression."""
    if pattern.startswith("**") and not _SPECIAL.search(pattern, 2):
        suffix = pattern[2:]
        bare = suffix.removeprefix("/")
        return lambda path: path.endswith(suffix) or (bare != suffix and path == bare)
    if not (special := _SPECIAL.search(pattern)):
        return pattern.__eq__
    if special.start() == len(pattern) - 2 and pattern.endswith("**"):
        prefix = pattern[:-2]
        return lambda path: path.startswith(prefix)
    try:
        expression = re.compile(_expression(pattern))
    except re.error as error:
        raise ValueError(pattern) from error
    return lambda path: expression.fullmatch(path) is not None


def _expression(pattern: str) -> str:
    """The expression that Docker makes of `pattern`, character by character: a `*` in a class ends the class.

    ValueError also for what Docker forgets to escape: |, {2}, and a \\ before a letter mean something else to Go.
    """
    parts: list[str] = []
    at, in_class = 0, False
    while at < len(pattern):
        char, at = pattern[at], at + 1
        if char == "*" and pattern.startswith("*", at):
            at += 1 + pattern.startswith("/", at + 1)
            parts.append(_ANYWHERE if at < len(pattern) else ".*")
        elif char in "*?":
            parts.append(("\\" if in_class else "") + (_STAR if char == "*" else _ONE))
            in_class = False
        elif char == "\\":
            char, at = pattern[at], at + 1
            if char.isalnum() or not char.isascii():
                raise ValueError(pattern)
            parts.append(re.escape(char))
        elif char == "[" and not in_class:
            parts.append(char)
            in_class = True
        elif _says_more(pattern, at - 1, in_class=in_class):
            raise ValueError(pattern)
        elif char == "]" and in_class:
            parts.append(char)
            in_class = False
        else:
            parts.append(char if char == "^" or (in_class and char == "-") else re.escape(char))
    return "".join(parts)


def _says_more(pattern: str, at: int, *, in_class: bool) -> bool:
    if in_class:
        return pattern.startswith("[:", at)
    return pattern[at] == "|" or _REPEATED.match(pattern, at) is not None
