"""What lies beside an image (`<name>-<key>.json`), and whether an image may be used: unchanged, and of somebody trusted.

An image in a folder that others keep runs as the user, with the user's files: it is taken only from folders in which
nobody else can put another one in its place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal, get_args

SourceKind = Literal["recipe", "registry", "oras", "library", "archive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What an image was made from. `reference`: its full name in a registry, by no mirror; "" for a recipe."""

    kind: SourceKind
    reference: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """Who made it: the programs, and the job with its node and user."""

    program: str = ""
    apptainer: str = ""
    node: str = ""
    job_id: int | None = None
    user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """An image's record. `size` in bytes, `modified` in seconds since 1970, `built` UTC in ISO 8601.

    `cuda`: the CUDA that it brings, "" for none. `probe`: what its maker could do.
    """

    key: str
    name: str
    size: int
    modified: int
    sha256: str
    source: Source
    cuda: str = ""
    builder: Builder = field(default_factory=Builder)
    probe: Mapping[str, Any] = field(default_factory=dict)
    built: str = ""

    def as_json(self) -> dict[str, Any]:
        return {"version": 1, **asdict(self)}


def parse(text: str) -> ImageRecord | None:
    """None for a record that is damaged, or that another version of the program wrote."""
    try:
        found = json.loads(text)
        if found.pop("version") != 1 or found["source"]["kind"] not in get_args(SourceKind):
            return None
        record = ImageRecord(
            **{**found, "source": Source(**found["source"]), "builder": Builder(**found.get("builder", {}))}
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    whole = all(isinstance(number, int) for number in (record.size, record.modified))
    return record if whole and isinstance(record.sha256, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file or folder as `stat --format='%a|%U|%s|%Y|%n'` tells it.

    `mode`: its permissions; `modified` in seconds since 1970.
    """

    path: PurePosixPath
    mode: int
    owner: str
    size: int
    modified: int

    @classmethod
    def parse(cls, line: str) -> Entry | None:
        mode, owner, size, modified, path = (line.split("|", 4) + [""] * 5)[:5]
        if not (mode.isdigit() and size.isdigit() and modified.lstrip("-").isdigit() and path):
            return None
        return cls(
            path=PurePosixPath(path), mode=int(mode, 8), owner=owner, size=int(size), modified=int(modified)
        )


def changed(record: ImageRecord | None, image: Entry) -> str:
    """Why the image is not the one that its record tells of; "" if it is, as far as size and time say."""
    if record is None:
        return "its record is missing or damaged"
    if record.size != image.size:
        return f"it has {image.size} bytes, and its record says {record.size}"
    if record.modified != image.modified:
        return "it was changed after its record was written"
    return ""


def distrust(entries: Iterable[Entry], *, user: str, trusted: Iterable[str] = ()) -> str:
    """Why what these entries (an image, its record, every folder above) hold is not to be run; "" if it may be.

    Each must belong to the user, to root or to somebody trusted, and be writable by no one else. POSIX access lists
    need no look of their own: what they allow at most stands in the group's permissions (acl(5), "mask"). The access
    lists of NFSv4 and GPFS can allow more than these permissions say, and are not looked at.
    """
    owners = {user, "root", *trusted}
    for entry in entries:
        if entry.owner not in owners:
            return f"{entry.path} belongs to {entry.owner}"
        if entry.mode & 0o022:
            return f"others can write to {entry.path}"
    return ""
