"""The way to the login node and on to a compute node: one transport per server, each through the one before."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import paramiko

from dl4mic_hpc.errors import SshError
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.ssh import hostkeys
from dl4mic_hpc.ssh.config import Hop
from dl4mic_hpc.ssh.failures import FOREIGN, channel_words, words
from dl4mic_hpc.ssh.hostkeys import HostKeyQuestion, KnownKey, Outcome
from dl4mic_hpc.ssh.keys import KeyRing
from dl4mic_hpc.ssh.login import Asker, Credentials, log_in
from dl4mic_hpc.ssh.proxy import ProxyCommand
from dl4mic_hpc.ssh.transport import SshTransport, tune

NODE_PORT = 22
NODE_PATIENCE = 5.0
"""Seconds for a compute node to answer: it is near the login node, or it is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A server's host key after it was checked."""

    host: str
    key_type: str
    fingerprint: str
    outcome: Outcome


class Way:
    """Opens servers one behind the other and closes them all.

    `hop` is the last one that was logged in to, `route` what the profile says about the way beyond it.
    """

    def __init__(self, profile: ClusterProfile, *, ask: Asker, replace: bool = False) -> None:
        self.cluster = profile.name
        self.route = profile.route
        self.credentials = Credentials()
        self.trusted: list[TrustedKey] = []
        self.hop: Hop | None = None
        self._ask = ask
        self._replace = replace
        self._transports: list[SshTransport] = []
        self._keyring = KeyRing()
        self._open = ExitStack()
        self._open.callback(self._keyring.close)

    @property
    def transport(self) -> SshTransport:
        """The connection to the last server."""
        return self._transports[-1]

    def enter(self, hop: Hop) -> None:
        """Connects to the next server and logs in."""
        with ExitStack() as stack:
            transport = stack.enter_context(self.knock(hop))
            self.credentials = log_in(
                transport, hop, ask=self._ask, keyring=self._keyring, cluster=self.cluster
            )
            self._open.push(stack.pop_all())
        self._transports.append(transport)
        self.hop = hop

    @contextlib.contextmanager
    def knock(self, hop: Hop, *, node: str | None = None) -> Iterator[SshTransport]:
        """Connects to the next server and checks its host key, no more. Closed on leaving."""
        own_name = f"{node}@{self.cluster}" if node else hop.known_as
        known = hostkeys.find(hop.known_as, hop.known_hosts, own_name=own_name)
        with ExitStack() as stack:
            sock, said = self._socket(hop, stack)
            transport = SshTransport(sock, timeout=hop.connect_timeout)
            stack.callback(transport.close)
            try:
                key = transport.handshake(hostkeys.key_types(known))
            except FOREIGN as error:
                reason = " ".join(filter(None, (words(error), transport.farewell, said())))
                raise SshError(f"{hop} {reason}", hint=self._hint(hop)) from error
            self._check(key, hop, known, own_name=own_name, node=node)
            yield transport

    def node(self, name: str) -> Hop:
        """The compute node `name` as the next server after the login node."""
        assert self.hop is not None
        return dataclasses.replace(
            self.hop,
            host=name,
            port=NODE_PORT,
            known_as=name.lower(),
            proxy_command=None,
            connect_timeout=NODE_PATIENCE,
        )

    def close(self) -> None:
        self._open.close()

    def _check(
        self, key: paramiko.PKey, hop: Hop, known: tuple[KnownKey, ...], *, own_name: str, node: str | None
    ) -> None:
        question = HostKeyQuestion(
            cluster=self.cluster,
            node=node,
            host=hop.known_as,
            key_type=key.get_name(),
            fingerprint=hostkeys.fingerprint(key.asbytes()),
            replaces=tuple(entry for entry in known if not entry.revoked) if self._replace else (),
        )
        outcome = hostkeys.check(
            key,
            known=known,
            question=question,
            own_name=own_name,
            confirm=self._ask.confirm_host_key,
            replace=self._replace,
        )
        self.trusted.append(
            TrustedKey(
                host=question.host,
                key_type=question.key_type,
                fingerprint=question.fingerprint,
                outcome=outcome,
            )
        )

    def _socket(self, hop: Hop, stack: ExitStack) -> tuple[Any, Any]:
        """What the transport reads and writes, and what gives the words of a proxy command."""
        try:
            if self._transports:
                channel = self.transport.open_channel(
                    "direct-tcpip", (hop.host, hop.port), ("127.0.0.1", 0), timeout=hop.connect_timeout
                )
                stack.callback(channel.close)
                return channel, str
            if hop.proxy_command:
                proxy = ProxyCommand(hop.proxy_command)
                stack.callback(proxy.close)
                return proxy.sock, lambda: f"(ProxyCommand says: {proxy.said})" if proxy.said else ""
            sock = stack.enter_context(
                socket.create_connection((hop.host, hop.port), timeout=hop.connect_timeout)
            )
            tune(sock)
            return sock, str
        except FOREIGN as error:
            if self._transports:
                raise SshError(
                    f"{hop} cannot be reached through {self.hop}: {channel_words(error)}",
                    hint=self._hint(hop),
                ) from error
            raise SshError(f"{hop} {words(error)}", hint=self._hint(hop)) from error

    def _hint(self, hop: Hop) -> str:
        return (
            f"check your network and VPN, then host and port (`dl4mic-hpc cluster show {self.cluster}` names the "
            f"profile's file); `ssh -p {hop.port} {hop.user}@{hop.host}` should work too"
        )
