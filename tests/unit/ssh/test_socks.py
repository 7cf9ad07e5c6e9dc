"""The proxy whose connections leave from the login node: for whom, where to, and what it says where it cannot."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from support.person import Person, know
from support.registry import Registry
from support.sshd import Sshd
from support.web_server import Answer, WebServer

from dl4mic_hpc.errors import RegistryError
from dl4mic_hpc.sources import registry, web
from dl4mic_hpc.sources.cache import Cache
from dl4mic_hpc.sources.reference import parse
from dl4mic_hpc.sources.registry import Access
from dl4mic_hpc.ssh import Connection, connect

pytestmark = pytest.mark.posix

GREETING = b"\x05\x01\x02"
REST = b"\x00\x01" + bytes(6)
"""The end of every answer to a request."""


@pytest.fixture
def site() -> Iterator[WebServer]:
    """A web server beside the login node."""
    with WebServer().running() as running:
        yield running


@pytest.fixture
def forbidding(
    new_server: Callable[..., Sshd], user_key: tuple[Path, str], person: Person
) -> Iterator[Connection]:
    server = new_server(settings="AllowTcpForwarding no\n")
    know(server.known_line())
    with connect(server.profile(identity_file=user_key[0]), ask=person) as connection:
        yield connection


def through(proxy: str) -> dict[str, str]:
    return {"http": proxy, "https": proxy}


def client(proxy: str) -> socket.socket:
    port = urlsplit(proxy).port
    assert port
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def all_of(connection: socket.socket) -> bytes:
    """Until the other end closes."""
    with connection:
        return b"".join(iter(lambda: connection.recv(4096), b""))


def credentials(proxy: str) -> bytes:
    parts = urlsplit(proxy)
    assert parts.username and parts.password
    user, password = parts.username.encode(), parts.password.encode()
    return b"\x01" + bytes([len(user)]) + user + bytes([len(password)]) + password


def found(held: Registry, proxy: str, tmp_path: Path) -> registry.Found:
    host = held.server.host
    access = Access(insecure=frozenset({host}), proxy=proxy)
    image = parse(f"{host}/lab/x:1")
    return registry.look_up(image, "linux/amd64", cache=Cache(folder=tmp_path / "cache"), access=access)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_pages_arrive_whole(connection: Connection, site: WebServer, name: str) -> None:
    page = bytes(range(256)) * 20_000
    site.answer = lambda _: Answer(body=page)
    address = site.url.replace("127.0.0.1", name)
    with connection.proxy() as proxy:
        assert requests.get(address, proxies=through(proxy), timeout=60).content == page
    assert len(site.asked) == 1


def test_a_registry_is_asked_through_it_whatever_the_environment_says(
    connection: Connection, site: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    held = Registry(site)
    digest = held.push(held.held.image())
    with connection.proxy() as proxy:
        assert found(held, proxy, tmp_path).digest == digest


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"\x05\x01\x00", b"\x05\xff"),
        (b"\x04\x01", b""),
        (GREETING + b"\x01\x06dl4mic\x05guess", b"\x05\x02\x01\x01"),
        (
            GREETING + b"KNOWN" + b"\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50",
            b"\x05\x02\x01\x00\x05\x07" + REST,
        ),
        (GREETING + b"KNOWN" + b"\x05\x01\x00\x09", b"\x05\x02\x01\x00\x05\x08" + REST),
        (GREETING + b"KNOWN" + b"\x05\x01\x00\x03\x02\xff\xff\x00\x50", b"\x05\x02\x01\x00"),
    ],
)
def test_who_says_something_else_is_connected_to_nothing(
    connection: Connection, said: bytes, answer: bytes
) -> None:
    with connection.proxy() as proxy, client(proxy) as asking:
        asking.sendall(said.replace(b"KNOWN", credentials(proxy)))
        heard = all_of(asking)
    assert heard == answer


@pytest.mark.parametrize("place", ["a port where nothing listens", "a name that nobody knows"])
def test_where_nothing_answers(
    connection: Connection, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "BACKOFF", 0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    host = f"127.0.0.1:{port}" if "port" in place else f"nowhere.invalid:{port}"
    image = parse(f"{host}/lab/x:1")
    with connection.proxy() as proxy, pytest.raises(RegistryError, match="nothing answers there") as silent:
        registry.look_up(image, "linux/amd64", cache=Cache(folder=tmp_path), access=Access(proxy=proxy))
    assert silent.value.reason == "silent"


def test_a_login_node_that_forwards_nothing(
    forbidding: Connection, site: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "BACKOFF", 0)
    held = Registry(site)
    held.push(held.held.image())
    with forbidding.proxy() as proxy, pytest.raises(RegistryError, match="forwards no connections") as silent:
        found(held, proxy, tmp_path)
    assert silent.value.reason == "silent"
    assert site.asked == []


def test_its_password_is_another_each_time_and_said_nowhere(
    connection: Connection, site: WebServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with connection.proxy() as proxy, connection.proxy() as other:
        secret = urlsplit(proxy).password
        assert secret and len(secret) >= 32
        assert secret != urlsplit(other).password
        requests.get(site.url, proxies=through(proxy), timeout=60)
    assert secret not in caplog.text


def test_it_ends_with_its_context(connection: Connection, site: WebServer) -> None:
    with connection.proxy() as proxy, client(proxy) as waiting:
        waiting.sendall(GREETING)
        assert waiting.recv(2) == b"\x05\x02"
        ended = connection.proxy()
        with ended as another:
            pass
        with pytest.raises(ConnectionError):
            client(another)
    assert waiting.fileno() == -1
