"""What COPY and ADD take from outside the image -> archives whose bytes depend on nothing but names, modes, contents.

As Docker's builder does it: a folder's contents are copied, never the folder itself; owners are 0:0; links in a
folder stay links, a source that is a link is followed; of two sources the later one wins. An archive holds files
only, and its folders stand in a list of their own, which the build goes through before it unpacks. Two names of one
file (hard links) become two files, and extended attributes are left behind: what a download or a checkout keeps of
them differs from laptop to laptop.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe import archives, dockerignore, modes
from dl4mic_hpc.recipe.archives import MTIME, Member
from dl4mic_hpc.recipe.modes import Change
from dl4mic_hpc.recipe.outside import Outside
from dl4mic_hpc.recipe.parser import refuse
from dl4mic_hpc.recipe.patterns import Patterns, clean, has_wildcards
from dl4mic_hpc.recipe.steps import Context, Copy, Git, Source, Text, Url
from dl4mic_hpc.recipe.tree import Node, Tree, link_text, relative, select

__all__ = ["MTIME", "Packed", "context_digest", "pack"]

_KEEPS_MODES = os.name != "nt"
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """The files of one COPY or ADD.

    archive: an uncompressed tar of regular files and links, below the destination, with their final modes. folders:
    one line per folder, parents first: mode, a blank, path. archives: what ADD unpacks into the destination after
    `archive`, in order, decompressed, each with owners of its own. member: set if one single file goes to a
    destination that is not written as a folder: it gets that name, or goes into the folder of that name.
    """

    archive: bytes
    folders: bytes
    archives: tuple[bytes, ...]
    member: str | None


def pack(
    copy: Copy,
    *,
    context: Path,
    name: str,
    outside: Outside,
    portable_modes: bool,
    beside: Path | None = None,
) -> Packed:
    """What `copy` takes from the folder `context` and from `outside`; `name` is the Dockerfile's, for messages.

    portable_modes: 0644, or 0755 for folders and executable files, whatever the laptop's umask made of them; else
    the modes that they have, and 0600 for a file from an address, as in Docker. beside: the folder that the
    Dockerfile lies in, where a .dockerignore of its own is looked for; None for the context. RecipeError, with file
    and line, for everything that is absent, left out by .dockerignore, or cannot be packed.
    """
    ignored = dockerignore.read(context, name=name, beside=beside or context)
    try:
        change = _change(copy.mode)
        collection = _Collection(copy, Tree(context, ignored), portable=portable_modes)
        for source in copy.sources:
            collection.add(source, outside)
        collection.check()
        return Packed(
            archive=archives.write(collection.files(change)),
            folders=collection.folders(change),
            archives=tuple(collection.archives),
            member=collection.member(),
        )
    except OSError as error:
        what = f"{error.filename or 'a file'} cannot be read: {error.strerror or error}"
        raise refuse(name, copy.line, what, hint="give yourself the right to read it") from error
    except RecipeError as error:
        raise refuse(name, copy.line, error.message, hint=error.hint) from error


def context_digest(context: Path, name: str, *, beside: Path | None = None) -> bytes:
    """A hash over all that a COPY could take from `context`: 32 bytes, the same on every laptop.

    What cannot be read, or is neither file, folder nor link, counts by its name alone: no COPY can take it.
    """
    digest = hashlib.sha256()
    tree = Tree(context, dockerignore.read(context, name=name, beside=beside or context))
    for node in tree.below(tree.find("")):
        fields = (node.path.encode("utf-8", "surrogateescape"), *_fingerprint(node))
        digest.update(b"".join(len(field).to_bytes(8, "big") + field for field in fields))
    return digest.digest()


def _fingerprint(node: Node) -> tuple[bytes, bytes]:
    """What stands for the mode and the content of `node`."""
    try:
        if stat.S_ISLNK(node.mode):
            return b"link", link_text(node).encode("utf-8", "surrogateescape")
        if stat.S_ISREG(node.mode):
            with Path(node.place).open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
            return f"{_mode(node, portable=True):o}".encode(), content
    except OSError:
        return b"unreadable", b""
    return (b"folder" if node.is_folder else b"other"), b""


class _Collection:
    """What is taken, by the path that it gets below the destination; a later source wins.

    taken: of a folder its mode. single: the names of what came as a file, not in a folder. matched: how many
    folders the sources came to. unmatched: how many patterns came to nothing.
    """

    def __init__(self, copy: Copy, tree: Tree, *, portable: bool) -> None:
        self.copy, self.tree, self.portable = copy, tree, portable
        self.taken: dict[str, Member | int] = {}
        self.archives: list[bytes] = []
        self.single: list[str] = []
        self.size = self.matched = self.unmatched = 0
        self.excluded = _patterns(copy.exclude, "--exclude")

    def add(self, source: Source, outside: Outside) -> None:
        match source.origin:
            case Context() if self.copy.parents:
                self.add_with_parents(source)
            case Context():
                for path in self.found(source.path, glob=source.glob):
                    self.add_path(path)
            case Text(content=content):
                self.add_single(source.path, Member(mode=0o644, content=lambda: content), len(content))
            case Url() as url:
                file = outside.url(url)
                member = Member(mode=0o644 if self.portable else 0o600, content=file.read_bytes)
                self.add_single(source.path, member, file.stat().st_size)
            case Git() as git:
                tree = Tree(outside.git(git), Patterns(()))
                self.add_folder(tree, tree.find(""), portable=True)
            case _:
                raise TypeError(source.origin)

    def found(self, path: str, *, glob: bool) -> list[str]:
        """The paths that `path` means; itself if it has no wildcards."""
        _check_name(path)
        cleaned = clean(path).removeprefix("/")
        if ".." in cleaned.split("/"):
            hint = "take a folder further up as the build context, or put the files into this one"
            raise RecipeError(f"{path} lies outside of the build context", hint=hint)
        if not glob or not has_wildcards(cleaned):
            return [cleaned]
        paths = self.tree.glob(cleaned)
        self.unmatched += not paths
        return paths

    def add_path(self, path: str) -> None:
        node = self.tree.find(path)
        name = posixpath.basename(path)
        if node.is_folder:
            self.add_folder(self.tree, node, portable=self.portable)
        elif self.excluded.judge(name)[0]:
            hint = "Docker's manual leaves such a file out, its builder does not: copy its folder, or name other files"
            raise RecipeError(f"--exclude says {name}, which is a source by itself", hint=hint)
        elif self.copy.unpack and (content := self.unpacked(node)) is not None:
            self.count(len(content))
            self.archives.append(content)
        else:
            self.add_single(name, self.member_of(node, portable=self.portable), node.size)

    def unpacked(self, node: Node) -> bytes | None:
        self.member_of(node, portable=True)
        return archives.unpacked(Path(node.place), node.path)

    def add_folder(
        self, tree: Tree, folder: Node, *, portable: bool, included: Patterns | None = None
    ) -> None:
        self.matched += 1
        for node in select(tree.below(folder), folder, included=included, excluded=self.excluded):
            inside = relative(node, folder)
            if node.is_folder:
                _check_name(node.path)
                self.put(inside, _mode(node, portable=portable))
            else:
                self.put(inside, self.member_of(node, portable=portable))
                self.size += node.size
        self.count(0)

    def add_with_parents(self, source: Source) -> None:
        """`--parents`: all that the path matches, with its folders from the pivot `/./` or the context's root on."""
        before, pivot, after = source.path.partition("/./")
        base, pattern = (before, after) if pivot else ("", before)
        [pattern] = self.found(pattern, glob=False)
        included = None if pattern == "." else _patterns((pattern,), "--parents")
        already = len(self.taken)
        for path in self.found(base, glob=source.glob):
            folder = self.tree.find(path)
            if folder.is_folder:
                self.add_folder(self.tree, folder, portable=self.portable, included=included)
        if len(self.taken) == already and not has_wildcards(base) and not has_wildcards(pattern):
            self.tree.find(posixpath.join(base, pattern))
            what = f"{source.path} is reached through a link, which --parents does not follow"
            raise RecipeError(what, hint="name the place that the link leads to")

    def add_single(self, name: str, member: Member, size: int) -> None:
        _check_name(name)
        if self.archives:
            hint = "write an ADD line for each"
            raise RecipeError(f"the file {name} comes after an archive that is unpacked", hint=hint)
        self.single.append(name)
        self.put(name, member)
        self.count(size)

    def put(self, inside: str, what: Member | int) -> None:
        if not isinstance(self.taken.setdefault(inside, what), type(what)):
            hint = "copy the two by COPY lines of their own"
            raise RecipeError(f"{inside} would be a file and a folder", hint=hint)
        self.taken[inside] = what

    def count(self, size: int) -> None:
        self.size += size
        archives.check_size(self.size)

    def member_of(self, node: Node, *, portable: bool) -> Member:
        _check_name(node.path)
        if stat.S_ISLNK(node.mode):
            text = link_text(node)
            _check_name(text)
            return Member(mode=0o777, content=text.encode, link=True)
        if not stat.S_ISREG(node.mode):
            kind = _KINDS.get(stat.S_IFMT(node.mode), "neither a file nor a folder")
            hint = f"remove it, or leave it out by .dockerignore: {node.path}"
            raise RecipeError(f"{node.path} is {kind}, which is not converted", hint=hint)
        return Member(mode=_mode(node, portable=portable), content=Path(node.place).read_bytes)

    def check(self) -> None:
        if self.unmatched and not (self.matched or self.single or self.archives):
            patterns = " ".join(source.path for source in self.copy.sources)
            hint = "correct the pattern, or see what .dockerignore leaves out"
            raise RecipeError(f"nothing in the build context matches {patterns}", hint=hint)

    def files(self, change: Change | None) -> dict[str, Member]:
        found = {inside: what for inside, what in self.taken.items() if isinstance(what, Member)}
        if change is None:
            return found
        return {
            inside: member if member.link else replace(member, mode=change(member.mode, False))
            for inside, member in found.items()
        }

    def folders(self, change: Change | None) -> bytes:
        found = sorted((inside, mode) for inside, mode in self.taken.items() if isinstance(mode, int))
        return b"".join(
            f"{change(mode, True) if change else mode:04o} {inside}\n".encode() for inside, mode in found
        )

    def member(self) -> str | None:
        alone = len(self.single) == 1 and not self.matched and not self.archives
        return self.single[0] if alone and not self.copy.destination.endswith("/") else None


