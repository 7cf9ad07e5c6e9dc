"""Choosing a route, on real SSH servers; Slurm's srun is a stand-in that runs the command here."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest
from support.person import Person, know
from support.sshd import Sshd

from dl4mic_hpc.errors import HostKeyError, SshError
from dl4mic_hpc.ssh import Connection, Route, connect, step, way

pytestmark = pytest.mark.posix

NewServer = Callable[..., Sshd]
NODE = "localhost"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def node(new_server: NewServer, monkeypatch: pytest.MonkeyPatch) -> Sshd:
    """The compute node's own SSH server."""
    server = new_server()
    monkeypatch.setattr(way, "NODE_PORT", server.port)
    return server


@pytest.fixture
def login(new_server: NewServer, node: Sshd) -> Sshd:
    """A login node with a stand-in for srun, which writes down what it was called with."""
    server = new_server()
    know(server.known_line(), f"{NODE}@myuni {node.host_keys['ed25519']}\n")
    srun(server, 'exec "$@"')
    return server


def srun(login: Sshd, then: str) -> None:
    tools = login.home / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "srun").write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {login.home}/srun.argv\n'
        f"while :; do case $1 in --*) shift;; *) break;; esac; done\n{then}\n"
    )
    (tools / "srun").chmod(0o700)
    (login.home / ".bash_profile").write_text(f"export PATH={tools}:$PATH\n")


@pytest.fixture
def temporary(login: Sshd) -> Path:
    """Where the step makes its temporary folder."""
    folder = login.home / "tmp"
    folder.mkdir()
    with (login.home / "tools" / "srun").open() as file:
        text = file.read().replace("#!/bin/sh\n", f"#!/bin/sh\nexport TMPDIR={folder}\n")
    (login.home / "tools" / "srun").write_text(text)
    return folder


@pytest.fixture
def cluster(login: Sshd, user_key: tuple[Path, str], person: Person) -> Iterator[Connection]:
    with connect(login.profile(identity_file=user_key[0]), ask=person) as connection:
        yield connection


def open_route(connection: Connection, name: str, said: list[str]) -> Route:
    return connection.open_route(
        name,  # type: ignore[arg-type]
        node=NODE,
        job_id=4711,
        session_dir=PurePosixPath("/scratch/me/s1"),
        say=said.append,
    )


def check(route: Route) -> None:
    """An echo server on the node answers through the route."""

    def echo() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(connection.recv(100))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=echo)
        thread.start()
        with route.open_tcp(listener.getsockname()[1]) as channel:
            channel.sendall(b"through")
            assert channel.recv(100) == b"through"
        thread.join()


def test_the_hop_is_taken_where_it_works(
    cluster: Connection, node: Sshd, login: Sshd, said: list[str]
) -> None:
    with open_route(cluster, "auto", said) as route:
        assert (route.name, route.reason) == ("hop", "localhost lets you log in")
        check(route)
    assert said == ["connecting to localhost through the login node"]
    assert "Accepted publickey" in node.log.read_text()
    assert not (login.home / "srun.argv").exists()


def test_the_profile_may_pin_a_route(
    login: Sshd, node: Sshd, user_key: tuple[Path, str], person: Person, said: list[str]
) -> None:
    profile = login.profile(identity_file=user_key[0], route="step")
    with connect(profile, ask=person) as connection, open_route(connection, "auto", said) as route:
        assert (route.name, route.reason) == ("step", "it is pinned in the profile")
    assert not node.log.exists()


def test_the_step_works_without_the_nodes_own_server(
    cluster: Connection, node: Sshd, login: Sshd, temporary: Path, said: list[str]
) -> None:
    with open_route(cluster, "step", said) as route:
        assert (route.name, route.reason) == ("step", "it is pinned in the profile")
        check(route)
        assert list(temporary.iterdir()) == []
        assert not route.lost.is_set()
    assert not node.log.exists()
    argv = (login.home / "srun.argv").read_text()
    assert argv.startswith("--jobid=4711\n--nodelist=localhost\n--overlap\n--nodes=1\n--ntasks=1\n")
    assert "--chdir=/scratch/me/s1\n" in argv
    assert "PRIVATE" not in argv


def test_the_steps_server_does_nothing_but_forward_to_the_node_itself(
    cluster: Connection, said: list[str]
) -> None:
    with open_route(cluster, "step", said) as route:
        for kind, destination in (("session", None), ("direct-tcpip", ("8.8.8.8", 53))):
            with pytest.raises(Exception, match="ChannelException"):
                route._transport.open_channel(kind, destination, ("127.0.0.1", 0), timeout=5)


@pytest.mark.parametrize("noise", ["echo welcome", "echo; echo 'dl4mic-0 ssh-ed25519 AAAA'; echo oops >&2"])
def test_noise_before_the_step_does_no_harm(
    cluster: Connection, login: Sshd, noise: str, said: list[str]
) -> None:
    srun(login, f'{noise}\nexec "$@"')
    with open_route(cluster, "step", said) as route:
        check(route)


