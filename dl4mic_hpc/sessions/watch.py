"""Following a session: from the submitted job to the moment when JupyterLab listens, or the reason why not.

The session's own files tell what happens inside the job; the login node waits for them to change, so one
question lasts many seconds. Slurm itself is asked at most every ten seconds, for all jobs at once.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from dl4mic_hpc import profile as profiles
from dl4mic_hpc import resources
from dl4mic_hpc.errors import Dl4micError, ImageError, RemoteError, SessionGoneError
from dl4mic_hpc.images import failures
from dl4mic_hpc.remote import Remote, Teller
from dl4mic_hpc.sessions.gpu import GpuProof
from dl4mic_hpc.sessions.gpu import parse as parse_proof
from dl4mic_hpc.sessions.session import JupyterEndpoint, Session
from dl4mic_hpc.slurm import answers, reasons
from dl4mic_hpc.slurm.answers import JobStatus

ASK_SLURM_EVERY = 10.0
"""Seconds between two questions to Slurm while a job waits; grows to a minute in a long queue."""


FIRST_QUESTION = 2.0
"""Seconds after which Slurm is asked for the first time: on an idle cluster the job has spoken by then."""


class Watcher(Teller, Protocol):
    """Who is told how a job comes along."""

    def on_node(self, node: str) -> None:
        """The job runs there: what takes time can begin while JupyterLab starts."""

    def on_gpu(self, found: GpuProof) -> None:
        """A verdict on its GPUs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The session's files at one moment. `signature` is what to hand to the next `look`."""

    signature: str
    connection: dict[str, Any] | None
    exit: dict[str, Any] | None
    build_exit: dict[str, Any] | None
    build_line: str
    gpu: GpuProof | None = None

    @property
    def endpoint(self) -> JupyterEndpoint | None:
        found = self.connection
        if not found or found.get("state") != "ready":
            return None
        return JupyterEndpoint(node=str(found["node"]), port=int(found["port"]), token=str(found["token"]))


def look(remote: Remote, session: Session, *, after: str = "", wait: float = 0.0) -> Snapshot:
    """The session's files now, or as soon as they differ from `after`, but at most `wait` seconds later."""
    pause = 0.1
    result = remote.run(
        "sh", "-c", resources.data("templates", "watch.sh").read_text(encoding="utf-8"), "watch",
        str(session.session_dir), str(session.build_dir or ""), after, str(int(wait / pause)), str(pause),
        timeout=wait + 60,
    ).check("reading the session's folder", hint=f"`dl4mic-hpc logs {session.id}` shows more")  # fmt: skip
    if result.stdout == "gone":
        raise gone(session)
    parts = result.stdout.split("\x1e")
    if len(parts) != 6:
        raise RemoteError(
            "the cluster's answer was cut short", hint=f"`dl4mic-hpc attach {session.id}` tries again"
        )
    signature, connection, ended, gpu, build, line = parts
    return Snapshot(
        signature=signature.strip(),
        connection=_json(connection),
        exit=_json(ended),
        build_exit=_json(build),
        build_line=line.strip(),
        gpu=parse_proof(_json(gpu)),
    )


def gone(session: Session) -> SessionGoneError:
    return SessionGoneError(
        f"the folder of session {session.id} is gone from {session.cluster}: {session.session_dir}",
        hint=f"`dl4mic-hpc stop {session.id}` ends its job if it still runs, and forgets it here",
    )


