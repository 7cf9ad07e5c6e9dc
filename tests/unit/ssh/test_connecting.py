"""Connecting in the background: questions come in the foreground, and nothing is left open."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from dl4mic_hpc import profile as profiles
from dl4mic_hpc.errors import SshError
from dl4mic_hpc.ssh import connecting

PROFILE = profiles.parse("host: login\nwork_dir: /w\n", name="uni", path=Path("uni.yaml"))


class FakeConnection:
    def __init__(self) -> None:
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


class Person:
    """Answers, and remembers in which thread it was asked."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def secret(self, prompt: str) -> str | None:
        self.threads.append(threading.current_thread())
        return f"answer to {prompt}"

    def confirm_host_key(self, question: Any) -> bool:
        self.threads.append(threading.current_thread())
        return True

    def tell(self, text: str) -> None:
        self.threads.append(threading.current_thread())


def test_questions_are_asked_by_the_one_who_waits(monkeypatch: pytest.MonkeyPatch):
    found, answers = FakeConnection(), []

    def connect(profile: object, *, ask: Any) -> FakeConnection:
        ask.tell("welcome")
        answers.extend([ask.secret("code?"), ask.confirm_host_key(None)])
        return found

    monkeypatch.setattr(connecting, "connect", connect)
    person = Person()
    with connecting.Connecting(PROFILE, ask=person) as early:
        assert early.result() is found
    assert answers == ["answer to code?", True]
    assert person.threads == [threading.current_thread()] * 3
    assert not found.closed.is_set()


def test_who_asks_later_is_answered_too(monkeypatch: pytest.MonkeyPatch):
    """The way to a compute node may have a question when the connection has long been handed over."""
    asked: list[Any] = []

    def connect(profile: object, *, ask: Any) -> FakeConnection:
        asked.append(ask)
        return FakeConnection()

    monkeypatch.setattr(connecting, "connect", connect)
    with connecting.Connecting(PROFILE, ask=Person()) as early:
        early.result()
    (ask,) = asked
    ask.tell("later")
    assert (ask.secret("code?"), ask.confirm_host_key(None)) == ("answer to code?", True)


def test_a_failure_is_raised_where_the_connection_is_taken(monkeypatch: pytest.MonkeyPatch):
    def connect(profile: object, *, ask: Any) -> FakeConnection:
        raise SshError("nobody there", hint="look")

    monkeypatch.setattr(connecting, "connect", connect)
    with connecting.Connecting(PROFILE, ask=Person()) as early, pytest.raises(SshError, match="nobody there"):
        early.result()


@pytest.mark.parametrize("late", [False, True])
def test_a_connection_that_nobody_takes_is_closed(monkeypatch: pytest.MonkeyPatch, late: bool):
    found, go_on, begun = FakeConnection(), threading.Event(), threading.Event()

    def connect(profile: object, *, ask: Any) -> FakeConnection:
        begun.set()
        assert go_on.wait(10)
        return found

    monkeypatch.setattr(connecting, "connect", connect)
    with connecting.Connecting(PROFILE, ask=Person()):
        assert begun.wait(10)
        if not late:
            go_on.set()
    go_on.set()
    assert found.closed.wait(10)
