"""From a running session to a JupyterLab in the browser: route, tunnel, proof that it answers."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from dl4mic_hpc.remote import Remote, Teller
from dl4mic_hpc.sessions import jupyter
from dl4mic_hpc.sessions.gpu import GpuProof
from dl4mic_hpc.sessions.herald import LOOK_EVERY, Herald
from dl4mic_hpc.sessions.session import JupyterEndpoint, Session
from dl4mic_hpc.sessions.watch import look
from dl4mic_hpc.ssh import Connection, Route, Tunnel

RouteKind = Literal["auto", "hop", "step"]


class EarlyRoute:
    """A watcher that opens the way to the compute node as soon as the job is there.

    JupyterLab needs seconds to start; the SSH handshakes of the route are done by then.
    """

    def __init__(self, connection: Connection, session: Session, teller: Teller, *, kind: RouteKind) -> None:
        self._connection = connection
        self._kind: RouteKind = kind
        self._session = session
        self._teller = teller
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="route")
        self._route: Future[Route] | None = None
        self._lock = threading.Lock()
        self.gpu: GpuProof | None = None

    def __enter__(self) -> EarlyRoute:
        return self

    def __exit__(self, *problem: object) -> None:
        """Does not wait for a route that is still on its way, perhaps asking a person something."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._route is not None:
            self._route.add_done_callback(_close)

    def say(self, text: str) -> None:
        self._teller.say(text)

    def detail(self, text: str) -> None:
        self._teller.detail(text)

    def note(self, text: str) -> None:
        self._teller.note(text)

    def on_gpu(self, found: GpuProof) -> None:
        """Bad news is told at once; good news once JupyterLab is there."""
        self.gpu = found
        if found.is_bad:
            self._teller.note(f"warning: {found.sentence}")

    def on_node(self, node: str) -> None:
        with self._lock:
            if self._route is None:
                self._route = self._pool.submit(self._open, node)

    def _open(self, node: str) -> Route:
        assert self._session.job_id is not None
        return self._connection.open_route(
            self._kind,
            node=node,
            job_id=self._session.job_id,
            session_dir=self._session.session_dir,
            say=self._teller.note,
        )

    def route(self, node: str) -> Route:
        """The open route; its errors are raised here."""
        self.on_node(node)
        assert self._route is not None
        return self._route.result()


def _close(route: Future[Route]) -> None:
    if not route.cancelled() and route.exception() is None:
        route.result().close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """An open way into a session. `url` holds no token. `gpu`: the verdict on its GPUs so far."""

    session: Session
    endpoint: JupyterEndpoint
    tunnel: Tunnel
    route: str
    reason: str
    local_port: int
    url: str
    gpu: GpuProof | None = None


@contextlib.contextmanager
def attached(
    session: Session, endpoint: JupyterEndpoint, early: EarlyRoute, local: socket.socket, teller: Teller
) -> Iterator[Attached]:
    """Opens the tunnel and proves with the session's token that its own JupyterLab answers through it."""
    route = early.route(endpoint.node)
    with Tunnel(route, endpoint.port, local) as tunnel:
        teller.say("waiting for JupyterLab to answer")
        jupyter.check_status(tunnel.local_port, endpoint)
        yield Attached(
            session=session,
            endpoint=endpoint,
            tunnel=tunnel,
            route=route.name,
            reason=route.reason,
            local_port=tunnel.local_port,
            url=jupyter.url(tunnel.local_port, session.notebook_file),
            gpu=early.gpu,
        )


def stay(
    remote: Remote,
    here: Attached,
    *,
    stopped: Callable[[], bool],
    on_gpu: Callable[[GpuProof], None] = lambda _: None,
) -> str:
    """Holds the tunnel open; why it ended: "stopped" by the user, "lost" route, or the session's "end".

    on_gpu: is told the verdicts on its GPUs that come meanwhile, on another thread.
    """
    ended = threading.Event()
    herald = Herald(tell=on_gpu, last=here.gpu)

    def watch() -> None:
        signature = ""
        while not ended.is_set():
            seen = look(remote, here.session, after=signature, wait=LOOK_EVERY)
            signature = seen.signature
            herald.hear(seen.gpu)
            if seen.exit is not None:
                ended.set()

    watcher = threading.Thread(target=_quietly, args=(watch,), daemon=True, name="watch")
    watcher.start()
    while True:
        if stopped():
            return "stopped"
        if ended.is_set():
            return "end"
        if here.tunnel.failed.wait(0.5):
            return "lost"


def _quietly(watch: Callable[[], None]) -> None:
    """A lost connection is the tunnel's to report."""
    with contextlib.suppress(Exception):
        watch()
