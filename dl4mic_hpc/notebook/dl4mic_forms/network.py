"""Keeps calls to the network short, for compute nodes without internet. Python 3.7 syntax only.

A compute node's packets to the outside are often dropped without an answer; a program that asks then waits for
minutes. After `bound_sockets` no wait for a name or for a connection takes longer than the times below, and what
did not answer is not asked again for a while. Python's own exceptions are raised, with a sentence that says why.
Untouched are: a connection once it is made, the computer itself, shorter times that a program sets, sockets
that do not block (asyncio's), and what is not Python's `socket` (the notebook's own kernel, programs, C libraries).
"""

from __future__ import annotations

import errno
import socket
from ipaddress import ip_address
from threading import Thread
from time import monotonic
from typing import Any, Callable

RESOLVE = 2.4  # seconds for a name to become addresses
CONNECT = (
    2.4  # seconds for a connection, shared by IPv4 and IPv6 where a name has both; with RESOLVE less than 5
)
REMEMBERED = 60.0  # seconds for which what did not answer is not asked again

_LOOK_UPS = ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr")


def bound_sockets() -> None:
    """Bounds name look-ups and connections of this process; a second call does nothing."""
    if hasattr(socket, "dl4mic_bounds"):
        return
    bounds = _Bounds()
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def bounded_connect(self: socket.socket, address: Any) -> None:
        address, seconds = bounds.of(self, address)
        if seconds is None:
            return connect(self, address)
        if seconds:
            own = self.gettimeout()
            self.settimeout(seconds)
            try:
                return connect(self, address)
            except socket.timeout:
                bounds.unanswered(self, address)
            finally:
                self.settimeout(own)
        raise socket.timeout(no_answer(bounds.name(address[0])))

    def bounded_connect_ex(self: socket.socket, address: Any) -> int:
        address, seconds = bounds.of(self, address)
        if seconds is None:
            return connect_ex(self, address)
        if seconds:
            own = self.gettimeout()
            self.settimeout(seconds)
            try:
                code = connect_ex(self, address)
            finally:
                self.settimeout(own)
            if code not in (errno.EAGAIN, errno.EWOULDBLOCK):
                return code
            bounds.unanswered(self, address)
        return errno.ETIMEDOUT

    for look_up in _LOOK_UPS:
        setattr(socket, look_up, bounds.look_up(getattr(socket, look_up)))
    setattr(socket.socket, "connect", bounded_connect)  # noqa: B010
    setattr(socket.socket, "connect_ex", bounded_connect_ex)  # noqa: B010
    setattr(socket, "dl4mic_bounds", bounds)  # noqa: B010


def reachable(host: str, port: int) -> bool:
    """Whether a connection can be made within the bounds, or is refused by a computer that is there."""
    try:
        socket.create_connection((host, port), CONNECT).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


def no_answer(host: str) -> str:
    """What a person can do about a host that does not answer."""
    return (
        f"{host} does not answer; compute nodes often have no internet. Fetch what is needed on your own computer "
        "and send it along with your data: it is then in /home/data"
    )


class _Bounds:
    """How long a socket may wait, who did not answer lately, and which name an address was found by."""

    def __init__(self) -> None:
        self._until: dict[Any, float] = {}
        self._names: dict[str, tuple[str, int]] = {}  # by address: the name, and how many families it has

    def name(self, address: str) -> str:
        return self._names.get(address, (address, 1))[0]

    def of(self, sock: socket.socket, address: Any) -> tuple[Any, float | None]:
        """The address with its name looked up, and the seconds to wait: None if that is not ours to say, 0 if not at all."""
        blocking = sock.gettimeout() != 0 and sock.type == socket.SOCK_STREAM
        inet = (
            sock.family in (socket.AF_INET, socket.AF_INET6)
            and isinstance(address, tuple)
            and len(address) > 1
        )
        if not blocking or not inet or not isinstance(address[0], str):
            return address, None
        if _number(address[0]) is None:
            address = socket.getaddrinfo(address[0], address[1], sock.family, sock.type)[0][4]
        number, own = _number(address[0]), sock.gettimeout()
        if number is None or number.is_loopback:
            return address, None
        name, families = self._names.get(address[0], (address[0], 1))
        seconds = CONNECT / families
        if self._until.get((name, address[1], sock.family), 0) > monotonic():
            return address, 0
        return address, None if own is not None and own <= seconds else seconds

    def unanswered(self, sock: socket.socket, address: Any) -> None:
        self._until[self.name(address[0]), address[1], sock.family] = monotonic() + REMEMBERED

    def look_up(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """A look-up of a name that takes no longer than RESOLVE; the system's own cannot be told a time."""

        def bounded(host: Any, *arguments: Any, **keywords: Any) -> Any:
            name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
            if (
                not name
                or (_number(name) is not None and call.__name__ != "gethostbyaddr")
                or name == "localhost"
            ):
                return call(host, *arguments, **keywords)
            if self._until.get(name, 0) > monotonic():
                raise socket.gaierror(socket.EAI_AGAIN, no_answer(name))
            answers: list[tuple[Any, BaseException | None]] = []

            def ask() -> None:
                try:
                    answers.append((call(host, *arguments, **keywords), None))
                except BaseException as problem:
                    answers.append((None, problem))

            thread = Thread(target=ask, daemon=True)
            thread.start()
            thread.join(RESOLVE)
            if not answers:
                self._until[name] = monotonic() + REMEMBERED
                raise socket.gaierror(socket.EAI_AGAIN, no_answer(name))
            found, problem = answers[0]
            if isinstance(problem, socket.gaierror):
                raise socket.gaierror(problem.errno, f"{problem.strerror}: {no_answer(name)}") from None
            if problem is not None:
                raise problem
            if call.__name__ == "getaddrinfo":
                self._learn(name, found)
            return found

        bounded.__name__ = call.__name__
        return bounded

    def _learn(self, name: str, found: list[Any]) -> None:
        if len(self._names) > 1000:
            self._names.clear()
        families = len({entry[0] for entry in found})
        self._names.update({entry[4][0]: (name, families) for entry in found})


def _number(host: str) -> Any:
    """The host as an address, None if it is a name."""
    try:
        return ip_address(host.split("%")[0])
    except ValueError:
        return None
