"""A local TCP port that leads somewhere else: `Tunnel`, to a port on the compute node.

Each connection has two threads, one per direction, which block in `recv` and `send` and nowhere else; the end
of one direction is passed on and leaves the other one open (a browser may end its request first).
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import threading
from types import TracebackType
from typing import Self

import paramiko

from dl4mic_hpc.errors import SshError, UsageError
from dl4mic_hpc.ssh.failures import FOREIGN
from dl4mic_hpc.ssh.routes import Route

_CHUNK = 256 * 1024
_WAITING = 64  # connections; a browser opens many at once

log = logging.getLogger(__name__)


def reserve_local_port(port: int | None) -> socket.socket:
    """Takes a port on 127.0.0.1 (None: a free one) so that nobody else can; give it to `Tunnel` later.

    UsageError if it is taken. Call it before anything is submitted.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # a port that was just in use is free again at once
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port or 0))
        listener.listen(_WAITING)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"local port {port} is taken" if port else f"no local port is free: {error.strerror}",
            hint="choose another one with -p, or leave -p out for a free one",
        ) from error
    except OverflowError as error:
        listener.close()
        raise UsageError(f"{port} is no port", hint="choose one between 1024 and 65535 with -p") from error
    return listener


class Forwarding:
    """Forwards connections to 127.0.0.1:`local_port` through the channels that `_open` gives, until closed."""

    def __init__(self, local: socket.socket | int | None = None) -> None:
        self._listener = local if isinstance(local, socket.socket) else reserve_local_port(local)
        self.local_port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._live: set[_Pair] = set()
        self._wake, self._woken = socket.socketpair()
        self._acceptor = threading.Thread(target=self._accept, name="tunnel", daemon=True)
        self._acceptor.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the port and every connection; returns when all threads have ended."""
        with contextlib.suppress(OSError):
            self._wake.send(b"\0")
        self._acceptor.join()
        with self._lock:
            live = list(self._live)
        for pair in live:
            pair.abort()
        for pair in live:
            pair.join()
        for sock in (self._listener, self._wake, self._woken):
            sock.close()

    def _open(self, local: socket.socket) -> paramiko.Channel:
        """The channel for a connection. SshError if there is none for it."""
        raise NotImplementedError

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if self._woken in ready:
                    return
                try:
                    local, _ = self._listener.accept()
                except OSError:
                    continue  # the browser has given up in between
                pair = _Pair(self, local)
                with self._lock:
                    self._live.add(pair)
                pair.start()

    def _ended(self, pair: _Pair) -> None:
        with self._lock:
            self._live.discard(pair)


class Tunnel(Forwarding):
    """Forwards connections to `remote_port` on the route's node.

    `failed` is set when the route is lost: the tunnel forwards nothing from then on, and `route.loss` says why.
    """

    def __init__(self, route: Route, remote_port: int, local: socket.socket | int | None = None) -> None:
        self.route = route
        self.remote_port = remote_port
        self.failed = route.lost
        super().__init__(local)

    def _open(self, local: socket.socket) -> paramiko.Channel:
        return self.route.open_tcp(self.remote_port)


class _Pair:
    """One local connection and its channel."""

    def __init__(self, forwarding: Forwarding, local: socket.socket) -> None:
        local.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._forwarding = forwarding
        self._local = local
        self._channel: paramiko.Channel | None = None
        self._aborted = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="tunnel-up", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def abort(self) -> None:
        """Wakes both threads, whatever they wait for."""
        with self._lock:
            self._aborted = True
            with contextlib.suppress(OSError):
                self._local.shutdown(socket.SHUT_RDWR)
            if self._channel:
                # The connection may be gone, which must not keep the other sockets from being closed.
                with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                    self._channel.close()

    def _run(self) -> None:
        try:
            channel = self._forwarding._open(self._local)
            with self._lock:
                self._channel = channel
                if self._aborted:
                    return
            down = threading.Thread(target=self._down, args=(channel,), name="tunnel-down", daemon=True)
            down.start()
            self._up(channel)
            down.join()
        except SshError as error:
            log.debug("no channel for a connection to port %d: %s", self._forwarding.local_port, error)
        finally:
            if self._channel:
                with contextlib.suppress(*FOREIGN):  # the connection may be gone
                    self._channel.close()
            self._local.close()
            self._forwarding._ended(self)

    def _up(self, channel: paramiko.Channel) -> None:
        try:
            while data := self._local.recv(_CHUNK):
                channel.sendall(data)
            channel.shutdown_write()
        except FOREIGN as error:
            log.debug("a connection broke on its way up: %r", error)
            self.abort()

    def _down(self, channel: paramiko.Channel) -> None:
        try:
            while data := channel.recv(_CHUNK):
                self._local.sendall(data)
            with contextlib.suppress(OSError):
                self._local.shutdown(socket.SHUT_WR)
            if channel.closed:
                self.abort()  # the other side reads no more either
        except FOREIGN as error:
            log.debug("a connection broke on its way down: %r", error)
            self.abort()
