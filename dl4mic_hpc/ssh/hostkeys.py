"""Host keys: which ones are known, and what to do about one that is not.

Known are the program's own file, then the known_hosts files of the SSH configuration (sshd(8), SSH_KNOWN_HOSTS
FILE FORMAT). The program's own file decides alone about a server that it knows: `cluster trust --replace`
must be able to overrule an entry in a file that the program never writes to. Certificate authorities are out
of scope: their lines are neither used nor mistaken for plain keys. Nothing is ever added without being asked.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import paramiko

from dl4mic_hpc import resources
from dl4mic_hpc.errors import HostKeyError, UnknownHostKeyError

Outcome = Literal["known", "added", "replaced"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKey:
    """One line of a known_hosts file that names the server. `key` is the raw key as it goes over the wire."""

    key_type: str
    key: bytes
    revoked: bool
    path: Path
    line: int

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKeyQuestion:
    """Is this the key of the server that is meant? `host` is its name in known_hosts files.

    `node` is the compute node, or None for the login node and jump hosts. `replaces` are the keys that were
    known until now: only `trust(..., replace=True)` asks about those.
    """

    cluster: str
    node: str | None
    host: str
    key_type: str
    fingerprint: str
    replaces: tuple[KnownKey, ...] = ()

    @property
    def command(self) -> str:
        """The command that accepts the key later."""
        words = ["dl4mic-hpc cluster trust", self.cluster, *([self.node] if self.node else [])]
        return " ".join([*words, *(["--replace"] if self.replaces else [])])


def own_file() -> Path:
    """The file of accepted keys, the only one that the program writes."""
    return resources.home("config") / "known_hosts"


def fingerprint(key: bytes) -> str:
    """As `ssh-keygen -l` prints it: SHA256: and unpadded base64."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def find(known_as: str, files: Iterable[Path], *, own_name: str) -> tuple[KnownKey, ...]:
    """The keys under which a server is known: those of the own file, or else those of the others.

    `own_name` is its name in the own file. For compute nodes it holds the cluster, because every second
    cluster has a gpu01.
    """
    own = tuple(_read(own_file(), own_name))
    others = tuple(key for path in (own_file(), *files) for key in _read(path, known_as))
    if any(not key.revoked for key in own):
        return own + tuple(key for key in others if key.revoked)
    return own + others


def key_types(known: Iterable[KnownKey]) -> tuple[str, ...]:
    """The algorithms to prefer, so that the server shows a key that can be compared."""
    names: list[str] = []
    for key in known:
        names += ["rsa-sha2-512", "rsa-sha2-256"] if key.key_type == "ssh-rsa" else [key.key_type]
    return tuple(dict.fromkeys(names))


def check(
    key: paramiko.PKey,
    *,
    known: tuple[KnownKey, ...],
    question: HostKeyQuestion,
    own_name: str,
    confirm: Callable[[HostKeyQuestion], bool],
    replace: bool = False,
) -> Outcome:
    """Accepts a server's key if it is known, or if `confirm` says so; HostKeyError otherwise.

    A changed key is never asked about, unless the caller was told to `replace` it. A server that is known
    by another type of key only has changed too: a stranger could offer any type that he likes.
    """
    shown = key.asbytes()
    if any(entry.key == shown and entry.revoked for entry in known):
        entry = next(entry for entry in known if entry.key == shown and entry.revoked)
        raise HostKeyError(
            f"the host key of {question.host} ({question.key_type} {question.fingerprint}) is revoked "
            f"by {entry.path}:{entry.line}",
            hint="ask the cluster's support what happened before you connect again",
        )
    valid = tuple(entry for entry in known if not entry.revoked)
    if any(entry.key == shown for entry in valid):
        return "known"
    if valid and not replace:
        raise HostKeyError(_changed(question, valid), hint=_changed_hint(question))
    if not confirm(question):
        raise UnknownHostKeyError(
            f"the host key of {question.host} is not known: {question.key_type} {question.fingerprint}",
            hint=f"compare the fingerprint with the one that the cluster publishes, then: {question.command}",
        )
    _remember(key, own_name)
    return "replaced" if valid else "added"


def _changed(question: HostKeyQuestion, valid: tuple[KnownKey, ...]) -> str:
    was = "; ".join(f"{entry.key_type} {entry.fingerprint} ({entry.path}:{entry.line})" for entry in valid)
    return (
        f"the host key of {question.host} has changed: it shows {question.key_type} {question.fingerprint}, "
        f"known was {was}. Either the server was set up anew, or somebody stands in between"
    )


def _changed_hint(question: HostKeyQuestion) -> str:
    command = question.command + ("" if question.replaces else " --replace")
    return f"ask the cluster's support whether the key was changed; if so: {command}"


def _remember(key: paramiko.PKey, own_name: str) -> None:
    """Writes the key to the own file in place of earlier ones of that server: whole or not at all, 0600."""
    path = own_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    old = {entry.line for entry in _read(path, own_name) if not entry.revoked}
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept = [line for number, line in enumerate(lines, 1) if number not in old]
    added = f"{own_name} {key.get_name()} {base64.b64encode(key.asbytes()).decode()}"
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".known_hosts-")  # made 0600
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write("\n".join([*kept, added]) + "\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path, known_as: str) -> Iterator[KnownKey]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return  # as OpenSSH: a file that is not there knows nobody
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
        if len(fields) < 3 or fields[0].startswith("#") or marker not in ("", "@revoked"):
            continue
        if not _matches(fields[0], known_as):
            continue
        try:
            key = base64.b64decode(fields[2], validate=True)
        except binascii.Error:
            continue
        yield KnownKey(key_type=fields[1], key=key, revoked=bool(marker), path=path, line=number)


def _matches(names: str, known_as: str) -> bool:
    if names.startswith("|1|"):
        try:
            salt, digest = (base64.b64decode(part) for part in names[3:].split("|"))
        except (ValueError, binascii.Error):
            return False
        return hmac.compare_digest(hmac.digest(salt, known_as.encode(), "sha1"), digest)
    found = False
    for pattern in names.lower().split(","):
        # Brackets belong to [host]:port here; only * and ? are wild.
        if fnmatch.fnmatchcase(known_as.lower(), pattern.removeprefix("!").replace("[", "[[]")):
            if pattern.startswith("!"):
                return False
            found = True
    return found
