"""The parser: which instruction stands on which line, and what is no Dockerfile's text."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe import heredocs
from dl4mic_hpc.recipe.parser import HEREDOC_LIMIT, LINE_LIMIT, Heredoc, Instruction, parse


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
        ("RUN a\rb\t\x1b[1m\f", [(1, "RUN", "a\rb\t\x1b[1m")]),
        ("RUN a \\\r\n\u2003\r\n b\xa0", [(1, "RUN", "a  b")]),
        ("\x0cRUN\x0ba", [(1, "RUN", "a")]),
        ("RUN a \\\n\\\n b \\ \t\n", [(1, "RUN", "a  b")]),
    ],
)
def test_lines_and_arguments(text: str, expected: list[tuple[int, str, str]]) -> None:
    assert instructions(text) == expected


def test_flags_are_taken_off_and_unquoted() -> None:
    (copy, run) = parse(b'COPY --from="a b" --x\\=1 c --d e\nRUN -- --not-a-flag').instructions
    assert (copy.flags, copy.arguments) == (("--from=a b", "--x=1"), "c --d e")
    assert (run.flags, run.arguments) == ((), "--not-a-flag")
    (copy,) = parse("COPY \u2003--from=x a b".encode()).instructions
    assert (copy.flags, copy.arguments) == ((), "--from=x a b")


@pytest.mark.parametrize(
    ("text", "escape"),
    [
        ("# syntax=docker/dockerfile:1.7\n# escape = `\n", "`"),
        ("#ESCAPE=`\n#Check=skip=all;error=true\n", "`"),
        ("\ufeff  # escape=`  \n", "`"),
        ("# hello\n# escape=`\n", "\\"),
        ("\n# escape=`\n", "\\"),
        ("# unknown=x\n# escape=`\n", "\\"),
        ("# escape\n# escape=`\n", "\\"),
        ("#!/usr/bin/env -S docker build -f\n# syntax=docker/dockerfile\n# escape=x\n", "\\"),
        ("# syntax=docker.io/docker/dockerfile-upstream:master-labs extra\n", "\\"),
        ("# syntax=registry.example:5000/mirror/docker/dockerfile:1@sha256:" + "0" * 64 + "\n", "\\"),
    ],
)
def test_directives(text: str, escape: str) -> None:
    dockerfile = parse(f"{text}RUN a {escape}\n b".encode())
    assert (dockerfile.escape, dockerfile.instructions[0].arguments) == (escape, "a  b")


def document(name: str, content: str, *, expand: bool = True, chomp: bool = False) -> Heredoc:
    return Heredoc(name=name, content=content, expand=expand, chomp=chomp)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RUN <<EOF\na\n\n# b \\\nEOF", [document("EOF", "a\n\n# b \\\n")]),
        ("RUN cat <<'E F' >x\n$A\nE F", [document("E F", "$A\n", expand=False)]),
        ('RUN 3<<E"O"F\nEOF', [document("EOF", "", expand=False)]),
        ("RUN <<E\\'F\na\nE'F", [document("E'F", "a\n")]),
        ("RUN << \t EOF cat\na\nEOF", [document("EOF", "a\n")]),
        ("RUN <<-EOF\n\ta\n\t\tEOF\r", [document("EOF", "\ta\n", chomp=True)]),
        ("RUN <<EOF\r\na\r\nEOF\r", [document("EOF", "a\r\n")]),
        ("RUN <<$X\na\n$X", [document("$X", "a\n")]),
        ("COPY --link <<a <<b c \\\n /x/\n1\na\n2\nb", [document("a", "1\n"), document("b", "2\n")]),
        ("ADD <<a /x\na", [document("a", "")]),
        ("ONBUILD RUN <<EOF\na\nEOF", [document("EOF", "a\n")]),
        ('RUN ["<<EOF"]', []),
        ('ONBUILD COPY ["<<EOF", "x"]', []),
        ("ONBUILD ONBUILD RUN <<EOF", []),
        ("USER <<EOF", []),
        ("RUN '<<EOF' a<<EOF <<<EOF", []),
        ("RUN echo it's <<EOF", []),
    ],
)
def test_here_documents(text: str, expected: list[Heredoc]) -> None:
    first, last = parse(f"{text}\nCMD end".encode()).instructions
    assert list(first.heredocs) == expected
    assert (last.keyword, last.line) == ("CMD", text.rstrip("\n").count("\n") + 2)


def test_what_becomes_of_a_here_document() -> None:
    (run,) = parse(b"RUN cat <<-A <<B\n\t\ta\n\tA\n\tb\nB").instructions
    assert [each.text for each in run.heredocs] == ["a\n", "\tb\n"]
    assert run.whole == "cat <<-A <<B\n\t\ta\nA\n\tb\nB"


def test_the_word_of_a_here_document() -> None:
    assert heredocs.read("<<-'EOF'") == document("EOF", "", expand=False, chomp=True)
    for word in ("EOF", "<<", "<<-", "<<<EOF", "<<EOF sh", "<<'EOF"):
        assert heredocs.read(word) is None


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"FROM a\nRUM b", r"Dockerfile:2: there is no instruction 'RUM'"),
        (b"FROM a\n\\", r"Dockerfile:2: there is no instruction ''"),
        (b"", r"Dockerfile has no FROM"),
        (b"# only\n\n# comments", r"Dockerfile has no FROM"),
        (b"FROM a\n\nRUN \xff", r"Dockerfile:3: this is not UTF-8"),
        (b"FROM a\nRUN \x00", r"Dockerfile:2: a NUL character"),
        (b"FROM a\nRUN " + b"x" * LINE_LIMIT, r"Dockerfile:2: this line is longer than 65,535 bytes"),
        (
            b"# syntax=example.org/other:1\nFROM a",
            r"Dockerfile:1: the recipe is written for another language",
        ),
        (
            b"#!/bin/x\n# syntax=a/docker/dockerfiles",
            r"Dockerfile:2: the recipe is written for another language",
        ),
        (b"# escape=x\nFROM a", r"Dockerfile:1: 'x' is no escape"),
        (
            b"# escape=`\n# escape=`\nFROM a",
            r"Dockerfile:2: the directive 'escape' stands here a second time",
        ),
        (b"FROM a\nRUN <<EOF\necho", r"Dockerfile:2: the here-document EOF has no end"),
        (b"FROM a\nRUN echo 1<<2", r"Dockerfile:2: the here-document 2 has no end"),
        (b"FROM a\nCOPY <<a b /x/\nb\n a", r"Dockerfile:2: the here-document a has no end"),
        (
            b"RUN <<E\n" + b"0123456\n" * (HEREDOC_LIMIT // 8 + 1) + b"E",
            r"Dockerfile:1: the here-document E is longer than 1,048,576 bytes",
        ),
        (b'RUN ["a", 1, "<<b"]', r"Dockerfile:1: RUN: a JSON array here may hold strings only"),
        ("COPY --from=é a b".encode(), r"Dockerfile:1: Docker garbles .*: --from=é"),
    ],
)
def test_what_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(RecipeError, match=said) as caught:
        parse(data)
    assert caught.value.hint


@pytest.mark.parametrize(
    "data", [b"RUN " + b"x" * (LINE_LIMIT - 4) + b"\nCMD a", b"RUN <<E\n" + b"0123456\n" * 131072 + b"E"]
)
def test_what_is_just_not_too_long(data: bytes) -> None:
    assert parse(data).instructions


def test_a_misspelt_instruction_is_answered() -> None:
    with pytest.raises(RecipeError) as caught:
        parse(b"ENTRYPIONT x")
    assert "perhaps you meant 'ENTRYPOINT'" in caught.value.hint


@given(st.text(st.sampled_from("\\` \t\n#\"'=$RUNa-[<E"), max_size=60))
def test_nothing_but_recipe_errors(text: str) -> None:
    try:
        dockerfile = parse(b"RUN " + text.encode())
    except RecipeError:
        return
    assert all("\n" not in each.arguments for each in dockerfile.instructions)
    lines = [each.line for each in dockerfile.instructions]
    assert lines == sorted(set(lines))


@given(st.lists(st.sampled_from(["a", "b c", "'d'", "\\\\", "<<E", "--x"]), min_size=1), st.data())
def test_comments_and_continuations_change_nothing(words: list[str], data: st.DataObject) -> None:
    breaks = st.sampled_from([" ", " \\\n", " \\ \t\n\n # comment\\\n", " \\\r\n\t#\r\n"])
    written = "".join(word + data.draw(breaks) for word in words)
    end = "\nx\nE" * words.count("<<E")

    def meaning(text: str) -> list[Instruction]:
        return [replace(each, line=0) for each in parse(text.encode()).instructions]

    assert meaning(f"RUN {written}z{end}\nCMD y") == meaning(f"RUN {' '.join(words)} z{end}\nCMD y")
