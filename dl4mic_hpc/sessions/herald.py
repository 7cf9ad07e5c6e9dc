"""Tells a person what a session's job finds out of its GPUs, while other things go on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from dl4mic_hpc.errors import Dl4micError
from dl4mic_hpc.remote import Remote
from dl4mic_hpc.sessions import watch
from dl4mic_hpc.sessions.gpu import GpuProof
from dl4mic_hpc.sessions.session import Session
from dl4mic_hpc.slurm.job import JobExit

LOOK_EVERY = 30.0
"""Seconds that one question to the session's folder lasts."""


def want_of_gpu(remote: Remote, session: Session) -> Dl4micError | None:
    """The error for a session that was ended because it would not have computed on its GPU."""
    seen = watch.look(remote, session)
    if seen.exit is None or seen.exit.get("exit_code") != JobExit.NO_GPU:
        return None
    return watch.why_it_ended(remote, session, seen)


@dataclass(slots=True)
class Herald:
    """Tells each verdict once, in the order in which they come."""

    tell: Callable[[GpuProof], None]
    last: GpuProof | None = field(default=None)

    def hear(self, found: GpuProof | None) -> None:
        if found is not None and found != self.last:
            self.last = found
            self.tell(found)


@contextlib.contextmanager
def heralded(remote: Remote, session: Session, tell: Callable[[GpuProof], None]) -> Iterator[None]:
    """While the block lasts, tells the verdicts that come, on another thread; the last one at the latest at its end."""
    herald, ended = Herald(tell), threading.Event()

    def listen() -> None:
        signature = ""
        while not ended.is_set() and (herald.last is None or herald.last.proving):
            seen = watch.look(remote, session, after=signature, wait=LOOK_EVERY)
            if not ended.is_set():
                herald.hear(seen.gpu)
            signature = seen.signature
            if seen.exit is not None:
                return

    def quietly() -> None:
        """A lost connection is others' to report."""
        with contextlib.suppress(Exception):
            listen()

    if session.gpus == "0":
        yield
        return
    threading.Thread(target=quietly, daemon=True, name="gpu").start()
    try:
        yield
        ended.set()
        if herald.last is None or herald.last.proving:
            with contextlib.suppress(Dl4micError):
                herald.hear(watch.look(remote, session).gpu)
    finally:
        ended.set()
