"""--chmod: what becomes of a file's bits, and of a folder's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dl4mic_hpc.recipe import modes


@pytest.mark.parametrize(
    ("text", "before", "file", "folder"),
    [
        ("755", 0o600, 0o755, 0o755),
        ("0", 0o600, 0, 0),
        ("07777", 0o600, 0o7777, 0o7777),
        ("u+x", 0o644, 0o744, 0o744),
        ("+x", 0o644, 0o755, 0o755),
        ("a-w", 0o666, 0o444, 0o444),
        ("go=", 0o777, 0o700, 0o700),
        ("u=rwx,go=rx", 0o4640, 0o755, 0o755),
        ("u=rwX,go=rX", 0o600, 0o644, 0o755),
        ("u=rwX,go=rX", 0o700, 0o755, 0o755),
        ("u+x,go+X", 0o600, 0o700, 0o711),
        ("a-X", 0o755, 0o644, 0o644),
        ("=r", 0o7755, 0o1444, 0o1444),
        ("u+s", 0o755, 0o4755, 0o4755),
        ("g+s", 0o755, 0o2755, 0o2755),
        ("+s", 0o755, 0o6755, 0o6755),
        ("o+s", 0o755, 0o755, 0o755),
        ("u=rx", 0o4755, 0o555, 0o555),
        ("+t", 0o755, 0o1755, 0o1755),
        ("o+t", 0o755, 0o755, 0o755),
        ("+rt", 0o600, 0o1600, 0o1600),
        ("a=t", 0o7777, 0o1000, 0o1000),
        ("g=u", 0o640, 0o660, 0o660),
        ("g=o", 0o674, 0o644, 0o644),
        ("go=u-w", 0o751, 0o755, 0o755),
        ("o-g", 0o677, 0o670, 0o670),
        ("+u", 0o700, 0o777, 0o777),
        ("u=", 0o755, 0o055, 0o055),
        ("u+r-w+x", 0o200, 0o500, 0o500),
    ],
)
def test_what_a_mode_says(text: str, before: int, file: int, folder: int) -> None:
    change = modes.parse(text)
    assert (change(before, False), change(before, True)) == (file, folder)


@pytest.mark.parametrize(
    "text", ["", "8", "10000", "0o755", "-1", "rwx", "u", "u+x,", ",u+x", "u+y", "u+gr", "u:x", "+755"]
)
def test_what_is_no_mode(text: str) -> None:
    with pytest.raises(ValueError, match=r"^.{0,8}$"):
        modes.parse(text)


@given(st.text("ugoa+-=rwxXst,0127", max_size=12), st.integers(0, 0o7777), st.booleans())
def test_a_mode_stays_a_mode(text: str, before: int, folder: bool) -> None:
    try:
        change = modes.parse(text)
    except ValueError:
        return
    assert 0 <= change(before, folder) <= 0o7777
