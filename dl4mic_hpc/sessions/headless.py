"""A notebook that runs by itself: following what it prints, and how it ended."""

from __future__ import annotations

from collections.abc import Callable

from dl4mic_hpc.errors import Dl4micError
from dl4mic_hpc.remote import Remote
from dl4mic_hpc.sessions import herald, jupyter, logs, watch
from dl4mic_hpc.sessions.session import Session
from dl4mic_hpc.sessions.watch import Watcher

SETTLE = 20.0
"""Seconds within which Slurm says how a job ended that has left its last word."""


def follow(remote: Remote, session: Session, watcher: Watcher, write: Callable[[bytes], None]) -> None:
    """Waits for the job, then hands on what the notebook prints until it has ended, well or not.

    JobError or ImageError if it never runs.
    """
    watch.wait_until_running(remote, session, watcher)
    with herald.heralded(remote, session, watcher.on_gpu):
        for chunk in logs.read(remote, session, follow=True, only=logs.RUN_LOG):
            write(chunk)


def failure(remote: Remote, session: Session) -> Dl4micError | None:
    """Why a session that has ended did not end well; None if every cell was run."""
    seen = watch.look(remote, session)
    if seen.exit is not None and not seen.exit.get("exit_code"):
        return None

    def settled() -> bool:
        job = watch.job_states(remote, [session.job_id or 0]).get(session.job_id or 0)
        return job is None or job.is_over

    jupyter.wait_for(settled, seconds=SETTLE, pause=2.0)
    return watch.why_it_ended(remote, session, seen)
