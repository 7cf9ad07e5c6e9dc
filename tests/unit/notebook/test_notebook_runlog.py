"""Lines of a log, as a person would read them."""

from __future__ import annotations

import time

import pytest

from dl4mic_hpc.notebook.dl4mic_forms import runlog
from dl4mic_hpc.notebook.dl4mic_forms.runlog import _Text


def lines(*writes: str) -> list[tuple[str, bool]]:
    found: list[tuple[str, bool]] = []
    text = _Text(lambda line, whole: found.append((line, whole)))
    for write in writes:
        text.add(write)
    text.end()
    return found


@pytest.mark.parametrize(
    ("writes", "expected"),
    [
        (("a\nb", "c\n"), [("a", True), ("bc", True)]),
        (("a\r\nb\r\n",), [("a", True), ("b", True)]),
        (("\r10 %", "\r20 %", "\r100 %\n"), [("100 %", True)]),
        (("1/3\r", "2/3\r", "3/3\r", "\n"), [("3/3", True)]),
        (("1/3\r", "done\n"), [("done", True)]),
        (("5 %\r", "6 %"), [("6 %", False)]),
        (("\x08\x08\r9/9 - \x1b[31mloss\x1b[0m\n",), [("9/9 - loss", True)]),
        (("\n\n",), [("", True), ("", True)]),
    ],
)
def test_what_redraws_itself_leaves_its_last_state(
    writes: tuple[str, ...], expected: list[tuple[str, bool]]
) -> None:
    assert lines(*writes) == expected


def test_of_a_long_progress_a_state_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    assert runlog._PROGRESS == 10.0
    found = [line for line, _ in lines(*(f"\r{percent} %" for percent in range(0, 50, 10)), "\n")]
    assert found[-1] == "40 %"
    assert 2 <= len(found) < 6
