"""The part of a page of docs/ that `make upstream` writes."""

from __future__ import annotations

from pathlib import Path

BEGIN, END = "<!-- made by make upstream: begin -->", "<!-- end -->"


def write(page: Path, table: str) -> None:
    """Puts the table between the two marks."""
    head, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    page.write_text(f"{head}{BEGIN}\n\n{table}\n\n{END}{tail}", encoding="utf-8")
