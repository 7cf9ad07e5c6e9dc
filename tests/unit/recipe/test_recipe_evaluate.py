"""From instructions to a recipe: scopes, precedence, paths, Docker's table, and each refusal."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.evaluate import evaluate
from dl4mic_hpc.recipe.parser import parse
from dl4mic_hpc.recipe.steps import Copy, MakeFolder, Recipe, Run


def recipe(text: str, target: str | None = None, **build_args: str) -> Recipe:
    return evaluate(parse(text.encode()), build_args=build_args, target=target)


def runs(text: str, **build_args: str) -> list[dict[str, str]]:
    steps = recipe(f"FROM base\nWORKDIR /\n{text}", **build_args).steps
    return [dict(step.environment) for step in steps if isinstance(step, Run)]


def test_arg_and_env() -> None:
    before, after = runs('ARG A=1 B="x $A"\nARG C\nRUN a\nENV A=2 D=$A E="${C:-none}"\nRUN b')
    assert before == {"A": "1", "B": "x 1"}
    assert after == {"A": "2", "B": "x 1", "D": "1", "E": "none"}


def test_build_arguments_win_over_defaults_and_are_not_expanded() -> None:
    assert runs("ARG A=1\nARG B=${NOT:?evaluated}\nRUN a", A="$x", B="b") == [{"A": "$x", "B": "b"}]


def test_only_env_is_kept_in_the_image() -> None:
    config = recipe("FROM base\nARG A=1\nENV B=$A C='c c'").config
    assert config.environment == (("B", "1"), ("C", "c c"))


def test_an_arg_before_from_is_seen_where_it_is_declared_again() -> None:
    text = "ARG TAG=1 NAME=image\nARG FULL=$NAME:$TAG\nFROM $FULL\nARG TAG\nARG NAME=own\nWORKDIR /\nRUN a"
    found = recipe(text, TAG="2")
    assert found.base == "image:2"
    (run,) = (step for step in found.steps if isinstance(step, Run))
    assert dict(run.environment) == {"TAG": "2", "NAME": "own"}


@pytest.mark.parametrize(
    ("written", "base"),
    [
        ("debian:trixie-slim", "debian:trixie-slim"),
        ("registry:5000/a/b__c.d:1", "registry:5000/a/b__c.d:1"),
        ("debian:12@sha256:" + "0" * 64, "debian@sha256:" + "0" * 64),
        ("Host.example:5000/a:1@sha256:" + "0" * 64, "Host.example:5000/a@sha256:" + "0" * 64),
    ],
)
def test_base_images(written: str, base: str) -> None:
    assert recipe(f"FROM {written}").base == base


def test_stages() -> None:
    text = "FROM a AS One\nENV X=1\nFROM b\nENV Y=2\nFROM one AS three\nUSER nobody\n"
    first = recipe(text, target="ONE")
    assert (first.base, first.stage, first.left_out) == ("a", "one", ("", "three"))
    assert first.config.environment == (("X", "1"),)


def test_folders_and_copies() -> None:
    found = recipe(
        'FROM base\nARG F=f.txt\nWORKDIR /a//b/.\nWORKDIR c d\nCOPY $F ./\nCOPY ["x y", "/z", "sub/"]\n'
        "COPY a b /\nADD dir .\nCOPY /./p/ /x/.\nCOPY . q\nWORKDIR /"
    )
    folders = [step.path for step in found.steps if isinstance(step, MakeFolder)]
    assert folders == ["/a/b", "/a/b/c d"]
    copies = [(step.sources, step.destination) for step in found.steps if isinstance(step, Copy)]
    assert copies == [
        (("f.txt",), "/a/b/c d/"),
        (("x y", "z"), "/a/b/c d/sub/"),
        (("a", "b"), "/"),
        (("dir",), "/a/b/c d/"),
        (("p",), "/x/"),
        ((".",), "/a/b/c d/q"),
    ]
    assert [step.refuse_archives for step in found.steps if isinstance(step, Copy)].count(True) == 1


@pytest.mark.parametrize(
    ("text", "entrypoint", "command"),
    [
        ("", None, ()),
        ('ENTRYPOINT ["a", "b c"]', ("a", "b c"), ()),
        ("ENTRYPOINT a $B 'c'", ("/bin/sh", "-c", "a $B 'c'"), ()),
        ('CMD ["x"]\nENTRYPOINT ["a"]', ("a",), ("x",)),
        ("ENTRYPOINT []\nCMD x  y", (), ("/bin/sh", "-c", "x  y")),
        ("ENTRYPOINT []\nCMD [ -e /x ] || y", (), ("/bin/sh", "-c", "[ -e /x ] || y")),
        ('ENTRYPOINT []\nCMD ["a"]\nCMD ["b"]', (), ("b",)),
    ],
)
def test_entrypoint_and_command(
    text: str, entrypoint: tuple[str, ...] | None, command: tuple[str, ...]
) -> None:
    config = recipe(f"FROM base\nWORKDIR /\n{text}").config
    assert (config.entrypoint, config.command) == (entrypoint, command)


def test_run_forms() -> None:
    steps = recipe('FROM base\nWORKDIR /w\nRUN a "$X"  b\nRUN ["a", "$X"]').steps
    assert [step.argv for step in steps if isinstance(step, Run)] == [
        ("/bin/sh", "-c", 'a "$X"  b'),
        ("a", "$X"),
    ]


def test_labels() -> None:
    labels = recipe("FROM base\nENV V=1\nLABEL a.b=\"x $V\" 'c'=d a.b=2").config.labels
    assert labels == (("a.b", "2"), ("c", "d"))


def test_presumed_names_are_left_to_the_build() -> None:
    assert recipe("FROM base\nARG X\nENV A=${X:-1} B=${Y:+2}").presumed == ("X", "Y")


def test_lines_are_kept() -> None:
    steps = recipe("FROM base\n\nWORKDIR /x\nRUN a \\\n  b\nRUN c").steps
    assert [step.line for step in steps] == [3, 4, 6]


BEFORE = "FROM base\nWORKDIR /w\n"


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("ARG A=1", "has no FROM", "begin the recipe"),
        ("RUN a\nFROM b", ":1: RUN stands before FROM", "begin the recipe"),
        ("FROM", ":1: FROM names no base", "FROM IMAGE"),
        ("FROM a b", ":1: FROM names no base", "FROM IMAGE"),
        ("FROM a AS 1x", ":1: '1x' cannot name a stage", "letters"),
        ("FROM $X", ":1: FROM uses X, which has no value", "--build-arg X="),
        ("ARG X\nFROM $X", ":2: FROM uses X, which has no value", "--build-arg X="),
        ("ARG X=$Y\nFROM a", ":1: ARG uses Y", "--build-arg Y="),
        ("ARG X='\nFROM a", ":1: ARG: the closing single", "quotes"),
        ("FROM a#b", "'a#b' is no image reference", "NAME:TAG"),
        ("FROM $(id)", "is no image reference", "NAME:TAG"),
        ("FROM scratch", ":1: FROM scratch", "distribution"),
        ("FROM --platform=linux/arm64 a", ":1: FROM --platform=linux/arm64", "delete it"),
        ("FROM a AS b\nFROM b", ":2: the stage stands on another one, 'b'", "'b'"),
        (BEFORE + "USER nobody", ":3: USER is not converted", "delete the line"),
        (BEFORE + 'SHELL ["/bin/bash", "-c"]', ":3: SHELL is not converted", "bash -c"),
        (BEFORE + "VOLUME /x", ":3: VOLUME is not converted", "bound"),
        (BEFORE + "EXPOSE 80", ":3: EXPOSE is not converted", "port"),
        (BEFORE + "HEALTHCHECK NONE", ":3: HEALTHCHECK is not converted", "delete"),
        (BEFORE + "STOPSIGNAL 9", ":3: STOPSIGNAL is not converted", "Slurm"),
        (BEFORE + "MAINTAINER me", ":3: MAINTAINER is not converted", "LABEL"),
        (BEFORE + "ONBUILD RUN a", ":3: ONBUILD is not converted", "recipe"),
        (
            BEFORE + "RUN --mount=type=cache,target=/x a",
            ":3: RUN --mount=type=cache,target=/x",
            "without this option",
        ),
        (BEFORE + "COPY --from=x a b", ":3: COPY --from=x", "without this option"),
        (BEFORE + "COPY --chown=1:1 a b", ":3: COPY --chown=1:1", "without this option"),
        (BEFORE + "RUN", ":3: RUN says nothing", "complete"),
        (BEFORE + "RUN []", ":3: RUN names no program", "program"),
        (BEFORE + 'RUN ["A=1"]', ":3: RUN names no program", "program"),
        (BEFORE + 'RUN ["a", 1]', ":3: RUN: a JSON array here", "recipes.md"),
        (BEFORE + 'RUN ["a"] b', ":3: RUN: after the JSON array", "recipes.md"),
        (BEFORE + 'CMD ["\\u0000"]', ":3: CMD: a control character", "recipes.md"),
        ("FROM base\nRUN a", ":2: RUN stands before WORKDIR", "WORKDIR /"),
        ("FROM base\nCOPY a b", ":2: the path 'b' is relative", "WORKDIR /"),
        ("FROM base\nWORKDIR x", ":2: the path 'x' is relative", "WORKDIR /"),
        ("FROM base\nWORKDIR /a/../b", ":2: '..' in the path", "without"),
        ("FROM base\nENTRYPOINT []", ":2: ENTRYPOINT stands without WORKDIR", "WORKDIR /"),
        (BEFORE + "CMD a", ":3: CMD stands without ENTRYPOINT", "ENTRYPOINT []"),
        (BEFORE + "ENV A 1", ":3: ENV: 'A' is not of the form KEY=VALUE", "recipes.md"),
        (BEFORE + "ENV =1", ":3: ENV: '=1' has no name", "recipes.md"),
        (BEFORE + "ENV a-b=1", ":3: 'a-b' cannot name a variable", "letters"),
        (BEFORE + "ARG 1a", ":3: '1a' cannot name a variable", "letters"),
        (BEFORE + "ENV UID=1", ":3: ENV UID", "another name"),
        (BEFORE + "ENV LD_PRELOAD=x", ":3: LD_PRELOAD belongs", "another name"),
        (BEFORE + "ARG https_proxy", ":3: https_proxy is the cluster's", "profile"),
        (BEFORE + "ARG TARGETARCH", ":3: the platform argument TARGETARCH", "write its value"),
        (BEFORE + "ENV A=1\nARG A=2", ":4: ARG A follows ENV A", "another name"),
        (BEFORE + "ARG X\nENV A=$X", ":4: ARG X has no value", "--build-arg X="),
        (BEFORE + "ENV NAME=1\nENV A=$NAMES", ":4: $NAMES is used", "perhaps you meant 'NAME'"),
        (BEFORE + "ENV PATH=/x:$PATH", ":3: $PATH has a value in every image", "write the value out"),
        (BEFORE + "ENV A=${HOME:-/x}", ":3: $HOME has a value in every image", "write the value out"),
        (BEFORE + "ENV A='", ":3: ENV: the closing single quote", "recipes.md"),
        (BEFORE + "ENV A=${X#y}", ":3: ENV: the pattern form", "recipes.md"),
        (BEFORE + "LABEL 'a b'=c", ":3: LABEL a b=c", "without"),
        (BEFORE + "LABEL a=' b'", ":3: LABEL a= b", "without"),
        (BEFORE + "COPY a", ":3: COPY has no destination", "COPY SOURCE"),
        (BEFORE + "COPY a b c", ":3: COPY puts several files", "end the folder's name with /"),
        (BEFORE + "COPY *.txt x/", ":3: '*' in *.txt", "write the names out"),
        (BEFORE + "COPY a[b] x", ":3: '[' in a[b]", "write the names out"),
        (BEFORE + "COPY ../a x", ":3: ../a leads out of the build context", "folder"),
        (BEFORE + "ARG X=\nCOPY $X x", ":4: a source of COPY is empty", "write . if"),
        (BEFORE + "ADD https://example.org/a x", ":3: ADD from https://example.org/a", "build context"),
        (BEFORE + "ADD git@example.org:a.git x", ":3: ADD from git@", "build context"),
    ],
)
def test_what_is_refused(text: str, said: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe(text)
    assert said in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_code == 8


def test_a_stage_that_is_not_there() -> None:
    with pytest.raises(RecipeError, match="no stage named 'enviroment'") as caught:
        recipe("FROM a AS environment", target="enviroment")
    assert "perhaps you meant 'environment'" in caught.value.hint


def test_unknown_build_arguments() -> None:
    with pytest.raises(RecipeError, match="no ARG for the build argument 'PYTON_VERSION'") as caught:
        recipe("ARG A\nFROM a\nFROM b\nARG PYTHON_VERSION", PYTON_VERSION="3")
    assert "perhaps you meant 'PYTHON_VERSION'" in caught.value.hint


def test_control_characters_in_build_arguments() -> None:
    with pytest.raises(RecipeError, match="the build argument A holds a control character"):
        recipe("FROM a\nARG A", A="x\ny")


def test_every_path_is_absolute_and_clean() -> None:
    for text in ("/", "//", "/x/", "x", "./x", "x//y/", "."):
        step = recipe(f"FROM base\nWORKDIR /w\nCOPY a {text}").steps[1]
        assert isinstance(step, Copy)
        assert step.destination.rstrip("/") == str(PurePosixPath("/w", text)).rstrip("/").replace("//", "/")
