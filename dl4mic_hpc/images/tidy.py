"""Images read through, removed, and cleared away when nobody has needed them for long.

What is to go is planned from one look (`shelf`); the script on the cluster looks again before it removes anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from dl4mic_hpc import resources
from dl4mic_hpc.errors import ImageError, RemoteError, UsageError
from dl4mic_hpc.images.inventory import script
from dl4mic_hpc.images.shelf import Image, Leftover, Shelf
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.remote import Remote

_UNITS = {"h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}


def age(text: str) -> int:
    """The seconds in "12h", "30d" or "2w". UsageError for anything else."""
    found = re.fullmatch(r"([0-9]{1,5})([hdw])", text.strip())
    if found is None:
        raise UsageError(f"'{text}' is no length of time", hint="write hours, days or weeks: 12h, 30d, 2w")
    return int(found[1]) * _UNITS[found[2]]


# ---- Reading ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What reading an image through has shown. `faults` is empty for an image that is as it was made."""

    image: Image
    sha256: str
    faults: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.image.name,
            "key": self.image.key or None,
            "file": str(self.image.path),
            "sha256": self.sha256 or None,
            "verdict": "wrong" if self.faults else "ok",
            "faults": list(self.faults),
        }


def check(remote: Remote, images: Iterable[Image]) -> Iterator[Verdict]:
    """Reads every byte of the images on the login node, at the lowest priority; each verdict as it comes."""
    by_path = {str(image.path): image for image in images}
    if not by_path:
        return
    text = resources.data("templates", "images.sh").read_text(encoding="utf-8")
    with remote.start("sh", "-c", text, "images", "check", "", *by_path) as process:
        rest = b""
        while piece := process.read():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                sha256, kind, path = line.decode("utf-8", "replace").split("\t", 2)
                yield judge(by_path.pop(path), sha256=sha256, is_sif=kind == "sif")
        try:
            process.wait(60).check("reading the images", hint="try again")
        except TimeoutError as error:
            raise RemoteError(
                f"reading the images: {remote.cluster} gave no answer for a minute", hint="try again"
            ) from error
    if by_path:
        raise RemoteError(
            f"the cluster's answer was cut short: {min(by_path)} was not read", hint="try again"
        )


def judge(image: Image, *, sha256: str, is_sif: bool) -> Verdict:
    """What the bytes say, and what the look at the file has said before."""
    faults = [image.fault] if image.fault else []
    if not sha256:
        faults.append("it cannot be read to its end")
    else:
        if not is_sif:
            faults.append("it is no Apptainer image")
        if image.record is not None and image.record.sha256 != sha256:
            faults.append("its content is not what was built: the SHA-256 differs from its record")
    return Verdict(image=image, sha256=sha256, faults=tuple(faults))


# ---- Removing --------------------------------------------------------------------------------------------------------


def require_unused(shelf: Shelf, images: Iterable[Image]) -> None:
    """ImageError if one of the images is in use, RemoteError if nobody can say."""
    shelf.require_slurm()
    for image in images:
        if image.in_use:
            raise _in_use(image.path.name, image.in_use)


def _in_use(name: str, by: str) -> ImageError:
    return ImageError(
        f"{name} is in use by {by}; it was not removed",
        hint="`dl4mic-hpc ps` shows your sessions; end them with `dl4mic-hpc stop SESSION`, then try again",
    )


def remove(remote: Remote, profile: ClusterProfile, shelf: Shelf, images: Iterable[Image]) -> None:
    """Removes images of the work folder with what lies beside them. ImageError if one of them is in use by now."""
    found = {image.path.name: image for image in images}
    _clear_locks(remote, profile, shelf, found.values())
    said = _remove(remote, profile, found.values(), unused_for=None)
    for name in found:
        if said.get(name) != "removed":
            raise _kept(name, said.get(name, ""))


def _kept(name: str, word: str) -> ImageError:
    if word in ("used", "locked"):
        return _in_use(name, "a session or a job that has begun meanwhile")
    return ImageError(
        f"{name} could not be removed", hint="`dl4mic-hpc image list` shows whether it is still there"
    )


def _remove(
    remote: Remote, profile: ClusterProfile, images: Iterable[Image], *, unused_for: int | None
) -> dict[str, str]:
    limit = "" if unused_for is None else str(unused_for)
    names = [image.path.name for image in images]
    if not names:
        return {}
    return _said(script(remote, "remove", str(profile.work_dir), limit, *names, what="removing images"))


