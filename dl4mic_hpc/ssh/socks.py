"""A SOCKS proxy on this computer whose connections leave from the login node.

It speaks the part of SOCKS 5 that web clients use: the command CONNECT (RFC 1928), for who knows its password (RFC 1929).
The password is made anew each time: on a computer with several users the port is open to all of them.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket

import paramiko

from dl4mic_hpc.errors import SshError
from dl4mic_hpc.ssh.failures import FOREIGN, LOST_HINT, channel_words
from dl4mic_hpc.ssh.transport import SshTransport
from dl4mic_hpc.ssh.tunnel import Forwarding

_USER = "dl4mic"
_PATIENCE = 30.0  # seconds for the other end to accept a connection

_BY_PASSWORD, _NO_METHOD = 2, 0xFF
_CONNECT = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_LENGTHS = {_IPV4: 4, _IPV6: 16, _NAME: 0}
"""Bytes of an address by its kind; 0: it begins with its length."""
_DONE, _FAILED, _FORBIDDEN, _REFUSED, _NO_COMMAND, _NO_ADDRESS = 0, 1, 2, 5, 7, 8
_REPLIES = {1: _FORBIDDEN, 2: _REFUSED}
"""By the reason that the SSH server gives (RFC 4254, section 5.1)."""


class SocksProxy(Forwarding):
    """`address` is what a client needs: it holds the password, so it goes to no log and onto no command line."""

    def __init__(self, transport: SshTransport) -> None:
        self._transport = transport
        self._password = secrets.token_urlsafe(24)
        super().__init__()

    @property
    def address(self) -> str:
        return f"socks5h://{_USER}:{self._password}@127.0.0.1:{self.local_port}"

    def _open(self, local: socket.socket) -> paramiko.Channel:
        try:
            host, port = self._asked(local)
        except FOREIGN as error:
            raise SshError("a client of the proxy hung up", hint=LOST_HINT) from error
        except (ValueError, IndexError) as error:  # bytes that are no text, or no answer to what was asked
            raise SshError("a client of the proxy speaks another language", hint=LOST_HINT) from error
        try:
            channel = self._transport.open_channel(
                "direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=_PATIENCE
            )
        except FOREIGN as error:
            code = error.code if isinstance(error, paramiko.ChannelException) else 0
            _reply(local, _REPLIES.get(code, _FAILED))
            raise SshError(
                f"port {port} of {host} cannot be reached from the login node: {channel_words(error)}",
                hint=LOST_HINT,
            ) from error
        _reply(local, _DONE)
        return channel

    def _asked(self, local: socket.socket) -> tuple[str, int]:
        """Where the client wants to go. ValueError if it does not know the password or wants something else."""
        version, methods = _take(local, 2)
        if version != 5:
            raise ValueError("another version of SOCKS")
        if _BY_PASSWORD not in _take(local, methods):
            local.sendall(bytes([5, _NO_METHOD]))
            raise ValueError("no password offered")
        local.sendall(bytes([5, _BY_PASSWORD]))
        _take(local, 1)
        user, password = (_take(local, _take(local, 1)[0]) for _ in range(2))
        known = secrets.compare_digest(password, self._password.encode()) and user == _USER.encode()
        local.sendall(bytes([1, 0 if known else 1]))
        if not known:
            raise ValueError("another password")
        _, command, _, kind = _take(local, 4)
        if kind not in _LENGTHS:
            _reply(local, _NO_ADDRESS)
            raise ValueError("an unknown kind of address")
        host = _take(local, _LENGTHS[kind] or _take(local, 1)[0])
        port = int.from_bytes(_take(local, 2), "big")
        if command != _CONNECT:
            _reply(local, _NO_COMMAND)
            raise ValueError("another command")
        return host.decode("ascii") if kind == _NAME else str(ipaddress.ip_address(host)), port


def _reply(local: socket.socket, code: int) -> None:
    try:
        local.sendall(bytes([5, code, 0, _IPV4, 0, 0, 0, 0, 0, 0]))
    except OSError as error:
        raise SshError("a client of the proxy hung up", hint=LOST_HINT) from error


def _take(local: socket.socket, size: int) -> bytes:
    """Exactly so many bytes. EOFError if the client hangs up."""
    taken = b""
    while len(taken) < size:
        piece = local.recv(size - len(taken))
        if not piece:
            raise EOFError
        taken += piece
    return taken
