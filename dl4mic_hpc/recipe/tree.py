"""A folder as COPY sees it: without what .dockerignore leaves out, and with no way out of it by links.

Links in a source's own path are followed, always inside the folder, as if it were the root of a file system; links
found below are what they are. Everything is named by its path relative to the folder, with `/` on every system.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dl4mic_hpc.errors import RecipeError, perhaps_you_meant
from dl4mic_hpc.recipe import patterns
from dl4mic_hpc.recipe.patterns import Patterns, Standing

_MOST_LINKS = 255
_MOST_NAMES = 50
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EINVAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Something in the folder. path: relative to it, "" for itself. place: where it is on this computer."""

    path: str
    place: str
    mode: int
    size: int

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)


class Tree:
    def __init__(self, root: Path, ignored: Patterns) -> None:
        self._root, self._ignored = root, ignored

    def find(self, path: str) -> Node:
        """What is at `path`, links on the way and at its end followed. RecipeError if it is not there."""
        ahead = path.split("/")[::-1]
        at: list[str] = []
        links: list[str] = []
        node = self._node("", asked=path, links=links)
        if not node.is_folder:
            hint = "name the folder that holds what COPY takes"
            raise RecipeError(f"the build context {self._root} is not a folder", hint=hint)
        while ahead:
            part = ahead.pop()
            if part == "..":
                del at[-1:]
            if part in ("", ".", ".."):
                continue
            node = self._node("/".join([*at, part]), asked=path, links=links)
            if not stat.S_ISLNK(node.mode):
                at.append(part)
                continue
            self._check_not_ignored(node)
            target = link_text(node)
            links.append(f"{node.path} -> {target}")
            if len(links) > _MOST_LINKS:
                raise RecipeError(f"{path} is a link that leads to itself", hint="correct the link")
            if target.startswith("/"):
                at.clear()
            ahead += target.split("/")[::-1]
        node = self._node("/".join(at), asked=path, links=links)
        self._check_not_ignored(node)
        return node

    def glob(self, pattern: str) -> list[str]:
        """The paths that match, in order; of a folder that matches, nothing inside.

        RecipeError for a malformed pattern, and if the folder before the first wildcard is not there.
        """
        parts = pattern.split("/")
        first = next(at for at, part in enumerate(parts) if patterns.has_wildcards(part))
        try:
            matches = patterns.glob("/".join(parts[first:])).fullmatch
        except ValueError as error:
            hint = "close its brackets, and put no \\ at its end"
            raise RecipeError(f"'{pattern}' is no pattern that Docker knows", hint=hint) from error
        literal = "/".join(parts[:first])
        base = self.find(literal)
        # A class may match a /, nothing else goes deeper than the pattern.
        depth = len(parts) - first + sum(part.count("[") for part in parts)
        found: list[str] = []
        for node in self.below(base, depth=depth):
            inside = relative(node, base)
            if matches(inside) and not (found and inside.startswith(f"{found[-1]}/")):
                found.append(inside)
        return [f"{literal}/{inside}" if literal else inside for inside in found]

    def below(self, folder: Node, *, depth: int | None = None) -> Iterator[Node]:
        """All that is in `folder`, each folder before what it holds, by name; nothing below `depth` names.

        A folder that is left out is there all the same if something in it is not, as in Docker.
        """
        return _shown(self._judged(folder, depth))

    def _judged(self, folder: Node, depth: int | None) -> Iterator[tuple[Node, bool]]:
        levels = [(self._entries(folder), self._ignored.judge_whole(folder.path)[1])]
        while levels:
            entries, above = levels[-1]
            if (node := next(entries, None)) is None:
                levels.pop()
                continue
            ignored, standing = self._ignored.judge(node.path, above)
            if ignored and not (node.is_folder and self._ignored.may_spare(node.path)):
                continue
            yield node, not ignored
            if node.is_folder and (ignored or depth is None or len(levels) < depth):
                levels.append((self._entries(node, ignored=ignored), standing))

    def _entries(self, folder: Node, *, ignored: bool = False) -> Iterator[Node]:
        if not folder.is_folder:
            return iter(())
        try:
            with os.scandir(folder.place) as entries:
                prefix = f"{folder.path}/" if folder.path else ""
                return iter([_of(entry, prefix) for entry in sorted(entries, key=lambda entry: entry.name)])
        except PermissionError:
            if not ignored:
                raise
            return iter(())

    def _node(self, path: str, *, asked: str, links: list[str]) -> Node:
        place = self._root.joinpath(*path.split("/")) if path else self._root
        try:
            if os.name == "nt" and ("\\" in path or ":" in path):  # there they lead elsewhere
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            status = place.lstat() if path else place.stat()
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            raise self._absent(path, asked, links) from error
        return Node(path=path, place=str(place), mode=status.st_mode, size=status.st_size)

    def _absent(self, path: str, asked: str, links: list[str]) -> RecipeError:
        if not path:
            return RecipeError(f"there is no build context {self._root}", hint="name a folder that is there")
        what = f"the build context {self._root} has no {asked}"
        if links:
            what += f" ({links[-1]}, which is looked for in the context)"
            return RecipeError(what, hint="put the file itself there instead of a link")
        folder, _, name = path.rpartition("/")
        try:
            neighbours = [node.path.rpartition("/")[2] for node in self.below(self.find(folder), depth=1)]
        except (OSError, RecipeError):
            neighbours = []
        named = 0 < len(neighbours) <= _MOST_NAMES
        hint = perhaps_you_meant(name, neighbours) if named else "put it there, or correct the recipe"
        return RecipeError(what, hint=hint)

    def _check_not_ignored(self, node: Node) -> None:
        if self._ignored.judge_whole(node.path)[0] and not any(self.below(node)):
            hint = f"put !{node.path} at the end of the .dockerignore, or take the line out of the recipe"
            raise RecipeError(f"{node.path} is left out of the build context by .dockerignore", hint=hint)


