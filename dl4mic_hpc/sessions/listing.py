"""Which sessions there are and how they fare: the cluster's word, joined with the laptop's records."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dl4mic_hpc import resources
from dl4mic_hpc.errors import UsageError
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.remote import Remote
from dl4mic_hpc.sessions import store
from dl4mic_hpc.sessions.gpu import GpuProof
from dl4mic_hpc.sessions.gpu import parse as parse_proof
from dl4mic_hpc.sessions.session import Session
from dl4mic_hpc.sessions.watch import job_states
from dl4mic_hpc.slurm import answers, reasons
from dl4mic_hpc.slurm.answers import JobStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionState:
    """A session and how it fares.

    `gpu`: the last verdict on its GPUs, if there is one.
    `state`: not submitted, waiting, building, starting, ready, running (headless), ending, ended, gone.
    """

    session: Session
    state: str
    explanation: str = ""
    node: str = ""
    time_left: str = ""
    gpu: GpuProof | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "session": self.session.id,
            "cluster": self.session.cluster,
            "notebook": self.session.notebook,
            "created": self.session.created,
            "state": self.state,
            "explanation": self.explanation,
            "node": self.node or None,
            "time_left": self.time_left or None,
            "job_id": self.session.job_id,
            "build_job_id": self.session.build_job_id,
            "gpus": self.session.gpus,
            "gpus_simulated": self.session.simulated,
            "gpu": self.gpu.as_json() if self.gpu else None,
            "headless": self.session.headless,
            "session_dir": str(self.session.session_dir),
            "results": str(self.session.results) if self.session.results else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A session as its folder on the cluster tells it."""

    session: Session
    exit: dict[str, Any] | None
    connection: dict[str, Any] | None
    gpu: GpuProof | None


def states(remote: Remote, profile: ClusterProfile, *, every: bool = False) -> list[SessionState]:
    """The sessions on this cluster, the newest last; ended ones only if `every`.

    Two or three commands in all, whatever the number of sessions.
    """
    found = {entry.session.id: entry for entry in _ask(remote, profile)}
    recorded = {session.id: session for session in store.every() if session.cluster == profile.name}
    alive = [entry.session.job_id for entry in found.values() if entry.session.job_id and not entry.exit]
    builds = [
        entry.session.build_job_id
        for entry in found.values()
        if entry.session.build_job_id and not entry.exit
    ]
    jobs = job_states(remote, sorted({job for job in (*alive, *builds) if job is not None}))
    rows = [dataclasses.replace(_state(entry, jobs), gpu=entry.gpu) for entry in found.values()]
    rows += [
        SessionState(session=session, state="gone", explanation="its folder is no longer on the cluster")
        for session_id, session in recorded.items()
        if session_id not in found
    ]
    rows.sort(key=lambda row: row.session.created)
    return [row for row in rows if every or row.state != "ended"]


def find(remote: Remote, profile: ClusterProfile, session_id: str) -> Session:
    """The session by its id as the cluster knows it, with the laptop's own facts where there is a record.

    The cluster decides on facts of the job, the laptop on local port and paths.
    """
    entries = _ask(remote, profile, session_id) if session_id.isalnum() else []
    if entries:
        return entries[0].session
    recorded = store.find(session_id)
    if recorded is not None and recorded.cluster == profile.name:
        return recorded
    raise store.unknown(session_id, known=[entry.session.id for entry in _ask(remote, profile)])


def _ask(remote: Remote, profile: ClusterProfile, session_id: str = "") -> list[_Found]:
    result = remote.run(
        "sh", "-c", resources.data("templates", "sessions.sh").read_text(encoding="utf-8"), "sessions",
        str(profile.work_dir), session_id,
    ).check("listing the sessions", hint=f"`dl4mic-hpc cluster check {profile.name}` looks at the work folder")  # fmt: skip
    return list(_parse(result.stdout, profile.name))


def _parse(text: str, cluster: str) -> Iterable[_Found]:
    for block in text.split("\x1d")[1:]:
        parts = block.split("\x1e")
        record = _json(parts[0])
        if record is None or len(parts) != 5:
            continue
        session = Session.from_record({**record, "cluster": cluster}, where=f"session.json on {cluster}")
        if parts[1].strip():
            session = dataclasses.replace(session, job_id=answers.parse_sbatch(parts[1]))
        local = store.find(session.id)
        if local is not None and local.cluster == cluster:
            session = dataclasses.replace(
                session, results=local.results, local_port=local.local_port, ended=local.ended
            )
        yield _Found(
            session=session,
            exit=_json(parts[2]),
            gpu=parse_proof(_json(parts[3])),
            connection=_json(parts[4]),
        )


def _json(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _state(entry: _Found, jobs: dict[int, JobStatus]) -> SessionState:
    session = entry.session
    node = str((entry.connection or {}).get("node", ""))
    if entry.exit:
        said = str(entry.exit.get("reason", ""))
        return SessionState(
            session=session, state="ended", explanation=said, node=str(entry.exit.get("node", ""))
        )
    if session.job_id is None:
        return SessionState(session=session, state="not submitted", explanation="`stop` clears it away")
    job = jobs.get(session.job_id)
    build = jobs.get(session.build_job_id or -1)
    if job is None:
        return SessionState(session=session, state="ended", explanation="Slurm no longer knows its job")
    if job.is_over:
        return SessionState(session=session, state="ended", explanation=job.state.lower(), node=job.node)
    if job.is_pending and build is not None and build.is_running:
        return SessionState(
            session=session, state="building", explanation=f"its image, by job {build.job_id} on {build.node}"
        )
    if job.is_pending:
        if build is not None and build.is_pending:
            what = f"its image, by job {build.job_id}: {reasons.explain_pending(build)}"
            return SessionState(session=session, state="waiting", explanation=what)
        return SessionState(session=session, state="waiting", explanation=reasons.explain_pending(job))
    if job.state in answers.ENDING:
        return SessionState(session=session, state="ending", node=job.node)
    told = (entry.connection or {}).get("state")
    return SessionState(
        session=session,
        state=str(told) if told in ("ready", "running") else "starting",
        node=node or job.node,
        time_left=job.time_left,
    )


def only_one(session_ids: list[str]) -> str:
    """The one session there is, for commands that may leave it out."""
    if len(session_ids) == 1:
        return session_ids[0]
    raise UsageError(
        "which session?" if session_ids else "there is no session",
        hint="give one of: " + ", ".join(session_ids)
        if session_ids
        else "`dl4mic-hpc launch NOTEBOOK` starts one",
    )
