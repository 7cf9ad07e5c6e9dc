"""How a tunnel reaches the compute node: `hop` or `step`, and which one is taken when nobody says.

hop: a second SSH connection, from the login node's on to the node's own SSH server, with what opened the
login node. step: through the job itself (see step.py); it works where users may not log in to nodes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import PurePosixPath
from types import TracebackType
from typing import Literal, Self

import paramiko

from dl4mic_hpc.errors import SshError, UnknownHostKeyError
from dl4mic_hpc.ssh.failures import FOREIGN, LOST_HINT, channel_words, words
from dl4mic_hpc.ssh.login import log_in_again
from dl4mic_hpc.ssh.process import Process
from dl4mic_hpc.ssh.step import open_step
from dl4mic_hpc.ssh.transport import SshTransport
from dl4mic_hpc.ssh.way import NODE_PATIENCE, Way

_PATIENCE = 30.0  # seconds for a program on the node to accept a connection


class _RefusedError(Exception):
    """Why the hop does not work here; the message is the end of a sentence about the node."""


class Route:
    """A transport to a compute node. `reason` says in plain words why this one was taken.

    `lost` is set when the connection is gone, and `loss` then says how.
    """

    def __init__(
        self, name: Literal["hop", "step"], reason: str, node: str, transport: SshTransport, open_: ExitStack
    ):
        self.name = name
        self.reason = reason
        self.node = node
        self.lost = threading.Event()
        self.loss = ""
        self._transport = transport
        self._open = open_
        self._watcher = threading.Thread(target=self._watch, name="route-watch", daemon=True)
        self._watcher.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open_tcp(self, port: int) -> paramiko.Channel:
        """A channel, used like a socket, to 127.0.0.1:`port` on the node. SshError if nothing listens there."""
        try:
            return self._transport.open_channel(
                "direct-tcpip", ("127.0.0.1", port), ("127.0.0.1", 0), timeout=_PATIENCE
            )
        except FOREIGN as error:
            answered = isinstance(error, paramiko.ChannelException)
            raise SshError(
                f"port {port} on {self.node} cannot be reached: {channel_words(error)}",
                hint="`dl4mic-hpc ps` shows how the session fares" if answered else LOST_HINT,
            ) from error

    def close(self) -> None:
        self._open.close()
        self._watcher.join()

    def _watch(self) -> None:
        self._transport.join()
        error = self._transport.get_exception() or EOFError()
        self.loss = f"the connection to {self.node} is lost: it {self._transport.farewell or words(error)}"
        self.lost.set()


def open_route(
    start: Callable[..., Process],
    way: Way,
    route: Literal["hop", "step", "auto"],
    *,
    node: str,
    job_id: int,
    session_dir: PurePosixPath,
    say: Callable[[str], None],
) -> Route:
    """Opens the route that was asked for, or with "auto" the hop and, where that does not work, the step.

    A node whose host key has changed is an error in every case, never a reason to go another way. SshError
    gives both reasons if neither works.
    """
    why_not = ""
    if route != "step":
        say(f"connecting to {node} through the login node")
        try:
            return _hop(
                way, node, "it is pinned in the profile" if route == "hop" else f"{node} lets you log in"
            )
        except UnknownHostKeyError as error:
            if route == "hop":
                raise
            why_not = error.message
        except _RefusedError as error:
            if route == "hop":
                raise SshError(
                    f"{node} cannot be reached by hop: {error}",
                    hint="set `route: auto` or `route: step` in the profile "
                    f"(`dl4mic-hpc cluster show {way.cluster}` names its file)",
                ) from error
            why_not = str(error)
    say(f"connecting to {node} through a step of job {job_id}")
    try:
        reason = f"{node} cannot be logged in to: {why_not}" if why_not else "it is pinned in the profile"
        return _step(start, way, reason, node=node, job_id=job_id, session_dir=session_dir)
    except SshError as error:
        if not why_not:
            raise
        raise SshError(
            f"there is no way to {node}. By hop: {why_not}. By step: {error.message}", hint=error.hint
        ) from error


def _hop(way: Way, node: str, reason: str) -> Route:
    hop = way.node(node)
    with ExitStack() as stack:
        try:
            transport = stack.enter_context(way.knock(hop, node=node))
        except UnknownHostKeyError:
            raise
        except SshError as error:
            if isinstance(error.__cause__, FOREIGN):  # it did not come to a host key
                raise _RefusedError(channel_words(error.__cause__)) from error
            raise
        try:
            if refusal := log_in_again(transport, hop.user, way.credentials):
                raise _RefusedError(refusal)
            # Its own SSH port certainly listens: what is refused here is forwarding as such.
            transport.open_channel(
                "direct-tcpip", ("127.0.0.1", hop.port), ("127.0.0.1", 0), timeout=NODE_PATIENCE
            ).close()
        except paramiko.ChannelException as error:
            if error.code == 1:
                raise _RefusedError("it forwards no connections") from error
        except FOREIGN as error:
            raise _RefusedError(transport.farewell or words(error)) from error
        return Route("hop", reason, node, transport, stack.pop_all())


def _step(
    start: Callable[..., Process],
    way: Way,
    reason: str,
    *,
    node: str,
    job_id: int,
    session_dir: PurePosixPath,
) -> Route:
    assert way.hop is not None
    with ExitStack() as stack:
        transport = stack.enter_context(
            open_step(start, user=way.hop.user, node=node, job_id=job_id, session_dir=session_dir)
        )
        return Route("step", reason, node, transport, stack.pop_all())
