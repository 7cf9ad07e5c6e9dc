"""Word expansion: every rule of the reference by an example, and what holds for every text by hypothesis."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dl4mic_hpc.recipe.lexer import LexError, expand, raw_words

VALUES = {"NAME": "value", "TWO": "a b", "EMPTY": "", "_1": "one"}
TEXTS = st.text(st.characters(blacklist_categories=("Cc", "Cs")), max_size=40)
TRICKY = st.text(st.sampled_from("$\\'\"{}:-+?# aN_1=/<%"), max_size=30)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain text", "plain text"),
        ("$NAME", "value"),
        ("${NAME}", "value"),
        ("x${NAME}y$NAME.z", "xvaluey" + "value.z"),
        ("$_1", "one"),
        ("$", "$"),
        ("a$ b$.", "a$ b$."),
        (r"\$NAME", "$NAME"),
        (r"\\$NAME", r"\value"),
        ("'$NAME'", "$NAME"),
        ('"$NAME"', "value"),
        (r'"\$NAME \" \\ \n"', r'$NAME " \ \n'),
        (r"'\n'", r"\n"),
        (r"a\ b\n", "a bn"),
        ("end\\", "end"),
        ("""it"'"s '"'""", """it's \""""),
        ("${EMPTY:-word}", "word"),
        ("${EMPTY-word}", ""),
        ("${NAME:-word}", "value"),
        ("${NONE:-$NAME-'x y'}", "value-x y"),
        ("${NONE:-${NONE:-deep}}", "deep"),
        ("${NONE-}", ""),
        ("${NAME:+word}", "word"),
        ("${EMPTY:+word}", ""),
        ("${EMPTY+word}", "word"),
        ("${NONE+word}", ""),
        ("${NAME:?said}", "value"),
        ("${EMPTY?said}", ""),
        (r"${NONE:-a\}b}", "a}b"),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    assert expand(text, VALUES).text == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("'open", "single quote"),
        ('"open', "double quote"),
        ('"open\\', "double quote"),
        ("${NAME", "'}' is missing"),
        ("${NAME:-word", "'}' is missing"),
        ("${}", "no variable"),
        ("${{NAME}}", "no variable"),
        ("${:-x}", "no variable"),
        ("${NAME!x}", "no variable"),
        ("${NAME:x}", "no variable"),
        ("${NONE:?not given}", "NONE: not given"),
        ("${EMPTY:?}", "EMPTY: has no value"),
        ("${NAME#v}", "pattern form"),
        ("${NAME%%e}", "pattern form"),
        ("${NAME/a/b}", "pattern form"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(LexError, match=said):
        expand(text, VALUES)


def test_words_are_split_where_nothing_is_quoted() -> None:
    assert expand("""a  'b c' "d e"f g\\ h $TWO "$TWO" '' x""", VALUES).words == (
        *("a", "b c", "d ef", "g h", "a", "b", "a b", "x"),
    )


def test_the_other_escape_character() -> None:
    assert expand("`$NAME \\ a` b", VALUES, escape="`").text == "$NAME \\ a b"


def test_names_without_a_value_are_told_apart() -> None:
    expansion = expand("$MISSING ${PRESUMED:-x} ${BOTH:-x}$BOTH ${NAME:-$UNUSED} ${NONE:-$USED}", VALUES)
    assert expansion.missing == {"MISSING", "BOTH", "USED"}
    assert expansion.presumed == {"PRESUMED", "NONE"}


def test_raw_words_keep_what_is_written() -> None:
    assert raw_words("""cat "a b" $X ${Y:-z} <<EOF 'q'\\ r""") == (
        *("cat", '"a b"', "$X", "${Y:-z}", "<<EOF", "'q'\\ r"),
    )
    assert raw_words("it's malformed") == ()


@given(TEXTS)
def test_single_quotes_keep_everything(text: str) -> None:
    assert expand("'" + text.replace("'", "'\"'\"'") + "'", {}).text == text


@given(TEXTS)
def test_double_quotes_with_escapes_keep_everything(text: str) -> None:
    escaped = "".join("\\" + char if char in '\\"$' else char for char in text)
    expansion = expand(f'"{escaped}"', {})
    assert (expansion.text, expansion.missing) == (text, frozenset())


@given(TRICKY)
def test_nothing_but_lex_errors(text: str) -> None:
    raw_words(text)
    try:
        expansion = expand(text, VALUES)
    except LexError:
        return
    if not {"'", '"', "\\", "$"} & set(text):
        assert expansion.text == text
