"""Logging in: keys against a real server, dialogues against one that can be made to ask anything."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest
from support.person import Person, know
from support.ssh_server import Rules, Server
from support.sshd import Sshd, make_key, program

from dl4mic_hpc.errors import SshError
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.ssh import connect
from dl4mic_hpc.ssh.login import Credentials, log_in_again
from dl4mic_hpc.ssh.transport import SshTransport

pytestmark = pytest.mark.posix


def log_in(profile: ClusterProfile, person: Person) -> str:
    with connect(profile, ask=person) as connection:
        return connection.run("echo", "in").stdout


def default_key(name: str, *, kind: str = "ed25519", passphrase: str = "") -> str:
    return make_key(Path.home() / ".ssh" / name, kind=kind, passphrase=passphrase)


# ---- Keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_default_key(server: Sshd, person: Person, kind: str) -> None:
    server.authorize(default_key(f"id_{kind}", kind=kind))
    assert log_in(server.profile(), person) == "in\n"
    assert person.prompts == []


def test_a_passphrase_is_asked_for_once(server: Sshd, person: Person) -> None:
    server.authorize(default_key("id_ed25519", passphrase="secret"))
    person.answers = ["wrong", "secret"]
    assert log_in(server.profile(), person) == "in\n"
    assert person.prompts == ["Passphrase for the key ~/.ssh/id_ed25519: "] * 2
    assert person.told == ["~/.ssh/id_ed25519 does not open with this passphrase"]


def test_no_passphrase_is_asked_for_a_key_that_the_server_does_not_want(server: Sshd, person: Person) -> None:
    default_key("id_ed25519", passphrase="secret")
    server.authorize(default_key("id_rsa", kind="rsa"))
    assert log_in(server.profile(), person) == "in\n"
    assert person.prompts == []


def test_a_passphrase_and_nobody_to_ask(server: Sshd, person: Person) -> None:
    server.authorize(default_key("id_ed25519", passphrase="secret"))
    with pytest.raises(SshError, match="needs its passphrase, and nobody can be asked") as caught:
        log_in(server.profile(), person)
    assert "SSH_ASKPASS" in caught.value.hint
    assert "ssh-add" in caught.value.hint


def test_the_wrong_key(server: Sshd, person: Person, tmp_path: Path) -> None:
    public = make_key(tmp_path / "wrong")
    with pytest.raises(SshError) as caught:
        log_in(server.profile(identity_file=tmp_path / "wrong", user="root"), person)
    mark = paramiko.PKey.from_type_string(
        "ssh-ed25519", paramiko.PublicBlob.from_string(public).key_blob
    ).fingerprint
    assert caught.value.message == (
        f"root@127.0.0.1:{server.port} refuses the login: it accepts publickey; tried: {tmp_path}/wrong ({mark})"
    )
    assert "ssh-copy-id root@127.0.0.1" in caught.value.hint
    assert "dl4mic-hpc cluster show myuni" in caught.value.hint


def test_no_key_at_all(server: Sshd, person: Person) -> None:
    with pytest.raises(SshError, match="it accepts publickey; there was no key to try"):
        log_in(server.profile(), person)


def test_keys_that_cannot_be_read_are_named(server: Sshd, person: Person, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("nonsense")
    with pytest.raises(SshError, match="key is no private key"):
        log_in(server.profile(identity_file=tmp_path / "key"), person)


def test_an_identity_file_that_is_not_there(server: Sshd, person: Person, tmp_path: Path) -> None:
    with pytest.raises(SshError, match=f"identity_file {tmp_path}/none does not exist"):
        log_in(server.profile(identity_file=tmp_path / "none"), person)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """An ssh-agent; the function loads a key into it."""
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    process = subprocess.Popen(
        [program("ssh-agent"), "-D", "-a", str(tmp_path / "agent")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline().startswith("SSH_AUTH_SOCK")  # it listens now
    yield lambda path: subprocess.run([program("ssh-add"), "-q", str(path)], check=True) and None
    process.terminate()
    process.communicate()


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_a_key_of_the_agent(
    server: Sshd, person: Person, agent: Callable[[Path], None], tmp_path: Path, kind: str
) -> None:
    for name in ("first", "second", "third"):
        public = make_key(tmp_path / name, kind=kind)
        agent(tmp_path / name)
    server.authorize(public)
    assert log_in(server.profile(), person) == "in\n"


def test_a_file_whose_key_is_in_the_agent_needs_no_passphrase(
    server: Sshd, person: Person, agent: Callable[[Path], None], tmp_path: Path
) -> None:
    public = make_key(tmp_path / "key")
    agent(tmp_path / "key")
    words = [program("ssh-keygen"), "-q", "-p", "-P", "", "-N", "secret", "-f", str(tmp_path / "key")]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    server.authorize(public)
    assert log_in(server.profile(identity_file=tmp_path / "key"), person) == "in\n"


def test_more_keys_than_the_server_has_patience_for(
    server: Sshd, person: Person, agent: Callable[[Path], None], tmp_path: Path
) -> None:
    for number in range(7):
        public = make_key(tmp_path / f"key{number}")
        agent(tmp_path / f"key{number}")
    server.authorize(public)
    with pytest.raises(
        SshError, match="during the login: Too many authentication failures; tried: agent key"
    ) as caught:
        log_in(server.profile(), person)
    assert "set `identity_file`" in caught.value.hint
    assert log_in(server.profile(identity_file=tmp_path / "key6"), person) == "in\n"


# ---- Answers ---------------------------------------------------------------------------------------------------------


def test_a_password(person: Person) -> None:
    with Server(Rules) as server:
        know(server.known_line)
        person.answers = ["wrong", "right"]
        assert log_in(server.profile(), person) == "in\n"
        assert person.prompts == ["Password of ada on 127.0.0.1: "] * 2


def test_a_password_that_is_wrong_three_times(person: Person) -> None:
    with Server(Rules) as server:
        know(server.known_line)
        person.answers = ["wrong"] * 9
        with pytest.raises(SshError, match="it accepts password; tried: your password") as caught:
            log_in(server.profile(), person)
        assert len(person.prompts) == 3
        assert "wrong" not in caught.value.message + caught.value.hint


def test_a_password_and_nobody_to_ask(person: Person) -> None:
    with Server(Rules) as server:
        know(server.known_line)
        with pytest.raises(
            SshError, match=r"asks: Password of ada on .*, and there is no terminal"
        ) as caught:
            log_in(server.profile(), person)
        assert "SSH_ASKPASS" in caught.value.hint


def test_a_dialogue_of_several_rounds(person: Person) -> None:
    class Dialogue(Rules):
        stages = ("keyboard-interactive",)
        rounds = (
            ("Uni login", "", ("Password: ",)),
            ("", "A code was sent to your phone", ("Code: ", "Device: ")),
            ("", "Thank you", ()),
        )
        answers = (("right",), ("123456", "1"), ())

    with Server(Dialogue) as server:
        know(server.known_line)
        person.answers = ["right", "123456", "1"]
        assert log_in(server.profile(), person) == "in\n"
        assert person.prompts == ["Password: ", "Code: ", "Device: "]
        assert person.told == ["Uni login", "A code was sent to your phone", "Thank you"]


def test_a_key_and_then_a_code(person: Person) -> None:
    public = default_key("id_ed25519")
    key = paramiko.PKey.from_type_string("ssh-ed25519", paramiko.PublicBlob.from_string(public).key_blob)

    class TwoFactors(Rules):
        stages = ("publickey", "keyboard-interactive")
        keys = (key,)
        rounds = (("", "", ("Code: ",)),)
        answers = (("123456",),)

    with Server(TwoFactors) as server:
        know(server.known_line)
        person.answers = ["000000", "123456"]
        assert log_in(server.profile(), person) == "in\n"
        assert person.prompts == ["Code: ", "Code: "]
        assert server.rules[0].tries == ["publickey", "keyboard-interactive", "keyboard-interactive"]


def test_a_key_and_then_a_password_of_a_real_server(
    server: Sshd, person: Person, user_key: tuple[Path, str], new_server: Callable[..., Sshd]
) -> None:
    both = new_server(settings="AuthenticationMethods publickey,publickey\n")
    second = default_key("id_ecdsa", kind="ecdsa")
    both.authorize(user_key[1], second)
    know(both.known_line())
    (Path.home() / ".ssh" / "config").write_text(
        f"Host *\n  IdentityFile {user_key[0]}\n  IdentityFile ~/.ssh/id_ecdsa\n"
    )
    assert log_in(both.profile(), person) == "in\n"


def test_a_wrong_answer_to_a_dialogue_is_not_asked_for_again_as_a_password(person: Person) -> None:
    class Both(Rules):
        stages = ("keyboard-interactive",)
        also_listed = ("password",)
        rounds = (("", "", ("Password: ",)),)
        answers = (("right",),)

    with Server(Both) as server:
        know(server.known_line)
        person.answers = ["wrong"] * 9
        with pytest.raises(SshError, match="tried: your answers to its questions"):
            log_in(server.profile(), person)
        assert person.prompts == ["Password: "] * 3


def test_a_dialogue_that_asks_nothing_does_not_stand_in_the_way(person: Person) -> None:
    class Both(Rules):
        stages = ("password",)
        also_listed = ("keyboard-interactive",)

    with Server(Both) as server:
        know(server.known_line)
        person.answers = ["right"]
        assert log_in(server.profile(), person) == "in\n"
        assert server.rules[0].tries == ["none", "keyboard-interactive", "password"]


def test_the_servers_banner_is_in_the_message(person: Person) -> None:
    class Closed(Rules):
        banner = "Your account has expired."
        stages = ("hostbased",)

    with Server(Closed) as server:
        know(server.known_line)
        with pytest.raises(SshError, match=r"it accepts hostbased; .*; it says: Your account has expired\."):
            log_in(server.profile(), person)


def test_a_server_that_hangs_up_during_the_login(person: Person) -> None:
    class HangsUp(Rules):
        def check_auth_password(self, username: str, password: str) -> int:
            server.transports[0].close()
            return paramiko.AUTH_FAILED

    with Server(HangsUp) as server:
        know(server.known_line)
        person.answers = ["right"]
        with pytest.raises(SshError, match="closed the connection during the login"):
            log_in(server.profile(), person)


# ---- Once more, on a compute node -------------------------------------------------------------------------------------


def log_in_to_node(rules: type[Rules], credentials: Credentials) -> tuple[str, list[str]]:
    """What `log_in_again` says, and what the server was offered."""
    with Server(rules) as server, socket.create_connection(("127.0.0.1", server.port)) as sock:
        transport = SshTransport(sock, timeout=10)
        try:
            transport.handshake(())
            return log_in_again(transport, "ada", credentials), server.rules[0].tries
        finally:
            transport.close()


def test_the_password_that_opened_the_login_node_is_tried_once() -> None:
    assert log_in_to_node(Rules, Credentials(password="right")) == ("", ["none", "password"])
    reason, tries = log_in_to_node(Rules, Credentials(password="wrong"))
    assert reason == "it refuses your login (it accepts password)"
    assert tries == ["none", "password"]


def test_the_password_answers_a_dialogue_too() -> None:
    class Dialogue(Rules):
        stages = ("keyboard-interactive",)
        rounds = (("", "", ("Password: ",)),)
        answers = (("right",),)

    assert log_in_to_node(Dialogue, Credentials(password="right"))[0] == ""


def test_the_key_is_offered_before_the_password() -> None:
    key = paramiko.ECDSAKey.generate()

    class Keys(Rules):
        stages = ("publickey",)
        keys = (key,)

    assert log_in_to_node(Keys, Credentials(keys=[key], password="right")) == ("", ["publickey"])
    assert log_in_to_node(Rules, Credentials(keys=[key], password="right")) == ("", ["publickey", "password"])


def test_nothing_is_offered_where_nothing_opened_the_login_node() -> None:
    assert log_in_to_node(Rules, Credentials()) == ("it refuses your login (it accepts password)", ["none"])


def test_a_node_that_says_why_and_hangs_up() -> None:
    class Adopt(Rules):
        banner = "Access denied by pam_slurm_adopt: you have no active jobs on this node"

        def check_auth_password(self, username: str, password: str) -> int:
            raise EOFError

    assert log_in_to_node(Adopt, Credentials(password="right"))[0] == Adopt.banner


def test_credentials_show_no_secret() -> None:
    assert "right" not in repr(Credentials(password="right"))


# ---- SSH_ASKPASS -----------------------------------------------------------------------------------------------------


def askpass(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = folder / "askpass"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    monkeypatch.setenv("SSH_ASKPASS", str(path))


@pytest.mark.parametrize(
    ("require", "typed", "prompts"),
    [("", (), 1), ("force", ("wrong",), 0), ("prefer", ("wrong",), 0), ("", ("right",), 1)],
)
def test_askpass_answers(
    person: Person,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    require: str,
    typed: tuple[str, ...],
    prompts: int,
) -> None:
    askpass(tmp_path, monkeypatch, f'echo "$1" > {tmp_path}/asked; echo right')
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", require)
    person.answers = list(typed)
    with Server(Rules) as server:
        know(server.known_line)
        assert log_in(server.profile(), person) == "in\n"
    assert len(person.prompts) == prompts
    assert (tmp_path / "asked").exists() == (typed != ("right",))


def test_askpass_is_not_run_when_that_is_forbidden(
    person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    askpass(tmp_path, monkeypatch, "echo right")
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "never")
    with Server(Rules) as server:
        know(server.known_line)
        with pytest.raises(SshError, match="there is no terminal"):
            log_in(server.profile(), person)


@pytest.mark.parametrize(
    ("require", "typed", "outcome"),
    [("prefer", ["right"], "in\n"), ("prefer", [], None), ("force", ["right"], None)],
)
def test_a_dismissed_askpass(
    person: Person,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    require: str,
    typed: list[str],
    outcome: str | None,
) -> None:
    askpass(tmp_path, monkeypatch, "exit 1")
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", require)
    person.answers = typed
    with Server(Rules) as server:
        know(server.known_line)
        if outcome is None:
            with pytest.raises(SshError, match="there is no terminal"):
                log_in(server.profile(), person)
        else:
            assert log_in(server.profile(), person) == outcome


def test_an_askpass_that_is_not_there(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_ASKPASS", "/no/such/program")
    with Server(Rules) as server:
        know(server.known_line)
        with pytest.raises(SshError, match=r"the program of SSH_ASKPASS, /no/such/program, does not start"):
            log_in(server.profile(), person)


def test_no_secret_is_logged(person: Person, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    password = "a-password-to-look-for"

    class Strict(Rules):
        pass

    Strict.password = password
    with Server(Strict) as server:
        know(server.known_line)
        person.answers = [password]
        assert log_in(server.profile(), person) == "in\n"
    assert caplog.text
    assert password not in caplog.text
    assert os.environ.get("SSH_ASKPASS") is None
