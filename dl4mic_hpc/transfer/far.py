"""The commands of templates/transfer.sh on the cluster, and their answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath

from dl4mic_hpc import resources
from dl4mic_hpc.remote import CommandResult, Remote, RemoteProcess
from dl4mic_hpc.transfer import failures
from dl4mic_hpc.transfer.listing import Listing, Skipped, parse_listing

# What stands before it on standard output was said by the login shell.
_MARK = b"dl4mic-hpc-mark\0"

_NO_SUCH_FILE = 66

# Bytes: the unit in which the tar stream comes (128 blocks of 512), so that what follows it is not swallowed.
RECORD = 128 * 512


@dataclass(frozen=True, slots=True, kw_only=True)
class FarFolder:
    """A folder or file on the cluster: `free` bytes on its disk (None where it does not tell), what lies there."""

    is_file: bool
    free: int | None
    listing: Listing


def command(verb: str, *words: str) -> tuple[str, ...]:
    """The argv of one of the commands that templates/transfer.sh describes."""
    return ("bash", "-c", _script(), "dl4mic-hpc", verb, *words)


@cache
def _script() -> str:
    return resources.data("templates", "transfer.sh").read_text(encoding="utf-8")


def look(remote: Remote, path: PurePosixPath, *, make: bool) -> FarFolder:
    """Lists `path`, making the folder first where `make` says so; one round trip. TransferError if it cannot be."""
    with remote.start(*command("look", str(path), *(["make"] if make else []))) as process:
        process.close_stdin()
        answer = Answer(process)
        try:
            answer.skip_to_mark()
            kind, disk = answer.field(), answer.field()
            result, listing = answer.listing()
        except ValueError as error:
            result = process.wait()
            if result.exit_code == _NO_SUCH_FILE:
                raise failures.missing_there(path, remote.cluster) from None
            if result.exit_code:
                raise failures.far_failure(f"looking at {path} on {remote.cluster}", result) from None
            raise failures.garbled(remote.cluster, error) from error
    return FarFolder(is_file=kind == b"file", free=_free(disk), listing=listing)


def _free(answer: bytes) -> int | None:
    """The free bytes that `df -Pk` tells (POSIX output format: 1024-byte blocks, used, available, capacity)."""
    found = re.search(rb"\s(\d+)\s+\d+\s+(-?\d+)\s+(?:\d+%|-)\s+/", answer)
    # A file system that says it has no size at all, as some network ones do, tells nothing.
    return max(int(found[2]), 0) * 1024 if found and int(found[1]) else None


class Answer:
    """The standard output of a command, read in exact pieces."""

    def __init__(self, process: RemoteProcess) -> None:
        self._process = process
        self._buffer = bytearray()
        self._ended = False

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, fewer only at the end."""
        while len(self._buffer) < size and self._more():
            pass
        piece = bytes(self._buffer[:size])
        del self._buffer[:size]
        return piece

    def skip_to_mark(self) -> None:
        """ValueError if no mark comes."""
        while (found := self._buffer.find(_MARK)) < 0:
            del self._buffer[: -len(_MARK)]
            if not self._more():
                raise ValueError("the answer is cut off")
        del self._buffer[: found + len(_MARK)]

    def field(self) -> bytes:
        """The bytes up to the next NUL; ValueError if there is none."""
        while (found := self._buffer.find(b"\0")) < 0:
            if not self._more():
                raise ValueError("the answer is cut off")
        piece = bytes(self._buffer[:found])
        del self._buffer[: found + 1]
        return piece

    def listing(self) -> tuple[CommandResult, Listing]:
        """The rest as a listing, and how the command ended; what `find` could not list is in `skipped`."""
        while self._more():
            pass
        listing = parse_listing(bytes(self._buffer))
        result = self._process.wait()
        unlisted = tuple(
            Skipped(path=PurePosixPath(), reason=f"a part could not be listed: {line}")
            for line in result.stderr.splitlines()
            if line.startswith("find:") and "No such file or directory" not in line
        )
        return result, Listing(entries=listing.entries, skipped=listing.skipped + unlisted)

    def _more(self) -> bool:
        if not self._ended:
            piece = self._process.read(RECORD)
            self._ended = not piece
            self._buffer += piece
        return not self._ended
