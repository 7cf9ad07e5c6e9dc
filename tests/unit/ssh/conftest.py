"""SSH servers on loopback, a person who answers, and a watch on what a test leaves behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support import sshd

from dl4mic_hpc.ssh import Connection, HostKeyQuestion, connect
from dl4mic_hpc.ssh.hostkeys import own_file

pytestmark = pytest.mark.posix


@dataclass
class Person:
    """Answers in turn; None where the answers have run out, as without a terminal."""

    answers: list[str] = field(default_factory=list)
    trusts: bool = False
    prompts: list[str] = field(default_factory=list)
    questions: list[HostKeyQuestion] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def secret(self, prompt: str) -> str | None:
        self.prompts.append(prompt)
        return self.answers.pop(0) if self.answers else None

    def confirm_host_key(self, question: HostKeyQuestion) -> bool:
        self.questions.append(question)
        return self.trusts

    def tell(self, text: str) -> None:
        self.told.append(text)


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


def know(*lines: str) -> Path:
    """Writes the program's own known_hosts file."""
    path = own_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines))
    return path


@pytest.fixture(scope="session")
def user_key(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A private key file, and its public half."""
    path = tmp_path_factory.mktemp("user") / "id_ed25519"
    return path, sshd.make_key(path)


@pytest.fixture(scope="session")
def server_of_session(tmp_path_factory: pytest.TempPathFactory, user_key: tuple[Path, str]) -> Iterator[sshd.Sshd]:
    with sshd.running(tmp_path_factory.mktemp("sshd") / "server") as server:
        server.authorize(user_key[1])
        yield server


@pytest.fixture
def server(server_of_session: sshd.Sshd) -> sshd.Sshd:
    """A server that lets `user_key` in and whose host key is known."""
    know(server_of_session.known_line())
    return server_of_session


@pytest.fixture
def connection(server: sshd.Sshd, user_key: tuple[Path, str], person: Person) -> Iterator[Connection]:
    with connect(server.profile(identity_file=user_key[0]), ask=person) as connection:
        yield connection


@pytest.fixture
def new_server(tmp_path: Path, user_key: tuple[Path, str]) -> Iterator[Callable[..., sshd.Sshd]]:
    """Starts servers of other kinds; each lets `user_key` in."""
    servers: list[sshd.Sshd] = []

    def start(**options: object) -> sshd.Sshd:
        server = sshd.Sshd(tmp_path / f"server{len(servers)}", **options)  # type: ignore[arg-type]
        servers.append(server)
        server.authorize(user_key[1])
        return server

    yield start
    for server in servers:
        server.close()
