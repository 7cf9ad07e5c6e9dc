"""Reaching the login node: jump hosts, proxies, host keys, and everything that can stand in the way."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.person import Person, know
from support.sshd import Sshd, make_key, program

from dl4mic_hpc.errors import HostKeyError, SshError
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.ssh import connect, trust
from dl4mic_hpc.ssh.hostkeys import own_file

pytestmark = pytest.mark.posix

NewServer = Callable[..., Sshd]


def configure(text: str) -> None:
    path = Path.home() / ".ssh" / "config"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def behind(gates: list[Sshd], login: Sshd, key: Path) -> ClusterProfile:
    """A profile whose host is an alias behind jump hosts, each reached from the one before."""
    text = "".join(
        f"Host gate{number}\n  HostName 127.0.0.1\n  Port {gate.port}\n"
        + (f"  ProxyJump gate{number - 1}\n" if number else "")
        for number, gate in enumerate(gates)
    )
    configure(
        f"{text}Host uni\n  HostName 127.0.0.1\n  Port {login.port}\n  ProxyJump gate{len(gates) - 1}\n"
        f"Host *\n  IdentityFile {key}\n"
    )
    return login.profile(host="uni", port=None)


def test_through_two_jump_hosts(new_server: NewServer, user_key: tuple[Path, str], person: Person) -> None:
    gates, login = [new_server(), new_server()], new_server()
    know(*(server.known_line() for server in (*gates, login)))
    with connect(behind(gates, login, user_key[0]), ask=person) as connection:
        assert connection.run("echo", "in").stdout == "in\n"
    for server in (*gates, login):
        assert "Accepted publickey" in server.log.read_text()


def test_each_jump_host_is_checked_before_anything_is_told_to_it(
    new_server: NewServer, user_key: tuple[Path, str], person: Person
) -> None:
    gate, login = new_server(), new_server()
    know(login.known_line())
    with pytest.raises(HostKeyError) as caught, connect(behind([gate], login, user_key[0]), ask=person):
        pass
    assert gate.known_as in caught.value.message
    assert "publickey" not in gate.log.read_text()
    assert login.log.exists() is False


def test_a_passphrase_is_asked_for_once_for_all_servers(
    new_server: NewServer, tmp_path: Path, person: Person
) -> None:
    public = make_key(tmp_path / "key", passphrase="secret")
    gate, login = new_server(), new_server()
    for server in (gate, login):
        server.authorize(public)
    know(gate.known_line(), login.known_line())
    person.answers = ["secret"]
    with connect(behind([gate], login, tmp_path / "key"), ask=person) as connection:
        assert connection.run("true").exit_code == 0
    assert len(person.prompts) == 1


def test_a_login_node_that_the_jump_host_cannot_reach(
    new_server: NewServer, user_key: tuple[Path, str], person: Person
) -> None:
    gate = new_server()
    know(gate.known_line())
    profile = behind([gate], gate, user_key[0])
    with (
        closed_port() as port,
        pytest.raises(
            SshError, match=rf"cannot be reached through .*:{gate.port}: nothing answers"
        ) as caught,
        connect(profile.model_copy(update={"port": port}), ask=person),
    ):
        pass
    assert f"127.0.0.1:{port} cannot" in caught.value.message


def test_a_jump_host_that_forbids_forwarding(
    new_server: NewServer, user_key: tuple[Path, str], person: Person
) -> None:
    gate, login = new_server(settings="AllowTcpForwarding no\n"), new_server()
    know(gate.known_line(), login.known_line())
    with (
        pytest.raises(SshError, match="that is forbidden there"),
        connect(behind([gate], login, user_key[0]), ask=person),
    ):
        pass


def test_a_proxy_command(server: Sshd, user_key: tuple[Path, str], person: Person) -> None:
    relay = Path.home() / "relay.py"
    relay.write_text(
        "import os, socket, sys, threading\n"
        "s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "def up():\n"
        "    while data := os.read(0, 65536):\n"
        "        s.sendall(data)\n"
        "threading.Thread(target=up, daemon=True).start()\n"
        "while data := s.recv(65536):\n"
        "    os.write(1, data)\n"
    )
    configure(
        f"Host uni\n  HostName 127.0.0.1\n  Port {server.port}\n  ProxyCommand {program('python3')} {relay} %h %p\n"
    )
    with connect(server.profile(host="uni", port=None, identity_file=user_key[0]), ask=person) as connection:
        assert connection.run("wc", "-c", stdin=bytes(3_000_000)).stdout == "3000000\n"


def test_a_proxy_command_that_fails(server: Sshd, person: Person) -> None:
    configure("Host uni\n  HostName 127.0.0.1\n  ProxyCommand echo no such proxy >&2; exit 1\n")
    with pytest.raises(SshError) as caught, connect(server.profile(host="uni"), ask=person):
        pass
    assert caught.value.message.endswith("or hung up before it said so (ProxyCommand says: no such proxy)")


# ---- Host keys -------------------------------------------------------------------------------------------------------


def test_an_unknown_host_key_is_asked_about_and_remembered(
    new_server: NewServer, user_key: tuple[Path, str], person: Person
) -> None:
    server = new_server()
    profile = server.profile(identity_file=user_key[0])
    with pytest.raises(HostKeyError, match="is not known"), connect(profile, ask=person):
        pass
    person.trusts = True
    for _ in range(2):
        with connect(profile, ask=person) as connection:
            assert connection.run("true").exit_code == 0
    assert len(person.questions) == 2
    assert own_file().read_text() == server.known_line()


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_server_known_by_one_of_its_keys(
    new_server: NewServer, user_key: tuple[Path, str], person: Person, kind: str
) -> None:
    server = new_server(key_kinds=("ed25519", "ecdsa", "rsa"))
    know(server.known_line(kind))
    with connect(server.profile(identity_file=user_key[0]), ask=person) as connection:
        assert connection.run("true").exit_code == 0


def test_a_changed_host_key_ends_it_before_the_login(
    new_server: NewServer, user_key: tuple[Path, str], person: Person
) -> None:
    server, other = new_server(), new_server()
    users = Path.home() / ".ssh" / "known_hosts"
    users.parent.mkdir(parents=True)
    users.write_text(f"{server.known_as} {other.host_keys['ed25519']}\n")
    person.trusts = True
    with (
        pytest.raises(HostKeyError, match="has changed") as caught,
        connect(server.profile(identity_file=user_key[0]), ask=person),
    ):
        pass
    assert f"{users}:1" in caught.value.message
    assert caught.value.hint.endswith("dl4mic-hpc cluster trust myuni --replace")
    assert "publickey" not in server.log.read_text()


# ---- trust -----------------------------------------------------------------------------------------------------------


def test_trust_accepts_without_a_login(new_server: NewServer, person: Person) -> None:
    server = new_server()
    person.trusts = True
    trusted = trust(server.profile(user="nobody-there"), ask=person)
    assert (trusted.host, trusted.key_type, trusted.outcome) == (server.known_as, "ssh-ed25519", "added")
    assert person.questions[0].fingerprint == trusted.fingerprint
    assert trust(server.profile(), ask=person).outcome == "known"
    assert own_file().read_text() == server.known_line()


def test_trust_by_fingerprint_asks_nobody(new_server: NewServer, person: Person) -> None:
    server = new_server()
    with pytest.raises(HostKeyError) as caught:
        trust(server.profile(), ask=person, fingerprint="SHA256:wrong")
    assert "not SHA256:wrong" in caught.value.message
    assert not own_file().exists()
    fingerprint = next(word for word in caught.value.message.split() if word.startswith("SHA256:")).rstrip(
        ","
    )
    assert trust(server.profile(), ask=person, fingerprint=fingerprint).outcome == "added"
    assert person.questions == []


def test_trust_replaces_only_when_told_to(new_server: NewServer, person: Person) -> None:
    server, other = new_server(), new_server()
    know(f"{server.known_as} {other.host_keys['ed25519']}\n")
    person.trusts = True
    with pytest.raises(HostKeyError, match="has changed"):
        trust(server.profile(), ask=person)
    assert trust(server.profile(), ask=person, replace=True).outcome == "replaced"
    assert own_file().read_text() == server.known_line()


def test_trust_behind_a_jump_host(new_server: NewServer, user_key: tuple[Path, str], person: Person) -> None:
    gate, login = new_server(), new_server()
    person.trusts = True
    trusted = trust(behind([gate], login, user_key[0]), ask=person)
    assert trusted.host == login.known_as
    assert [question.host for question in person.questions] == [gate.known_as, login.known_as]
    assert "Accepted" not in login.log.read_text()


# ---- What can stand in the way ---------------------------------------------------------------------------------------


@contextmanager
def closed_port() -> Iterator[int]:
    """A port on which nothing listens as long as the block lasts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@contextmanager
