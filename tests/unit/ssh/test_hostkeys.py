"""Which host keys are known, and what happens to one that is not."""

from __future__ import annotations

import base64
import hmac
from pathlib import Path
from typing import Any

import paramiko
import pytest
from support.person import know

from dl4mic_hpc.errors import HostKeyError, UnknownHostKeyError
from dl4mic_hpc.ssh import HostKeyQuestion
from dl4mic_hpc.ssh.hostkeys import check, find, fingerprint, key_types, own_file

KEY = paramiko.ECDSAKey.generate()
OTHER = paramiko.ECDSAKey.generate()
RSA = paramiko.RSAKey.generate(2048)


def line(names: str, key: paramiko.PKey = KEY, *, marker: str = "") -> str:
    return f"{marker}{names} {key.get_name()} {key.get_base64()} a comment\n"


def hashed(name: str) -> str:
    salt = b"0123456789abcdefghij"
    parts = (base64.b64encode(part).decode() for part in (salt, hmac.digest(salt, name.encode(), "sha1")))
    return "|1|" + "|".join(parts)


@pytest.fixture
def users(tmp_path: Path) -> Path:
    return tmp_path / "known_hosts"


def look(users: Path, name: str = "login.uni.edu", *, own_name: str = "") -> tuple[Any, ...]:
    return find(name, [users], own_name=own_name or name)


@pytest.mark.parametrize(
    ("names", "name"),
    [
        ("login.uni.edu", "login.uni.edu"),
        ("other,login.uni.edu,10.0.0.1", "login.uni.edu"),
        ("*.uni.edu", "login.uni.edu"),
        ("login?.uni.edu", "login2.uni.edu"),
        ("Login.Uni.EDU", "login.uni.edu"),
        ("[login.uni.edu]:2222", "[login.uni.edu]:2222"),
        (hashed("login.uni.edu"), "login.uni.edu"),
        (hashed("[login.uni.edu]:2222"), "[login.uni.edu]:2222"),
    ],
)
def test_lines_that_name_the_server(users: Path, names: str, name: str) -> None:
    users.write_text("# a comment\n\n" + line(names))
    (known,) = look(users, name)
    assert (known.key, known.key_type, known.revoked) == (KEY.asbytes(), KEY.get_name(), False)
    assert (known.path, known.line) == (users, 3)


@pytest.mark.parametrize(
    "text",
    [
        line("login.uni.edu.evil.org"),
        line("[login.uni.edu]:2222"),
        line("*.uni.edu,!login.uni.edu"),
        line("[a-z]ogin.uni.edu"),
        line(hashed("other")),
        line("|1|broken"),
        line("login.uni.edu", marker="@cert-authority "),
        line("login.uni.edu", marker="#"),
        "login.uni.edu ssh-ed25519 not*base64\n",
        "login.uni.edu\n",
    ],
)
def test_lines_that_do_not(users: Path, text: str) -> None:
    users.write_text(text)
    assert look(users) == ()


def test_a_file_that_is_not_there_knows_nobody(users: Path) -> None:
    assert look(users) == ()


def test_the_own_file_decides_alone_about_a_server_that_it_knows(users: Path) -> None:
    users.write_text(line("login.uni.edu", OTHER) + line("login.uni.edu", RSA, marker="@revoked "))
    know(line("login.uni.edu", KEY))
    assert [(known.key, known.revoked) for known in look(users)] == [
        (KEY.asbytes(), False),
        (RSA.asbytes(), True),
    ]


def test_a_node_is_known_by_its_cluster_first(users: Path) -> None:
    users.write_text(line("gpu01", OTHER))
    know(line("gpu01@myuni", KEY))
    assert [known.key for known in look(users, "gpu01", own_name="gpu01@myuni")] == [KEY.asbytes()]
    assert [known.key for known in look(users, "gpu01", own_name="gpu01@elsewhere")] == [OTHER.asbytes()]


def test_known_types_are_preferred(users: Path) -> None:
    users.write_text(line("login.uni.edu", RSA) + line("login.uni.edu", KEY))
    assert key_types(look(users)) == ("rsa-sha2-512", "rsa-sha2-256", "ecdsa-sha2-nistp256")


def test_the_fingerprint_is_openssh_s() -> None:
    assert fingerprint(KEY.asbytes()) == KEY.fingerprint


