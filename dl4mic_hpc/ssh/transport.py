"""One SSH transport: paramiko's, with the settings that its defaults lack."""

from __future__ import annotations

import contextlib
import logging
import socket
from typing import Any

import paramiko
from paramiko.packet import Packetizer

KEEPALIVE = 30.0
"""Seconds between two signs of life; firewalls forget a silent connection after a few minutes."""

WINDOW = 8 * 1024 * 1024
"""Bytes that may be on their way to us per channel: paramiko's 2 MiB allow 40 MB/s over a 50 ms link."""

# Without a handler of its own paramiko's tracebacks would reach the terminal by logging's last resort.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class _Packetizer(Packetizer):
    # What OpenSSH does for AES (RFC 4344, section 3.2: 2**32 blocks). Paramiko's 512 MiB are not only
    # needlessly few: a channel that closes while paramiko renews its keys stalls the connection.
    REKEY_BYTES = 2**36
    REKEY_BYTES_OVERFLOW_MAX = 2**36


class SshTransport(paramiko.Transport):
    """A transport that keeps the server's last words and leaves no thread behind.

    `farewell` is what the server said when it hung up ("Too many authentication failures").
    """

    farewell = ""

    def __init__(self, sock: Any, *, timeout: float) -> None:
        super().__init__(sock, default_window_size=WINDOW, packetizer_class=_Packetizer)
        # `handshake` keeps the time for all of it; paramiko's own limits would say that the server hung up.
        self._limit = timeout
        self.banner_timeout = self.handshake_timeout = timeout + 5
        options = self.get_security_options()
        fast = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
        options.ciphers = (*fast, *(name for name in options.ciphers if name not in fast))

    def handshake(self, key_types: tuple[str, ...]) -> paramiko.PKey:
        """Agrees on keys and gives the server's host key, which the caller has to check.

        `key_types` are preferred, so that a host known by its ed25519 key is not asked for another one.
        """
        options = self.get_security_options()
        preferred = [name for name in options.key_types if name in key_types]
        options.key_types = (*preferred, *(name for name in options.key_types if name not in key_types))
        self.start_client(timeout=self._limit)
        if not self.initial_kex_done:
            raise TimeoutError
        self.set_keepalive(KEEPALIVE)
        return self.get_remote_server_key()

    def close(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            self.sock.shutdown(socket.SHUT_RDWR)  # wakes the reading thread at once
        super().close()
        self.packetizer.complete_handshake()  # ends its timer, which would hold up the program's end
        if self.is_alive():
            self.join(timeout=5)

    def _parse_disconnect(self, message: paramiko.Message) -> None:
        message.get_int()
        self.farewell = message.get_text()


def tune(sock: socket.socket) -> None:
    """Sends small packets at once, and notices a peer that vanished (a laptop that slept) within two minutes.

    Nagle's algorithm costs a forwarded connection 40 ms. Options that a platform lacks are left out.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", 30),
        ("TCP_KEEPALIVE", 30),
        ("TCP_KEEPINTVL", 15),
        ("TCP_KEEPCNT", 4),
        ("TCP_USER_TIMEOUT", 90_000),
    ):
        if hasattr(socket, name):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
