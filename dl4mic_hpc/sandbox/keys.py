"""Keys of one instance: of Munge, of the hosts and of the users; made once, kept until `down`.

ed25519 in OpenSSH's format (https://www.openssh.com/txt/release-6.5), as ssh-keygen makes them.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from dl4mic_hpc.sandbox.instance import Instance, write_private


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """`private` as a file that ssh reads, `public` as one line without a comment."""

    private: str
    public: str
    path: Path


def key_pair(instance: Instance, name: str) -> KeyPair:
    """The instance's key `name`, made at the first call."""
    path = instance.folder / "keys" / name
    if not path.is_file():
        made = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        write_private(path, made.decode("ascii"))
    private = path.read_text(encoding="ascii")
    return KeyPair(private=private, public=_public(private), path=path)


def host_keys(instance: Instance) -> list[str]:
    """The public host keys that the instance has, of whichever nodes."""
    return [
        key_pair(instance, path.name).public for path in sorted((instance.folder / "keys").glob("host-*"))
    ]


def _public(private: str) -> str:
    key = load_ssh_private_key(private.encode("ascii"), password=None).public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")


def munge_key(instance: Instance) -> bytes:
    """The secret that lets the instance's daemons trust each other: 128 random bytes."""
    path = instance.folder / "keys" / "munge"
    if not path.is_file():
        write_private(path, base64.b64encode(secrets.token_bytes(128)).decode("ascii"))
    return base64.b64decode(path.read_text(encoding="ascii"))


def known_hosts(text: str, *, own: Iterable[str], add: dict[str, str], comment: str) -> str:
    """`text` (a known_hosts file) without this instance's old lines and with those of `add` (name -> public key).

    A line is this instance's if it ends with its `comment` or holds one of its `own` public keys: a user may
    have accepted one by hand. All others stay as they are.
    """
    keys = tuple(own)
    kept = [
        line
        for line in text.splitlines()
        if not line.endswith(f" {comment}") and not any(key in line for key in keys)
    ]
    kept += [f"{name} {key} {comment}" for name, key in add.items()]
    return "".join(f"{line}\n" for line in kept)
