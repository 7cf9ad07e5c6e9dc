"""`ps`, `attach`, `logs`, `results`, `stop`: from the laptop's record, or from what lies on the cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dl4mic_hpc.cli import choose, console, live
from dl4mic_hpc.cli.ask import TerminalAsker

if TYPE_CHECKING:
    from dl4mic_hpc.profile import ClusterProfile
    from dl4mic_hpc.sessions.session import Session
    from dl4mic_hpc.ssh import Connection
    from dl4mic_hpc.transfer import Summary

SessionArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="SESSION", help="The session, such as k7q2mx; may be left out if there is only one."
    ),
]
ClusterOption = Annotated[
    str | None,
    typer.Option("--cluster", help="Its cluster; needed only for a session launched from another computer."),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FOLDER",
        help="Bring them to this folder instead of the one given at launch.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer as JSON on standard output.")]


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: dl4mic-hpc ps --all")(ps)
    app.command(epilog="Example: dl4mic-hpc attach k7q2mx")(attach)
    app.command(epilog="Example: dl4mic-hpc logs k7q2mx -f")(logs)
    app.command(epilog="Example: dl4mic-hpc results k7q2mx -o ./results")(results)
    app.command(epilog="Example: dl4mic-hpc stop k7q2mx")(stop)


def ps(
    cluster: Annotated[str | None, typer.Option("--cluster", help="Only this cluster.")] = None,
    every: Annotated[bool, typer.Option("--all", "-a", help="Also sessions that have ended.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List your sessions, also those launched from other computers, and how they fare."""
    from dl4mic_hpc import ssh
    from dl4mic_hpc.errors import Dl4micError
    from dl4mic_hpc.sessions import gpu, listing, store

    names = [cluster] if cluster else sorted({session.cluster for session in store.every()})
    rows = []
    for name in names or [choose.profile(None).name]:
        try:
            profile = choose.profile(name)
            with console.Steps() as steps:
                steps.say(f"asking {name}")
                with ssh.connect(profile, ask=TerminalAsker()) as connection:
                    rows += listing.states(connection, profile, every=every)
        except Dl4micError as error:
            # One cluster that is down or badly described must not hide the others.
            if len(names) <= 1:
                raise
            console.warn(f"{name}: {error.message}")
    if as_json:
        console.answer_json({"version": 1, "sessions": [row.as_json() for row in rows]})
        return
    if not rows:
        console.tell("no session is running" if not every else "there is no session")
        return
    console.table(
        ("SESSION", "CLUSTER", "NOTEBOOK", "JOB", "STATE", "NODE", "TIME LEFT", "GPU", "WHAT"),
        [
            (
                row.session.id,
                row.session.cluster,
                row.session.notebook,
                str(row.session.job_id or "-"),
                row.state,
                row.node or "-",
                row.time_left or "-",
                gpu.column(row.session, row.gpu),
                row.explanation,
            )
            for row in rows
        ],
    )


