"""What a session's job has said, in the order in which it came about: build, job, JupyterLab or the notebook."""

from __future__ import annotations

from collections.abc import Iterator

from dl4mic_hpc import resources
from dl4mic_hpc.remote import Remote
from dl4mic_hpc.sessions.session import Session

RUN_LOG = "run.log"
"""What a headless session's notebook prints."""


def read(remote: Remote, session: Session, *, follow: bool, only: str = "") -> Iterator[bytes]:
    """The logs so far, and with `follow` what comes until the session ends; `only` the log of that name."""
    script = resources.data("templates", "logs.sh").read_text(encoding="utf-8")
    words = (
        str(session.session_dir),
        str(session.build_dir or ""),
        "follow" if follow else "",
        str(session.job_id or ""),
        only,
    )
    with remote.start("sh", "-c", script, "logs", *words) as process:
        process.close_stdin()
        while chunk := process.read():
            yield chunk
        process.wait(timeout=60).check(
            f"reading the logs of session {session.id}",
            hint=f"they lie on {session.cluster} in {session.session_dir}",
        )
