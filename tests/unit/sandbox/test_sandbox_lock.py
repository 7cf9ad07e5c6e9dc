"""The lock: one at a time, and nothing left behind."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import BinaryIO

import pytest

from dl4mic_hpc.sandbox import lock
from dl4mic_hpc.sandbox.lock import held


def test_the_second_waits_for_the_first_and_says_so(tmp_path: Path) -> None:
    path, order, waiting = tmp_path / "new" / "lock", list[str](), threading.Event()

    def second() -> None:
        with held(path, lambda sentence: waiting.set()):
            order.append("second")

    thread = threading.Thread(target=second)
    with held(path, order.append):
        thread.start()
        assert waiting.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


@pytest.mark.posix
def test_a_file_that_was_removed_meanwhile_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who opened the file just before `down` removed it would hold what nobody else can see."""
    path, take, opened = tmp_path / "lock", lock._take, list[BinaryIO]()

    def removed_at_first(stream: BinaryIO) -> bool:
        if not opened:
            path.unlink()
        opened.append(stream)
        return take(stream)

    monkeypatch.setattr(lock, "_take", removed_at_first)
    with held(path, print):
        assert path.exists()
    assert len(opened) == 2


def test_nothing_is_left(tmp_path: Path) -> None:
    with held(tmp_path / "lock", print, remove=True):
        assert (tmp_path / "lock").exists()
    assert list(tmp_path.iterdir()) == []
