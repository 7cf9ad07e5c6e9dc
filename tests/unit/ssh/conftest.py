"""SSH servers on loopback, and a watch on what a test leaves behind."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import sshd
from support.person import Person, know

from dl4mic_hpc.ssh import Connection, connect


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Compute nodes run Linux: what a step of a job does is left out elsewhere, not skipped."""
    if sys.platform != "linux":
        foreign = [item for item in items if item.path.name == "test_routes_choice.py"]
        config.hook.pytest_deselected(items=foreign)
        items[:] = [item for item in items if item not in foreign]


@pytest.fixture
def person() -> Person:
    return Person()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = [thread for thread in threading.enumerate() if thread not in before]
    for thread in left:
        thread.join(timeout=5)
    assert not [thread for thread in left if thread.is_alive()]


@pytest.fixture(scope="session")
def user_key(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A private key file, and its public half."""
    path = tmp_path_factory.mktemp("user") / "id_ed25519"
    return path, sshd.make_key(path)


@pytest.fixture
def new_server(
    tmp_path_factory: pytest.TempPathFactory, user_key: tuple[Path, str]
) -> Iterator[Callable[..., sshd.Sshd]]:
    """Starts servers that let `user_key` in."""
    servers: list[sshd.Sshd] = []

    def start(*, key_kinds: tuple[str, ...] = ("ed25519",), settings: str = "") -> sshd.Sshd:
        server = sshd.Sshd(tmp_path_factory.mktemp("sshd"), key_kinds=key_kinds, settings=settings)
        servers.append(server)
        server.authorize(user_key[1])
        return server

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def server(new_server: Callable[..., sshd.Sshd]) -> sshd.Sshd:
    """A server that lets `user_key` in and whose host key is known."""
    server = new_server()
    know(server.known_line())
    return server


@pytest.fixture
def connection(server: sshd.Sshd, user_key: tuple[Path, str], person: Person) -> Iterator[Connection]:
    with connect(server.profile(identity_file=user_key[0]), ask=person) as connection:
        yield connection
