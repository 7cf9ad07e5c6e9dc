"""Data up: one look, then one tar stream of what the cluster lacks."""

from __future__ import annotations

import io
import os
import secrets
import tarfile
from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from dl4mic_hpc.errors import TransferError
from dl4mic_hpc.remote import Remote, RemoteProcess
from dl4mic_hpc.transfer import failures, far
from dl4mic_hpc.transfer.listing import Entry, Kind, Listing, Skipped, list_local
from dl4mic_hpc.transfer.plan import FILES, FOLDERS, MOVES, PARTIAL, UploadPlan, moves, plan_upload
from dl4mic_hpc.transfer.summary import Progress, Summary, amount

_CHUNK = 256 * 1024


def upload(remote: Remote, source: Path, target: PurePosixPath, *, progress: Progress) -> Summary:
    """Puts the contents of `source`, or the file `source`, into the folder `target` on the cluster.

    A file appears there whole or not at all, under its own time; what is there already is not sent. Nothing there
    is overwritten: what differs is moved to the folder "TARGET (kept DATE TIME)" beside it. If the transfer breaks,
    the next one takes up the files that had arrived.

    UsageError if `source` is missing. TransferError if the cluster has no room or refuses, with its own words.
    SshError if the connection is lost.
    """
    local = list_local(source)
    there = far.look(remote, target, make=True)
    plan = plan_upload(local, there.listing)
    if there.free is not None and plan.size > there.free:
        left = sum(
            entry.size for path, entry in there.listing.entries.items() if path.parts[0] == str(PARTIAL)
        )
        raise failures.no_room_there(plan.size, there.free, target, remote.cluster, left=left)
    if plan.empty:
        return Summary(unchanged=plan.unchanged, skipped=plan.skipped)
    stamp = f"{datetime.now():%Y-%m-%d %H%M%S}"
    kept = target.parent / f"{target.name} (kept {stamp})"
    stage = PARTIAL / secrets.token_hex(4)
    what = f"{source.name or source} to {remote.cluster}"
    progress.start(what, len(plan.send), plan.size)
    try:
        stale = [str(folder) for folder in plan.stale]
        with remote.start(*far.command("receive", str(target), str(stage), stamp, *stale)) as process:
            stream = _Stream(process, source if source.is_dir() else source.parent, progress)
            try:
                landed, skipped = stream.files(plan)
                stream.control(plan, landed, stage=stage, kept=kept)
            except BrokenPipeError:
                sent = f"{amount(stream.sent)} of {amount(plan.size)}"
                raise failures.far_failure(f"sending {what}", process.wait(), sent=sent) from None
            finally:
                stream.release()
            process.close_stdin()
            _check(remote, process, [*landed.values(), *(local.entries[path] for path in plan.adopt)], what)
    finally:
        progress.done()
    arrived = {*landed, *plan.adopt, *plan.folders}
    return Summary(
        files=len(landed) + len(plan.adopt),
        bytes=sum(entry.size for entry in landed.values()),
        unchanged=plan.unchanged,
        kept=tuple(kept / path for path in plan.aside if path in arrived),
        skipped=plan.skipped + skipped,
    )


def _check(remote: Remote, process: RemoteProcess, expected: Iterable[Entry], what: str) -> None:
    """Reads the cluster's answer and holds it against what was sent."""
    answer = far.Answer(process)
    try:
        answer.skip_to_mark()
        result, listing = answer.listing()
    except ValueError as error:
        result = process.wait()
        if result.exit_code:
            raise failures.far_failure(f"sending {what}", result, sent="the last byte was sent") from None
        raise failures.garbled(remote.cluster, error) from error
    lost = [entry.path for entry in expected if not _is_there(entry, listing)]
    if lost:
        raise TransferError(
            f"{len(lost)} of the files sent to {remote.cluster} did not arrive whole, '{lost[0]}' among them",
            hint=failures.AGAIN,
        )


def _is_there(entry: Entry, listing: Listing) -> bool:
    there = listing.entries.get(entry.path)
    return there is not None and there.kind is Kind.FILE and there.size == entry.size


