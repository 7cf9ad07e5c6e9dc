"""A ProxyCommand as a socket: the program's standard input and output, behind one end of a socket pair.

Paramiko's own ProxyCommand spins at the end of the stream and cannot work on Windows, where `select` knows
sockets only; hence two threads that copy, the same on every platform.
"""

from __future__ import annotations

import collections
import contextlib
import socket
import subprocess
import sys
import threading
from typing import IO

_CHUNK = 65536


class ProxyCommand:
    """Runs `command` by the platform's shell, as OpenSSH does. `sock` is what an SSH transport reads and writes."""

    def __init__(self, command: str) -> None:
        shell = (
            ["cmd.exe", "/c", command] if sys.platform == "win32" else ["/bin/sh", "-c", f"exec {command}"]
        )
        self._process = subprocess.Popen(
            shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
        self.sock, self._inner = socket.socketpair()
        self._said: collections.deque[bytes] = collections.deque(maxlen=20)
        self._threads = [
            threading.Thread(target=target, name="proxy-command", daemon=True)
            for target in (self._to_command, self._from_command, self._listen)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def said(self) -> str:
        """What the program last wrote to its standard error; asked for after a failure."""
        self._threads[-1].join(timeout=1)  # if it has ended, all of it is there then
        return b"".join(self._said).decode("utf-8", "replace").strip()

    def close(self) -> None:
        self.sock.close()
        with contextlib.suppress(OSError):
            self._inner.shutdown(socket.SHUT_RDWR)
        self._process.terminate()
        self._process.wait()
        for thread in self._threads:
            thread.join(timeout=5)
        self._inner.close()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()

    def _to_command(self) -> None:
        stream = _open(self._process.stdin)
        with contextlib.suppress(OSError, ValueError):
            while data := self._inner.recv(_CHUNK):
                stream.write(data)
        with contextlib.suppress(OSError, ValueError):
            stream.close()

    def _from_command(self) -> None:
        stream = _open(self._process.stdout)
        with contextlib.suppress(OSError, ValueError):
            while data := stream.read(_CHUNK):
                self._inner.sendall(data)
        with contextlib.suppress(OSError):
            self._inner.shutdown(socket.SHUT_WR)

    def _listen(self) -> None:
        stream = _open(self._process.stderr)
        with contextlib.suppress(OSError, ValueError):
            while line := stream.readline():
                self._said.append(line)


def _open(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream
