"""The parser: which instruction stands on which line, and what is no Dockerfile's text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.parser import parse


def instructions(text: str) -> list[tuple[int, str, str]]:
    return [(each.line, each.keyword, each.arguments) for each in parse(text.encode()).instructions]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a\nRUN b", [(1, "FROM", "a"), (2, "RUN", "b")]),
        ("\n# c\n  FROM\ta  \n\n\tfrom b", [(3, "FROM", "a"), (5, "FROM", "b")]),
        ("FROM a\r\nRUN b \\\r\n  c\r\n", [(1, "FROM", "a"), (2, "RUN", "b   c")]),
        ("\ufeffFROM a", [(1, "FROM", "a")]),
        (
            "RUN a \\\n# comment\n\n   # another\n  b \\ \n c\nRUN d",
            [(1, "RUN", "a   b  c"), (7, "RUN", "d")],
        ),
        ("RUN a \\\\\nRUN b", [(1, "RUN", "a \\\\"), (2, "RUN", "b")]),
        ("RUN a#b", [(1, "RUN", "a#b")]),
        ("\\\nRUN a", [(1, "RUN", "a")]),
        ("RUN a \\", [(1, "RUN", "a")]),
        ("RUN echo $((1<<2)) it's", [(1, "RUN", "echo $((1<<2)) it's")]),
        ("ENV", [(1, "ENV", "")]),
        ("", []),
    ],
)
def test_lines_and_arguments(text: str, expected: list[tuple[int, str, str]]) -> None:
    assert instructions(text) == expected


def test_flags_are_taken_off_and_unquoted() -> None:
    (copy, run) = parse(b'COPY --from="a b" --x\\=1 c --d e\nRUN -- --not-a-flag').instructions
    assert (copy.flags, copy.arguments) == (("--from=a b", "--x=1"), "c --d e")
    assert (run.flags, run.arguments) == ((), "--not-a-flag")


def test_directives() -> None:
    dockerfile = parse(b"# syntax=docker/dockerfile:1.7\n# escape = `\nRUN a `\n b\\\nRUN c")
    assert dockerfile.escape == "`"
    assert [each.arguments for each in dockerfile.instructions] == ["a  b\\", "c"]


def test_a_directive_after_a_comment_is_a_comment() -> None:
    assert parse(b"# hello\n# escape=`\nRUN a \\\n b").instructions[0].arguments == "a  b"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"FROM a\nRUM b", r"Dockerfile:2: there is no instruction 'RUM'"),
        (b"FROM a\n\nRUN \xff", r"Dockerfile:3: this is not UTF-8"),
        (b"FROM a\nRUN \x00", r"Dockerfile:2: the control character U\+0000"),
        (b"FROM a\nRUN a\rb", r"Dockerfile:2: the control character U\+000D"),
        (
            b"# syntax=example.org/other:1\nFROM a",
            r"Dockerfile:1: the recipe is written for another language",
        ),
        (b"# escape=x\nFROM a", r"Dockerfile:1: 'x' is no escape"),
        (
            b"# escape=`\n# escape=`\nFROM a",
            r"Dockerfile:2: the directive 'escape' stands here a second time",
        ),
        (b"FROM a\nRUN <<EOF\necho\nEOF", r"Dockerfile:2: here-documents \(<<EOF\)"),
        (b"FROM a\nRUN cat <<-'E F' > x\nE F", r"Dockerfile:2: here-documents"),
        (b"FROM a\nRUN echo 1<<2", r"Dockerfile:2: here-documents \(1<<2\)"),
        (b"FROM a\nCOPY <<a b /x/\na\nb", r"Dockerfile:2: here-documents"),
    ],
)
def test_what_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(RecipeError, match=said) as caught:
        parse(data)
    assert caught.value.hint


def test_a_misspelt_instruction_is_answered() -> None:
    with pytest.raises(RecipeError) as caught:
        parse(b"ENTRYPIONT x")
    assert "perhaps you meant 'ENTRYPOINT'" in caught.value.hint


@given(st.text(st.sampled_from("\\` \t\n#\"'=$RUNa-[<"), max_size=60))
def test_nothing_but_recipe_errors(text: str) -> None:
    try:
        dockerfile = parse(b"RUN " + text.encode())
    except RecipeError:
        return
    assert all("\n" not in each.arguments for each in dockerfile.instructions)
    assert [each.line for each in dockerfile.instructions] == sorted(
        {each.line for each in dockerfile.instructions}
    )
