"""Words of a POSIX shell that Apptainer's reader of definitions leaves alone.

What that reader would take for its own (a line that begins with `%` or `Bootstrap:`, a `{{ name }}`) is broken by
an empty pair of quotes, which no shell sees (https://apptainer.org/docs/user/latest/definition_files.html).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from dl4mic_hpc.recipe.steps import Late, Value

_BREAK = re.compile(
    r"(?<=\{)(?=\{)|^(?=[^\S\n]*%)|^(?=bootstrap:)|(?<=\r)(?=\n)", re.IGNORECASE | re.MULTILINE
)
_PLAIN = re.compile(r"[A-Za-z0-9_./:=@+,-]+")


def quote(text: str) -> str:
    """`text` as one word.

    A quote stands in double quotes: the shell inside Apptainer 1.4 that reads `%environment` keeps the backslash
    of an escaped one.
    """
    if _PLAIN.fullmatch(text):
        return text
    inner = _BREAK.sub("\0", text).replace("'", "'\"'\"'").replace("\0", "''")
    return f"'{inner}'"


def words(texts: Iterable[str]) -> str:
    """All of them, with a blank between each two."""
    return " ".join(quote(text) for text in texts)


def assignment(name: str, value: Value) -> str:
    """`name=value` as one word; what only the base image can give is completed by the shell that reads it."""
    if isinstance(value, str):
        return quote(f"{name}={value}")
    first, *others = value.parts
    found = [quote(f"{name}={first}")]
    for at, part in enumerate(others):
        if at % 2 == 0:
            found.append(f'"${{{part}-}}"')
        elif part:
            found.append(quote(part))
    return "".join(found)


def shown(value: Value) -> str:
    """A value as a person would write it."""
    if isinstance(value, Late):
        return "".join(f"${{{part}}}" if at % 2 else part for at, part in enumerate(value.parts))
    return value
