"""The user's keys: reading them, and the order in which they are offered."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from support.sshd import make_key, program

from dl4mic_hpc.ssh.config import Hop
from dl4mic_hpc.ssh.keys import EncryptedError, KeyRing, UnreadableError, load, public_half

MAKERS = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
}
FORMATS = {
    "openssh": serialization.PrivateFormat.OpenSSH,
    "pem": serialization.PrivateFormat.TraditionalOpenSSL,
    "pkcs8": serialization.PrivateFormat.PKCS8,
}


def write(path: Path, kind: str, form: str, passphrase: str = "") -> bytes:
    """A private key file of that kind and format; its public half as SSH sends it."""
    key = MAKERS[kind]()
    hide = (
        serialization.BestAvailableEncryption(passphrase.encode())
        if passphrase
        else serialization.NoEncryption()
    )
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, FORMATS[form], hide))
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return paramiko.PublicBlob.from_string(public.decode()).key_blob


CASES = [
    (kind, form) for kind in MAKERS for form in FORMATS if (kind, form) != ("ed25519", "pem")
]  # ed25519 has no traditional format


@pytest.mark.parametrize(("kind", "form"), CASES)
def test_keys_of_every_kind_and_format_are_read(tmp_path: Path, kind: str, form: str) -> None:
    blob = write(tmp_path / "key", kind, form)
    assert load(tmp_path / "key", None).asbytes() == blob
    assert load(tmp_path / "key", "not needed").asbytes() == blob


@pytest.mark.parametrize(("kind", "form"), CASES)
def test_an_encrypted_key_needs_its_passphrase(tmp_path: Path, kind: str, form: str) -> None:
    blob = write(tmp_path / "key", kind, form, "secret")
    for passphrase in (None, "wrong", ""):
        with pytest.raises(EncryptedError):
            load(tmp_path / "key", passphrase)
    assert load(tmp_path / "key", "secret").asbytes() == blob


def test_what_is_no_private_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("nonsense")
    with pytest.raises(UnreadableError, match="is no private key"):
        load(tmp_path / "key", None)
    with pytest.raises(UnreadableError, match="cannot be read: No such file"):
        load(tmp_path / "none", None)


def test_a_certificate_beside_the_key_is_used(tmp_path: Path) -> None:
    make_key(tmp_path / "authority")
    make_key(tmp_path / "key")
    words = [
        program("ssh-keygen"),
        "-q",
        "-s",
        str(tmp_path / "authority"),
        "-I",
        "x",
        "-n",
        "ada",
        str(tmp_path / "key"),
    ]
    subprocess.run(words, check=True)
    key = load(tmp_path / "key", None)
    assert key.public_blob
    assert key.public_blob.key_type == "ssh-ed25519-cert-v01@openssh.com"


@pytest.mark.parametrize("passphrase", ["", "secret"])
def test_the_public_half_is_read_without_the_passphrase(tmp_path: Path, passphrase: str) -> None:
    public = make_key(tmp_path / "key", passphrase=passphrase).split()
    for _ in range(2):
        half = public_half(tmp_path / "key")
        assert half
        assert paramiko.PKey.from_type_string(*half).get_base64() == public[1]
        (tmp_path / "key.pub").unlink(missing_ok=True)  # the second time from the private file


@pytest.mark.parametrize(
    "text", ["", "nonsense", "ssh-ed25519 not*base64", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"]
)
def test_a_public_half_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    assert public_half(tmp_path / "key") is None


HOP = Hop(
    host="login.uni.edu",
    port=22,
    user="ada",
    identity_files=(),
    chosen=True,
    identities_only=False,
    proxy_command=None,
    known_as="login.uni.edu",
    known_hosts=(),
    connect_timeout=5,
)


class Agent:
    """A stand-in for paramiko's agent: its keys are public halves only."""

    def __init__(self, *blobs: tuple[str, bytes]) -> None:
        self.keys = [paramiko.AgentKey(self, blob, comment) for comment, blob in blobs]  # type: ignore[arg-type]

    def get_keys(self) -> list[paramiko.AgentKey]:
        return self.keys

    def close(self) -> None:
        pass


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two key files, the second of which is also in the agent, as the second of three keys there."""
    first, second = tmp_path / "first", tmp_path / "second"
    write(first, "ecdsa", "openssh")
    blob = write(second, "ed25519", "openssh")
    foreign = [write(tmp_path / "foreign", "ecdsa", "openssh") for _ in range(2)]
    agent = Agent(("work", foreign[0]), ("mine", blob), ("home", foreign[1]))
    monkeypatch.setattr(paramiko, "Agent", lambda: agent)
    return first, second


def labels(hop: Hop) -> list[str]:
    ring = KeyRing()
    try:
        return [
            Path(identity.label).name + (" in agent" if identity.key else "")
            for identity in ring.identities(hop)
        ]
    finally:
        ring.close()


def test_named_files_come_before_the_agents_other_keys(three: tuple[Path, Path]) -> None:
    assert labels(dataclasses.replace(HOP, identity_files=three)) == [
        "first",
        "second in agent",
        "agent key work in agent",
        "agent key home in agent",
    ]


def test_with_identities_only_the_agents_other_keys_are_not_offered(three: tuple[Path, Path]) -> None:
    assert labels(dataclasses.replace(HOP, identity_files=three, identities_only=True)) == [
        "first",
        "second in agent",
    ]


def test_default_files_come_last(three: tuple[Path, Path]) -> None:
    assert labels(dataclasses.replace(HOP, identity_files=three, chosen=False)) == [
        "second in agent",
        "agent key work in agent",
        "agent key home in agent",
        "first",
    ]


def test_a_public_file_names_a_key_of_the_agent(three: tuple[Path, Path], tmp_path: Path) -> None:
    kind, blob = public_half(three[1]) or ("", b"")
    public = tmp_path / "only.pub"
    public.write_text(f"{kind} {paramiko.PKey.from_type_string(kind, blob).get_base64()}\n")
    hop = dataclasses.replace(HOP, identity_files=(public, tmp_path / "missing"), identities_only=True)
    assert labels(hop) == ["only.pub in agent"]


def test_keys_under_home_are_named_as_people_write_them() -> None:
    path = Path.home() / ".ssh" / "id_ed25519"
    path.parent.mkdir(parents=True)
    write(path, "ed25519", "openssh")
    ring = KeyRing()
    (identity,) = ring.identities(dataclasses.replace(HOP, identity_files=(path,)))
    assert str(identity).startswith("~/.ssh/id_ed25519 (SHA256:")
    ring.close()
