"""Slurm's time limits as numbers (https://slurm.schedmd.com/sbatch.html, --time)."""

from __future__ import annotations

import re

_DAYS = re.compile(r"([0-9]+)-([0-9]+)(?::([0-9]+))?(?::([0-9]+))?")
_CLOCK = re.compile(r"(?:([0-9]+):)?([0-9]+):([0-9]+)")


def seconds(text: str) -> int | None:
    """The seconds in "90" (minutes), "90:00" (minutes:seconds), "1:30:00", "1-12", "1-12:00:00"; None for no limit.

    ValueError for what Slurm would not understand.
    """
    if text.casefold() in ("infinite", "unlimited"):
        return None
    if text.isdigit():
        return int(text) * 60
    if found := _DAYS.fullmatch(text):
        days, hours, minutes, rest = (int(part or 0) for part in found.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + rest
    if found := _CLOCK.fullmatch(text):
        hours, minutes, rest = (int(part or 0) for part in found.groups())
        return (hours * 60 + minutes) * 60 + rest
    raise ValueError(f"'{text}' is no time limit")
