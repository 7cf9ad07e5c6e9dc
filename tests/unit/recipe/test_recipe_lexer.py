"""Word expansion: every rule of the reference by an example, and what holds for every text by hypothesis."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dl4mic_hpc.recipe.lexer import LexError, expand, raw_words

VALUES = {
    "NAME": "value",
    "TWO": "a b",
    "EMPTY": "",
    "_1": "one",
    "FILE": "/opt/x/a.tar.gz",
    "STARS": "a*b*c",
    "PATTERN": "*/",
    "BACK": r"a\bc",
    "LINES": "ab\ncb\n",
    "LONG": "a" * 5000,
}
TEXTS = st.text(st.characters(blacklist_categories=("Cc", "Cs")), max_size=40)
TRICKY = st.text(st.sampled_from("$\\'\"{}:-+?# aN_1=/<%*"), max_size=30)


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
        ("${+word}", ""),
        ("$²", "$²"),
        ("\ufeff$NAME", "value"),
        ("${FILE#*/}", "opt/x/a.tar.gz"),
        ("${FILE##*/}", "a.tar.gz"),
        ("${FILE%.*}", "/opt/x/a.tar"),
        ("${FILE%%.*}", "/opt/x/a"),
        ("${FILE%.g?}", "/opt/x/a.tar"),
        ("${FILE#x}", "/opt/x/a.tar.gz"),
        ("${FILE##$PATTERN}", "a.tar.gz"),
        ("${FILE#'*'/}", "opt/x/a.tar.gz"),
        ("${NONE%x}", ""),
        (r"${STARS#a\*}", "b*c"),
        (r"${STARS%%\**}", "a"),
        ("${STARS%[*]}", "a*b*c"),
        (r'${BACK#"a\b"}', "c"),
        (r"${BACK%'c'}", r"a\b"),
        (r"${BACK%\\bc}", "a"),
        ("${LINES##*b}", "\ncb\n"),
        ("${LINES#*c}", "ab\ncb\n"),
        ("${FILE/a/b}", "/opt/x/b.tar.gz"),
        ("${FILE//a/b}", "/opt/x/b.tbr.gz"),
        (r"${FILE//\//-}", "-opt-x-a.tar.gz"),
        (r"${FILE/x\//}", "/opt/a.tar.gz"),
        (r"${FILE/a/\}}", r"/opt/x/\}.tar.gz"),
        ("${FILE/a?t/${NAME}}", "/opt/x/valuear.gz"),
        ("${FILE/o*x/}", "//a.tar.gz"),
        ("${NAME//*/x}", "x"),
        ("${NAME///.}", ".v.a.l.u.e."),
        ("${EMPTY//*/x}", "x"),
        ("${NAME//[l]/x}", "value"),
        ("${NAME/l/'$0'}", "va$0ue"),
        ("${NAME//?/'<$0$$${0}$1${x}$'}", "<v$v$<a$a$<l$l$<u$u$<e$e$"),
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
        ("${NAME:#v}", "no variable"),
        ("${NAME=v}", "no variable"),
        (r"${NAME#a\b}", "backslash before 'b'"),
        ("${NAME%'\\'}", "backslash before ''"),
        ("${NAME/a}", "'/' is missing"),
        ("${NAME/a/b", "'}' is missing"),
        ("a\0b", "NUL"),
        ("$LONG" * 300, "more than 1,048,576 characters"),
        ("${LONG//?/$LONG}", "more than 1,048,576 characters"),
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


def test_names_in_patterns_are_needed_now() -> None:
    expansion = expand("${MISSING#a} ${NAME/$GONE/} ${ABSENT/a/b}", VALUES)
    assert (expansion.missing, expansion.presumed) == ({"MISSING", "GONE", "ABSENT"}, frozenset())


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("plain", ("plain",)),
        ("$PATH", ("", "PATH", "")),
        ("/opt/bin:${PATH}", ("/opt/bin:", "PATH", "")),
        ('"$PATH:$NAME"$PATH', ("", "PATH", ":value", "PATH", "")),
        (r"\$PATH '$PATH'", ("$PATH $PATH",)),
        ("${NONE:-$PATH}", ("", "PATH", "")),
        ("${NAME:-$PATH}", ("value",)),
        ("${NAME:+:$PATH}", (":", "PATH", "")),
    ],
)
def test_late_names_are_left_open(text: str, parts: tuple[str, ...]) -> None:
    expansion = expand(text, VALUES | {"PATH": "/not/this"}, late={"PATH"})
    assert (expansion.parts, expansion.missing) == (parts, frozenset())
    assert expansion.text == "".join(f"${part}" if at % 2 else part for at, part in enumerate(parts))


def test_late_names_whose_value_is_needed() -> None:
    expansion = expand("${PATH%:*} ${NAME#$PATH} ${NAME/a/$PATH}", VALUES, late={"PATH"})
    assert (expansion.missing, len(expansion.parts)) == ({"PATH"}, 1)
    assert expand("${PATH:+:$PATH}", {"PATH": "/not/this"}, late={"PATH"}).presumed == {"PATH"}


def test_no_name_at_all_is_not_missing() -> None:
    expansion = expand("${/a/b}${%a}${+a}", VALUES)
    assert (expansion.text, expansion.missing, expansion.presumed) == ("", frozenset(), frozenset())


def test_a_pattern_that_ends_with_a_backslash() -> None:
    assert expand("${STARS%*\\}", {"STARS": "a*"}, escape="`").text == "a"


def test_a_value_is_checked() -> None:
    with pytest.raises(LexError, match="NUL"):
        expand("$X", {"X": "\0PATH\0"})


def test_quotes_are_letters_in_a_here_document() -> None:
    text = """it's "$NAME" \\$NAME \\\\ ${NONE:-'x'}\n"""
    assert expand(text, VALUES, quotes=False).text == """it's "value" $NAME \\ 'x'\n"""


