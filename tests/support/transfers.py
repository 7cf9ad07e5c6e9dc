"""What the tests of transfers share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class RecordedProgress:
    """Implements `Progress`; holds what it was told."""

    started: list[tuple[str, int, int]] = field(default_factory=list)
    advanced: int = 0
    finished: int = 0

    def start(self, what: str, files: int, size: int) -> None:
        self.started.append((what, files, size))

    def advance(self, size: int) -> None:
        self.advanced += size

    def done(self) -> None:
        self.finished += 1


def contents(folder: Path) -> dict[str, bytes | None]:
    """Everything beneath a folder: a file's content, None for a folder; the program's record is left out."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if path.name != ".dl4mic-hpc.json"
    }


def stand_in(folder: Path, name: str, script: str) -> None:
    """A program that a `LocalRemote(path=folder)` finds before the real one."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