def test_a_node_that_answers_nothing(
    cluster: Connection, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(way, "NODE_PORT", taken.getsockname()[1])
        with open_route(cluster, "auto", said) as route:
            assert route.name == "step"
            assert route.reason.startswith("localhost cannot be logged in to: nothing answers")
            check(route)
    assert said == [
        "connecting to localhost through the login node",
        "connecting to localhost through a step of job 4711",
    ]


def test_a_node_that_refuses_the_login(cluster: Connection, node: Sshd, said: list[str]) -> None:
    node.authorize()
    with open_route(cluster, "auto", said) as route:
        assert route.name == "step"
        assert "it refuses your login (it accepts publickey)" in route.reason


def test_a_node_that_refuses_with_words(
    cluster: Connection,
    new_server: NewServer,
    node: Sshd,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    said: list[str],
) -> None:
    (tmp_path / "banner").write_text("Access denied: you have no active jobs on this node\n")
    closed = new_server(settings=f"Banner {tmp_path}/banner\nDenyUsers *\n")
    know(f"{NODE}@myuni {closed.host_keys['ed25519']}\n")
    monkeypatch.setattr(way, "NODE_PORT", closed.port)
    with open_route(cluster, "auto", said) as route:
        assert (
            route.reason
            == "localhost cannot be logged in to: Access denied: you have no active jobs on this node"
        )


def test_a_node_that_forwards_nothing(
    cluster: Connection, new_server: NewServer, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    closed = new_server(settings="AllowTcpForwarding no\n")
    know(f"{NODE}@myuni {closed.host_keys['ed25519']}\n")
    monkeypatch.setattr(way, "NODE_PORT", closed.port)
    with open_route(cluster, "auto", said) as route:
        assert (route.name, route.reason) == (
            "step",
            "localhost cannot be logged in to: it forwards no connections",
        )


def test_a_node_whose_host_key_is_unknown(
    cluster: Connection, node: Sshd, login: Sshd, person: Person, said: list[str]
) -> None:
    know(login.known_line())
    with open_route(cluster, "auto", said) as route:
        assert route.name == "step"
        assert "the host key of localhost is not known: ssh-ed25519 SHA256:" in route.reason
    with pytest.raises(HostKeyError, match="the host key of localhost is not known") as caught:
        open_route(cluster, "hop", said)
    assert caught.value.hint.endswith("dl4mic-hpc cluster trust myuni localhost")
    person.trusts = True
    with open_route(cluster, "auto", said) as route:
        assert route.name == "hop"
    assert person.questions[-1].node == "localhost"


@pytest.mark.parametrize("name", ["auto", "hop"])
def test_a_node_whose_host_key_has_changed_is_an_error(
    cluster: Connection, login: Sshd, said: list[str], name: str
) -> None:
    know(login.known_line(), f"{NODE}@myuni {login.host_keys['ed25519']}\n")
    with pytest.raises(HostKeyError, match="the host key of localhost has changed") as caught:
        open_route(cluster, name, said)
    assert caught.value.hint.endswith("dl4mic-hpc cluster trust myuni localhost --replace")
    assert said == ["connecting to localhost through the login node"]


def test_a_pinned_hop_does_not_fall_back(
    cluster: Connection, node: Sshd, login: Sshd, said: list[str]
) -> None:
    node.authorize()
    with pytest.raises(SshError, match="localhost cannot be reached by hop: it refuses your login") as caught:
        open_route(cluster, "hop", said)
    assert "route: auto" in caught.value.hint
    assert not (login.home / "srun.argv").exists()


def test_both_reasons_where_neither_works(
    cluster: Connection, node: Sshd, login: Sshd, said: list[str]
) -> None:
    node.authorize()
    srun(login, 'echo "srun: error: Unable to confirm allocation for job 4711: Invalid job id" >&2; exit 1')
    with pytest.raises(SshError) as caught:
        open_route(cluster, "auto", said)
    assert caught.value.message.startswith("there is no way to localhost. By hop: it refuses your login")
    assert caught.value.message.endswith(
        "By step: no step of job 4711 could be started on localhost: srun ended with exit code 1; it says: "
        "srun: error: Unable to confirm allocation for job 4711: Invalid job id"
    )


def test_a_node_without_an_ssh_server_program(cluster: Connection, login: Sshd, said: list[str]) -> None:
    srun(login, "exit 41")
    with pytest.raises(SshError, match="localhost has no SSH server program") as caught:
        open_route(cluster, "step", said)
    assert "openssh-server" in caught.value.hint


def test_a_server_in_the_step_with_another_key(cluster: Connection, login: Sshd, said: list[str]) -> None:
    other = login.host_keys["ed25519"]
    srun(login, '"$@" | { read -r marker key; echo "$marker ' + other + '"; exec cat; }')
    with pytest.raises(SshError, match="shows another host key than the one that was made for it"):
        open_route(cluster, "step", said)


def test_a_step_that_never_starts(
    cluster: Connection, login: Sshd, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setattr(step, "_PATIENCE", 0.5)
    srun(login, 'echo "srun: Job 4711 step creation temporarily disabled, retrying" >&2; exec sleep 60')
    with pytest.raises(
        SshError, match=r"nothing came of it within 0\.5 s; it says: srun: Job 4711 step creation"
    ):
        open_route(cluster, "step", said)


def test_a_step_that_stops_in_the_handshake(
    cluster: Connection, login: Sshd, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setattr(step, "_PATIENCE", 0.5)
    srun(login, '"$@" | { read -r line; echo "$line"; sleep 60; }')
    with pytest.raises(SshError, match=r"nothing came of it within 0\.5 s"):
        open_route(cluster, "step", said)


def test_a_step_that_ends_is_noticed(cluster: Connection, login: Sshd, said: list[str]) -> None:
    srun(login, f'echo $$ > {login.home}/pid; exec "$@"')
    with open_route(cluster, "step", said) as route:
        cluster.run("sh", "-c", f"kill $(pgrep -P $(cat {login.home}/pid))")
        assert route.lost.wait(10)
        assert "the connection to localhost is lost" in route.loss
