"""EXPOSE: `[ADDRESS:][PORT:]PORT[-PORT][/PROTOCOL]` to what an image's configuration says, PORT/PROTOCOL."""

from __future__ import annotations

import re

from dl4mic_hpc.recipe.commands import Command

_FORM = re.compile(
    r"(?:.*:)?(?P<first>[0-9]{1,5})(?:-(?P<last>[0-9]{1,5}))?(?:/(?P<protocol>tcp|udp|sctp)?)?",
    re.ASCII | re.IGNORECASE,
)
_LARGEST = 65535


def read(command: Command, word: str) -> list[str]:
    """The ports that one word of EXPOSE names. RecipeError if it names none."""
    found = _FORM.fullmatch(word)
    first = int(found["first"]) if found else 1
    last = int(found["last"] or first) if found else 0
    if not found or not first <= last <= _LARGEST:
        raise command.refuse(f"EXPOSE: '{word}' is no port", hint="write it as 8888, 8888/tcp or 8888-8890")
    protocol = (found["protocol"] or "tcp").lower()
    return [f"{port}/{protocol}" for port in range(first, last + 1)]
