"""The user's keys: which ones to offer to a server, in which order, and how their private halves are read."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import SSHPrivateKeyTypes

from dl4mic_hpc.ssh.config import Hop
from dl4mic_hpc.ssh.hostkeys import fingerprint

_PrivateKey = SSHPrivateKeyTypes | PrivateKeyTypes
_OPENSSH = b"openssh-key-v1\x00"
_CLASSES = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


class UnreadableError(Exception):
    """Why a private key file is of no use; the message is the end of a sentence."""


class EncryptedError(Exception):
    """A passphrase is needed, or the one that was given is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One key that may be offered: in the agent (`key`), in a file (`path`), or both.

    `key_type` and `blob` are its public half; None where a file keeps it encrypted too.
    """

    label: str
    path: Path | None = None
    key: paramiko.PKey | None = None
    key_type: str | None = None
    blob: bytes | None = None

    def __str__(self) -> str:
        return f"{self.label} ({fingerprint(self.blob)})" if self.blob else self.label


class KeyRing:
    """The agent and the private keys that were read; shared by all servers of one connection.

    A passphrase is so asked for once, however many jump hosts there are.
    """

    def __init__(self) -> None:
        try:
            self._agent: paramiko.Agent | None = paramiko.Agent()
        except (paramiko.SSHException, OSError):
            self._agent = None  # an agent that speaks another language is no agent
        self._read: dict[Path, paramiko.PKey] = {}

    def identities(self, hop: Hop) -> list[Identity]:
        """What to offer to `hop`, the likeliest first: servers hang up after a few refused keys.

        Named identity files come before the agent's other keys; with IdentitiesOnly, or an identity file in
        the profile, those are not offered at all. Unnamed (default) files come last, as in OpenSSH.
        """
        agent_keys = {key.blob: key for key in self._agent.get_keys()} if self._agent else {}
        files = [self._of_file(path, agent_keys) for path in hop.identity_files if path.is_file()]
        in_files = {identity.blob for identity in files}
        others = [
            Identity(label=f"agent key {key.comment}".rstrip(), key=key, key_type=key.get_name(), blob=blob)
            for blob, key in agent_keys.items()
            if blob not in in_files and not hop.identities_only
        ]
        held = [identity for identity in files if identity.key]
        rest = [identity for identity in files if not identity.key]
        return [*files, *others] if hop.chosen else [*held, *others, *rest]

    def private(self, identity: Identity, passphrase: str | None = None) -> paramiko.PKey:
        """The key to sign with. `EncryptedError` or `UnreadableError` say why there is none."""
        if identity.key:
            return identity.key
        path = identity.path
        if path is None:
            raise UnreadableError("has no private half")
        if path not in self._read:
            self._read[path] = load(path, passphrase)
        return self._read[path]

    def close(self) -> None:
        self._read.clear()
        if self._agent:
            self._agent.close()

    def _of_file(self, path: Path, agent_keys: dict[bytes, paramiko.AgentKey]) -> Identity:
        public = public_half(path)
        key_type, blob = public or (None, None)
        return Identity(
            label=_short(path),
            path=path,
            key_type=key_type,
            blob=blob,
            key=agent_keys.get(blob) if blob else None,
        )


def load(path: Path, passphrase: str | None) -> paramiko.PKey:
    """A private key of any format that OpenSSH or OpenSSL write, with its certificate if one lies beside it."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}") from error
    try:
        private = _decrypt(data, passphrase)
    except ValueError as error:
        raise UnreadableError("is no private key") from error
    except UnsupportedAlgorithm as error:
        raise UnreadableError("is of a kind that only an ssh-agent can use") from error
    plain = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode()
    key = _parse(plain)
    certificate = path.with_name(path.name + "-cert.pub")
    if certificate.is_file():
        key.load_certificate(str(certificate))
    return key


def _decrypt(data: bytes, passphrase: str | None) -> _PrivateKey:
    read = (
        serialization.load_ssh_private_key if b"OPENSSH" in data[:64] else serialization.load_pem_private_key
    )
    try:
        return read(data, None)
    except TypeError as error:  # it is encrypted
        if not passphrase:
            raise EncryptedError("needs its passphrase") from error
    try:
        return read(data, passphrase.encode())
    except ValueError as error:
        raise EncryptedError("does not open with this passphrase") from error


def _parse(plain: str) -> paramiko.PKey:
    for kind in _CLASSES:
        try:
            return kind.from_private_key(io.StringIO(plain))
        except paramiko.SSHException:
            continue
    raise UnreadableError("is of a kind that is no longer accepted")


def public_half(path: Path) -> tuple[str, bytes] | None:
    """A key's type and public half without its passphrase: from KEY.pub, or from an OpenSSH private key."""
    candidates = [path.with_name(path.name + ".pub"), path]
    for candidate in candidates:
        try:
            fields = candidate.read_text(encoding="utf-8").split(None, 2)
        except (OSError, UnicodeDecodeError):
            continue
        found = _of_public(fields) or _of_private(fields)
        if found:
            return found
    return None


def _of_public(fields: list[str]) -> tuple[str, bytes] | None:
    if len(fields) < 2 or not fields[0].startswith(("ssh-", "ecdsa-", "sk-")):
        return None
    try:
        return fields[0], base64.b64decode(fields[1], validate=True)
    except binascii.Error:
        return None


def _of_private(fields: Iterable[str]) -> tuple[str, bytes] | None:
    lines = " ".join(fields).split("-----")
    try:
        data = base64.b64decode(lines[2]) if "OPENSSH" in lines[1] else b""
    except (IndexError, binascii.Error):
        return None
    if not data.startswith(_OPENSSH):
        return None
    message = paramiko.Message(data[len(_OPENSSH) :])
    for _ in ("cipher", "key derivation", "its options"):
        message.get_string()
    message.get_int()
    blob = message.get_string()
    return paramiko.Message(blob).get_text(), blob


def _short(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else str(path)
