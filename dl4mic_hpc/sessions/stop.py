"""Ending a session: Jupyter asked first, then the job ended, then the results brought home. Nothing is deleted."""

from __future__ import annotations

import dataclasses
import socket
from dataclasses import dataclass
from pathlib import Path

from dl4mic_hpc import transfer
from dl4mic_hpc.errors import Dl4micError, RemoteError, SessionGoneError, TransferError
from dl4mic_hpc.remote import Remote, Teller
from dl4mic_hpc.sessions import jupyter, provide, store
from dl4mic_hpc.sessions.attach import RouteKind
from dl4mic_hpc.sessions.session import JupyterEndpoint, Session
from dl4mic_hpc.sessions.watch import gone, job_states, look
from dl4mic_hpc.ssh import Connection, Tunnel

GRACE = 20.0
"""Seconds that JupyterLab has to end its kernels after it agreed to shut down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """How a session ended. `gently`: JupyterLab ended itself, rather than being cancelled by Slurm.

    `gone`: its folder was no longer on the cluster. Without `results` there was nothing to bring home.
    """

    session: Session
    gently: bool
    was_over: bool
    gone: bool = False
    results: transfer.Summary | None = None
    folder: Path | None = None


def stop(
    connection: Connection,
    session: Session,
    teller: Teller,
    progress: transfer.Progress,
    *,
    kind: RouteKind,
    results: Path | None = None,
) -> Stopped:
    """Ends the session and brings its results home. Safe to repeat: what is over already stays so."""
    try:
        seen = look(connection, session)
    except SessionGoneError:
        return _clear_away(connection, session, teller, gone=True)
    was_over = seen.exit is not None
    gently = False
    if not was_over:
        if seen.endpoint:
            teller.say("asking JupyterLab to shut down")
            gently = _shut_down(connection, session, seen.endpoint, teller, kind)
        if not gently:
            cancel(connection, session, teller)
    if session.job_id is None:
        return _clear_away(connection, session, teller)
    summary, folder = bring_home(connection, session, teller, progress, results=results)
    store.save(dataclasses.replace(session, results=folder.absolute(), ended=True))
    return Stopped(session=session, gently=gently, was_over=was_over, results=summary, folder=folder)


def _clear_away(remote: Remote, session: Session, teller: Teller, *, gone: bool = False) -> Stopped:
    """Removes what a launch left that was never submitted (copies of what lies here), or whose folder is gone."""
    teller.say("clearing away what is left of it")
    remote.run("scancel", "--quiet", f"--name={session.job_name}")
    remote.run("rm", "-rf", str(session.session_dir))
    store.forget(session.id)
    return Stopped(session=session, gently=False, was_over=True, gone=gone)


def _shut_down(
    connection: Connection, session: Session, endpoint: JupyterEndpoint, teller: Teller, kind: RouteKind
) -> bool:
    """Whether JupyterLab agreed and the job is over soon after."""
    assert session.job_id is not None
    try:
        with (
            connection.open_route(
                kind,
                node=endpoint.node,
                job_id=session.job_id,
                session_dir=session.session_dir,
                say=teller.note,
            ) as route,
            socket.create_server(("127.0.0.1", 0)) as local,
            Tunnel(route, endpoint.port, local) as tunnel,
        ):
            if not jupyter.shut_down(tunnel.local_port, endpoint):
                return False
    except Dl4micError as problem:
        teller.note(f"JupyterLab cannot be asked ({problem.message}); ending its job instead")
        return False
    return look(connection, session, after=look(connection, session).signature, wait=GRACE).exit is not None


def cancel(remote: Remote, session: Session, teller: Teller) -> None:
    """Cancels the job, and the build that only this session waits for."""
    teller.say("ending the job")
    # By name where sbatch's answer never arrived: the job, if there is one, carries the session's.
    jobs = [str(session.job_id)] if session.job_id is not None else [f"--name={session.job_name}"]
    remote.run("scancel", "--quiet", *jobs).check(
        "ending the job",
        hint=f"`dl4mic-hpc ps` shows whether it still runs; `dl4mic-hpc stop {session.id}` tries again",
    )

    if session.build_job_id is not None and session.build_ours:
        build = job_states(remote, [session.build_job_id]).get(session.build_job_id)
        if build is not None and not build.is_over:
            provide.cancel(remote, session.build_job_id, session.build_dir, but_for=session.job_id)

    def over() -> bool:
        job = job_states(remote, [session.job_id or -1]).get(session.job_id or -1)
        return job is None or job.is_over

    if not jupyter.wait_for(over, seconds=90, pause=2.0):
        raise RemoteError(
            f"job {session.job_id} has not ended 90 seconds after it was cancelled",
            hint=f"`dl4mic-hpc stop {session.id}` looks again and brings the results home",
        )


def bring_home(
    remote: Remote,
    session: Session,
    teller: Teller,
    progress: transfer.Progress,
    *,
    results: Path | None = None,
) -> tuple[transfer.Summary, Path]:
    """The results, the notebook as it was last saved and the provenance, into the results folder here."""
    folder = results or session.results or Path.cwd() / f"results-{session.id}"
    if results is not None and results != session.results:
        session = dataclasses.replace(session, results=results.absolute())
    teller.say(f"bringing the results to {folder}")
    # The edited notebook is a result too.
    source, target = session.paths.home / session.notebook_file, session.paths.results / session.notebook_file
    kept = remote.run(
        "sh",
        "-c",
        '[ -d "$1" ] || exit 44; cp -p "$2" "$3"',
        "keep",
        str(session.session_dir),
        str(source),
        str(target),
    )
    if kept.exit_code == 44:
        raise gone(session)
    if kept.exit_code:
        raise TransferError(
            f"the notebook cannot be put among the results: {kept.stderr.strip()}",
            hint=f"free some space in the work folder on {session.cluster}, then `dl4mic-hpc results {session.id}`",
        )
    summary = transfer.download(remote, session.paths.results, folder, progress=progress)
    store.save(dataclasses.replace(session, results=folder.absolute()))
    return summary, folder
