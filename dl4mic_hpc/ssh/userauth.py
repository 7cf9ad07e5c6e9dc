"""The client's side of SSH authentication (RFC 4252, RFC 4256), one request and its answer at a time.

Paramiko's own drops the server's list of methods when a key is refused, cannot ask whether a key would do
before its passphrase is asked for, runs the user's dialogue on the thread that reads the network, and waits
one round trip more per attempt. Its signatures and algorithms are used as they are.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paramiko
from paramiko import common
from paramiko.auth_handler import AuthHandler

_PATIENCE = 120.0  # seconds: a push message to a telephone is answered by a person
_MANY = 32  # prompts in one question


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The server's answer. `methods` are those that can continue; `partial`: this one did, another must follow."""

    accepted: bool = False
    partial: bool = False
    methods: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What the server asks in a keyboard-interactive dialogue; there may be no prompt at all."""

    name: str
    instruction: str
    prompts: tuple[str, ...]


class UserAuth(AuthHandler):
    """Logs `user` in on `transport`. EOFError if the server hangs up, TimeoutError if it says nothing."""

    def __init__(self, transport: paramiko.Transport, user: str) -> None:
        super().__init__(transport)
        self.username = user
        self._ssh = transport
        self._replies: queue.SimpleQueue[tuple[int, paramiko.Message] | None] = queue.SimpleQueue()
        transport.auth_handler = self
        # The first request follows at once: no server's answer to this one is anything but a yes.
        message = paramiko.Message()
        message.add_byte(common.cMSG_SERVICE_REQUEST)
        message.add_string("ssh-userauth")
        transport.packetizer.send_message(message)

    @property
    def said(self) -> str:
        """The server's banner, which often holds the reason of a refusal."""
        banner: Any = self.banner
        return banner.decode("utf-8", "replace").strip() if isinstance(banner, bytes) else ""

    def list_methods(self) -> Reply:
        """Asks for nothing but the list of methods."""
        return self._reply(self._request("none"))

    def would_accept(self, key_type: str, blob: bytes) -> Reply:
        """Whether a signature of this key would be accepted; nothing is signed."""
        message = self._request("publickey")
        message.add_boolean(False)
        message.add_string(self._algorithm(key_type))
        message.add_string(blob)
        return self._reply(message)

    def offer_key(self, key: paramiko.PKey) -> Reply:
        """Signs with `key`: a plain one, one with its certificate, or one that an agent holds."""
        key_type, blob = key.get_name(), key.asbytes()
        if isinstance(key, paramiko.AgentKey):
            blob = key.blob
        elif key.public_blob:
            key_type, blob = key.public_blob.key_type, key.public_blob.key_blob
        algorithm = self._algorithm(key_type)
        message = self._request("publickey")
        message.add_boolean(True)
        message.add_string(algorithm)
        message.add_string(blob)
        # Signed is the session and the whole request so far (RFC 4252, section 7).
        signed = paramiko.Message()
        signed.add_string(self._ssh.session_id or b"")
        signed.add_bytes(message.asbytes())
        message.add_string(key.sign_ssh_data(signed.asbytes(), algorithm))
        return self._reply(message)

    def offer_password(self, password: str) -> Reply:
        message = self._request("password")
        message.add_boolean(False)
        message.add_string(password)
        return self._reply(message)

    def offer_dialogue(self, answer: Callable[[Query], list[str]]) -> Reply:
        """A dialogue of any number of rounds; `answer` gives one string per prompt."""
        message = self._request("keyboard-interactive")
        message.add_string("")
        message.add_string("")
        return self._reply(message, answer)

    def abort(self) -> None:
        self._replies.put(None)

    @property
    def _handler_table(self) -> dict[int, Callable[[paramiko.Message], None]]:
        private: Any = self
        return {
            common.MSG_SERVICE_ACCEPT: lambda message: None,
            common.MSG_USERAUTH_SUCCESS: self._succeeded,
            common.MSG_USERAUTH_FAILURE: lambda message: self._replies.put(
                (common.MSG_USERAUTH_FAILURE, message)
            ),
            common.MSG_USERAUTH_INFO_REQUEST: lambda message: self._replies.put(
                (common.MSG_USERAUTH_INFO_REQUEST, message)
            ),
            common.MSG_USERAUTH_BANNER: private._parse_userauth_banner,
        }

    def _succeeded(self, message: paramiko.Message) -> None:
        self.authenticated = self._ssh.authenticated = True
        self._replies.put((common.MSG_USERAUTH_SUCCESS, message))

    def _algorithm(self, key_type: str) -> str:
        private: Any = self
        return str(private._finalize_pubkey_algorithm(key_type))

    def _request(self, method: str) -> paramiko.Message:
        self.auth_method = method
        message = paramiko.Message()
        message.add_byte(common.cMSG_USERAUTH_REQUEST)
        message.add_string(self.username or "")
        message.add_string("ssh-connection")
        message.add_string(method)
        return message

    def _reply(self, message: paramiko.Message, answer: Callable[[Query], list[str]] | None = None) -> Reply:
        self._ssh.packetizer.send_message(message)
        while True:
            kind, reply = self._next()
            if kind == common.MSG_USERAUTH_SUCCESS:
                return Reply(accepted=True)
            if kind == common.MSG_USERAUTH_FAILURE:
                methods = tuple(reply.get_list())
                return Reply(partial=reply.get_boolean(), methods=methods)
            # Message 60 means three things: the key would do, a question, or "choose a new password".
            if self.auth_method == "publickey":
                return Reply(accepted=True)
            if answer is None:
                raise paramiko.SSHException(
                    "the server asks for a new password: log in once with ssh and set it"
                )
            self._answer(reply, answer)

    def _next(self) -> tuple[int, paramiko.Message]:
        alive = self._ssh.is_active()  # before looking: what came in until then is in the queue
        try:
            item = self._replies.get(block=alive, timeout=_PATIENCE)
        except queue.Empty:
            raise (TimeoutError if alive else EOFError) from None
        if item is None:
            raise EOFError
        return item

    def _answer(self, question: paramiko.Message, answer: Callable[[Query], list[str]]) -> None:
        name, instruction = question.get_text(), question.get_text()
        question.get_string()
        count = question.get_int()
        if count > _MANY:
            raise paramiko.SSHException(f"the server asks {count} questions at once")
        prompts = []
        for _ in range(count):
            prompts.append(question.get_text())
            question.get_boolean()
        answers = answer(Query(name=name, instruction=instruction, prompts=tuple(prompts)))
        message = paramiko.Message()
        message.add_byte(common.cMSG_USERAUTH_INFO_RESPONSE)
        message.add_int(len(answers))
        for text in answers:
            message.add_string(text)
        self._ssh.packetizer.send_message(message)
