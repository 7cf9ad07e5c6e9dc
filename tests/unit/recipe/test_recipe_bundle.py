"""Bundles: what is in one, and what does and does not change an image's key."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PurePosixPath

import pytest
from support.apptainer_reader import read

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.bundle import Bundle, convert, convert_environment

TEXT = """\
ARG TAG=1
FROM debian:${TAG}
ARG A=x
ENV B="b $A"
WORKDIR /w
COPY one /o/
RUN echo a && \\
    echo b
LABEL c=d
ENTRYPOINT []
CMD ["e"]
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "one").write_text("1")
    return tmp_path


def bundle(context: Path, text: str = TEXT, target: str | None = None, **build_args: str) -> Bundle:
    return convert(text, context=context, build_args=build_args, target=target)


def test_what_a_bundle_holds(context: Path) -> None:
    found = bundle(context, A="y")
    manifest = json.loads(found.manifest)
    assert [str(path) for path in found.files] == [
        *("ctx/recipe.json", "ctx/site/README", "ctx/copy/001.tar", "ctx/copy/001.folders"),
    ]
    written = {
        "image.def": found.definition.encode(),
        **{str(path): data for path, data in found.files.items()},
    }
    assert manifest["sha256"] == {name: hashlib.sha256(data).hexdigest() for name, data in written.items()}
    assert manifest["key"] == found.key
    assert len(found.key) == 16
    assert manifest["build_args"] == {"A": "y"}
    assert manifest["bases"] == [{"reference": "debian:1", "source": "debian:1"}]
    assert [each["name"] for each in manifest["deviations"]] == [each.name for each in found.deviations]
    assert all(each.what and each.reason for each in found.deviations)


def test_the_configuration_that_stays_in_the_image(context: Path) -> None:
    found = bundle(context)
    recipe = json.loads(found.files[PurePosixPath("ctx/recipe.json")])
    assert recipe["key"] == found.key
    assert recipe["base"] == "debian:1"
    assert recipe["config"] == {
        "Cmd": ["e"],
        "Entrypoint": [],
        "Env": ["B=b x"],
        "Labels": {"c": "d"},
        "WorkingDir": "/w",
    }


def test_two_conversions_are_the_same_bytes(context: Path) -> None:
    assert bundle(context) == bundle(context)


def test_the_registry_mirror_is_in_the_definition_and_in_no_key(context: Path) -> None:
    mirrored = convert(
        TEXT, context=context, build_args={}, base_reference=lambda name: f"registry:5000/library/{name}"
    )
    assert read(mirrored.definition).header["from"] == "registry:5000/library/debian:1"
    assert mirrored.key == bundle(context).key
    assert mirrored.files == bundle(context).files


def test_a_mirror_that_gives_no_reference(context: Path) -> None:
    with pytest.raises(RecipeError, match="the registry mirror for debian:1: 'a\nb' is no image reference"):
        convert(TEXT, context=context, build_args={}, base_reference=lambda name: "a\nb")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("RUN echo a", "# comment\n\nRUN echo a"),
        ("\\\n    echo b", "\\\n# comment\n\n    echo b"),
        ("\\\n    echo b", "    echo b"),
        ('ENV B="b $A"', 'ENV B="b x"'),
        ("FROM debian:${TAG}", "FROM debian:1 AS name"),
        ("COPY one", "ADD ./one"),
        ("WORKDIR /w", "WORKDIR //w/."),
        ("LABEL c=d", "LABEL c='d'"),
        ("LABEL c=d\n", "LABEL c=d\nARG LATE=1\n"),
        ("ENTRYPOINT []", "entrypoint [ ]"),
    ],
)
def test_what_leaves_the_key_as_it_is(context: Path, old: str, new: str) -> None:
    assert old in TEXT
    assert bundle(context, TEXT.replace(old, new)).key == bundle(context).key


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("echo b", "echo c"),
        ("ARG A=x", "ARG A=y"),
        ("ARG TAG=1", "ARG TAG=2"),
        ("WORKDIR /w", "WORKDIR /v"),
        ("COPY one /o/", "COPY one /o"),
        ("LABEL c=d", "LABEL c=e"),
        ('CMD ["e"]', "CMD e"),
        ("ENTRYPOINT []", "ENTRYPOINT x"),
        ("RUN echo a", "ARG EARLY=1\nRUN echo a"),
        ('ENV B="b $A"', 'ENV B="b $A" C=1'),
        ("WORKDIR /w\nCOPY one /o/", "COPY one /o/\nWORKDIR /w"),
    ],
)
def test_what_changes_the_key(context: Path, old: str, new: str) -> None:
    assert old in TEXT
    assert bundle(context, TEXT.replace(old, new)).key != bundle(context).key


