"""One `up` or `down` of an instance at a time. The kernel frees the lock when its holder ends, however it ends."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from dl4mic_hpc.errors import SandboxError

WAIT = 900.0
"""Seconds to wait for another `up`: a first one may build images."""


@contextmanager
def held(path: Path, say: Callable[[str], None], *, remove: bool = False) -> Iterator[None]:
    """Holds the lock file `path` (made if need be) while the context is open; `remove` leaves no file behind.

    SandboxError if another holds it for longer than `WAIT`.
    """
    end, told = time.monotonic() + WAIT, False
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    while True:
        stream = path.open("a+b")
        if _take(stream) and _is_still(path, stream):
            break
        stream.close()
        if not told:
            say("another `dl4mic-hpc sandbox` of this checkout is at work; waiting for it …")
            told = True
        if time.monotonic() > end:
            raise SandboxError(
                f"another `dl4mic-hpc sandbox` has been at work for {WAIT / 60:.0f} minutes and holds {path}",
                hint="end it, then try again",
            )
        time.sleep(0.2)
    try:
        yield
    finally:
        if remove and sys.platform != "win32":
            path.unlink(missing_ok=True)
        stream.close()
        if remove:
            with suppress(OSError):  # Windows deletes no open file; another may have opened it
                path.unlink(missing_ok=True)


def _is_still(path: Path, stream: BinaryIO) -> bool:
    """Whether the open file is the one that lies at `path`: a `down` may have removed it in between."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _take(stream: BinaryIO) -> bool:
        try:
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _take(stream: BinaryIO) -> bool:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