def attach(
    session: SessionArgument = None,
    port: Annotated[
        int | None,
        typer.Option(
            "-p",
            "--port",
            min=1,
            max=65535,
            metavar="PORT",
            help="The port on this computer; the one from before if left out.",
        ),
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the browser.")] = False,
    until_ready: Annotated[
        bool,
        typer.Option(
            "--until-ready",
            help="Return once JupyterLab has answered; the tunnel is closed, the session goes on.",
        ),
    ] = False,
    show_token: Annotated[
        bool, typer.Option("--show-token", help="Print JupyterLab's token, on a terminal only.")
    ] = False,
    cluster: ClusterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open a running session again: tunnel and browser."""
    profile, session_id = _locate(session, cluster)
    live.attach(
        profile,
        session_id,
        port=port,
        browser=not no_browser,
        until_ready=until_ready,
        show_token=show_token,
        as_json=as_json,
    )


def logs(
    session: SessionArgument = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the session ends.")] = False,
    cluster: ClusterOption = None,
) -> None:
    """Print what the session's job and JupyterLab have said."""
    from dl4mic_hpc.sessions import logs as session_logs

    with console.Steps() as steps, _found(session, cluster, steps) as (_, connection, found):
        steps.close()
        for chunk in session_logs.read(connection, found, follow=follow):
            console.answer_raw(chunk)


def results(
    session: SessionArgument = None,
    output: OutputOption = None,
    cluster: ClusterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring home the results so far; the session goes on."""
    from dl4mic_hpc.sessions import stop as stopping

    with console.Steps() as steps, _found(session, cluster, steps) as (_, connection, found):
        summary, folder = stopping.bring_home(
            connection, found, steps, console.Bar(steps), results=output.absolute() if output else None
        )
    _tell_results(found, summary, folder, as_json=as_json)


def stop(
    session: SessionArgument = None,
    output: OutputOption = None,
    cluster: ClusterOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a session and bring its results home.

    JupyterLab is asked to shut down, then the job is ended. Nothing is deleted on the cluster.
    """
    from dl4mic_hpc.sessions import stop as stopping

    with console.Steps() as steps, _found(session, cluster, steps) as (profile, connection, found):
        done = stopping.stop(
            connection,
            found,
            steps,
            console.Bar(steps),
            kind=profile.route,
            results=output.absolute() if output else None,
        )
    if done.results is None or done.folder is None:
        if as_json:
            console.answer_json({"version": 1, "session": found.id, "state": "cleared"})
        elif done.gone:
            console.answer(
                f"The folder of session {found.id} was no longer on {found.cluster}; this computer has forgotten it."
            )
        else:
            console.answer(
                f"Session {found.id} had never been submitted; nothing is left of it on {found.cluster}."
            )
        return
    if not as_json:
        console.answer(f"Session {found.id} {'had already ended' if done.was_over else 'has ended'}.")
    _tell_results(found, done.results, done.folder, as_json=as_json, state="ended")
    if not as_json:
        console.tell(f"Its files stay on {found.cluster} in {found.session_dir}.")


def _tell_results(
    found: Session, summary: Summary, folder: Path, *, as_json: bool, state: str | None = None
) -> None:

    if as_json:
        value = {
            "version": 1,
            "session": found.id,
            "folder": str(folder),
            "files": summary.files,
            "bytes": summary.bytes,
            "unchanged": summary.unchanged,
            "kept": [str(path) for path in summary.kept],
            "renamed": {str(path): str(here) for path, here in summary.renamed.items()},
            "skipped": [{"path": str(one.path), "reason": one.reason} for one in summary.skipped],
        }
        console.answer_json({**value, "state": state} if state else value)
        return
    console.answer(
        f"Results in {folder}: {summary.files} files brought home ({console.size_in_words(summary.bytes)}), "
        f"{summary.unchanged} unchanged."
    )
    for line in console.left_out(summary):
        console.tell(f"  {line}")


@contextlib.contextmanager
def _found(
    session: str | None, cluster: str | None, steps: console.Steps
) -> Iterator[tuple[ClusterProfile, Connection, Session]]:
    """The session, over an open connection to its cluster."""
    from dl4mic_hpc import ssh
    from dl4mic_hpc.sessions import listing

    profile, session_id = _locate(session, cluster)
    steps.say(f"connecting to {profile.name}")
    with ssh.connect(profile, ask=TerminalAsker()) as connection:
        yield profile, connection, listing.find(connection, profile, session_id)


def _locate(session: str | None, cluster: str | None) -> tuple[ClusterProfile, str]:
    """The session's profile and id: by the record, or by --cluster where there is no record."""
    from dl4mic_hpc.sessions import listing, store

    session_id = session or listing.only_one([known.id for known in store.every() if not known.ended])
    record = store.find(session_id)
    if cluster is None and record is not None:
        cluster = record.cluster
    if cluster is None and record is None:
        from dl4mic_hpc import profile as profiles

        if len(profiles.names()) != 1:
            raise store.unknown(session_id, known=[known.id for known in store.every()])
    return choose.profile(cluster), session_id
