"""Stages: what they stand on, which are needed, in what order, and what bases hand on to them."""

from __future__ import annotations

import pytest
from support.recipes import Bases, copies, known, last, runs, unknown

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.outside import Nothing
from dl4mic_hpc.recipe.steps import BaseImage, FromStage, ImageConfig, Recipe, Run, Scratch
from dl4mic_hpc.recipe.variables import DEFAULT_PATH

DIGEST = "sha256:" + "0" * 64


def shape(recipe: Recipe) -> list[tuple[str, object, str]]:
    """Each stage by its name, what it stands on, and the last words of its RUNs."""
    found: list[tuple[str, object, str]] = []
    for stage in recipe.stages:
        base = stage.base
        on: object = (
            base.reference
            if isinstance(base, BaseImage)
            else base.stage
            if isinstance(base, FromStage)
            else None
        )
        found.append(
            (stage.name, on, "".join(step.argv[-1] for step in stage.steps if isinstance(step, Run)))
        )
    return found


@pytest.mark.parametrize(
    ("written", "base"),
    [
        ("debian:trixie-slim", "debian:trixie-slim"),
        ("registry:5000/a/b__c.d:1", "registry:5000/a/b__c.d:1"),
        (f"debian:12@{DIGEST}", f"debian@{DIGEST}"),
        (f"Host.example:5000/a:1@{DIGEST}", f"Host.example:5000/a@{DIGEST}"),
        ("${NONE:-debian}:${NONE:-12}", "debian:12"),
        ("--platform=linux/amd64 debian", "debian"),
        ("--platform=$TARGETPLATFORM debian", "debian"),
        ("--platform=amd64 debian AS x", "debian"),
        ("debian$NONE", "debian"),
    ],
)
def test_base_images(written: str, base: str) -> None:
    outside = Bases()
    found = last(known(f"FROM {written}", outside=outside)).base
    assert isinstance(found, BaseImage)
    assert (found.reference, found.digest, outside.asked) == (base, DIGEST, [(base, "linux/amd64")])


def test_scratch() -> None:
    stage = last(known("FROM scratch\nCOPY a .\nENV A=1"))
    assert stage.base == Scratch()
    assert (stage.config.folder, copies(known("FROM scratch\nCOPY a ."))[0].destination) == ("/", "/")
    assert dict(stage.config.environment)["PATH"] == DEFAULT_PATH


@pytest.mark.parametrize(
    ("text", "target", "stages", "left_out"),
    [
        # Chains become one stage.
        ("FROM a AS x\nRUN 1\nFROM x\nRUN 2\nFROM b\nRUN 3", "1", [("", "a", "12")], ("",)),
        ("FROM a AS x\nRUN 1\nFROM x AS y\nRUN 2\nFROM y\nRUN 3", None, [("", "a", "123")], ()),
        ("FROM a AS x\nRUN 1\nFROM X AS z", None, [("z", "a", "1")], ()),
        # A stage that is used twice is cloned.
        (
            "FROM a AS x\nRUN 1\nFROM x AS y\nRUN 2\nFROM x\nCOPY --from=y a b\nRUN 3",
            None,
            [("x", "a", "1"), ("y", 0, "2"), ("", 0, "3")],
            (),
        ),
        # One that does nothing is its base.
        (
            "FROM a AS x\nENV A=1\nFROM x AS y\nRUN 2\nFROM x\nCOPY --from=y a b",
            None,
            [("y", "a", "2"), ("", "a", "")],
            (),
        ),
        ("FROM a AS x\nRUN 1\nFROM x AS y\nFROM y AS z\nRUN 3", None, [("z", "a", "13")], ()),
        # Only what is needed, by name or number; the last of the same name.
        ("FROM a AS x\nRUN 1\nFROM b AS y\nRUN 2\nFROM c\nRUN 3", "Y", [("y", "b", "2")], ("",)),
        (
            "FROM a AS x\nRUN 1\nFROM b\nRUN 2\nFROM c\nCOPY --from=0 a b",
            None,
            [("x", "a", "1"), ("", "c", "")],
            (),
        ),
        (
            "FROM a AS x\nRUN 1\nFROM b AS x\nRUN 2\nFROM c\nCOPY --from=x a b",
            None,
            [("x", "b", "2"), ("", "c", "")],
            (),
        ),
        ("FROM a AS x\nRUN 1\nFROM x AS x\nRUN 2\nFROM x\nRUN 3", None, [("", "a", "123")], ()),
        # Images that files come from, each once.
        (
            "FROM a\nCOPY --from=i:1 a b\nCOPY --from=j a b\nCOPY --from=i:1 c d",
            None,
            [("", "i:1", ""), ("", "j", ""), ("", "a", "")],
            (),
        ),
        # Mounts use stages too.
        (
            "FROM a AS x\nRUN 1\nFROM x\nRUN --mount=from=x,target=/x 2",
            None,
            [("x", "a", "1"), ("", 0, "2")],
            (),
        ),
    ],
)
def test_which_stages_are_built(
    text: str, target: str | None, stages: list[tuple[str, object, str]], left_out: tuple[str, ...]
) -> None:
    recipe = known(text, target=target)
    assert shape(recipe) == stages
    assert recipe.left_out == left_out


