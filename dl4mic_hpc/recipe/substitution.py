"""The pattern forms of word expansion: `${NAME#pattern}`, `${NAME%pattern}`, `${NAME/pattern/text}` and their doubles.

A pattern knows `*` for any characters and `?` for one, both within a line, and no brackets. A backslash takes the
meaning from `*`, `?` and itself; before `}` and `/` it is dropped; before anything else, or at the end, the pattern
is malformed. (https://docs.docker.com/reference/dockerfile/#environment-replacement, as BuildKit carries it out.)
"""

from __future__ import annotations

import re

LIMIT = 1 << 20
"""Characters that a result may come to: what is put in many times, again and again, soon fills a memory."""

_STAR = "*"
_PAIRS = re.compile(r"\\?.", re.DOTALL)
_TEMPLATE = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})")


class PatternError(ValueError):
    """The pattern is malformed, or the result too long; the message says which."""


def without_prefix(value: str, pattern: str, *, longest: bool) -> str:
    """`value` without the shortest or longest beginning that the pattern describes."""
    return _without_beginning(value, _atoms(pattern), longest=longest)


def without_suffix(value: str, pattern: str, *, longest: bool) -> str:
    """`value` without the shortest or longest end that the pattern describes."""
    # Reversed as text, like BuildKit: a backslash that ends the pattern comes to stand before what was last.
    mirrored = "".join(reversed(_PAIRS.findall(pattern)))
    return _without_beginning(value[::-1], _atoms(mirrored), longest=longest)[::-1]


def replaced(value: str, pattern: str, text: str, *, every: bool) -> str:
    """`value` with `text` for the first match of the pattern, as long as can be, or for every one of them.

    BuildKit reads `text` in two ways: as it is for the first match; for every match as a template of Go's regexp
    package, in which `$0` is the match, `$$` a dollar and any other `$name` nothing.
    """
    regex = _regex(_atoms(pattern), longest=True)
    if not every:
        return regex.sub(lambda _: text, value, count=1)
    end = length = 0

    def replacement(match: re.Match[str]) -> str:
        nonlocal end, length
        length += len(text) + text.count("$") * len(match.group())
        if length > LIMIT:
            raise PatternError(f"the replacements come to more than {LIMIT:,} characters")
        # Go replaces nothing where it has just replaced something.
        follows = match.start() == match.end() == end != 0
        end = match.end()
        return "" if follows else _filled(text, match.group())

    return regex.sub(replacement, value)


def _filled(template: str, match: str) -> str:
    def part(found: re.Match[str]) -> str:
        name = found.group(1) or found.group(2)
        return "$" if name is None else match if name == "0" else ""

    return _TEMPLATE.sub(part, template)


def _without_beginning(value: str, atoms: list[str], *, longest: bool) -> str:
    found = _regex(atoms, longest=longest).match(value)
    return value[found.end() :] if found else value


def _atoms(pattern: str) -> list[str]:
    """The pattern's characters as regular expressions, one each, and `_STAR`."""
    atoms = []
    characters = iter(pattern)
    for char in characters:
        if char == "\\":
            char = next(characters, "")
            if not char or char not in "*?\\}/":
                raise PatternError(f"a backslash before '{char}' means nothing in a pattern")
            atoms.append(re.escape(char))
        elif char == "*":
            atoms.append(_STAR)
        else:
            atoms.append("." if char == "?" else re.escape(char))
    return atoms


def _regex(atoms: list[str], *, longest: bool) -> re.Pattern[str]:
    """Every star but the last takes as little as it can and never more: else a match could take forever."""
    parts = [""]
    for atom in atoms:
        if atom == _STAR:
            parts.append("")
        else:
            parts[-1] += atom
    first, *others = parts
    if not others:
        return re.compile(first)
    *inner, last = others
    return re.compile(
        first + "".join(f"(?>.*?{part})" for part in inner) + (".*" if longest else ".*?") + last
    )