def link_text(node: Node) -> str:
    """Where the link `node` leads, as it says."""
    target = os.readlink(node.place)  # noqa: PTH115 a Path would say it in other words
    return target.removeprefix("\\\\?\\").replace("\\", "/") if os.name == "nt" else target


def relative(node: Node, folder: Node) -> str:
    """The path of `node` below `folder`."""
    return node.path[len(folder.path) + 1 :] if folder.path else node.path


def select(
    nodes: Iterable[Node], folder: Node, *, included: Patterns | None, excluded: Patterns
) -> Iterator[Node]:
    """Those of `nodes`, in order and all below `folder`, that `included` matches and `excluded` does not.

    included: None for all. Folders on the way to what is taken are taken too.
    """
    return _shown(_sifted(nodes, folder, included, excluded))


def _sifted(
    nodes: Iterable[Node], folder: Node, included: Patterns | None, excluded: Patterns
) -> Iterator[tuple[Node, bool]]:
    known: dict[str, tuple[Standing, Standing]] = {}
    for node in nodes:
        path = relative(node, folder)
        above_in, above_out = known.get(path.rpartition("/")[0], ((), ()))
        wanted, standing_in = included.judge(path, above_in) if included is not None else (True, ())
        unwanted, standing_out = excluded.judge(path, above_out)
        if node.is_folder:
            known[path] = standing_in, standing_out
        yield node, wanted and not unwanted


def _shown(judged: Iterable[tuple[Node, bool]]) -> Iterator[Node]:
    """Those that are wanted, and before each the unwanted folders that lead to it, once."""
    waiting: list[Node] = []
    for node, wanted in judged:
        while waiting and not node.path.startswith(f"{waiting[-1].path}/"):
            waiting.pop()
        if wanted:
            yield from waiting
            waiting.clear()
            yield node
        elif node.is_folder:
            waiting.append(node)


def _of(entry: os.DirEntry[str], prefix: str) -> Node:
    status = entry.stat(follow_symlinks=False)
    return Node(path=prefix + entry.name, place=entry.path, mode=status.st_mode, size=status.st_size)
