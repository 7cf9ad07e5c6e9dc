"""Lengths of time as Go writes them, `1m30s` (https://pkg.go.dev/time#ParseDuration)."""

from __future__ import annotations

import re
from decimal import Decimal

_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_WHOLE = re.compile(rf"[-+]?(?:0|(?:{_PART.pattern})+)", re.ASCII)
_LARGEST = 2**63 - 1


def nanoseconds(text: str) -> int:
    """The length in nanoseconds. ValueError if `text` is none, or one that Go cannot hold."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text} is no duration")
    length = sum(int(Decimal(number) * _UNITS[unit]) for number, unit in _PART.findall(text))
    if length > _LARGEST:
        raise ValueError(f"{text} is longer than 292 years")
    return -length if text.startswith("-") else length
