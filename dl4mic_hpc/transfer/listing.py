"""What lies in a folder, here or on the cluster, as one value that plans are made from."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path, PurePosixPath

from dl4mic_hpc.errors import UsageError

# The program's own hidden files and folders, here and on the cluster.
OWN_PREFIX = ".dl4mic-hpc"

# Bytes. Linux refuses longer names (NAME_MAX of limits.h); Windows counts in other units and allows longer ones.
LONGEST_NAME = 255

_SYSTEM_FILES = {".DS_Store", "Thumbs.db"}
_APPLE_DOUBLE = "._"

# The resolutions, in nanoseconds, in which file systems keep times: NTFS, then microseconds, milliseconds,
# exFAT, and whole seconds (Lustre, BeeGFS, HFS+).
_RESOLUTIONS = (1, 100, 1_000, 1_000_000, 10_000_000, 1_000_000_000)


class Kind(StrEnum):
    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing in a listing: `path` relative to the folder listed, `size` in bytes, `mtime_ns` since 1970.

    Names that are no UTF-8 hold their bytes as surrogates, as `os.fsdecode` does.
    """

    path: PurePosixPath
    kind: Kind
    size: int = 0
    mtime_ns: int = 0

    def same(self, other: Entry) -> bool:
        """Whether both are folders, or files of one size and time: then the contents are taken for equal.

        Times are compared in the coarser of the two file systems' resolutions: many clusters keep whole seconds.
        """
        if self.kind is not other.kind or self.kind not in (Kind.FILE, Kind.FOLDER):
            return False
        return self.kind is Kind.FOLDER or (
            self.size == other.size and _same_time(self.mtime_ns, other.mtime_ns)
        )


def _same_time(one: int, two: int) -> bool:
    return any(one // step == two // step for step in _RESOLUTIONS if one % step == 0 or two % step == 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Something that was not transferred, or not wholly, and why."""

    path: PurePosixPath
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Everything beneath a folder by its path, folders before what they hold; and what could not be listed."""

    entries: Mapping[PurePosixPath, Entry] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()

    @classmethod
    def of(cls, entries: Iterator[Entry] | list[Entry], skipped: tuple[Skipped, ...] = ()) -> Listing:
        ordered = sorted(entries, key=lambda entry: entry.path.parts)
        return cls(entries={entry.path: entry for entry in ordered}, skipped=skipped)


def parse_listing(answer: bytes) -> Listing:
    """The listing in the answer of templates/transfer.sh: kind, size, mtime and path, each ended by NUL.

    The formats are those of find's -printf
    (https://www.gnu.org/software/findutils/manual/html_node/find_html/Format-Directives.html). ValueError for
    anything else, and for a path that leaves the folder: the cluster has no say in where files go on the laptop.
    """
    fields = answer.split(b"\0")
    if fields.pop() or len(fields) % 4:
        raise ValueError("the listing is cut off")
    kinds = {b"f": Kind.FILE, b"d": Kind.FOLDER, b"l": Kind.LINK}
    entries, skipped = [], []
    for kind, size, mtime, name in zip(*[iter(fields)] * 4, strict=True):
        path = PurePosixPath(name.decode("utf-8", "surrogateescape"))
        if path.is_absolute() or not path.parts or ".." in path.parts:
            raise ValueError(f"the listing names '{path}', which lies outside the folder")
        if kind == b"x":
            skipped.append(Skipped(path=path, reason="you have no right to read it on the cluster"))
        else:
            entries.append(
                Entry(
                    path=path,
                    kind=kinds.get(kind, Kind.OTHER),
                    size=int(size),
                    mtime_ns=nanoseconds(mtime.decode()),
                )
            )
    return Listing.of(entries, tuple(skipped))


def nanoseconds(seconds: str) -> int:
    """A time in seconds as find and tar write it ("1700000000.1234567890"), without a float's rounding."""
    try:
        return int(Decimal(seconds).scaleb(9).to_integral_value("ROUND_FLOOR"))
    except ArithmeticError as error:
        raise ValueError(f"'{seconds}' is no time") from error


def list_local(source: Path) -> Listing:
    """The files and folders of `source`, or `source` itself where it is a file.

    A link to a file inside `source` counts as that file; other links, sockets and devices are skipped, as is what
    may not be read. Files that operating systems leave behind (.DS_Store, Thumbs.db, ._*) and the program's own are
    left out without a word. UsageError if `source` is missing or cannot be read.
    """
    try:
        if source.is_file():
            facts = source.stat()
            return Listing.of([_file(PurePosixPath(source.name), facts)])
        if not source.is_dir():
            raise UsageError(
                f"there is no file or folder {source.absolute()}",
                hint="check the spelling; a path without a leading / starts at the folder you are in",
            )
        os.scandir(source).close()
    except OSError as error:
        raise UsageError(
            f"{source.absolute()} cannot be read: {error.strerror}",
            hint="make the folder readable for you, or copy the data to a folder that is",
        ) from error
    skipped: list[Skipped] = []
    return Listing.of(list(_walk(source, skipped)), tuple(skipped))


def _walk(root: Path, skipped: list[Skipped]) -> Iterator[Entry]:
    inside = root.resolve()
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            found = sorted(os.scandir(folder), key=lambda item: item.name)
        except OSError as error:
            skipped.append(Skipped(path=_relative(folder, root), reason=f"cannot be read: {error.strerror}"))
            continue
        for item in found:
            if is_left_out(item.name):
                continue
            path = Path(item.path)
            relative = _relative(path, root)
            try:
                facts, reason = _look(item, inside)
            except OSError as error:
                skipped.append(Skipped(path=relative, reason=f"cannot be read: {error.strerror}"))
                continue
            if facts is None:
                skipped.append(Skipped(path=relative, reason=reason))
            elif stat.S_ISDIR(facts.st_mode):
                folders.append(path)
                yield Entry(path=relative, kind=Kind.FOLDER)
            else:
                yield _file(relative, facts)


def is_left_out(name: str) -> bool:
    """Whether a file of this name is an operating system's or the program's own, and no data."""
    return name in _SYSTEM_FILES or name.startswith((_APPLE_DOUBLE, OWN_PREFIX))


def _look(item: os.DirEntry[str], inside: Path) -> tuple[os.stat_result | None, str]:
    """The facts of a file or folder to send, or None and the reason why it is not sent."""
    if item.is_symlink():
        try:
            goal = Path(item.path).resolve()
        except RuntimeError:
            return None, "a link that leads back to itself"
        if goal.is_dir():
            return None, f"a link to the folder {goal}: links to folders are not followed"
        if not goal.is_relative_to(inside):
            return None, f"a link to {goal}, outside the folder: copy that file into the folder to send it"
        if not goal.exists():
            return None, f"a link to {goal}, which does not exist"
    elif sys.platform == "win32":
        tag = item.stat(follow_symlinks=False).st_reparse_tag
        if tag == stat.IO_REPARSE_TAG_MOUNT_POINT:
            return None, "a junction: links to folders are not followed"
    facts = item.stat()
    # On Windows the facts that a folder's listing holds may be behind the file's own.
    facts = Path(item.path).stat() if sys.platform == "win32" else facts
    if stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode):
        return facts, ""
    return None, "neither a file nor a folder"


def _file(path: PurePosixPath, facts: os.stat_result) -> Entry:
    return Entry(path=path, kind=Kind.FILE, size=facts.st_size, mtime_ns=facts.st_mtime_ns)


def _relative(path: Path, root: Path) -> PurePosixPath:
    return PurePosixPath(path.relative_to(root).as_posix())
