"""Archives, both ways: those that ADD unpacks are recognised and decompressed, those of a bundle are written."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from dl4mic_hpc.errors import RecipeError

# 1980-01-02 in UTC: everywhere on Earth a date that a ZIP archive (a Python wheel) can hold.
MTIME = 315_619_200
# The most that one COPY or ADD may hold, in bytes: it passes through this computer's memory.
LIMIT = 2**30

_ZSTANDARD = (b"\x28\xb5\x2f\xfd", *(bytes((0x50 + frame, 0x2A, 0x4D, 0x18)) for frame in range(16)))
_Stream = gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile | BufferedReader
_BROKEN = (EOFError, OSError, zlib.error, lzma.LZMAError, tarfile.TarError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file of an archive. content: read when it is written; its text if it is a link."""

    mode: int
    content: Callable[[], bytes]
    link: bool = False


def write(members: Mapping[str, Member]) -> bytes:
    """An uncompressed archive whose bytes depend on nothing but names, modes and contents."""
    buffer = io.BytesIO()
    size = 0
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8") as archive:
        for name, member in sorted(members.items()):
            content = member.content()
            size += len(content)
            check_size(size)
            entry = tarfile.TarInfo(name)
            entry.mtime, entry.mode = MTIME, member.mode
            if member.link:
                entry.type, entry.linkname = tarfile.SYMTYPE, content.decode()
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def check_size(size: int) -> None:
    """RecipeError for more than one instruction may hold."""
    if size > LIMIT:
        what = f"this takes more than {LIMIT >> 20} MiB, the most that one instruction may"
        hint = "leave out by .dockerignore what the image does not need; bring data to the session, not into the image"
        raise RecipeError(what, hint=hint)


def unpacked(path: Path, shown: str) -> bytes | None:
    """The archive at `path` without its compression, None if Docker would see no archive in it.

    As there, the content decides and not the name. RecipeError for Zstandard and for a broken archive.
    """
    with path.open("rb") as file:
        start = file.read(8)
        file.seek(0)
        if start.startswith(_ZSTANDARD):
            hint = "compress it with gzip or xz instead; or write COPY if it is wanted as it is"
            raise RecipeError(f"ADD would unpack {shown}, which Zstandard has compressed", hint=hint)
        if not _begins_with_member(_decompressed(file, start)):
            return None
        file.seek(0)
        try:
            content = _decompressed(file, start).read(LIMIT + 1)
        except _BROKEN as error:
            hint = "make the archive again"
            raise RecipeError(f"the archive {shown} cannot be decompressed: {error}", hint=hint) from error
    check_size(len(content))
    return content


def _decompressed(file: BufferedReader, start: bytes) -> _Stream:
    """What `file` says without the compression that its `start` tells of."""
    if start.startswith(b"\x1f\x8b\x08"):
        return gzip.GzipFile(fileobj=file)
    if start.startswith(b"BZh"):
        return bz2.BZ2File(file)
    if start.startswith(b"\xfd7zXZ\x00"):
        return lzma.LZMAFile(file, format=lzma.FORMAT_XZ)
    return file


def _begins_with_member(stream: _Stream) -> bool:
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            return archive.next() is not None
    except _BROKEN:
        return False
