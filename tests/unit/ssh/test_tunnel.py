"""The tunnel: bytes arrive whole and in order, ends are passed on, nothing is left behind."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

import pytest
from support.sshd import Sshd

from dl4mic_hpc.errors import SshError, UsageError
from dl4mic_hpc.ssh import Connection, Route, Tunnel, reserve_local_port

pytestmark = pytest.mark.posix

MEGA = 1024 * 1024
Handler = Callable[[socket.socket], None]


@pytest.fixture
def route(connection: Connection) -> Iterator[Route]:
    """A route to this machine, over the login node's transport."""
    with ExitStack() as stack:
        stack.callback(connection._way.transport.close)
        with Route("hop", "it is a test", "gpu01", connection._way.transport, stack.pop_all()) as route:
            yield route


@pytest.fixture
def serve() -> Iterator[Callable[[Handler], int]]:
    """A TCP server on the node; each connection is handled in a thread of its own."""
    with ExitStack() as stack:

        def start(handler: Handler) -> int:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=100))
            threads: list[threading.Thread] = []

            def handle(connection: socket.socket) -> None:
                with connection, contextlib.suppress(OSError):
                    handler(connection)

            def accept() -> None:
                while True:
                    try:
                        connection, _ = listener.accept()
                    except OSError:
                        return
                    threads.append(threading.Thread(target=handle, args=(connection,)))
                    threads[-1].start()

            acceptor = threading.Thread(target=accept)
            acceptor.start()

            def end() -> None:
                listener.shutdown(socket.SHUT_RDWR)
                acceptor.join()
                for thread in threads:
                    thread.join(timeout=10)

            stack.callback(end)
            return int(listener.getsockname()[1])

        yield start


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def client(tunnel: Tunnel) -> socket.socket:
    return socket.create_connection(("127.0.0.1", tunnel.local_port), timeout=60)


def read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def test_what_goes_in_comes_out(route: Route, serve: Callable[[Handler], int]) -> None:
    with Tunnel(route, serve(echo)) as tunnel, client(tunnel) as sock:
        sock.sendall(b"hello")
        assert sock.recv(100) == b"hello"
        assert not tunnel.failed.is_set()


def test_the_end_of_one_direction_leaves_the_other_open(
    route: Route, serve: Callable[[Handler], int]
) -> None:
    def answer_after_the_end(connection: socket.socket) -> None:
        question = read_all(connection)
        connection.sendall(question[::-1])

    with Tunnel(route, serve(answer_after_the_end)) as tunnel, client(tunnel) as sock:
        sock.sendall(b"abc")
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"cba"


def test_the_server_may_end_first(route: Route, serve: Callable[[Handler], int]) -> None:
    received: list[bytes] = []
    done = threading.Event()

    def speak_then_listen(connection: socket.socket) -> None:
        connection.sendall(b"no more from me")
        connection.shutdown(socket.SHUT_WR)
        received.append(read_all(connection))
        done.set()

    with Tunnel(route, serve(speak_then_listen)) as tunnel, client(tunnel) as sock:
        assert read_all(sock) == b"no more from me"
        sock.sendall(b"but from me")
        sock.shutdown(socket.SHUT_WR)
        assert done.wait(10)
    assert received == [b"but from me"]