def test_raw_words_keep_what_is_written() -> None:
    assert raw_words("""cat "a b" $X ${Y:-z} << EOF 'q'\\ r ${Z%\\}}""") == (
        *("cat", '"a b"', "$X", "${Y:-z}", "<< EOF", "'q'\\ r", "${Z%\\}}"),
    )
    assert raw_words("""a"b c"'d'\\'""", keep_quotes=False, keep_escapes=False) == ("ab cd'",)
    with pytest.raises(LexError):
        raw_words("it's malformed")


@given(st.text("ab*?", max_size=8), st.text("ab\n", max_size=12))
def test_patterns_are_those_of_a_shell(pattern: str, value: str) -> None:
    """The shortest and longest ends, found by trying all of them; a star stays within a line."""
    regex = re.compile(pattern.replace("*", ".*").replace("?", "."))
    ends = [end for end in range(len(value) + 1) if regex.fullmatch(value, 0, end)]
    shortest, longest = (value[ends[at] :] if ends else value for at in (0, -1))
    assert expand(f"${{X#{pattern}}}", {"X": value}).text == shortest
    assert expand(f"${{X##{pattern}}}", {"X": value}).text == longest
    assert expand(f"${{X%{pattern[::-1]}}}", {"X": value[::-1]}).text == shortest[::-1]
    assert expand(f"${{X%%{pattern[::-1]}}}", {"X": value[::-1]}).text == longest[::-1]


def test_a_pattern_cannot_take_forever() -> None:
    assert expand("${X##" + "*a" * 30 + "b}", {"X": "a" * 200}).text == "a" * 200


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
    with contextlib.suppress(LexError):
        raw_words(text)
    try:
        expansion = expand(text, VALUES)
    except LexError:
        return
    if not {"'", '"', "\\", "$"} & set(text):
        assert expansion.text == text
