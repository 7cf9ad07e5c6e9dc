"""`--chmod` of COPY and ADD: an octal number, or changes as chmod(1) takes them, in BSD's reading as in BuildKit.

Unlike GNU's chmod, `=` also clears set-user-ID and set-group-ID bits, of folders too, and no umask counts
(https://docs.docker.com/reference/dockerfile/#copy---chmod).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_OCTAL = re.compile(r"[0-7]+")
_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)")
_ACTION = re.compile(r"([-+=])([rwxXst]*|[ugo])(?=[-+=]|$)")
_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o007, "a": 0o6777}
_WHAT = {"r": 0o444, "w": 0o222, "x": 0o111, "X": 0o111, "s": 0o6000, "t": 0o1000}
_SHIFT = {"u": 6, "g": 3, "o": 0}

# From permission bits, and whether they are a folder's, to permission bits.
Change = Callable[[int, bool], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Action:
    """One operator. who: "" for everybody. what: letters of bits, or the one letter of whose bits are copied."""

    who: str
    operator: str
    what: str


def parse(text: str) -> Change:
    """What `--chmod=text` does to a file's permission bits. ValueError if it is neither of the two forms."""
    if _OCTAL.fullmatch(text):
        number = int(text, 8)
        if number > 0o7777:
            raise ValueError(text)
        return lambda mode, folder: number
    actions = []
    for clause in text.split(","):
        found = _CLAUSE.fullmatch(clause)
        if not found:
            raise ValueError(text)
        actions += [
            _Action(who=found[1], operator=operator, what=what)
            for operator, what in _ACTION.findall(found[2])
        ]
    return lambda mode, folder: _changed(mode, tuple(actions), folder=folder)


def _changed(mode: int, actions: tuple[_Action, ...], *, folder: bool) -> int:
    changed = mode
    for action in actions:
        if action.what and action.what in _SHIFT:
            changed = _copied(changed, action)
        else:
            changed = _set(changed, action, runs=folder or mode & 0o111 != 0)
    return changed


def _set(mode: int, action: _Action, *, runs: bool) -> int:
    """runs: whether an X counts, for which the bits before all changes are asked."""
    who = _bits(action.who, _WHO)
    letters = action.what.replace("X", "x" if runs or action.operator == "-" else "")
    what = _bits(letters, _WHAT)
    if who and not who & ~_WHO["o"]:
        what &= 0o777
    elif "t" in letters:
        who |= _WHAT["t"]  # without a class, t is then all that counts of its clause
    if action.operator == "=":
        mode &= ~(who or _WHO["a"])
    what &= who or 0o7777
    return mode & ~what if action.operator == "-" else mode | what


def _copied(mode: int, action: _Action) -> int:
    bits = mode >> _SHIFT[action.what] & 0o7
    for each in _SHIFT:
        if not action.who or each in action.who or "a" in action.who:
            if action.operator == "=":
                mode &= ~(0o7 << _SHIFT[each])
            mode = mode & ~(bits << _SHIFT[each]) if action.operator == "-" else mode | bits << _SHIFT[each]
    return mode


def _bits(letters: str, table: dict[str, int]) -> int:
    found = 0
    for letter in letters:
        found |= table[letter]
    return found
