"""Definitions: Apptainer's reader gives back what was written, byte for byte, whatever the Dockerfile says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.apptainer_reader import Definition, ReadError, read

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.bundle import Bundle, convert
from dl4mic_hpc.recipe.definition import quote

NASTY = st.lists(
    st.sampled_from(
        (
            *(
                "%post",
                "%",
                "bootstrap:",
                "Bootstrap: docker",
                "{{",
                "}}",
                "{{ x }}",
                "{{{",
                "'",
                '"',
                "\\",
                "$X",
                "`id`",
            ),
            *("$(id)", "\n", "\r\n", "\r", "\t", " ", "#", "a", "é", "\u00a0", "\u2028", "!", "~"),
        )
    ),
    max_size=12,
).map("".join)
HEAD = "FROM base\nWORKDIR /w\nENTRYPOINT []\n"


def bundle(text: str, context: Path | None = None, **build_args: str) -> Bundle:
    return convert(text, context=context or Path("nowhere"), build_args=build_args)


def definition(text: str, context: Path | None = None, **build_args: str) -> Definition:
    return read(bundle(text, context, **build_args).definition)


def test_the_reader_sees_the_traps() -> None:
    good = "Bootstrap: docker\nFrom: x\n\n%post\na\n"
    assert read(good) == Definition(header={"bootstrap": "docker", "from": "x"}, sections={"post": "a\n\n"})
    for trap in ("\t %foreign x\n", "bOOtstrap: y\n", "echo {{ name }}\n", "x" * 70_000):
        with pytest.raises(ReadError):
            read(good + trap)


def test_header_and_files_hold_nothing_of_the_dockerfile() -> None:
    found = definition("FROM registry:5000/base:1\nWORKDIR /")
    assert found.header == {"bootstrap": "docker", "from": "registry:5000/base:1"}
    assert found.sections["files"].strip() == "ctx /.dl4mic-hpc"
    assert set(found.sections) == {"files", "post"}


@given(NASTY, NASTY)
def test_commands_come_back_from_the_reader(first: str, second: str) -> None:
    argv = ["x" + first, second]
    argv = [word.replace("\r", "") for word in argv]
    found = definition(f"{HEAD}RUN {json.dumps(argv)}\nCMD {json.dumps(argv)}")
    words = " ".join(quote(word) for word in argv)
    assert f'exec /usr/bin/env "$@" {words} )' in found.sections["post"]
    assert f"set -- {words}\n" in found.sections["runscript"]


@given(NASTY)
def test_quoted_text_is_what_the_reader_leaves(text: str) -> None:
    line = f"echo {quote(text)} end"
    assert read(f"Bootstrap: docker\nFrom: x\n\n%post\n{line}\n").sections["post"] == line + "\n\n"


@given(st.text(st.sampled_from("ab %{}'\"\\$`#:\t"), max_size=30))
def test_values_of_build_arguments(value: str) -> None:
    found = definition(f"{HEAD}ARG A\nENV B=$A\nLABEL c=x$A.\nRUN a", A=value)
    assert f"export B={quote(value)}\n" in found.sections["environment"]
    assert quote(f"c x{value}.") in found.sections["post"]


def test_the_buffer_of_apptainer_is_not_exceeded() -> None:
    assert definition(f"{HEAD}RUN {'x' * 55_000}")
    with pytest.raises(RecipeError, match=r"%post would have \d+ bytes") as caught:
        bundle(f"{HEAD}RUN {'x' * 65_000}")
    assert "script" in caught.value.hint
    with pytest.raises(RecipeError, match=r"%environment would have"):
        bundle(f"{HEAD}ENV A={'x' * 65_000}")
