"""`launch --headless`: the notebook runs by itself, and this computer watches until the results are home."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from dl4mic_hpc.cli import console
from dl4mic_hpc.errors import SshError, TransferError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dl4mic_hpc.sessions.gpu import GpuProof
    from dl4mic_hpc.sessions.session import Session
    from dl4mic_hpc.ssh import Connection


class _Watching:
    """The steps of the command, for a session whose tunnel nobody needs."""

    def __init__(self, steps: console.Steps) -> None:
        self.say, self.detail, self.note = steps.say, steps.detail, steps.note
        self._steps = steps
        self._last: GpuProof | None = None

    def on_node(self, node: str) -> None:
        """Nothing to be begun early."""

    def on_gpu(self, found: GpuProof) -> None:
        """Each verdict once, whoever brings it."""
        if found != self._last:
            self._last = found
            self._steps.close()
            console.gpu(found)


def follow(
    connection: Connection, session: Session, steps: console.Steps, facts: Mapping[str, Any], *, as_json: bool
) -> None:
    """Prints what the notebook prints, brings the results home, and raises what made it fail."""
    from dl4mic_hpc.sessions import headless, stop, store

    try:
        headless.follow(connection, session, _Watching(steps), _Printer(steps, as_json=as_json).write)
    except KeyboardInterrupt:
        steps.close()
        console.tell(f"\nSession {session.id} goes on without this window.")
        how_to_go_on(session)
        raise
    except SshError as error:
        error.hint = f"{error.hint}; the session goes on: `dl4mic-hpc logs {session.id} -f` follows it again"
        raise
    problem = headless.failure(connection, session)
    try:
        summary, folder = stop.bring_home(connection, session, steps, console.Bar(steps))
    except TransferError as error:
        if problem is None:
            raise
        problem.hint += f"; the results could not be brought home: {error.message}"
        raise problem from error
    store.save(dataclasses.replace(session, results=folder.absolute(), ended=True))
    steps.close()
    if problem is not None:
        console.tell(f"Results so far in {folder}: {summary.files} files brought home.")
        raise problem
    if as_json:
        console.answer_json(
            {**facts, "results": str(folder), "state": "done", "files": summary.files, "bytes": summary.bytes}
        )
        return
    console.answer(
        f"Session {session.id} is done. Results in {folder}: {summary.files} files "
        f"({console.size_in_words(summary.bytes)})."
    )
    for line in console.left_out(summary):
        console.tell(f"  {line}")


def how_to_go_on(session: Session) -> None:
    rows = (
        ("see what it prints", f"dl4mic-hpc logs {session.id} -f"),
        ("see how it fares", "dl4mic-hpc ps"),
        ("fetch results so far", f"dl4mic-hpc results {session.id}"),
        ("end it, results home", f"dl4mic-hpc stop {session.id}"),
    )
    for what, command in rows:
        console.tell(f"  {what:<22}{command}")


class _Printer:
    """The notebook's own lines: an answer, or with --json a remark, so that the answer is JSON alone."""

    def __init__(self, steps: console.Steps, *, as_json: bool) -> None:
        self._steps = steps
        self._write = console.tell_raw if as_json else console.answer_raw

    def write(self, chunk: bytes) -> None:
        self._steps.close()
        self._write(chunk)
