"""The options of an instruction (`--name=value` before its arguments), by the rules of BuildKit's front end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from dl4mic_hpc.errors import perhaps_you_meant

Kind = Literal["text", "list", "switch"]

# What each instruction knows; the others know none.
KNOWN: Mapping[str, Mapping[str, Kind]] = {
    "ADD": {
        "checksum": "text",
        "chmod": "text",
        "chown": "text",
        "exclude": "list",
        "keep-git-dir": "switch",
        "link": "switch",
        "unpack": "switch",
    },
    "COPY": {
        "chmod": "text",
        "chown": "text",
        "exclude": "list",
        "from": "text",
        "link": "switch",
        "parents": "switch",
    },
    "FROM": {"platform": "text"},
    "HEALTHCHECK": {
        "interval": "text",
        "retries": "text",
        "start-interval": "text",
        "start-period": "text",
        "timeout": "text",
    },
    "RUN": {"device": "list", "mount": "list", "network": "text", "security": "text"},
}


class OptionError(ValueError):
    """An option that the instruction does not know, or not so; `hint` says what to write."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of one instruction, as (name, value) in their order; a switch has the value true or false."""

    values: tuple[tuple[str, str], ...] = ()

    def text(self, name: str) -> str:
        """The value of an option that stands once at most, "" if it is not there."""
        return next((value for known, value in self.values if known == name), "")

    def all(self, name: str) -> tuple[str, ...]:
        """The values of an option that may stand several times."""
        return tuple(value for known, value in self.values if known == name)

    def switch(self, name: str) -> bool | None:
        """Whether a switch is on; None if nothing is said."""
        value = self.text(name)
        return value == "true" if value else None


def read(keyword: str, flags: Iterable[str]) -> Options:
    """The options among the flags of an instruction. OptionError for what `keyword` does not know."""
    known = KNOWN.get(keyword, {})
    values: list[tuple[str, str]] = []
    for flag in flags:
        name, equals, value = flag.removeprefix("--").partition("=")
        kind = known.get(name)
        if kind is None:
            raise OptionError(f"{keyword} knows no option --{name}", hint=perhaps_you_meant(name, known))
        if kind != "list" and any(name == other for other, _ in values):
            raise OptionError(f"{keyword} --{name} stands there twice", hint="delete one of them")
        values.append((name, _switch(keyword, name, equals, value) if kind == "switch" else value))
        if kind != "switch" and not equals:
            raise OptionError(f"{keyword} --{name} has no value", hint=f"write --{name}=VALUE")
    return Options(values=tuple(values))


def _switch(keyword: str, name: str, equals: str, value: str) -> str:
    value = value.lower() if equals else "true"
    if value not in ("true", "false"):
        raise OptionError(f"{keyword} --{name} is on or off, not '{value}'", hint=f"write --{name}")
    return value
