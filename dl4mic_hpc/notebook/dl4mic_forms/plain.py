"""What is said to the person at the notebook. Python 3.7 syntax only."""

from __future__ import annotations


class PlainError(Exception):
    """A sentence for the person at the notebook; shown without the lines of program that raised it."""

    def _render_traceback_(self) -> list[str]:
        return [f"{self}"]


def say(text: str) -> None:
    """Prints a sentence under the cell, at once."""
    print(text, flush=True)  # noqa: T201