def test_sources_name_the_places_that_are_left() -> None:
    text = """FROM a AS gone
RUN 0
FROM gone AS x
RUN 1
FROM b AS y
COPY --from=x /p /q
FROM c
COPY --from=img u v
COPY --from=y * t/
RUN --mount=from=x,source=s,target=/m 3"""
    recipe = known(text)
    assert [name for name, *_ in shape(recipe)] == ["", "x", "y", ""]
    assert [source.origin for copy in copies(recipe) for source in copy.sources] == [
        FromStage(stage=0),
        FromStage(stage=2),
    ]
    (mount,) = runs(recipe)[0].mounts
    assert mount.source is not None and mount.source.origin == FromStage(stage=1)
    assert copies(recipe)[1].sources[0].glob


def test_a_child_inherits_what_the_stage_says() -> None:
    text = """FROM base AS a
ARG V=1
ENV E=2
USER me
WORKDIR /w
SHELL ["s"]
LABEL l=1
CMD ["c"]
FROM a
RUN x$V"""
    recipe = known(text)
    (run,) = runs(recipe)
    assert (run.user, run.folder, run.argv) == ("me", "/w", ("s", "x$V"))
    assert {"V": "1", "E": "2"}.items() <= dict(run.environment).items()
    config = last(recipe).config
    assert (config.user, config.folder, config.labels, config.command) == ("me", "/w", (("l", "1"),), ("c",))


# ONBUILD.


def test_the_base_hands_on_instructions() -> None:
    base = ImageConfig(
        onbuild=("ARG N=1", "RUN a $N", "COPY --from=x f .", "COPY <<E /e\nt\nE"), command=("c",), folder="/w"
    )
    recipe = known("FROM i AS x\nRUN 0\nFROM base\nRUN b\nENTRYPOINT e", base, N="2")
    assert shape(recipe) == [("x", "i", "0"), ("", "base", "a $Nb")]
    assert [dict(run.environment)["N"] for run in runs(recipe)] == ["2", "2"]
    assert [step.line for step in last(recipe).steps] == [3, 3, 3, 4]
    assert last(recipe).config.onbuild == ()
    assert [copy.sources[0].path for copy in copies(recipe)] == ["f", "E"]


def test_a_stage_hands_on_instructions_once() -> None:
    text = "FROM base AS a\nONBUILD RUN 1\nRUN 2\nFROM a AS b\nRUN 3\nFROM b\nRUN 4"
    assert shape(known(text)) == [("", "base", "2134")]
    assert last(known(text, target="a")).config.onbuild == ("RUN 1",)
    assert last(known(text)).config.onbuild == ()