def _clear_locks(remote: Remote, profile: ClusterProfile, shelf: Shelf, images: Iterable[Image]) -> None:
    """The locks of jobs that are over stand in nobody's way."""
    locks = {image.path.with_suffix(".lock") for image in images}
    dead = [one for one in shelf.leftovers if one.dead and one.path in locks]
    if dead:
        _clear(remote, profile, dead, unread_for=None)


def _clear(
    remote: Remote, profile: ClusterProfile, leftovers: Iterable[Leftover], *, unread_for: int | None
) -> dict[str, str]:
    limit = "" if unread_for is None else str(unread_for)
    paths = [str(one.path.relative_to(profile.work_dir)) for one in leftovers]
    return _said(script(remote, "clear", str(profile.work_dir), limit, *paths, what="clearing away"))


def _said(text: str) -> dict[str, str]:
    """What became of each name; of "cache": the bytes."""
    found = {}
    for line in text.splitlines():
        word, _, name = line.partition("\t")
        if word == "cache":
            word, name = name, word
        found[name] = word
    return found


# ---- Pruning ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """What is to be cleared away, or has been. `age`: seconds; `cache`: bytes of cached files not read for that long.

    `kept`: old enough, but somebody needs it, and who.
    """

    age: int
    images: tuple[Image, ...]
    leftovers: tuple[Leftover, ...]
    cache: int
    kept: tuple[tuple[PurePosixPath, str], ...]

    @property
    def size(self) -> int:
        return (
            sum(one.entry.size for one in self.images) + sum(one.size for one in self.leftovers) + self.cache
        )

    @property
    def is_empty(self) -> bool:
        return not (self.images or self.leftovers or self.cache)

    def as_json(self) -> dict[str, Any]:
        return {
            "images": [image.as_json() for image in self.images],
            "leftovers": [leftover.as_json() for leftover in self.leftovers],
            "cache": self.cache,
            "bytes": self.size,
            "kept": [{"path": str(path), "why": why} for path, why in self.kept],
        }


def plan(shelf: Shelf, *, unused_for: int) -> Pruning:
    """What nobody has needed for `unused_for` seconds, and what broken-off jobs have left.

    Only images of the work folder that the program has named itself. The cache only while no image is being made.
    """
    shelf.require_slurm()
    old = [one for one in shelf.images if one.own and one.key and shelf.now - one.last_needed >= unused_for]
    kept = [(one.path, f"in use by {one.in_use}") for one in old if one.in_use]
    # Locks first: what a removal has left may go when its lock may.
    dead = (
        one
        for one in shelf.leftovers
        if one.dead and (one.written is None or shelf.now - one.written >= unused_for)
    )
    leftovers = sorted(dead, key=lambda one: one.path.suffix != ".lock")
    return Pruning(
        age=unused_for,
        images=tuple(one for one in old if not one.in_use),
        leftovers=tuple(leftovers),
        cache=0 if shelf.building else shelf.cache_old,
        kept=tuple(kept),
    )


def prune(remote: Remote, profile: ClusterProfile, planned: Pruning) -> Pruning:
    """Clears away what is planned and still nobody's; what has really gone."""
    cleared = _clear(remote, profile, planned.leftovers, unread_for=planned.age)
    removed = _remove(remote, profile, planned.images, unused_for=planned.age)
    kept = list(planned.kept)
    images, leftovers = [], []
    for image in planned.images:
        if removed.get(image.path.name) == "removed":
            images.append(image)
        else:
            kept.append((image.path, _why(removed.get(image.path.name, ""))))
    for one in planned.leftovers:
        word = cleared.get(str(one.path.relative_to(profile.work_dir)), "")
        if word == "removed":
            leftovers.append(one)
        else:
            kept.append((one.path, _why(word)))
    cache = cleared.get("cache", "")
    return Pruning(
        age=planned.age,
        images=tuple(images),
        leftovers=tuple(leftovers),
        cache=int(cache) if cache.isdigit() else 0,
        kept=tuple(kept),
    )


def _why(word: str) -> str:
    return "somebody has begun to use it" if word in ("used", "locked") else "it could not be removed"
