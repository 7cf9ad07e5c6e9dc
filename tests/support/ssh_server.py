"""An SSH server inside the test, for what a real one cannot be made to do: dialogues, refusals, sudden ends."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable

import paramiko

from dl4mic_hpc.profile import ClusterProfile

HOST_KEY = paramiko.ECDSAKey.generate()


class Rules(paramiko.ServerInterface):
    """Who is let in, and what may be done. A test overrides what it is about.

    `stages` are the methods that are wanted one after the other. `rounds` are keyboard-interactive questions
    (name, instruction, prompts) and `answers` what has to be answered.
    """

    stages: tuple[str, ...] = ("password",)
    also_listed: tuple[str, ...] = ()
    password = "right"
    keys: tuple[paramiko.PKey, ...] = ()
    rounds: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    answers: tuple[tuple[str, ...], ...] = ()
    banner = ""
    sessions = 10

    def __init__(self) -> None:
        self.passed = 0
        self.round = 0
        self.tries: list[str] = []
        self.open_sessions = 0

    def get_allowed_auths(self, username: str) -> str:
        return ",".join((*self.stages[self.passed : self.passed + 1], *self.also_listed))

    def get_banner(self) -> tuple[str | None, str | None]:
        return (self.banner, "en") if self.banner else (None, None)

    def check_auth_none(self, username: str) -> int:
        self.tries.append("none")
        return paramiko.AUTH_FAILED

    def check_auth_password(self, username: str, password: str) -> int:
        self.tries.append("password")
        return self._step("password", password == self.password)

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self.tries.append("publickey")
        return self._step("publickey", key in self.keys)

    def check_auth_interactive(
        self, username: str, submethods: str | bytes
    ) -> int | paramiko.InteractiveQuery:
        self.tries.append("keyboard-interactive")
        self.round = 0
        return self._ask() if self.rounds else paramiko.AUTH_FAILED

    def check_auth_interactive_response(self, responses: list[str]) -> int | paramiko.InteractiveQuery:  # type: ignore[override]
        if tuple(responses) != self.answers[self.round]:
            return paramiko.AUTH_FAILED
        self.round += 1
        return self._ask() if self.round < len(self.rounds) else self._step("keyboard-interactive", True)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        self.open_sessions += 1
        return (
            paramiko.OPEN_SUCCEEDED
            if self.open_sessions <= self.sessions
            else paramiko.OPEN_FAILED_CONNECT_FAILED
        )

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self.execute, args=(channel, command.decode()), daemon=True).start()
        return True

    def execute(self, channel: paramiko.Channel, command: str) -> None:
        done = subprocess.run(
            ["/bin/sh", "-c", command], capture_output=True, stdin=subprocess.DEVNULL, check=False
        )
        with contextlib.suppress(OSError):
            channel.sendall(done.stdout)
            channel.sendall_stderr(done.stderr)
            channel.send_exit_status(done.returncode)
            self.open_sessions -= 1
            channel.close()

    def _ask(self) -> paramiko.InteractiveQuery:
        name, instruction, prompts = self.rounds[self.round]
        return paramiko.InteractiveQuery(name, instruction, *((prompt, False) for prompt in prompts))

    def _step(self, method: str, right: bool) -> int:
        if not right or self.stages[self.passed] != method:
            return paramiko.AUTH_FAILED
        self.passed += 1
        return (
            paramiko.AUTH_SUCCESSFUL
            if self.passed == len(self.stages)
            else paramiko.AUTH_PARTIALLY_SUCCESSFUL
        )


class Server:
    """Accepts connections on a loopback port; each one gets the rules that `make_rules` gives."""

    def __init__(self, make_rules: Callable[[], Rules]) -> None:
        self._make_rules = make_rules
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.transports: list[paramiko.Transport] = []
        self.rules: list[Rules] = []
        self._closing = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *problem: object) -> None:
        self._closing = True
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join()
        self._listener.close()
        for transport in self.transports:
            transport.packetizer.complete_handshake()  # ends its timer
            transport.close()
            transport.join()

    @property
    def known_line(self) -> str:
        return f"[127.0.0.1]:{self.port} {HOST_KEY.get_name()} {HOST_KEY.get_base64()}\n"

    def profile(self, **values: object) -> ClusterProfile:
        given = {
            "name": "myuni",
            "host": "127.0.0.1",
            "port": self.port,
            "user": "ada",
            "work_dir": "/scratch/ada",
        }
        return ClusterProfile.model_validate(given | values)

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._closing:
                connection.close()
                return
            rules = self._make_rules()
            transport = paramiko.Transport(connection)
            transport.add_server_key(HOST_KEY)
            self.transports.append(transport)
            self.rules.append(rules)
            transport.start_server(event=threading.Event(), server=rules)
