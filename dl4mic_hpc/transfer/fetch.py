"""Results home: one look, then one tar stream of what is missing here."""

from __future__ import annotations

import contextlib
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO, cast

from dl4mic_hpc.errors import Dl4micError
from dl4mic_hpc.remote import Remote, RemoteProcess
from dl4mic_hpc.transfer import failures, far
from dl4mic_hpc.transfer.folder import LocalFolder
from dl4mic_hpc.transfer.listing import Entry, Kind, Listing, Skipped, nanoseconds
from dl4mic_hpc.transfer.plan import Take
from dl4mic_hpc.transfer.summary import Progress, Summary

# A file that changed while it was read is read once more, not for ever.
_ROUNDS = 2

_STILL_WRITTEN = "is still being written on the cluster: what was there is here"
_CAME_UP = "came up on the cluster while other files were fetched: fetch it later"


def download(remote: Remote, source: PurePosixPath, target: Path, *, progress: Progress) -> Summary:
    """Puts the contents of `source`, or the file `source`, from the cluster into the local folder `target`.

    A file appears here whole or not at all, under its own time; what is here already is not fetched. A local file
    that differs and was not written by an earlier download of the same `source` is never overwritten: it is set
    aside as "NAME (kept DATE TIME).EXT". A file that changes while it is read is fetched a second time; if it
    changes then too, what was fetched last stays and `skipped` says so.

    UsageError if `target` is a file. TransferError if there is no `source`, or this computer has no room or refuses.
    SshError if the connection is lost; the next download goes on where this one ended.
    """
    there = far.look(remote, source, make=False)
    folder = LocalFolder(target, f"{remote.cluster}:{source}")
    fetch = _Fetch(remote, source, folder, progress, is_file=there.is_file)
    try:
        plan = folder.plan(there.listing)
        unchanged = len(plan.unchanged)
        for _ in range(_ROUNDS):
            folder.prepare(plan)
            if not plan.take:
                break
            listing = fetch.take(plan.take, plan.size)
            plan = folder.plan(listing)
    except BaseException:
        # The failure itself is what the user must hear of.
        with contextlib.suppress(Dl4micError):
            folder.remember()
        raise
    folder.remember()
    growing = (
        Skipped(path=take.entry.path, reason=_STILL_WRITTEN if take.entry.path in fetch.taken else _CAME_UP)
        for take in plan.take
        if take.entry.path not in fetch.missing
    )
    missing = (Skipped(path=path, reason=reason) for path, reason in fetch.missing.items())
    return Summary(
        files=len(fetch.taken),
        bytes=fetch.received,
        unchanged=unchanged,
        kept=tuple(folder.kept),
        skipped=(*plan.skipped, *missing, *growing),
        renamed={path: target.joinpath(*name.parts) for path, name in plan.renamed.items()},
    )


class _Fetch:
    """The tar streams of one download. `missing` tells why a file that was asked for did not come."""

    def __init__(
        self, remote: Remote, source: PurePosixPath, folder: LocalFolder, progress: Progress, *, is_file: bool
    ) -> None:
        self._remote = remote
        self._what = f"{source.name or source} from {remote.cluster}"
        self._folder = folder
        self._progress = progress
        where = (source.parent, source.name) if is_file else (source,)
        self._command = far.command("send", *map(str, where))
        self.taken: set[PurePosixPath] = set()
        self.missing: dict[PurePosixPath, str] = {}
        self.received = 0

    def take(self, files: tuple[Take, ...], size: int) -> Listing:
        """Fetches `files` and gives what lies on the cluster afterwards."""
        self._progress.start(self._what, len(files), size)
        try:
            with self._remote.start(*self._command) as process:
                return self._receive(process, {take.entry.path: take for take in files})
        finally:
            self._progress.done()

    def _receive(self, process: RemoteProcess, due: dict[PurePosixPath, Take]) -> Listing:
        names = b"".join(b"./" + str(path).encode("utf-8", "surrogateescape") + b"\0" for path in due)
        # A command that has ended tells why in its answer.
        with contextlib.suppress(BrokenPipeError):
            process.write(names)
        process.close_stdin()
        answer = far.Answer(process)
        try:
            answer.skip_to_mark()
            with tarfile.open(
                fileobj=cast("IO[bytes]", answer),
                mode="r|",
                bufsize=far.RECORD,
                encoding="utf-8",
                errors="surrogateescape",
            ) as archive:
                for member in archive:
                    self._member(archive, member, due)
            answer.skip_to_mark()
            result, listing = answer.listing()
        except (ValueError, tarfile.TarError) as error:
            result = process.wait()
            if result.exit_code:
                raise failures.far_failure(f"fetching {self._what}", result) from None
            raise failures.garbled(self._remote.cluster, error) from error
        for path in due:
            if path in listing.entries:
                self.missing[path] = f"could not be read on the cluster: {failures.reason_of(result.stderr)}"
            else:
                self.missing[path] = "was removed on the cluster before it could be fetched"
        return listing

    def _member(
        self, archive: tarfile.TarFile, member: tarfile.TarInfo, due: dict[PurePosixPath, Take]
    ) -> None:
        """Takes one file in. Only a regular file that was asked for, once: the archive has no say in where it goes."""
        path = PurePosixPath(member.name)
        take = due.pop(path, None)
        content = archive.extractfile(member) if take is not None and member.isreg() else None
        if take is None or content is None:
            raise ValueError(f"'{member.name}' in the archive was not asked for")
        mtime = member.pax_headers.get("mtime", str(member.mtime))
        entry = Entry(path=path, kind=Kind.FILE, size=member.size, mtime_ns=nanoseconds(mtime))
        self._folder.write(take, entry, content, self._progress.advance)
        self.received += member.size
        self.taken.add(path)
        self.missing.pop(path, None)