def test_large_streams_both_ways_arrive_whole(route: Route, serve: Callable[[Handler], int]) -> None:
    size = 200 * MEGA
    block = os.urandom(MEGA)
    sent = hashlib.sha256(block * (size // MEGA)).hexdigest()
    seen: dict[str, str] = {}

    def receive(sock: socket.socket, name: str) -> None:
        digest = hashlib.sha256()
        while data := sock.recv(MEGA):
            digest.update(data)
        seen[name] = digest.hexdigest()

    def send(sock: socket.socket) -> None:
        for _ in range(size // MEGA):
            sock.sendall(block)
        sock.shutdown(socket.SHUT_WR)

    def both(sock: socket.socket, name: str) -> None:
        sender = threading.Thread(target=send, args=(sock,))
        sender.start()
        receive(sock, name)
        sender.join()

    arrived = threading.Event()

    def node(sock: socket.socket) -> None:
        both(sock, "node")
        arrived.set()

    with Tunnel(route, serve(node)) as tunnel, client(tunnel) as sock:
        both(sock, "laptop")
        assert arrived.wait(60)
    assert seen == {"laptop": sent, "node": sent}


def test_many_connections_at_once(route: Route, serve: Callable[[Handler], int]) -> None:
    with Tunnel(route, serve(echo)) as tunnel, ExitStack() as stack:
        socks = [stack.enter_context(client(tunnel)) for _ in range(40)]
        for number, sock in enumerate(socks):
            sock.sendall(str(number).encode())
        assert [sock.recv(10) for sock in socks] == [str(number).encode() for number in range(40)]


def test_a_web_server(route: Route, tmp_path: Path) -> None:
    (tmp_path / "page").write_text("a page")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        with Tunnel(route, web.server_port) as tunnel:
            for _ in range(3):
                with urlopen(f"http://127.0.0.1:{tunnel.local_port}/page") as answer:
                    assert answer.read() == b"a page"
        web.shutdown()
        thread.join()


def test_a_port_on_which_nothing_listens(route: Route) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(SshError, match=f"port {port} on gpu01 cannot be reached: nothing answers"):
            route.open_tcp(port)
        with Tunnel(route, port) as tunnel, client(tunnel) as sock:
            assert sock.recv(10) == b""
            assert not tunnel.failed.is_set()


def test_a_visitor_that_leaves_in_the_middle(route: Route, serve: Callable[[Handler], int]) -> None:
    gone = threading.Event()

    def talk(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(bytes(65536))
        except OSError:
            gone.set()

    with Tunnel(route, serve(talk)) as tunnel:
        with client(tunnel) as sock:
            assert sock.recv(10)
        assert gone.wait(10)


def test_closing_ends_open_connections(route: Route, serve: Callable[[Handler], int]) -> None:
    with Tunnel(route, serve(echo)) as tunnel:
        sock = client(tunnel)
        sock.sendall(b"x")
        assert sock.recv(10) == b"x"
    with sock:
        assert sock.recv(10) == b""
        with pytest.raises(ConnectionRefusedError):
            client(tunnel)


def test_a_lost_route_is_noticed(server: Sshd, route: Route, serve: Callable[[Handler], int]) -> None:
    with Tunnel(route, serve(echo)) as tunnel, client(tunnel) as sock:
        sock.sendall(b"x")
        assert sock.recv(10) == b"x"
        server.hang_up()
        assert tunnel.failed.wait(10)
        assert route.loss == "the connection to gpu01 is lost: it closed the connection"
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(10) == b""


def test_a_reserved_port_is_taken_and_then_used(route: Route, serve: Callable[[Handler], int]) -> None:
    reserved = reserve_local_port(None)
    port = reserved.getsockname()[1]
    with pytest.raises(UsageError, match=f"local port {port} is taken") as caught:
        reserve_local_port(port)
    assert "-p" in caught.value.hint
    assert caught.value.exit_code == 2
    with Tunnel(route, serve(echo), reserved) as tunnel, client(tunnel) as sock:
        assert tunnel.local_port == port
        sock.sendall(b"x")
        assert sock.recv(10) == b"x"
    with reserve_local_port(port) as again:
        assert again.getsockname()[1] == port


@pytest.mark.parametrize("port", [70_000, -1])
def test_a_number_that_is_no_port(port: int) -> None:
    with pytest.raises(UsageError, match="is no port"):
        reserve_local_port(port)


def test_small_packets_are_sent_at_once(
    connection: Connection, route: Route, serve: Callable[[Handler], int]
) -> None:
    with Tunnel(route, serve(echo)) as tunnel, client(tunnel) as sock:
        sock.sendall(b"x")
        assert sock.recv(10) == b"x"
        (pair,) = tunnel._live
        for end in (pair._local, connection._way.transport.sock):
            assert isinstance(end, socket.socket)
            assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
