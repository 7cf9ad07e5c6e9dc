"""A login node that is this machine: each command really runs here, with this machine's tar, find and mv."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from dl4mic_hpc.errors import RemoteError, SshError
from dl4mic_hpc.remote import CommandResult, RemoteProcess


def connection_lost() -> SshError:
    return SshError("the connection to local was lost", hint="run the command again")


class LocalRemote:
    """Implements `Remote`. `commands` are those that ran, as their argv; faults are chosen by attributes.

    `lost_after_writing`, `lost_after_reading`: after so many bytes of one command's streams the connection is lost
    and the command gets SIGKILL. `on_start`: called with the argv before each command. `on_write`, `on_read`: called
    with the bytes of the stream so far, before each write and after each read. `path`: a folder of stand-ins that are
    found before the machine's programs. `prefix`: words before each command, such as setpriv's to be another user.
    """

    def __init__(
        self, *, cluster: str = "local", path: Path | None = None, prefix: tuple[str, ...] = ()
    ) -> None:
        self._cluster = cluster
        self._prefix = prefix
        self._env = os.environ | {"PATH": f"{path}{os.pathsep}{os.environ['PATH']}"} if path else None
        self.commands: list[tuple[str, ...]] = []
        self.lost_after_writing: int | None = None
        self.lost_after_reading: int | None = None
        self.on_start: Callable[[tuple[str, ...]], object] = lambda argv: None
        self.on_write: Callable[[int], object] = lambda size: None
        self.on_read: Callable[[int], object] = lambda size: None

    @property
    def cluster(self) -> str:
        return self._cluster

    def run(self, *argv: str, stdin: bytes = b"", timeout: float | None = 60.0) -> CommandResult:
        with self.start(*argv) as process:
            with contextlib.suppress(BrokenPipeError):
                process.write(stdin)
            try:
                return process.wait(timeout)
            except TimeoutError:
                raise RemoteError(
                    f"{argv[0]} gave no answer within {timeout} seconds", hint="try again"
                ) from None

    @contextlib.contextmanager
    def start(self, *argv: str) -> Iterator[RemoteProcess]:
        self.on_start(argv)
        self.commands.append(argv)
        process = LocalProcess(self, argv, [*self._prefix, *argv], self._env)
        try:
            yield process
        finally:
            process.close()

    def put(self, path: PurePosixPath, data: bytes, *, mode: int = 0o600) -> None:
        temporary = Path(f"{path}.{secrets.token_hex(4)}.part")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with os.fdopen(os.open(temporary, flags, mode), "wb") as file:
            file.write(data)
        temporary.replace(path)

    def get(self, path: PurePosixPath) -> bytes | None:
        return Path(path).read_bytes() if Path(path).exists() else None

    def proxy(self) -> contextlib.AbstractContextManager[str]:
        """No proxy: this machine is the login node."""
        return contextlib.nullcontext("")


class LocalProcess:
    """Implements `RemoteProcess` over the pipes of a child in a process group of its own."""

    def __init__(
        self, remote: LocalRemote, argv: tuple[str, ...], words: list[str], env: dict[str, str] | None
    ) -> None:
        self._remote = remote
        self._argv = argv
        self._written = self._read = 0
        self._errors = b""
        self._child = subprocess.Popen(
            words,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            start_new_session=True,
        )
        assert self._child.stdin and self._child.stdout and self._child.stderr
        self._stdin, self._stdout, self._stderr = self._child.stdin, self._child.stdout, self._child.stderr
        self._drain = threading.Thread(target=self._drain_errors)
        self._drain.start()

    def _drain_errors(self) -> None:
        self._errors = self._stderr.read()
        while piece := self._stderr.read():
            self._errors += piece

    def write(self, data: bytes) -> None:
        self._remote.on_write(self._written)
        rest = memoryview(data)
        limit = self._remote.lost_after_writing
        if limit is not None:
            rest = rest[: max(limit - self._written, 0)]
        while rest:
            done = self._stdin.write(rest)
            self._written += done
            rest = rest[done:]
        if limit is not None and self._written >= limit:
            self._lose()

    def close_stdin(self) -> None:
        self._stdin.close()

    def read(self, size: int = 65536) -> bytes:
        limit = self._remote.lost_after_reading
        if limit is not None and self._read >= limit:
            self._lose()
        piece = self._stdout.read(size)
        self._read += len(piece)
        self._remote.on_read(self._read)
        return piece

    def wait(self, timeout: float | None = None) -> CommandResult:
        self.close_stdin()
        try:
            out = b"".join(iter(lambda: self._stdout.read(65536), b""))
            self._drain.join()
            code = self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        return CommandResult(
            argv=self._argv,
            exit_code=code,
            stdout=out.decode("utf-8", "replace"),
            stderr=self._errors.decode("utf-8", "replace"),
        )

    def close(self) -> None:
        """The command and what it has started get SIGKILL, by their group's id."""
        if self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        self._drain.join()
        for stream in (self._stdin, self._stdout, self._stderr):
            stream.close()

    def _lose(self) -> None:
        self.close()
        raise connection_lost()
