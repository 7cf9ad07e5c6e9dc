"""The files that a configuration names by address: fetched, checked, and kept by their hash.

A file with a known hash is fetched once; with all of them kept, a launch needs no network for them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath
from typing import Any

from dl4mic_hpc.catalog import NotebookSpec, Pinned
from dl4mic_hpc.errors import NotebookError, RecipeError
from dl4mic_hpc.sources.cache import Cache

LARGEST = 200 * 1024**2  # bytes; the largest notebooks with pictures in them have some tens of megabytes

_INSTEAD = {
    "notebook": "give a notebook of this computer with -n",
    "requirements": "give a requirements.txt of this computer with -r",
    "recipe": "put a Dockerfile beside the configuration",
}
PARTS = tuple(_INSTEAD)
"""What a configuration names and `obtain` fetches."""

_GITHUB_PAGE = re.compile(r"https?://github\.com/([^/]+/[^/]+)/blob/([^?#]+)")


def obtain(
    spec: NotebookSpec,
    *,
    cache: Path,
    say: Callable[[str], None] = lambda _: None,
    parts: Collection[str] = PARTS,
) -> NotebookSpec:
    """The same notebook with its `parts` as files of this computer.

    cache: the folder of what was fetched. say: is told in a sentence what takes time and what is not as new as it
    could be. NotebookError if a file cannot be had, is another one than was pinned, or is a web page.
    """
    found: dict[str, Any] = {
        part: fetch(getattr(spec, part), cache=cache, say=say, instead=_INSTEAD[part])
        for part in parts
        if isinstance(getattr(spec, part), Pinned)
    }
    return dataclasses.replace(spec, **found)


def fetch(
    file: Pinned,
    *,
    cache: Path,
    say: Callable[[str], None] = lambda _: None,
    instead: str = "fetch it yourself",
) -> Path:
    """The file in the cache, under its own name.

    Without a hash it is fetched each time, and where nobody answers what came the last time counts, which is said.
    """
    kept = Cache(folder=cache)
    if file.sha256 and (before := _kept(kept, file.sha256, file.name)):
        return before
    from dl4mic_hpc.sources import web  # here: importing takes time, and a file that is kept needs no network

    shown = web.redacted(file.url)
    say(f"fetching {shown}")
    try:
        data = _read(file.url)
    except web.UnansweredError as error:
        before = None if file.sha256 else _kept(kept, kept.recall(_question(file)), file.name)
        if before is None:
            raise _unanswered(shown, error.why, f"{error.hint}; or {instead}") from error
        say(f"{shown} gave no answer ({error.why}): it is taken as it was when it last did")
        return before
    except NotebookError as error:
        error.hint = f"{error.hint}; or {instead}"
        raise
    found = hashlib.sha256(data).hexdigest()
    if file.sha256 not in ("", found):
        raise NotebookError(
            f"{shown} has the SHA-256 {found}, not {file.sha256}: the file there is another one now",
            hint="`dl4mic-hpc notebook update` shows what has changed upstream",
        )
    place = _place(kept, found, file.name)
    with kept.writing() as (writable, temporary):
        writable.write(data)
        writable.close()
        kept.move(temporary, place)
    if not file.sha256:
        kept.remember(_question(file), found)
    return place


def read(address: str) -> bytes:
    """What lies at the address now; NotebookError if it cannot be had or is a web page."""
    from dl4mic_hpc.sources import web

    try:
        return _read(address)
    except web.UnansweredError as error:
        raise _unanswered(web.redacted(address), error.why, error.hint) from error


def _unanswered(shown: str, why: str, hint: str) -> NotebookError:
    return NotebookError(f"{shown} cannot be fetched: {why}", hint=hint)


def _read(address: str) -> bytes:
    from dl4mic_hpc.sources import web

    shown = web.redacted(address)
    page = _GITHUB_PAGE.match(address)
    if page is not None:
        raise NotebookError(
            f"{shown} is GitHub's page about the file, not the file",
            hint=f"write https://raw.githubusercontent.com/{page[1]}/{page[2]}",
        )
    try:
        data = b"".join(web.body(address, largest=LARGEST, what=shown))
    except RecipeError as error:
        raise NotebookError(error.message, hint=error.hint) from error
    if data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html")):
        raise NotebookError(
            f"{shown} is a web page, not a file",
            hint="write the address of the file itself; behind a log-in page of your network, log in first",
        )
    return data


def shown(file: Pinned) -> str:
    """The address as it may be written down: it may hold a password or a token."""
    from dl4mic_hpc.sources import web

    return web.redacted(file.url)


def _question(file: Pinned) -> str:
    return f"file {file.url}"


def _place(cache: Cache, sha256: str, name: str) -> Path:
    """By its hash, and with the name that it has upstream: it is what the notebook is called in the session."""
    return cache.folder / "named" / sha256 / (PurePosixPath(name).name or "file")


def _kept(cache: Cache, sha256: str, name: str) -> Path | None:
    path = _place(cache, sha256, name)
    try:
        whole = hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    except OSError:
        return None
    return path if whole else None
