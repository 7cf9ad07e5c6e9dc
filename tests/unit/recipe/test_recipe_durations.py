"""Lengths of time, as Go reads them."""

from __future__ import annotations

import pytest

from dl4mic_hpc.recipe.durations import nanoseconds


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("0", 0),
        ("+0", 0),
        ("0s", 0),
        ("30s", 30 * 10**9),
        ("1m30s", 90 * 10**9),
        ("1.5h", 5400 * 10**9),
        (".5s", 5 * 10**8),
        ("1.s", 10**9),
        ("1h2m3s4ms5us6µs7μs8ns", 3_723_004_018_008),
        ("0.0000000019s", 1),
        ("-1ms", -(10**6)),
        ("2562047h", 2_562_047 * 3600 * 10**9),
    ],
)
def test_lengths(text: str, length: int) -> None:
    assert nanoseconds(text) == length


@pytest.mark.parametrize(
    "text", ["", "5", "s", ".s", "1x", "1 s", "1s ", "1s\n", "1m-1s", "٣s", "00", "2562048h"]
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no duration|is longer"):
        nanoseconds(text)