def answering(says: bytes, *, hang_up: bool) -> Iterator[int]:
    """A port that says something else than an SSH server."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(says)
            if not hang_up:
                ended.wait()

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1]
    ended.set()
    thread.join()
    listener.close()


def profile(port: int, host: str = "127.0.0.1") -> ClusterProfile:
    values = {"name": "myuni", "host": host, "port": port, "user": "ada", "work_dir": "/scratch"}
    return ClusterProfile.model_validate(values)


def complaint(profile: ClusterProfile, person: Person) -> SshError:
    with pytest.raises(SshError) as caught, connect(profile, ask=person):
        pass
    assert "dl4mic-hpc cluster show myuni" in caught.value.hint
    assert caught.value.exit_code == 4
    return caught.value


def test_nothing_listens(person: Person) -> None:
    with closed_port() as port:
        assert complaint(profile(port), person).message == (
            f"ada@127.0.0.1:{port} refuses the connection: no SSH server listens on that port"
        )


def test_a_name_that_does_not_resolve(person: Person) -> None:
    message = complaint(profile(22, "no-such-host.invalid"), person).message
    assert message.startswith("ada@no-such-host.invalid:22 cannot be found: the name does not resolve")


def test_a_server_of_another_kind(person: Person) -> None:
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n", hang_up=True) as port:
        assert complaint(profile(port), person).message.endswith(
            "is no SSH server, or hung up before it said so"
        )


def test_a_server_that_says_nothing(person: Person) -> None:
    configure("Host *\n  ConnectTimeout 1\n")
    with answering(b"", hang_up=False) as port:
        assert complaint(profile(port), person).message.endswith("did not answer in time")


def test_a_server_that_stops_in_the_middle(person: Person) -> None:
    configure("Host *\n  ConnectTimeout 1\n")
    with answering(b"SSH-2.0-Silent\r\n", hang_up=False) as port:
        assert complaint(profile(port), person).message.endswith("did not answer in time")


def test_a_server_without_a_common_algorithm(new_server: NewServer, person: Person) -> None:
    server = new_server(settings="Ciphers chacha20-poly1305@openssh.com\n")
    assert "has no algorithm in common with this program" in complaint(server.profile(), person).message
