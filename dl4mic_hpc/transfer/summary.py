"""What a transfer tells while it runs and when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath, PurePosixPath
from typing import Protocol

from dl4mic_hpc.transfer.listing import Skipped


class Progress(Protocol):
    """Is told how far a transfer is; sizes in bytes.

    Each `start` is followed by a `done`, after a failure too. A transfer with nothing to do starts nothing; one that
    fetches changed files again starts twice.
    """

    def start(self, what: str, files: int, size: int) -> None: ...

    def advance(self, size: int) -> None: ...

    def done(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a transfer has done.

    `files` were put in place, for which `bytes` were transferred; `unchanged` were there already. `kept` are the
    paths under which files that were in the way now lie: on the laptop after a download, on the cluster after an
    upload. `skipped` were not transferred, or not wholly. `renamed` maps paths on the cluster to the local paths
    under names that this computer can store.
    """

    files: int = 0
    bytes: int = 0
    unchanged: int = 0
    kept: tuple[PurePath, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    renamed: Mapping[PurePosixPath, PurePath] = field(default_factory=dict)


def amount(size: int) -> str:
    """A number of bytes in words: "812 bytes", "1.4 GB" (decimal units, as disks are sold)."""
    if size < 1000:
        return "1 byte" if size == 1 else f"{size} bytes"
    value = float(size)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.5 or unit == "TB":
            break
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"
