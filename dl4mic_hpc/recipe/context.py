"""COPY's files from the build context -> archives whose bytes depend on nothing but names, modes and contents.

As Docker's builder does it: a folder's contents are copied, never the folder itself; owners are 0:0; a folder
that is new gets its source's mode, one that exists keeps its own. So an archive holds files only, and its
folders stand in a list of their own, which the build goes through before it unpacks.
"""

from __future__ import annotations

import io
import os
import posixpath
import re
import stat
import tarfile
from dataclasses import dataclass
from pathlib import Path

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.parser import refuse
from dl4mic_hpc.recipe.steps import Copy

# 1980-01-02 in UTC: everywhere on Earth a date that a ZIP archive (a Python wheel) can hold.
MTIME = 315_619_200

_KEEPS_MODES = os.name != "nt"
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """The files of one COPY.

    archive: an uncompressed tar of regular files. folders: one line per folder, parents first: mode, a blank,
    path. member: set if one single file goes to a destination that is not written as a folder.
    """

    archive: bytes
    folders: bytes
    member: str | None


def pack(copy: Copy, *, context: Path, name: str, portable_modes: bool) -> Packed:
    """What `copy` takes from the folder `context`; `name` is the Dockerfile's, for messages.

    portable_modes: 0644, or 0755 for folders and executable files, whatever the laptop's umask made of them.
    RecipeError for what is absent, neither file nor folder, or reached through a symbolic link.
    """
    collection = _Collection(copy, context, name)
    for ignored in (".dockerignore", f"{name}.dockerignore"):
        if os.path.lexists(context / ignored):
            raise collection.refuse(
                f"{ignored} is not converted yet", "delete it and name the wanted files in COPY"
            )
    try:
        for source in copy.sources:
            collection.add(source)
        archive = _tar(collection.files, portable=portable_modes)
        folders = {
            inside: _mode(path, portable=portable_modes) for inside, path in collection.folders.items()
        }
    except OSError as error:
        what = f"{error.filename} cannot be read: {error.strerror}"
        raise collection.refuse(what, "give yourself the right to read it") from error
    return Packed(
        archive=archive,
        folders=b"".join(f"{mode:04o} {inside}\n".encode() for inside, mode in sorted(folders.items())),
        member=None if copy.destination.endswith("/") else collection.single,
    )


class _Collection:
    """Files and folders by the path that they get below the destination; a later source wins."""

    def __init__(self, copy: Copy, context: Path, name: str) -> None:
        self.copy, self.context, self.name = copy, context, name
        self.files: dict[str, Path] = {}
        self.folders: dict[str, Path] = {}
        self.single: str | None = None

    def refuse(self, what: str, hint: str) -> RecipeError:
        return refuse(self.name, self.copy.line, what, hint=hint)

    def add(self, source: str) -> None:
        path = self.context
        for part in source.split("/"):
            path /= part
            self.check(path)
        if path.is_dir():
            self.add_contents(path, "")
        else:
            self.single = posixpath.basename(source)
            self.put(self.single, path)

    def add_contents(self, folder: Path, inside: str) -> None:
        for path in folder.iterdir():
            self.check(path)
            self.put(inside + path.name, path)
            if path.is_dir():
                self.add_contents(path, f"{inside}{path.name}/")

    def put(self, inside: str, path: Path) -> None:
        taken, other = (self.folders, self.files) if path.is_dir() else (self.files, self.folders)
        if inside in other:
            raise self.refuse(
                f"{inside} would be a file and a folder", "copy the two by COPY lines of their own"
            )
        if self.copy.refuse_archives and path.is_file() and _is_archive(path):
            hint = "write COPY if it is wanted as it is; else unpack it and COPY the folder"
            raise self.refuse(f"ADD would unpack the archive {inside}, which is not converted yet", hint)
        taken[inside] = path

    def check(self, path: Path) -> None:
        shown = path.relative_to(self.context).as_posix()
        if _UNUSABLE.search(path.name):
            raise self.refuse(
                f"the name {path.name!r} holds a character that is not converted", "rename the file"
            )
        try:
            mode = path.lstat().st_mode
        except OSError as error:
            hint = f"put it there, or correct the {self.copy.text.split()[0]}"
            raise self.refuse(f"the build context {self.context} has no {shown}", hint) from error
        if stat.S_ISLNK(mode):
            raise self.refuse(
                f"{shown} is a symbolic link, which is not converted yet", "put the file itself there"
            )
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise self.refuse(
                f"{shown} is neither a file nor a folder", "COPY the wanted files by their names"
            )


def _is_archive(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(6)
    return start.startswith(_COMPRESSED) or tarfile.is_tarfile(path)


def _mode(path: Path, *, portable: bool) -> int:
    """Permission bits. Windows keeps none: there a file that begins with #! counts as a program."""
    if path.is_dir() and (portable or not _KEEPS_MODES):
        return 0o755
    if not _KEEPS_MODES:
        with path.open("rb") as file:
            return 0o755 if file.read(2) == b"#!" else 0o644
    mode = stat.S_IMODE(path.stat().st_mode)
    if portable:
        return 0o755 if mode & stat.S_IXUSR else 0o644
    return mode


def _tar(files: dict[str, Path], *, portable: bool) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for inside, path in sorted(files.items()):
            content = path.read_bytes()
            entry = tarfile.TarInfo(inside)
            entry.size, entry.mtime, entry.mode = len(content), MTIME, _mode(path, portable=portable)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
