"""A command that runs on the login node, with its streams open (`remote.RemoteProcess`)."""

from __future__ import annotations

import contextlib
import shlex
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import paramiko
from paramiko import common

from dl4mic_hpc.errors import SshError
from dl4mic_hpc.remote import CommandResult
from dl4mic_hpc.ssh import command
from dl4mic_hpc.ssh.failures import LOST_HINT, map_ssh_errors

_NOISE = 1024 * 1024  # bytes that a login shell may print before the command's own output
_KEPT = 32 * 1024 * 1024  # bytes of standard error that are kept, the last ones
_CHUNK = 1024 * 1024
_PIECE = 64 * 1024  # bytes per write: a channel takes some 32 KiB at once and leaves the rest


class Process:
    """One session channel. Standard error is drained by a thread of its own, so that neither stream can stall.

    `learned` is called with the login environment if this command was the one to learn it.
    """

    def __init__(
        self,
        channel: paramiko.Channel,
        argv: Sequence[str],
        *,
        server: str,
        marker: str,
        environment: Sequence[str] | None,
        learned: Callable[[tuple[str, ...]], None],
    ) -> None:
        self._channel = channel
        self._argv = tuple(argv)
        self._server = server
        self._marker = marker.encode()
        self._learned = learned
        self._head: bytes | None = b""  # standard output up to the markers; None once they were seen
        self._rest = b""
        self._stderr = bytearray()
        self._closing = False
        self._settled = False  # whether it is clear why the channel was closed
        with self._mapped():
            self._request("exec", command.line(argv, marker=marker, environment=environment), wait=True)
        self._drain = threading.Thread(target=self._drain_stderr, name="ssh-stderr", daemon=True)
        self._drain.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, data: bytes) -> None:
        """BrokenPipeError if the command no longer reads."""
        sent = 0
        while sent < len(data):
            try:
                count = self._channel.send(data[sent : sent + _PIECE])
            except TimeoutError:
                continue  # the time limit of a `wait` in another thread
            except OSError:
                count = 0
            if not count:
                self._check_alive()
                raise BrokenPipeError(f"{self._argv[0]} on {self._server} no longer reads")
            sent += count

    def close_stdin(self) -> None:
        with contextlib.suppress(OSError):
            self._channel.shutdown_write()

    def read(self, size: int = 65536, *, timeout: float | None = None) -> bytes:
        """TimeoutError if nothing came within `timeout` seconds."""
        return self._read(size, None if timeout is None else time.monotonic() + timeout)

    def wait(self, timeout: float | None = None) -> CommandResult:
        self.close_stdin()
        code, stdout, stderr = self.finish(timeout)
        return CommandResult(
            argv=self._argv,
            exit_code=code,
            stdout=stdout.decode("utf-8", "replace"),
            stderr=stderr.decode("utf-8", "replace"),
        )

    def said(self) -> str:
        """What came on standard error until now."""
        return self._own_stderr().decode("utf-8", "replace").strip()

    def finish(self, timeout: float | None = None) -> tuple[int, bytes, bytes]:
        """As `wait`, with the bytes as they are, and standard input left to whoever feeds it.

        An exit code of -1: a signal ended the command.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        stdout = bytearray()
        while data := self._read(_CHUNK, deadline):
            stdout += data
        self._drain.join(_left(deadline))
        if self._drain.is_alive() or not self._channel.status_event.wait(_left(deadline)):
            raise TimeoutError
        self._check_alive()
        return self._channel.exit_status, bytes(stdout), self._own_stderr()

    def close(self) -> None:
        self._closing = True
        if not self._channel.exit_status_ready():
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                self._request("signal", b"HUP", wait=False)
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.close()
        self._drain.join(timeout=5)

    def _mapped(self) -> contextlib.AbstractContextManager[None]:
        return map_ssh_errors(self._server, hint=LOST_HINT)

    def _request(self, kind: str, data: bytes, *, wait: bool) -> None:
        """Sends a channel request (RFC 4254, sections 6.5 and 6.9) without waiting for its answer.

        Paramiko's `exec_command` waits, which costs a round trip before the first byte of standard input.
        """
        message = paramiko.Message()
        message.add_byte(common.cMSG_CHANNEL_REQUEST)
        message.add_int(self._channel.remote_chanid)
        message.add_string(kind)
        message.add_boolean(wait)
        message.add_string(data)
        transport: Any = self._channel.get_transport()
        transport._send_user_message(message)

    def _read(self, size: int, deadline: float | None) -> bytes:
        while True:
            if self._rest:
                data, self._rest = self._rest[:size], self._rest[size:]
                return data
            data = self._receive(size, deadline)
            if self._head is None:
                if not data:
                    self._check_alive()
                return data
            self._cut(data)

    def _receive(self, size: int, deadline: float | None) -> bytes:
        self._channel.settimeout(_left(deadline))
        try:
            return self._channel.recv(size)
        finally:
            self._channel.settimeout(None)  # it is for both streams

    def _cut(self, data: bytes) -> None:
        """Looks for the two markers in what came so far; what lies between them was learned."""
        assert self._head is not None
        self._head += data
        parts = self._head.split(self._marker, 2)
        if len(parts) == 3:
            if parts[1]:
                self._learned(command.learned(parts[1].decode("utf-8", "surrogateescape")))
            self._head, self._rest = None, parts[2]
            return
        if not data or len(self._head) > _NOISE:
            self._check_alive()
            raise SshError(
                f"the login shell on {self._server} did not run the command; it said: {self._complaint()}",
                hint="log in with ssh: the shell's start-up files (such as ~/.bashrc) must let commands through",
            )

    def _complaint(self) -> str:
        self._channel.close()
        self._drain.join(timeout=5)
        said = ((self._head or b"") + bytes(self._stderr)).decode("utf-8", "replace").strip()
        return "\n".join(said.splitlines()[-10:]) or "nothing"

    def _check_alive(self) -> None:
        """The end of a stream is the command's end, unless the connection is gone or never ran it."""
        if self._closing or (self._channel.status_event.is_set() and self._channel.exit_status >= 0):
            return
        transport = self._channel.get_transport()
        if self._channel.closed and not self._settled:
            # Killed by a signal, or cut off? A dying transport closes its channels before it says that it is dead.
            transport.join(timeout=0.5)
            self._settled = True
        if not transport.is_active():
            with self._mapped():
                raise transport.get_exception() or EOFError
        if not self._channel.event_ready:
            raise SshError(
                f"{self._server} does not run commands: it refused `{shlex.join(self._argv)[:80]}`",
                hint="log in with ssh and see whether your account may run commands there",
            )

    def _drain_stderr(self) -> None:
        while True:
            try:
                data = self._channel.recv_stderr(_CHUNK)
            except TimeoutError:
                continue  # the time limit of a `wait` in another thread
            except (OSError, EOFError, paramiko.SSHException):
                return
            if not data:
                return
            self._stderr += data
            del self._stderr[:-_KEPT]

    def _own_stderr(self) -> bytes:
        _, marker, own = bytes(self._stderr).partition(self._marker)
        return own if marker else bytes(self._stderr)


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.001, deadline - time.monotonic())
