"""Sizes of memory as sbatch's --mem takes them (https://slurm.schedmd.com/sbatch.html)."""

from __future__ import annotations

_MEGABYTES = {"K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2}


def megabytes(text: str) -> int:
    """ "32G" -> 32768; without a letter the number is of megabytes. At least 1."""
    number, unit = (text[:-1], text[-1]) if text[-1] in _MEGABYTES else (text, "M")
    return max(1, int(int(number) * _MEGABYTES[unit]))