def test_a_copied_file_changes_the_key(context: Path) -> None:
    before = bundle(context).key
    (context / "other").write_text("not copied")
    assert bundle(context).key == before
    (context / "one").write_text("2")
    assert bundle(context).key != before


def test_a_file_and_a_folder_with_it_are_not_the_same(context: Path) -> None:
    (context / "folder").mkdir()
    (context / "folder" / "one").write_text("1")
    keys = {bundle(context, f"FROM a\nCOPY {source} /o").key for source in ("one", "folder")}
    assert len(keys) == 2


def test_build_arguments_that_give_the_default_change_nothing(context: Path) -> None:
    assert bundle(context, A="x", TAG="1").key == bundle(context).key != bundle(context, A="y").key


def test_stages_that_are_left_out(context: Path) -> None:
    text = (
        TEXT.replace("${TAG}", "${TAG} AS environment") + "FROM environment\nARG NAME\nCOPY none /\nUSER x\n"
    )
    found = bundle(context, text, "environment", NAME="notebook")
    assert found.key == bundle(context).key
    (target,) = (each for each in found.deviations if each.name == "target")
    assert "'environment'" in target.what
    assert "target" not in [each.name for each in bundle(context).deviations]


def test_deviations_of_copies_only_where_there_are_some(context: Path) -> None:
    names = {each.name for each in bundle(context).deviations}
    assert {"portable-modes", "times"} <= names
    assert {each.name for each in bundle(context, "FROM a").deviations} == names - {"portable-modes", "times"}


def test_a_recipe_from_a_file(context: Path) -> None:
    path = context / "Dockerfile.own"
    path.write_text("FROM a\nRUN b")
    with pytest.raises(RecipeError, match=r"Dockerfile\.own:2: RUN stands before WORKDIR"):
        convert(path, context=context, build_args={})
    with pytest.raises(RecipeError, match=r"the recipe .*absent cannot be read"):
        convert(context / "absent", context=context, build_args={})


def test_text_that_is_not_utf_8(context: Path) -> None:
    with pytest.raises(RecipeError, match="Dockerfile:2: this is not UTF-8"):
        bundle(context, "FROM a\nRUN \udcff")


@pytest.mark.parametrize(
    ("stage", "left_out"),
    [(" AS environment", True), (" AS other", False), ("", False)],
    ids=["environment", "other", "none"],
)
def test_a_notebooks_environment_is_its_stage_or_the_whole_recipe(tmp_path: Path, stage: str, left_out: bool):
    recipe = tmp_path / "Dockerfile"
    recipe.write_text(f"FROM debian:trixie{stage}\nARG GPU_FLAG=0\nWORKDIR /x\nRUN echo $GPU_FLAG\n")
    if left_out:
        recipe.write_text(recipe.read_text() + "FROM environment AS notebook\nRUN late\n")
    offered = {"GPU_FLAG": "1", "NOTEBOOK_NAME": "N.ipynb"}
    made = convert_environment(recipe, context=tmp_path, offered=offered)
    assert "late" not in made.definition
    assert json.loads(made.manifest)["build_args"] == {"GPU_FLAG": "1"}
