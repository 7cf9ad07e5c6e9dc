"""What `launch` and `attach` share: waiting for JupyterLab, the tunnel, the browser, and leaving again."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from dl4mic_hpc.cli import console, headless
from dl4mic_hpc.cli.ask import TerminalAsker
from dl4mic_hpc.errors import SshError, UsageError

if TYPE_CHECKING:
    import socket
    from pathlib import Path, PurePosixPath

    from dl4mic_hpc.profile import ClusterProfile
    from dl4mic_hpc.remote import Remote
    from dl4mic_hpc.sessions.attach import Attached
    from dl4mic_hpc.sessions.launch import LaunchRequest
    from dl4mic_hpc.sessions.session import Session
    from dl4mic_hpc.ssh import Connection


def launch(
    profile: ClusterProfile,
    request: Callable[[], LaunchRequest],
    *,
    browser: bool,
    detach: bool,
    until_ready: bool,
    as_json: bool,
) -> None:
    """Plans and submits the request, then opens the session unless `detach`.

    The handshakes take a while: the request is checked and the notebook converted meanwhile. Nobody is asked for a
    password before that went well.
    """
    from dl4mic_hpc import ssh

    with contextlib.ExitStack() as stack:
        steps = stack.enter_context(console.Steps())
        connecting = stack.enter_context(ssh.Connecting(profile, ask=TerminalAsker()))
        from dl4mic_hpc import transfer
        from dl4mic_hpc.sessions.launch import LocalSide, plan_launch, submit

        plan = plan_launch(request(), say=steps.say)
        no_tunnel = detach or plan.session.headless
        local = None if no_tunnel else stack.enter_context(ssh.reserve_local_port(plan.request.local_port))
        steps.say(f"connecting to {profile.name}")
        connection = stack.enter_context(connecting.result())
        bar = console.Bar(steps)

        def upload(remote: Remote, source: Path, target: PurePosixPath) -> None:
            summary = transfer.upload(remote, source, target, progress=bar)
            for line in console.left_out(summary):
                steps.note(line)

        session = submit(connection, plan, steps, LocalSide(upload=upload))
        steps.close()
        steps.note(f"session {session.id}: job {session.job_id}, {session.gpus_in_words}")
        if detach:
            _submitted(session, as_json=as_json)
            return
        if local is None:
            steps.note(
                "from here on this computer may be closed; `dl4mic-hpc results` brings the results home"
            )
            with _signals_interrupt():
                headless.follow(connection, session, steps, _facts(session), as_json=as_json)
            return
        steps.note("from here on this computer may be closed; `dl4mic-hpc attach` opens the session again")
        _open(
            profile,
            connection,
            session,
            local,
            steps,
            browser=browser,
            until_ready=until_ready,
            as_json=as_json,
        )


def attach(
    profile: ClusterProfile,
    session_id: str,
    *,
    port: int | None,
    browser: bool,
    until_ready: bool,
    show_token: bool,
    as_json: bool,
) -> None:
    """Opens a session that was launched before, here or on another computer."""
    from dl4mic_hpc import ssh
    from dl4mic_hpc.sessions import listing

    if show_token and not sys.stdout.isatty():
        raise UsageError(
            "--show-token shows the token on a terminal only",
            hint="leave it out; the browser is logged in without it",
        )
    with contextlib.ExitStack() as stack:
        steps = stack.enter_context(console.Steps())
        given = stack.enter_context(ssh.reserve_local_port(port)) if port is not None else None
        steps.say(f"connecting to {profile.name}")
        connection = stack.enter_context(ssh.connect(profile, ask=TerminalAsker()))
        session = listing.find(connection, profile, session_id)
        if session.headless:
            raise UsageError(
                f"session {session.id} runs its notebook by itself, without JupyterLab",
                hint=f"`dl4mic-hpc logs {session.id} -f` follows it",
            )
        local = given or stack.enter_context(_same_port(session.local_port))
        _open(
            profile, connection, session, local, steps,
            browser=browser, until_ready=until_ready, as_json=as_json, show_token=show_token,
        )  # fmt: skip


def _same_port(port: int | None) -> socket.socket:
    """The port that the session had before, so that an open browser tab lives on; else a free one."""
    from dl4mic_hpc import ssh

    try:
        return ssh.reserve_local_port(port)
    except UsageError:
        return ssh.reserve_local_port(None)


def _open(
    profile: ClusterProfile,
    connection: Connection,
    session: Session,
    local: socket.socket,
    steps: console.Steps,
    *,
    browser: bool,
    until_ready: bool,
    as_json: bool,
    show_token: bool = False,
) -> None:
    import dataclasses

    from dl4mic_hpc.sessions import attach, store, watch
    from dl4mic_hpc.sessions import browser as browsers

    with _signals_interrupt(), contextlib.ExitStack() as stack:
        try:
            early = stack.enter_context(attach.EarlyRoute(connection, session, steps, kind=profile.route))
            steps.say("waiting for the job to start")
            endpoint = watch.wait_until_ready(connection, session, early)
            here = stack.enter_context(attach.attached(session, endpoint, early, local, steps))
        except KeyboardInterrupt:
            steps.close()
            _leave_waiting(connection, session)
            raise
        store.save(dataclasses.replace(session, local_port=here.local_port))
        steps.close()
        _ready(here, as_json=as_json, until_ready=until_ready, show_token=show_token)
        if until_ready:
            return
        if browser:
            page = stack.enter_context(browsers.door(here))
            if not browsers.open_notebook(page):
                console.warn(f"no browser could be started; open this file in yours: {page}")
        _stay(connection, here)


def _stay(connection: Connection, here: Attached) -> None:
    from dl4mic_hpc.sessions import attach, herald

    session = here.session
    try:
        how = attach.stay(connection, here, stopped=lambda: False, on_gpu=console.gpu)
    except KeyboardInterrupt:
        console.tell(f"\nThe tunnel is closed; session {session.id} goes on.")
        _how_to_go_on(session)
        raise
    if how == "lost":
        raise SshError(
            "the connection to the cluster was lost; the session goes on",
            hint=f"`dl4mic-hpc attach {session.id}` opens it again",
        )
    problem = herald.want_of_gpu(connection, session)
    if problem is not None:
        raise problem
    console.tell(f"Session {session.id} has ended.")
    console.tell(f"  bring its results home  dl4mic-hpc results {session.id}")


def _leave_waiting(connection: Connection, session: Session) -> None:
    """Ctrl-C while waiting: keep the job, or cancel it. Without a terminal it is kept."""
    from dl4mic_hpc.sessions import stop

    if console.can_ask() and not console.ask(f"Keep job {session.job_id} in the queue?", default=True):
        with console.Steps() as steps:
            stop.cancel(connection, session, steps)
        console.tell(f"Session {session.id} is cancelled.")
        return
    console.tell(f"Session {session.id} goes on without this window.")
    _how_to_go_on(session)


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    """A closed terminal or a `kill` leaves as Ctrl-C does, so that nothing is left open."""
    import signal

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _submitted(session: Session, *, as_json: bool) -> None:
    if as_json:
        console.answer_json({**_facts(session), "state": "submitted"})
        return
    console.answer(
        f"Session {session.id} is submitted: job {session.job_id} on {session.cluster}, {session.gpus_in_words}."
    )
    _how_to_go_on(session)


def _ready(here: Attached, *, as_json: bool, until_ready: bool, show_token: bool) -> None:
    session = here.session
    if as_json:
        console.answer_json({
            **_facts(session),
            "state": "ready",
            "url": here.url,
            "node": here.endpoint.node,
            "local_port": here.local_port,
            "route": here.route,
            "route_reason": here.reason,
            "gpu": here.gpu.as_json() if here.gpu else None,
        })  # fmt: skip
        return
    console.answer(console.strong("JupyterLab answers: ") + here.url)
    console.tell(
        f"  session {session.id} on {here.endpoint.node} (job {session.job_id}), {session.gpus_in_words}"
    )
    console.tell(f"  route: {here.route}, {here.reason}")
    if here.gpu is not None:
        console.gpu(here.gpu)
    if show_token:
        console.answer(f"  token: {here.endpoint.token}")
    if until_ready:
        console.tell("The session goes on; the tunnel is closed with this command.")
        _how_to_go_on(session)
        return
    console.tell("Keep this window open while you work. Ctrl-C closes the tunnel; the session goes on.")
    _how_to_go_on(session)


def _how_to_go_on(session: Session) -> None:
    if session.headless:
        headless.how_to_go_on(session)
        return
    rows = (
        ("open it", f"dl4mic-hpc attach {session.id}"),
        ("see how it fares", "dl4mic-hpc ps"),
        ("end it, results home", f"dl4mic-hpc stop {session.id}"),
    )
    for what, command in rows:
        console.tell(f"  {what:<22}{command}")


def _facts(session: Session) -> dict[str, Any]:
    return {
        "version": 1,
        "session": session.id,
        "cluster": session.cluster,
        "notebook": session.notebook,
        "job_id": session.job_id,
        "build_job_id": session.build_job_id,
        "gpus": session.gpus,
        "gpus_simulated": session.simulated,
        "image": str(session.image),
        "session_dir": str(session.session_dir),
        "results": str(session.results),
    }
