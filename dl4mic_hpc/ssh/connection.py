"""One SSH connection to a cluster's login node: the real `remote.Remote`."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import PurePosixPath
from types import TracebackType
from typing import Literal, Self

import paramiko

from dl4mic_hpc.errors import RemoteError, SshError
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.remote import CommandResult
from dl4mic_hpc.ssh import config, routes
from dl4mic_hpc.ssh.failures import FOREIGN, LOST_HINT, channel_words, words
from dl4mic_hpc.ssh.login import Asker
from dl4mic_hpc.ssh.process import Process
from dl4mic_hpc.ssh.routes import Route
from dl4mic_hpc.ssh.socks import SocksProxy
from dl4mic_hpc.ssh.way import Way

_PATIENCE = 30.0  # seconds for the server to open a channel
_PUT = (
    'umask 077; t="$1.$2.tmp"; { cat > "$t" && chmod "$3" "$t" && mv -f "$t" "$1"; } || '
    '{ code=$?; rm -f "$t"; exit $code; }'
)


def connect(profile: ClusterProfile, *, ask: Asker) -> Connection:
    """Connects to the cluster's login node and logs in, through the jump hosts of ~/.ssh/config.

    SshError or HostKeyError (exit code 4) with the server's name and what to do.
    """
    with ExitStack() as stack:
        way = Way(profile, ask=ask)
        stack.callback(way.close)
        for hop in config.hops(profile):
            way.enter(hop)
        connection = Connection(way)
        stack.pop_all()
        return connection


class Connection:
    """Commands, small files and routes over one transport. May be used from several threads.

    A command costs one round trip: the channel for the next one is opened while this one runs.
    """

    def __init__(self, way: Way) -> None:
        self._way = way
        self._server = str(way.hop)
        self._marker = f"dl4mic-{secrets.token_hex(8)}"
        self._environment: tuple[str, ...] | None = None
        self._opener = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ssh-channel")
        self._lock = threading.Lock()
        self._next: Future[paramiko.Channel] | None = None
        self._prepare()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def cluster(self) -> str:
        return self._way.cluster

    def run(self, *argv: str, stdin: bytes = b"", timeout: float | None = 60.0) -> CommandResult:
        code, stdout, stderr = self._run(argv, stdin, timeout)
        return CommandResult(
            argv=argv,
            exit_code=code,
            stdout=stdout.decode("utf-8", "replace"),
            stderr=stderr.decode("utf-8", "replace"),
        )

    def start(self, *argv: str) -> Process:
        return Process(
            self._channel(),
            argv,
            server=self._server,
            marker=self._marker,
            environment=self._environment,
            learned=self._learn,
        )

    def put(self, path: PurePosixPath, data: bytes, *, mode: int = 0o600) -> None:
        given = (str(path), secrets.token_hex(4), f"{mode:o}")
        result = self.run("env", "LC_ALL=C", "sh", "-c", _PUT, "sh", *given, stdin=data)
        result.check(f"writing {path} on {self.cluster}", hint=_file_hint(result.stderr, self.cluster))

    def get(self, path: PurePosixPath) -> bytes | None:
        argv = ("env", "LC_ALL=C", "cat", "--", str(path))
        code, stdout, stderr = self._run(argv, b"", 60.0)
        if code == 0:
            return stdout
        said = stderr.decode("utf-8", "replace")
        if "No such file or directory" in said:
            return None
        result = CommandResult(argv=argv, exit_code=code, stdout="", stderr=said)
        result.check(f"reading {path} on {self.cluster}", hint=_file_hint(said, self.cluster))
        return None

    def open_route(
        self,
        route: Literal["hop", "step", "auto"],
        *,
        node: str,
        job_id: int,
        session_dir: PurePosixPath,
        say: Callable[[str], None],
    ) -> Route:
        """A way to the TCP ports of `node`, on which the job runs; see `routes.open_route`.

        "auto" is whatever the profile's key `route` says.
        """
        if route == "auto":
            route = self._way.route
        return routes.open_route(
            self.start, self._way, route, node=node, job_id=job_id, session_dir=session_dir, say=say
        )

    @contextlib.contextmanager
    def proxy(self) -> Iterator[str]:
        with SocksProxy(self._way.transport) as proxy:
            yield proxy.address

    def close(self) -> None:
        self._opener.shutdown(wait=False, cancel_futures=True)
        self._way.close()
        self._opener.shutdown(wait=True)

    def _run(self, argv: tuple[str, ...], stdin: bytes, timeout: float | None) -> tuple[int, bytes, bytes]:
        with self.start(*argv) as process:
            writer = None
            if stdin:
                # A command may answer before it has read everything: both directions at once.
                writer = threading.Thread(target=_feed, args=(process, stdin), name="ssh-stdin", daemon=True)
                writer.start()
            else:
                process.close_stdin()
            try:
                return process.finish(timeout)
            except TimeoutError as error:
                raise RemoteError(
                    f"`{' '.join(argv)[:80]}` on {self.cluster} gave no answer within {timeout:g} s",
                    hint="the cluster's file system or Slurm may be overloaded: try again in a few minutes",
                ) from error
            finally:
                process.close()
                if writer:
                    writer.join()

    def _learn(self, environment: tuple[str, ...]) -> None:
        self._environment = environment

    def _open(self) -> paramiko.Channel:
        return self._way.transport.open_session(timeout=_PATIENCE)

    def _prepare(self) -> None:
        with contextlib.suppress(RuntimeError):  # the connection is being closed
            self._next = self._opener.submit(self._open)

    def _channel(self) -> paramiko.Channel:
        with self._lock:
            prepared, self._next = self._next, None
        if prepared:
            with contextlib.suppress(*FOREIGN):  # no channel to spare (MaxSessions): one is asked for below
                channel = prepared.result()
                if not channel.closed:
                    self._prepare()
                    return channel
        # A server with few sessions to give counts the one that has just ended until its process is gone.
        for pause in (0.05, 0.1, 0.2, 0.4, None):
            try:
                channel = self._open()
                break
            except paramiko.ChannelException as error:
                if pause is None:
                    raise SshError(
                        f"{self._server} allows no further command on this connection: {channel_words(error)}",
                        hint="wait for what runs on this connection to end (the server's MaxSessions limits it)",
                    ) from error
            except FOREIGN as error:
                raise SshError(f"{self._server} {words(error)}", hint=LOST_HINT) from error
            time.sleep(pause)
        self._prepare()
        return channel


def _feed(process: Process, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, SshError):  # the reading side reports it
        process.write(data)
    process.close_stdin()


def _file_hint(said: str, cluster: str) -> str:
    show = f"`dl4mic-hpc cluster show {cluster}` names the profile's file"
    if "No space left" in said or "quota" in said.lower():
        return f"free some space there, or set `work_dir` to a disk that has some; {show}"
    if "denied" in said or "Read-only" in said:
        return f"set `work_dir` to a folder that you may write to; {show}"
    return f"check `work_dir`; {show}"
