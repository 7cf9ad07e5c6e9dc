"""Paramiko's and the socket's exceptions, in plain words: the only place where they become ours.

Paramiko's exceptions are no single tree (`NoValidConnectionsError` is an OSError, `UnknownKeyType` a bare
Exception), so a caller that caught only `SSHException` would let some of them through as bugs.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import paramiko
from paramiko.pkey import UnknownKeyType

from dl4mic_hpc.errors import SshError

FOREIGN = (paramiko.SSHException, paramiko.SFTPError, UnknownKeyType, OSError, EOFError)

LOST_HINT = "check your network and VPN, then run the command again; jobs on the cluster go on by themselves"

# RFC 4254, section 5.1.
_CHANNEL = {
    1: "that is forbidden there",
    2: "nothing answers",
    3: "it does not know this kind of channel",
    4: "it is short of resources",
}
_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.EADDRNOTAVAIL}


@contextmanager
def map_ssh_errors(server: str, *, hint: str) -> Iterator[None]:
    """Turns every exception of `FOREIGN` raised inside into `SshError`; `server` is user@host:port."""
    try:
        yield
    except FOREIGN as error:
        raise SshError(f"{server} {words(error)}", hint=hint) from error


def words(error: BaseException) -> str:
    """What happened, as the end of a sentence that begins with the server's name."""
    text = str(error).strip()
    match error:
        case socket.gaierror():
            return f"cannot be found: the name does not resolve ({error.strerror or text})"
        case ConnectionRefusedError():
            return "refuses the connection: no SSH server listens on that port"
        case TimeoutError():
            return "did not answer in time"
        case EOFError() | ConnectionError():
            return "closed the connection"
        case OSError(errno=code) if code in _UNREACHABLE:
            return f"cannot be reached: {error.strerror or text}"
        case paramiko.ChannelException():
            return f"refused to open a channel: {channel_words(error)}"
        case paramiko.ssh_exception.IncompatiblePeer():
            return f"has no algorithm in common with this program: {text}"
        case paramiko.SSHException() if "protocol banner" in text or "Indecipherable" in text:
            return "is no SSH server, or hung up before it said so"
        case paramiko.SSHException() if "Timeout" in text or "timed out" in text:
            return "did not answer in time"
        case paramiko.SSHException() if "not active" in text or "Socket is closed" in text:
            return "closed the connection"
        case _:
            return f"failed: {text or type(error).__name__}"


def channel_words(error: BaseException) -> str:
    """Why a channel through a server did not open, without that server's name."""
    if not isinstance(error, paramiko.ChannelException):
        return words(error)
    text = f" ({error.text})" if error.text else ""
    return f"{_CHANNEL.get(error.code, 'for no known reason')}{text}"
