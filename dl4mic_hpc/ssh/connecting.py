"""Connecting in the background, while there is something else to do; questions are asked in the foreground."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.ssh.connection import Connection, connect
from dl4mic_hpc.ssh.hostkeys import HostKeyQuestion
from dl4mic_hpc.ssh.login import Asker

Answer = TypeVar("Answer")

_LOOK_UP = 0.5  # seconds: on Windows a wait without end would not hear Ctrl-C


class Connecting:
    """A connection on its way. Nobody is asked anything before `result`, and then only in its own thread.

    A password prompt belongs to the main thread: Ctrl-C there must find the terminal's echo switched on again.
    """

    def __init__(self, profile: ClusterProfile, *, ask: Asker) -> None:
        self._due: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._profile = profile
        self._connection: Connection | None = None
        self._problem: BaseException | None = None
        self._abandoned = False
        self._lock = threading.Lock()
        self._relay = _Relay(ask, self._due)
        threading.Thread(target=self._run, name="ssh-connecting", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Does not wait: whatever still comes of it is closed."""
        with self._lock:
            self._abandoned = True
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def result(self) -> Connection:
        """The connection, which is the caller's from now on; or what `connect` raised."""
        while True:
            try:
                question = self._due.get(timeout=_LOOK_UP)
            except queue.Empty:
                continue
            if question is None:
                break
            question()
        self._relay.direct = True
        if self._problem is not None:
            raise self._problem
        with self._lock:
            connection, self._connection = self._connection, None
        assert connection is not None, "a connection is given away once"
        return connection

    def _run(self) -> None:
        try:
            connection = connect(self._profile, ask=self._relay)
        except BaseException as problem:
            self._problem = problem
        else:
            with self._lock:
                if not self._abandoned:
                    self._connection = connection
            if self._connection is None:
                connection.close()
        self._due.put(None)


class _Relay:
    """An Asker that passes every question to the thread that waits for the connection.

    `direct`: nobody waits any more; who asks from then on (a route to a compute node) asks in its own thread.
    """

    def __init__(self, ask: Asker, due: queue.SimpleQueue[Callable[[], None] | None]) -> None:
        self._ask = ask
        self._due = due
        self.direct = False

    def secret(self, prompt: str) -> str | None:
        return self._asked(lambda: self._ask.secret(prompt))

    def confirm_host_key(self, question: HostKeyQuestion) -> bool:
        return self._asked(lambda: self._ask.confirm_host_key(question))

    def tell(self, text: str) -> None:
        if self.direct:
            self._ask.tell(text)
        else:
            self._due.put(lambda: self._ask.tell(text))

    def _asked(self, question: Callable[[], Answer]) -> Answer:
        if self.direct:
            return question()
        answer: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._due.put(lambda: answer.put(question()))
        return answer.get()