def test_a_command_that_is_handed_on_counts_as_the_stages_own() -> None:
    base = ImageConfig(onbuild=('CMD ["c"]',), command=("old",))
    assert last(known('FROM base\nENTRYPOINT ["e"]', base)).config.command == ("c",)


@pytest.mark.parametrize(
    "trigger", ["FROM x", "ONBUILD RUN a", "RUN a\nRUN b", "# nothing", "BAD x", "COPY a"]
)
def test_what_a_base_may_not_hand_on(trigger: str) -> None:
    with pytest.raises(RecipeError, match=r"^Dockerfile:1: "):
        known("FROM base", ImageConfig(onbuild=(trigger,)))


# Refusals.


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("ARG A=1", "has no FROM", "begin the recipe"),
        ("RUN a\nFROM b", ":1: RUN stands before FROM", "begin the recipe"),
        ("FROM a b", ":1: FROM names no base", "FROM IMAGE"),
        ("FROM a AS 1x", ":1: '1x' cannot name a stage", "letters"),
        ("FROM $X", ":1: FROM $X names no image: X has no value", "--build-arg X="),
        ("ARG X\nFROM a:$X", ":2: 'a:' is no image reference: X has no value", "--build-arg X="),
        ("ARG X=\nFROM $X", ":2: FROM $X names no image", "FROM IMAGE"),
        ("ARG X='\nFROM a", ":1: ARG: the closing single", "quotes"),
        ("FROM a#b", "'a#b' is no image reference", "NAME:TAG"),
        ("FROM $(id)", "is no image reference", "NAME:TAG"),
        ("FROM --platform=linux/arm64 a", ":1: the stage is for linux/arm64", "delete"),
        ("FROM --platform=windows/amd64 a", ":1: the platform windows/amd64", "Linux"),
        ("FROM --platform=$X a", ":1: '' is no platform; X has no value", "linux/amd64"),
        ("FROM --as=x a", ":1: FROM knows no option --as", "platform"),
        ("FROM a AS x\nCOPY --from=x a b", ":2: the stage takes files from itself, 'x'", "earlier"),
        (
            "FROM a AS x\nCOPY --from=y a b\nFROM b AS y\nFROM x",
            ":2: files come from the stage 'y'",
            "before",
        ),
        ("FROM a\nCOPY --from=7 a b", ":2: there is no stage number 7", "0 to 0"),
        ("FROM a\nCOPY --from=$X a b", ":2: --from=$X holds a variable", "--from=NAME"),
        ("FROM a\nCOPY --from=UPPER a b", ":2: 'UPPER' is no image reference", "NAME:TAG"),
        ("FROM a\nRUN --mount=from=$X,target=/x a", ":2: --mount from=$X holds a variable", "from=NAME"),
    ],
)
def test_what_is_refused(text: str, said: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        known(text)
    assert said in caught.value.message
    assert hint in caught.value.hint


def test_a_stage_that_is_not_there() -> None:
    with pytest.raises(RecipeError, match="no stage named 'enviroment'") as caught:
        known("FROM a AS environment", target="enviroment")
    assert "perhaps you meant 'environment'" in caught.value.hint


def test_what_the_registry_refuses_is_said_with_the_line() -> None:
    outside = Bases({"b:1": RecipeError("there is no image b:1", hint="look it up")})
    with pytest.raises(RecipeError, match=r"^Dockerfile:3: there is no image b:1$") as caught:
        known("FROM a\nENV X=1\nCOPY --from=b:1 x y", outside=outside)
    assert caught.value.hint == "look it up"
    assert known("FROM b:1\nFROM a", outside=outside)


def test_an_image_is_asked_for_once() -> None:
    outside = Bases()
    known("FROM a AS x\nRUN 1\nFROM a\nCOPY --from=x a b\nCOPY --from=a a b", outside=outside)
    assert outside.asked == [("a", "linux/amd64")]


def test_unknown_bases_say_why() -> None:
    base = last(unknown("FROM a:1")).base
    assert base == Nothing().base("a:1", platform="linux/amd64")
