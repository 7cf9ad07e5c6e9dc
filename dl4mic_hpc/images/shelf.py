"""What lies in the folders with images: which images, who uses them, what broken-off jobs have left.

The work folder's own images may be removed; those of `image_folders` belong to others and are only looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from dl4mic_hpc.errors import RemoteError, UsageError
from dl4mic_hpc.images.record import Entry, ImageRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A session that needs an image. `state`: Slurm's word in lower case, or "not submitted" or "unknown"."""

    session: str
    state: str
    job_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image in one of the folders.

    `own`: in the work folder. `fault`: why no launch uses it, "" if it is usable. `used`: when a session last began
    with it, in seconds since 1970. `built_by`: the job that makes it anew at this moment. `busy`: a lock that names no
    job lies on it.
    """

    entry: Entry
    own: bool
    name: str
    key: str
    record: ImageRecord | None
    fault: str
    used: int | None
    users: tuple[User, ...]
    built_by: int | None
    busy: bool

    @property
    def path(self) -> PurePosixPath:
        return self.entry.path

    @property
    def built(self) -> int:
        """When it was made, in seconds since 1970: by its record, else by its file."""
        try:
            return (
                int(datetime.fromisoformat(self.record.built).timestamp())
                if self.record
                else self.entry.modified
            )
        except ValueError:
            return self.entry.modified

    @property
    def last_needed(self) -> int:
        return max(self.used or 0, self.built)

    @property
    def source(self) -> str:
        """The reference that it was pulled from, or "recipe"; "" where nobody knows."""
        if self.record is None:
            return ""
        return self.record.source.reference or self.record.source.kind

    @property
    def in_use(self) -> str:
        """Who needs it now, in words; "" if nobody does."""
        if self.users:
            return ", ".join(f"session {one.session} ({one.state})" for one in self.users)
        if self.built_by is not None:
            return f"job {self.built_by}, which makes it anew"
        return "another launch or removal, which has begun" if self.busy else ""

    def as_json(self) -> dict[str, Any]:
        record = self.record
        return {
            "name": self.name,
            "key": self.key or None,
            "file": str(self.path),
            "own": self.own,
            "source": self.source or None,
            "digest": (record.source.digest or None) if record else None,
            "sha256": record.sha256 if record else None,
            "cuda": (record.cuda or None) if record else None,
            "size": self.entry.size,
            "built": iso(self.built),
            "last_used": iso(self.used) if self.used is not None else None,
            "usable": not self.fault,
            "fault": self.fault or None,
            "sessions": [
                {"session": one.session, "state": one.state, "job_id": one.job_id} for one in self.users
            ],
            "build_job_id": self.built_by,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """What a job or a command has left that did not come to its end. `dead`: nothing works with it any more.

    `written`: of what a later launch could go on with, when it was last written to, in seconds since 1970; it is
    cleared away only when it is as old as the images that are. None for what is of no use to anybody.
    """

    path: PurePosixPath
    what: str
    size: int
    dead: bool
    written: int | None = None

    def as_json(self) -> dict[str, Any]:
        return {"path": str(self.path), "what": self.what, "size": self.size, "dead": self.dead}


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    path: PurePosixPath
    own: bool
    there: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Everything that one look has found.

    `now` by the cluster's clock. `slurm_error`: why it is not known which sessions run; then every session counts as
    using its image, and nothing as dead. `cache_old`: of `cache` bytes those that were not read for the asked time.
    """

    cluster: str
    now: int
    user: str
    folders: tuple[Folder, ...]
    images: tuple[Image, ...]
    leftovers: tuple[Leftover, ...]
    cache: int
    cache_old: int
    slurm_error: str
    building: bool

    def as_json(self) -> dict[str, Any]:
        return {
            "cluster": self.cluster,
            "folders": [{"path": str(one.path), "own": one.own, "there": one.there} for one in self.folders],
            "images": [image.as_json() for image in self.images],
            "leftovers": [leftover.as_json() for leftover in self.leftovers],
            "cache": self.cache,
            "slurm_error": self.slurm_error or None,
        }

    def require_slurm(self) -> None:
        """RemoteError if Slurm did not answer: nothing is removed without knowing who uses it."""
        if self.slurm_error:
            raise RemoteError(
                f"Slurm does not answer on {self.cluster}, so it is not known which images are in use: "
                f"{self.slurm_error}",
                hint="try again in some minutes; if it lasts, ask the cluster's support",
            )

    def find(self, word: str) -> tuple[Image, ...]:
        """The images that `word` names: a file or its path, a name, a key or its beginning. UsageError if none."""
        tests = (
            lambda one: word in (str(one.path), one.path.name),
            lambda one: word in (one.name, one.key, one.path.stem),
            lambda one: len(word) >= 4 and one.key.startswith(word),
        )
        for test in tests:
            found = tuple(one for one in self.images if test(one))
            if found:
                return found
        known = sorted({one.path.stem for one in self.images})
        raise UsageError(
            f"there is no image '{word}' on {self.cluster}",
            hint="`dl4mic-hpc image list` shows them" if known else "there is none yet; a launch makes one",
        )

    def find_own(self, word: str) -> Image:
        """The one image of the work folder that `word` names. UsageError if it is none, or several."""
        found = self.find(word)
        own = [one for one in found if one.own]
        if not own:
            raise UsageError(
                f"{found[0].path} belongs to a folder that others keep; nothing is removed there",
                hint="ask those who keep it, or take the folder out of `image_folders` in the profile",
            )
        if len(own) > 1:
            keys = ", ".join(one.key or one.path.name for one in own)
            raise UsageError(f"there are {len(own)} images named {word}", hint=f"name one by its key: {keys}")
        return own[0]


def iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
