"""The repositories that a notebook clones, brought along: compute nodes are often offline."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from dl4mic_hpc.errors import Dl4micError
from dl4mic_hpc.notebook.report import Clone
from dl4mic_hpc.recipe.steps import Git
from dl4mic_hpc.sources import git
from dl4mic_hpc.sources.cache import Cache

MOST = 64 * 1024**2
"""Bytes of one repository that a launch carries along; the notebooks' own are below 20 MB, all but one."""


def bring(clones: Iterable[Clone], *, cache: Path, say: Callable[[str], None]) -> dict[str, bytes]:
    """The files of the repositories, by the path that each gets in the session, where its clone would lie.

    The line that clones then finds the folder there and goes on. What cannot be brought is said and left to the
    line itself, which needs the internet on the compute node: that may well be there.
    """
    files: dict[str, bytes] = {}
    for folder, clone in {each.folder: each for each in clones}.items():
        if PurePosixPath(folder).is_absolute() or ".." in PurePosixPath(folder).parts:
            continue
        wanted = Git(repository=clone.repository, ref=clone.branch, folder="", keep_git=False, checksum="")
        try:
            found = git.checkout(wanted, cache=Cache(folder=cache), say=say)
        except Dl4micError as problem:
            say(f"{folder} is not brought along, so the notebook needs the internet for it: {problem}")
            continue
        paths = [path for path in sorted(found.rglob("*")) if path.is_file() and not path.is_symlink()]
        size = sum(path.stat().st_size for path in paths)
        if size > MOST:
            say(
                f"{folder} is not brought along, so the notebook needs the internet for it: "
                f"{clone.repository} has {size / 1e6:.0f} MB"
            )
            continue
        for path in paths:
            files[f"home/{folder}/{path.relative_to(found).as_posix()}"] = path.read_bytes()
    return files