def _json(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def job_states(remote: Remote, jobs: list[int]) -> dict[int, JobStatus]:
    """What Slurm knows of these jobs: squeue, then sacct for those that squeue has forgotten."""
    if not jobs:
        return {}
    found = answers.parse_squeue(remote.run(*answers.squeue_command(jobs)).stdout)
    missing = [job for job in jobs if job not in found]
    if missing:
        found |= answers.parse_sacct(remote.run(*answers.sacct_command(missing)).stdout)
    return found


def wait_until_ready(
    remote: Remote, session: Session, watcher: Watcher, *, clock: Callable[[], float] = time.monotonic
) -> JupyterEndpoint:
    """Where JupyterLab listens, once it does; JobError or ImageError when it never will."""
    endpoint = _wait_until(remote, session, watcher, lambda seen: seen.endpoint is not None, clock).endpoint
    assert endpoint is not None
    return endpoint


def wait_until_running(
    remote: Remote, session: Session, watcher: Watcher, *, clock: Callable[[], float] = time.monotonic
) -> None:
    """Returns once a headless session runs, or has ended by itself; JobError or ImageError when it never will."""
    begun = _wait_until(
        remote, session, watcher, lambda seen: seen.connection is not None or seen.exit is not None, clock
    )
    if begun.connection is not None:
        watcher.say(f"the notebook runs on {begun.connection['node']}")


def _wait_until(
    remote: Remote,
    session: Session,
    watcher: Watcher,
    reached: Callable[[Snapshot], bool],
    clock: Callable[[], float],
) -> Snapshot:
    signature, on_node = "", False
    gpu: GpuProof | None = None
    ask_again, interval = clock() + FIRST_QUESTION, ASK_SLURM_EVERY
    while True:
        wait = max(min(ask_again - clock(), ASK_SLURM_EVERY), 0.0)
        seen = look(remote, session, after=signature, wait=wait)
        signature = seen.signature
        if seen.gpu is not None and seen.gpu != gpu:
            gpu = seen.gpu
            watcher.on_gpu(gpu)
        if reached(seen):
            return seen
        if seen.exit or (seen.build_exit and seen.build_exit.get("exit_code")):
            raise why_it_ended(remote, session, seen)
        if seen.connection and not on_node:
            on_node = True
            watcher.say(f"JupyterLab is starting on {seen.connection['node']}")
            watcher.on_node(str(seen.connection["node"]))
            ask_again = clock() + ASK_SLURM_EVERY
        if clock() >= ask_again:
            state = _tell_queue(remote, session, seen, watcher)
            if state is not None and state.is_over:
                # The job's own word may reach the login node a little later than Slurm's.
                final = look(remote, session, after=signature, wait=5.0)
                if reached(final):
                    return final
                raise why_it_ended(remote, session, final)
            waits = state is not None and state.is_pending
            interval = min(interval * 1.2, 60.0) if waits and not session.build_job_id else ASK_SLURM_EVERY
            ask_again = clock() + interval


def _tell_queue(remote: Remote, session: Session, seen: Snapshot, watcher: Watcher) -> JobStatus | None:
    """Tells the watcher what the jobs wait for; the session's job as Slurm knows it."""
    jobs = [job for job in (session.job_id, session.build_job_id) if job is not None]
    states = job_states(remote, jobs)
    job = states.get(session.job_id or -1)
    build = states.get(session.build_job_id or -1)
    if build and not build.is_over and not (seen.build_exit and seen.build_exit.get("exit_code") == 0):
        if build.is_pending:
            watcher.say(f"the image will be built by job {build.job_id}")
            watcher.detail(reasons.explain_pending(build))
        else:
            watcher.say(f"the image is being built on {build.node} (job {build.job_id}; some minutes, once)")
            watcher.detail(seen.build_line)
    elif job and job.is_pending:
        watcher.say(f"job {job.job_id} is in the queue")
        watcher.detail(reasons.explain_pending(job))
    elif job and job.is_running and not seen.connection:
        watcher.say(f"job {job.job_id} runs on {job.node}")
    return job


def why_it_ended(remote: Remote, session: Session, seen: Snapshot) -> Dl4micError:
    """The error for a session that ended otherwise than it should, told by Slurm and by its own files."""
    states = job_states(remote, [job for job in (session.job_id, session.build_job_id) if job is not None])
    build = states.get(session.build_job_id or -1)
    if (seen.build_exit or {}).get("exit_code") or (build and build.is_over and build.state != "COMPLETED"):
        return _build_failed(remote, session, build)
    job = states.get(session.job_id or -1)
    ended = seen.exit or {}
    if job is None or not job.is_over:
        state = "ended, reason unknown" if not ended else "FAILED" if ended.get("exit_code") else "COMPLETED"
        job = JobStatus(job_id=session.job_id or 0, state=state)
    return reasons.explain_end(
        job, session_id=session.id, said=str(ended.get("reason", "")), code=int(ended.get("exit_code") or 0)
    )


def _build_failed(remote: Remote, session: Session, build: JobStatus | None) -> ImageError:
    log = f"{session.build_dir}/build.log"
    tail = remote.run("tail", "-n", str(failures.LINES), log).stdout
    if failures.no_network(tail):
        from dl4mic_hpc.images import ensure  # here: it brings what asks registries

        with contextlib.suppress(Dl4micError):
            ensure.heard(remote, profiles.load(session.cluster), tail)
    return failures.explain(
        tail,
        job=session.build_job_id,
        state=build.state if build else "",
        where=f"{log} on {session.cluster}",
    )
