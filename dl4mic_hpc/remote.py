"""The one seam between the program and a cluster: everything done there goes through a `Remote`.

`ssh.connect` gives the real one (one SSH connection to the login node); `--dry-run` and the tests give
others. Paths on the cluster are `PurePosixPath`: the laptop may run Windows.
"""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from dl4mic_hpc.errors import RemoteError


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """What a command on the cluster answered. A non-zero exit code is an answer, not an exception."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str

    def check(self, what: str, *, hint: str) -> CommandResult:
        """Itself if the command succeeded; otherwise `RemoteError` saying that `what` failed, and why."""
        if self.exit_code == 0:
            return self
        said = "\n".join((self.stderr.strip() or self.stdout.strip()).splitlines()[-20:])
        reason = f": {said}" if said else f" with exit code {self.exit_code}"
        raise RemoteError(f"{what} failed{reason}", hint=hint)


class RemoteProcess(Protocol):
    """A running command on the cluster with its streams open. Leaving the context ends it."""

    def write(self, data: bytes) -> None:
        """Sends all of `data` to the command's standard input (blocks while the command is not reading).

        BrokenPipeError if the command has ended or no longer reads; `wait` then tells why.
        """

    def close_stdin(self) -> None: ...

    def read(self, size: int = 65536) -> bytes:
        """Up to `size` bytes of standard output as soon as there are any; b"" at its end."""

    def wait(self, timeout: float | None = None) -> CommandResult:
        """Closes standard input, drains the rest of both streams and gives the exit code.

        `stdout` of the result holds only what `read` had not returned before. TimeoutError after `timeout`
        seconds.
        """

    def close(self) -> None:
        """Closes the channel; the command gets SIGHUP where it still runs."""


class Remote(Protocol):
    """A login node, seen as: run a command, stream a command, write and read a small file."""

    @property
    def cluster(self) -> str:
        """The profile's name, for messages."""

    def run(self, *argv: str, stdin: bytes = b"", timeout: float | None = 60.0) -> CommandResult:
        """Runs `argv` in the login shell's environment; each word arrives as it is (never split, never expanded).

        SshError if the connection is lost, RemoteError if nothing came back within `timeout` seconds.
        """

    def start(self, *argv: str) -> AbstractContextManager[RemoteProcess]:
        """The same with open streams, for what is large or lasts long."""

    def put(self, path: PurePosixPath, data: bytes, *, mode: int = 0o600) -> None:
        """Writes a small file by temporary file and rename; it is never visible half written or more open."""

    def get(self, path: PurePosixPath) -> bytes | None:
        """A small file's bytes, or None where it does not exist."""

    def proxy(self) -> AbstractContextManager[str]:
        """The address (`socks5h://USER:SECRET@127.0.0.1:PORT`) of a proxy that connects from the login node.

        It lasts as long as the context, and is a secret.
        """


class Teller(Protocol):
    """Who is told how a command comes along."""

    def say(self, text: str) -> None:
        """A step that began."""

    def detail(self, text: str) -> None:
        """News within the step."""

    def note(self, text: str) -> None:
        """A remark that stays."""


_STAGE = """\
umask 077
mkdir -p "${1%/*}" && mkdir "$1" || exit 97
tar -xf - -C "$1" || { rm -rf "$1"; exit 97; }
shift
[ "$#" = 0 ] || exec "$@" < /dev/null
"""
_NOT_STAGED = 97


def stage(
    remote: Remote,
    folder: PurePosixPath,
    files: Mapping[str, bytes],
    *,
    folders: tuple[str, ...] = (),
    then: tuple[str, ...] = (),
) -> CommandResult:
    """A new folder (0700) on the cluster with these small files and empty folders, in one command.

    Scripts (*.sh) become executable. `then` is run when all is there; its answer comes back. RemoteError if the
    folder is already there or the disk is full; what was begun is then removed again.
    """
    archive, now = io.BytesIO(), int(time.time())
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in folders:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o700, now
            tar.addfile(entry)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(content), now
            entry.mode = 0o700 if name.endswith(".sh") else 0o600
            tar.addfile(entry, io.BytesIO(content))
    result = remote.run(
        "sh", "-c", _STAGE, "stage", str(folder), *then, stdin=archive.getvalue(), timeout=600
    )
    if result.exit_code == _NOT_STAGED:
        result.check(
            f"writing {folder} on {remote.cluster}",
            hint="`dl4mic-hpc cluster check` looks at the work folder and its space",
        )
    return result