def _mode(node: Node, *, portable: bool) -> int:
    """Permission bits. Windows keeps none: there a file that begins with #! counts as a program."""
    if node.is_folder and (portable or not _KEEPS_MODES):
        return 0o755
    if not _KEEPS_MODES:
        with Path(node.place).open("rb") as file:
            return 0o755 if file.read(2) == b"#!" else 0o644
    if portable:
        return 0o755 if node.mode & stat.S_IXUSR else 0o644
    return stat.S_IMODE(node.mode)


def _check_name(name: str) -> None:
    if _UNUSABLE.search(name):
        what = f"the name {posixpath.basename(name)!r} holds a character that is not converted"
        raise RecipeError(what, hint="rename the file, or leave it out by .dockerignore")


def _patterns(texts: Iterable[str], flag: str) -> Patterns:
    try:
        return Patterns(texts)
    except ValueError as error:
        hint = "close its brackets; put no \\ at its end or before a letter"
        raise RecipeError(f"{flag}: '{error}' is no pattern that Docker knows", hint=hint) from error


def _change(mode: str) -> Change | None:
    try:
        return modes.parse(mode) if mode else None
    except ValueError as error:
        hint = "write an octal number such as 755, or changes such as u+x,go=r"
        raise RecipeError(f"--chmod={mode} says no mode", hint=hint) from error