class Asked:
    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.questions: list[HostKeyQuestion] = []

    def __call__(self, question: HostKeyQuestion) -> bool:
        self.questions.append(question)
        return self.answer


def decide(
    users: Path, ask: Asked, *, key: paramiko.PKey = KEY, node: str | None = None, replace: bool = False
) -> str:
    name = node or "login.uni.edu"
    own_name = f"{node}@myuni" if node else name
    known = find(name, [users], own_name=own_name)
    question = HostKeyQuestion(
        cluster="myuni",
        node=node,
        host=name,
        key_type=key.get_name(),
        fingerprint=fingerprint(key.asbytes()),
        replaces=known if replace else (),
    )
    return check(key, known=known, question=question, own_name=own_name, confirm=ask, replace=replace)


def test_a_known_key_is_not_asked_about(users: Path) -> None:
    users.write_text(line("login.uni.edu", RSA) + line("login.uni.edu", KEY))
    ask = Asked(False)
    assert decide(users, ask) == "known"
    assert ask.questions == []


@pytest.mark.parametrize(("node", "command"), [(None, "trust myuni"), ("gpu01", "trust myuni gpu01")])
def test_an_unknown_key_that_nobody_accepts(users: Path, node: str | None, command: str) -> None:
    with pytest.raises(UnknownHostKeyError) as caught:
        decide(users, Asked(False), node=node)
    assert KEY.fingerprint in caught.value.message
    assert caught.value.hint.endswith(f"dl4mic-hpc cluster {command}")
    assert caught.value.exit_code == 4
    assert not own_file().exists()


def test_an_accepted_key_is_written_to_the_own_file_only(users: Path) -> None:
    users.write_text("")
    know("# mine\n", line("other.uni.edu", OTHER))
    assert decide(users, Asked(True)) == "added"
    assert decide(users, Asked(False)) == "known"
    assert own_file().read_text() == "# mine\n" + line("other.uni.edu", OTHER) + (
        f"login.uni.edu {KEY.get_name()} {KEY.get_base64()}\n"
    )
    assert users.read_text() == ""
    assert [path.name for path in own_file().parent.iterdir()] == ["known_hosts"]


@pytest.mark.posix
def test_the_own_file_is_private() -> None:
    know("")
    own_file().chmod(0o644)
    decide(own_file(), Asked(True))
    assert own_file().stat().st_mode & 0o777 == 0o600


def test_a_nodes_key_is_written_with_its_cluster(users: Path) -> None:
    assert decide(users, Asked(True), node="gpu01") == "added"
    assert own_file().read_text().startswith("gpu01@myuni ")
    assert decide(users, Asked(False), node="gpu01") == "known"


@pytest.mark.parametrize("was", [OTHER, RSA], ids=["same type", "another type"])
def test_a_changed_key_is_never_asked_about(users: Path, was: paramiko.PKey) -> None:
    users.write_text("\n" + line("login.uni.edu", was))
    ask = Asked(True)
    with pytest.raises(HostKeyError) as caught:
        decide(users, ask)
    assert not isinstance(caught.value, UnknownHostKeyError)
    assert KEY.fingerprint in caught.value.message
    assert f"{was.fingerprint} ({users}:2)" in caught.value.message
    assert caught.value.hint.endswith("dl4mic-hpc cluster trust myuni --replace")
    assert ask.questions == []


def test_a_changed_key_is_replaced_when_that_is_what_was_asked_for(users: Path) -> None:
    users.write_text(line("login.uni.edu", OTHER))
    know(line("login.uni.edu", RSA), line("other", OTHER))
    ask = Asked(True)
    assert decide(users, ask, replace=True) == "replaced"
    assert [known.fingerprint for known in ask.questions[0].replaces] == [RSA.fingerprint]
    assert ask.questions[0].command == "dl4mic-hpc cluster trust myuni --replace"
    assert decide(users, Asked(False)) == "known"
    assert RSA.get_base64() not in own_file().read_text()
    assert users.read_text() == line("login.uni.edu", OTHER)


def test_a_revoked_key_is_refused_whatever_else_is_known(users: Path) -> None:
    users.write_text(line("*", KEY, marker="@revoked "))
    know(line("login.uni.edu", KEY))
    with pytest.raises(HostKeyError, match="is revoked") as caught:
        decide(users, Asked(True), replace=True)
    assert f"{users}:1" in caught.value.message
