"""The local side of a download: a folder in which nothing of the user's is ever overwritten."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO

from dl4mic_hpc.errors import TransferError, UsageError
from dl4mic_hpc.transfer import failures, manifest
from dl4mic_hpc.transfer.listing import OWN_PREFIX, Entry, Kind, Listing
from dl4mic_hpc.transfer.naming import extended, local_names, rules_of
from dl4mic_hpc.transfer.plan import DownloadPlan, Record, Take, is_in_the_way, plan_download

_CHUNK = 1024 * 1024
_PART = ".part"

# A half-written file of a program that was killed is younger than this, in seconds, while it may still live.
_LEFTOVER_AGE = 3600


class LocalFolder:
    """`path` as the home of what lies in `source` ("CLUSTER:/path"); `kept` are the files set aside so far."""

    def __init__(self, path: Path, source: str) -> None:
        """Makes the folder where it is missing. UsageError if it is a file, TransferError if it is not writable."""
        with _explained(path):
            if path.is_file():
                raise UsageError(
                    f"{path.absolute()} is a file", hint="name a folder with -o, new or existing"
                )
            path.mkdir(parents=True, exist_ok=True)
            self._rules = rules_of(path)
            self._inside = path.resolve()
        self.path = path
        self._source = source
        self._stamp = _stamp()
        self._records = manifest.load(path, source)
        self._remembered = dict(self._records)
        self.kept: list[Path] = []

    def plan(self, far: Listing) -> DownloadPlan:
        """What to fetch so that everything in `far` is here."""
        names = local_names(far.entries, self._rules)
        with _explained(self.path):
            here = {path: facts for path, name in names.items() if (facts := self._facts(name))}
        plan = plan_download(far, here, names, self._records)
        for entry in plan.unchanged:
            self._record(entry, names[entry.path], here[entry.path])
        return plan

    def prepare(self, plan: DownloadPlan) -> None:
        """Makes the folders, and room on the way. TransferError if the files do not fit on the disk."""
        for name in plan.folders:
            place = self._place(name)
            with _explained(place):
                if place.is_symlink() or place.exists():
                    self._set_aside(place)
                place.mkdir(parents=True, exist_ok=True)
        with _explained(self.path):
            self._clear_leftovers({take.local.parent for take in plan.take})
            free = shutil.disk_usage(self.path).free
        if plan.size > free:
            raise failures.no_room_here(plan.size, free, self.path)

    def write(self, take: Take, far: Entry, content: IO[bytes], advance: Callable[[int], None]) -> None:
        """Puts a file in place, whole: `far` is what the cluster says of it at the moment of reading."""
        place = self._place(take.local)
        if not place.parent.resolve().is_relative_to(self._inside):
            raise TransferError(
                f"{place.parent} leads out of {self.path}",
                hint="remove that link, or name another folder with -o, then run the same command again",
            )
        part = place.with_name(f"{OWN_PREFIX}-{secrets.token_hex(4)}{_PART}")
        try:
            with _explained(part), part.open("xb") as file:
                for piece in _pieces(content):
                    file.write(piece)
                    advance(len(piece))
                file.flush()
                os.fsync(file.fileno())
            with _explained(place):
                os.utime(part, ns=(far.mtime_ns, far.mtime_ns))
                if is_in_the_way(self._facts(take.local), self._records.get(far.path)):
                    self._set_aside(place)
                part.replace(place)
                facts = self._facts(take.local)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink()
            raise
        if facts is not None:
            self._record(far, take.local, facts)

    def remember(self) -> None:
        """Writes down what is here, so that later downloads know their own files."""
        if self._records != self._remembered:
            with _explained(self.path):
                manifest.save(self.path, self._source, self._records)
            self._remembered = dict(self._records)

    def _record(self, far: Entry, name: PurePosixPath, here: Entry) -> None:
        self._records[far.path] = Record(
            local=name, size=far.size, mtime_ns=far.mtime_ns, local_mtime_ns=here.mtime_ns
        )

    def _place(self, name: PurePosixPath) -> Path:
        return self.path.joinpath(*name.parts)

    def _facts(self, name: PurePosixPath) -> Entry | None:
        try:
            facts = self._place(name).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if stat.S_ISREG(facts.st_mode):
            return Entry(path=name, kind=Kind.FILE, size=facts.st_size, mtime_ns=facts.st_mtime_ns)
        kind = (
            Kind.FOLDER
            if stat.S_ISDIR(facts.st_mode)
            else Kind.LINK
            if stat.S_ISLNK(facts.st_mode)
            else Kind.OTHER
        )
        return Entry(path=name, kind=kind)

    def _set_aside(self, place: Path) -> None:
        for number in range(1, 1000):
            count = "" if number == 1 else f" {number}"
            kept = place.with_name(extended(place.name, f"kept {self._stamp}{count}"))
            if not kept.is_symlink() and not kept.exists():
                place.rename(kept)
                self.kept.append(kept)
                return
        raise FileExistsError(17, "too many files of that name were set aside", str(place))

    def _clear_leftovers(self, folders: Iterable[PurePosixPath]) -> None:
        for folder in folders:
            for part in self._place(folder).glob(f"{OWN_PREFIX}-*{_PART}"):
                if time.time() - part.lstat().st_mtime > _LEFTOVER_AGE:
                    part.unlink()


def _stamp() -> str:
    return f"{datetime.now():%Y-%m-%d %H%M%S}"


def _pieces(content: IO[bytes]) -> Iterator[bytes]:
    while piece := content.read(_CHUNK):
        yield piece


@contextlib.contextmanager
def _explained(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise failures.local_failure(place, error) from error