class _Stream:
    """The tar stream on its way: files first, then the list of moves, without which none is put in place."""

    def __init__(self, process: RemoteProcess, root: Path, progress: Progress) -> None:
        self._process = process
        self._root = root
        self._progress = progress
        self._broken = False
        self.sent = 0
        self._tar = tarfile.open(  # noqa: SIM115
            fileobj=cast("IO[bytes]", self),
            mode="w|",
            bufsize=_CHUNK,
            format=tarfile.PAX_FORMAT,
            encoding="utf-8",
            errors="surrogateescape",
        )

    def write(self, data: bytes) -> int:
        """For tarfile. After a failure what it still has in hand goes nowhere: closing it must not fail again."""
        if not self._broken:
            try:
                self._process.write(data)
            except BaseException:
                self._broken = True
                raise
        return len(data)

    def release(self) -> None:
        """Lets go of an archive that was not ended, without another byte."""
        self._broken = True
        self._tar.close()

    def files(self, plan: UploadPlan) -> tuple[dict[PurePosixPath, Entry], tuple[Skipped, ...]]:
        """Sends the files; those that change while they are read once more. Gives the facts of those sent whole."""
        landed: dict[PurePosixPath, Entry] = {}
        skipped: list[Skipped] = []
        due = [entry.path for entry in plan.send]
        for last in (False, True):
            changing = []
            for path in due:
                try:
                    file = self._root.joinpath(*path.parts).open("rb")
                except OSError as error:
                    skipped.append(Skipped(path=path, reason=f"cannot be read: {error.strerror}"))
                    continue
                with file:
                    sent = self._file(file, path)
                if sent is not None:
                    landed[path] = sent
                elif last:
                    skipped.append(
                        Skipped(path=path, reason="was being written while it was read: send it later")
                    )
                else:
                    changing.append(path)
            due = changing
        return landed, tuple(skipped)

    def _file(self, file: BinaryIO, path: PurePosixPath) -> Entry | None:
        """One file; None if it changed meanwhile. The archive stays in order even then."""
        before = _facts(file, path)
        reader = _Reader(file, path, self._advance)
        self._add(f"{FILES}/{path}", reader, before)
        return before if reader.whole and _facts(file, path) == before else None

    def _advance(self, size: int) -> None:
        self.sent += size
        self._progress.advance(size)

    def control(
        self,
        plan: UploadPlan,
        landed: dict[PurePosixPath, Entry],
        *,
        stage: PurePosixPath,
        kept: PurePosixPath,
    ) -> None:
        """The last members: the folders to make and the moves. Ends the archive."""
        renames = moves(plan, landed, stage=stage, kept=kept)
        words = (word for move in renames for word in (move.source, move.target, move.name))
        for name, lines in ((FOLDERS, (f"./{path}" for path in plan.folders)), (MOVES, words)):
            content = b"".join(line.encode("utf-8", "surrogateescape") + b"\0" for line in lines)
            self._add(
                name, io.BytesIO(content), Entry(path=PurePosixPath(name), kind=Kind.FILE, size=len(content))
            )
        self._tar.close()

    def _add(self, name: str, content: _Reader | io.BytesIO, facts: Entry) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = facts.size, 0o600
        member.mtime = facts.mtime_ns // 1_000_000_000
        # A float would round the nanoseconds, and the next upload would take the file for a changed one.
        member.pax_headers = {"mtime": f"{Decimal(facts.mtime_ns).scaleb(-9):f}"}
        self._tar.addfile(member, content)


class _Reader:
    """A file's content in the length that its header promises, even if the file gets shorter meanwhile.

    A file that cannot be read to its end ends the transfer: filled up with zeros it would look whole on the cluster.
    """

    def __init__(self, file: BinaryIO, path: PurePosixPath, advance: Callable[[int], None]) -> None:
        self._file = file
        self._path = path
        self._advance = advance
        self.whole = True

    def read(self, size: int = _CHUNK, /) -> bytes:
        try:
            data = self._file.read(size)
        except OSError as error:
            raise failures.unreadable(self._path, error) from error
        self.whole = self.whole and len(data) == size
        self._advance(size)
        return data.ljust(size, b"\0")


def _facts(file: BinaryIO, path: PurePosixPath) -> Entry:
    facts = os.fstat(file.fileno())
    return Entry(path=path, kind=Kind.FILE, size=facts.st_size, mtime_ns=facts.st_mtime_ns)
