"""Logging in to one server: keys, then what a person has to answer, in the order that the server allows."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from typing import Protocol

import paramiko

from dl4mic_hpc.errors import SshError
from dl4mic_hpc.ssh.config import Hop
from dl4mic_hpc.ssh.failures import FOREIGN, words
from dl4mic_hpc.ssh.hostkeys import HostKeyQuestion
from dl4mic_hpc.ssh.keys import EncryptedError, Identity, KeyRing, UnreadableError
from dl4mic_hpc.ssh.transport import SshTransport
from dl4mic_hpc.ssh.userauth import Query, Reply, UserAuth

_TRIES = 3  # wrong passwords and passphrases, as in OpenSSH
_STEPS = 8  # methods that one server may want one after the other


class Asker(Protocol):
    """The person at the terminal, where there is one."""

    def secret(self, prompt: str) -> str | None:
        """The answer to `prompt`, typed unseen; None where nobody can be asked."""

    def confirm_host_key(self, question: HostKeyQuestion) -> bool:
        """Whether the server is the one that is meant; False where nobody can be asked."""

    def tell(self, text: str) -> None:
        """Shows what the server says during the login, such as "a request was sent to your phone"."""


@dataclass(slots=True)
class Credentials:
    """What opened the login node, to be tried once on the compute node. Lives in memory only."""

    keys: list[paramiko.PKey] = field(default_factory=list, repr=False)
    password: str | None = field(default=None, repr=False)


class NobodyToAskError(Exception):
    """An answer is needed, there is no terminal, and no askpass program either."""


def log_in(transport: SshTransport, hop: Hop, *, ask: Asker, keyring: KeyRing, cluster: str) -> Credentials:
    """Logs in to `hop`; SshError says what the server allows, what was tried, and what to do."""
    login = _Login(transport, hop, ask, keyring)
    try:
        login.run()
    except NobodyToAskError as error:
        raise SshError(
            f"{hop} asks: {error}, and there is no terminal to answer at",
            hint="run it in a terminal, load the key into an agent (ssh-add), "
            "or let SSH_ASKPASS name a program that prints the answer",
        ) from error
    except FOREIGN as error:
        said = transport.farewell or login.said
        why = f"{words(error)} during the login{f': {said}' if said else ''}"
        raise SshError(f"{hop} {why}{login.tried()}", hint=_hint(login, cluster)) from error
    if not transport.is_authenticated():
        allowed = ", ".join(login.methods) or "nothing"
        said = f"; it says: {login.said}" if login.said else ""
        raise SshError(
            f"{hop} refuses the login: it accepts {allowed}{login.tried()}{said}", hint=_hint(login, cluster)
        )
    return login.used


def log_in_again(transport: SshTransport, user: str, credentials: Credentials) -> str:
    """Tries what opened the login node, asking nobody. The reason if it was refused, else ""."""
    auth = UserAuth(transport, user)
    try:
        reply = _offer(auth, credentials)
    except FOREIGN as error:  # pam_slurm_adopt says why, and hangs up
        return auth.said or transport.farewell or words(error)
    if reply.accepted:
        return ""
    return auth.said or f"it refuses your login (it accepts {', '.join(reply.methods)})"


def _offer(auth: UserAuth, credentials: Credentials) -> Reply:
    reply = Reply(methods=("publickey",)) if credentials.keys else auth.list_methods()
    for key in credentials.keys:
        if not reply.accepted and "publickey" in reply.methods:
            reply = auth.offer_key(key)
    if not reply.accepted and credentials.password is not None:
        if "password" in reply.methods:
            reply = auth.offer_password(credentials.password)
        elif "keyboard-interactive" in reply.methods:
            password = credentials.password
            reply = auth.offer_dialogue(lambda query: [password for _ in query.prompts])
    return reply


class _Login:
    def __init__(self, transport: SshTransport, hop: Hop, ask: Asker, keyring: KeyRing) -> None:
        self.hop = hop
        self.ask = ask
        self.keyring = keyring
        self.transport = transport
        self.auth: UserAuth
        self.said = ""
        self.used = Credentials()
        self.methods: tuple[str, ...] = ()
        self.notes: list[str] = []
        self.identities = keyring.identities(hop)

    def run(self) -> None:
        self.auth = UserAuth(self.transport, self.hop.user)
        try:
            # A key is offered without asking first for the list of methods: one round trip less.
            self.methods = ("publickey",) if self.identities else self.auth.list_methods().methods
            for _ in range(_STEPS):
                reply = self._step()
                if reply.accepted or not reply.partial:
                    return
                self.methods = reply.methods
        finally:
            self.said = self.auth.said

    def tried(self) -> str:
        return f"; tried: {', '.join(self.notes)}" if self.notes else "; there was no key to try"

    def _step(self) -> Reply:
        """Goes through the methods until one is accepted, wholly or as one of several."""
        reply = Reply(methods=self.methods)
        if "publickey" in self.methods:
            reply = self._keys()
        if not (reply.accepted or reply.partial) and "keyboard-interactive" in self.methods:
            reply, asked = self._dialogue()
            if asked and not (reply.accepted or reply.partial):
                return reply  # the same wrong password, asked for three times more, would not help
        if not (reply.accepted or reply.partial) and "password" in self.methods:
            reply = self._password()
        return reply

    def _keys(self) -> Reply:
        reply = None
        single = len(self.identities) == 1
        while self.identities and "publickey" in self.methods:
            identity = self.identities.pop(0)
            reply = self._key(identity, single=single) or reply
            if reply and (reply.accepted or reply.partial):
                return reply
            self.methods = reply.methods if reply else self.methods
        if reply is None:  # no key could be used, so the server was not asked yet
            reply = self.auth.list_methods()
            self.methods = reply.methods
        return reply

    def _key(self, identity: Identity, *, single: bool) -> Reply | None:
        """Offers one key; None if it could not be used."""
        try:
            # An agent may ask its owner at each signature: only for a key that the server wants.
            if identity.key and not single and not (reply := self._wanted(identity)).accepted:
                return reply
            key = self.keyring.private(identity)
        except EncryptedError:
            if identity.blob and not (reply := self._wanted(identity)).accepted:
                return reply
            unlocked = self._unlock(identity)
            if unlocked is None:
                return None
            key = unlocked
        except UnreadableError as error:
            self.notes.append(f"{identity.label} {error}")
            return None
        self.notes.append(str(identity))
        try:
            reply = self.auth.offer_key(key)
        except paramiko.SSHException as error:  # no common algorithm, or the agent's owner said no
            self.notes[-1] += f": {error}"
            return None
        if reply.accepted or reply.partial:
            self.used.keys.append(key)
        return reply

    def _wanted(self, identity: Identity) -> Reply:
        reply = self.auth.would_accept(identity.key_type or "", identity.blob or b"")
        if not reply.accepted:
            self.notes.append(str(identity))
        return reply

    def _unlock(self, identity: Identity) -> paramiko.PKey | None:
        for _ in range(_TRIES):
            try:
                passphrase = self._answer(f"Passphrase for the key {identity.label}: ")
            except NobodyToAskError:
                self.notes.append(f"{identity} needs its passphrase, and nobody can be asked")
                return None
            try:
                return self.keyring.private(identity, passphrase)
            except EncryptedError:
                self.ask.tell(f"{identity.label} does not open with this passphrase")
        self.notes.append(f"{identity} was not opened by the passphrase")
        return None

    def _dialogue(self) -> tuple[Reply, bool]:
        asked = False
        reply = Reply(methods=self.methods)

        def answer(query: Query) -> list[str]:
            nonlocal asked
            asked = asked or bool(query.prompts)
            for text in (query.name, query.instruction):
                if text.strip():
                    self.ask.tell(text.strip())
            answers = [self._answer(prompt) for prompt in query.prompts]
            if len(answers) == 1 and "password" in query.prompts[0].lower():
                self.used.password = answers[0]
            return answers

        for _ in range(_TRIES):
            reply = self.auth.offer_dialogue(answer)
            if reply.accepted or reply.partial:
                return reply, asked
            self.used.password = None
            self.methods = reply.methods
            if not asked or "keyboard-interactive" not in reply.methods:
                break
        self.notes.append("your answers to its questions" if asked else "keyboard-interactive")
        return reply, asked

    def _password(self) -> Reply:
        reply = Reply(methods=self.methods)
        for _ in range(_TRIES):
            password = self._answer(f"Password of {self.hop.user} on {self.hop.host}: ")
            reply = self.auth.offer_password(password)
            if reply.accepted or reply.partial:
                self.used.password = password
                return reply
            if "password" not in reply.methods:
                break
        self.notes.append("your password")
        return reply

    def _answer(self, prompt: str) -> str:
        """From the terminal, or by SSH_ASKPASS as ssh(1) has it."""
        require = os.environ.get("SSH_ASKPASS_REQUIRE", "")
        if require not in ("force", "prefer"):
            answer = self.ask.secret(prompt)
            if answer is not None:
                return answer
        answer = _askpass(prompt) if require != "never" else None
        if answer is None and require == "prefer":
            answer = self.ask.secret(prompt)
        if answer is None:
            raise NobodyToAskError(prompt.strip())
        return answer


def _askpass(prompt: str) -> str | None:
    program = os.environ.get("SSH_ASKPASS")
    if not program:
        return None
    try:
        done = subprocess.run(
            [program, prompt], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False
        )
    except OSError as error:
        raise SshError(
            f"the program of SSH_ASKPASS, {program}, does not start: {error.strerror}",
            hint="let SSH_ASKPASS name a program that prints the answer, or unset it",
        ) from error
    if done.returncode != 0:
        return None
    return done.stdout.decode("utf-8", "replace").rstrip("\r\n")


def _hint(login: _Login, cluster: str) -> str:
    show = f"`dl4mic-hpc cluster show {cluster}` names the profile's file"
    if any("nobody can be asked" in note for note in login.notes):
        return (
            "run it in a terminal, load the key into an agent (ssh-add), "
            "or let SSH_ASKPASS name a program that prints the passphrase"
        )
    if len(login.notes) > 3 and not login.hop.chosen:
        return (
            f"set `identity_file` to the key that the cluster knows: servers hang up after a few keys; {show}"
        )
    if "publickey" in login.methods:
        return (
            f"check `user` and `identity_file` ({show}); "
            f"`ssh-copy-id {login.hop.user}@{login.hop.host}` puts your key on the cluster"
        )
    return f"check `user` ({show}), and your account with the cluster's support"
