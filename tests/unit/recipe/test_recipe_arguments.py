"""How the arguments of one instruction are split."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dl4mic_hpc.recipe.arguments import ArgumentError, first_word, json_array, pairs, quoted_words, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1", [("A", "1")]),
        (
            """A=1 B="x y" C='q' D= E=a=b F=a\\ b""",
            [
                *[("A", "1"), ("B", '"x y"'), ("C", "'q'"), ("D", ""), ("E", "a=b"), ("F", "a\\ b")],
            ],
        ),
        ("A b", [("A", "b")]),
        ("A \t 'b' c=d  \"e", [("A", "'b' c=d  \"e")]),
        ("A 1 B=2", [("A", "1 B=2")]),
    ],
)
def test_pairs(text: str, expected: list[tuple[str, str]]) -> None:
    assert list(pairs(text, escape="\\")) == expected


@pytest.mark.parametrize("text", ["", "A", "A=1 B", "=1", "A=1 =2"])
def test_no_pairs(text: str) -> None:
    with pytest.raises(ArgumentError):
        pairs(text, escape="\\")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('["a", "b c"]', ("a", "b c")),
        (" [ ] ", ()),
        ('["é", "\\u00e9\\ud83d\\ude00", "\\t", "\\ud800"]', ("é", "é😀", "\t", "\ufffd")),
        ("[ -d /x ] && true", None),
        ('[ "a" ] && true', None),
        ('["a"] ["b"]', None),
        ("['a']", None),
        ('["a",]', None),
        ('["a\tb"]', None),
        ("[NaN]", None),
        ("[1e999]", None),
        (f"[{'1' * 5000}]", None),
        ("echo []", None),
        ("", None),
    ],
)
def test_json_arrays(text: str, expected: tuple[str, ...] | None) -> None:
    assert json_array(text) == expected


@pytest.mark.parametrize(
    "text", ["[1]", '["a", null]', '[["a"]]', '[{"a": "b"}]', '["\\u0000"]', "[" * 100_000 + "]" * 100_000]
)
def test_arrays_that_are_refused(text: str) -> None:
    with pytest.raises(ArgumentError):
        json_array(text)


def test_words() -> None:
    assert words("a\t 'b c'\xa0d") == ("a", "'b", "c'\xa0d")
    assert words("") == ()
    assert first_word(" CMD \t [ 'x' ] ") == ("CMD", "[ 'x' ]")
    assert first_word("NONE") == ("NONE", "")


def test_quoted_words() -> None:
    assert quoted_words("""a 'b c'"d e"\u2003f\\ g "\\" h" '\\' i\\""", escape="\\") == (
        *("a", "'b c'\"d e\"", "f\\ g", '"\\" h"', "'\\'", "i"),
    )
    assert quoted_words("a` b\\ c", escape="`") == ("a` b\\", "c")


@given(st.lists(st.text("ab'\"\\ =é", min_size=1, max_size=6), max_size=4))
def test_nothing_of_quoted_words_is_lost(found: list[str]) -> None:
    text = " ".join(found)
    assert "".join(quoted_words(text, escape="`")).replace(" ", "") == text.replace(" ", "")
