"""Bundles: what is in one, and what does and does not change an image's key."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path, PurePosixPath

import pytest
from support.apptainer_reader import read
from support.recipes import PLAIN, Bases

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.bundle import Bundle, convert, convert_environment
from dl4mic_hpc.recipe.steps import ImageConfig

TEXT = """\
ARG TAG=1
FROM debian:${TAG}
USER root
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


OWN = "ctx/s0/.dl4mic-hpc"


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
        "build.sh",
        *(f"{OWN}/{name}" for name in ("recipe.json", "steps.sh", "owners.py", "owners.pl", "site/README")),
        *(f"{OWN}/{name}" for name in ("copy/001.tar", "copy/001.folders")),
    ]
    written = {
        "image.def": found.definition.encode(),
        **{str(path): data for path, data in found.files.items()},
    }
    assert manifest["sha256"] == {name: hashlib.sha256(data).hexdigest() for name, data in written.items()}
    assert manifest["key"] == found.key
    assert len(found.key) == 16
    assert manifest["build_args"] == {"A": "y"}
    assert manifest["bases"] == [{"reference": "debian:1", "digest": "", "source": "debian:1"}]
    assert manifest["notes"] == [] and manifest["exact"] is False
    assert [each["name"] for each in manifest["deviations"]] == [each.name for each in found.deviations]
    assert all(each.what and each.reason for each in found.deviations)


def test_the_configuration_that_stays_in_the_image(context: Path) -> None:
    found = bundle(context)
    recipe = json.loads(found.files[PurePosixPath(f"{OWN}/recipe.json")])
    assert recipe["key"] == found.key
    assert recipe["bases"] == ["debian:1"]
    assert recipe["config"] == {
        "Cmd": ["e"],
        "Entrypoint": [],
        "Env": ["B=b x"],
        "Labels": {"c": "d"},
        "User": "root",
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
        ("COPY one", "COPY ./one"),
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
        ("COPY one", "COPY --chown=1 one"),
        ("COPY one", "ADD one"),
        ("USER root", "USER 1"),
        ("RUN echo a", "RUN --mount=type=cache,target=/c echo a"),
        ("RUN echo a", "RUN --mount=target=/c echo a"),
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


def test_a_file_that_a_command_is_shown_changes_the_key(context: Path) -> None:
    text = TEXT.replace("RUN echo a", "RUN --mount=target=/c,source=two echo a")
    (context / "two").write_text("1")
    before = bundle(context, text).key
    (context / "two").write_text("2")
    assert bundle(context, text).key != before


def test_an_exact_image_is_another_one(context: Path) -> None:
    exact = convert(TEXT, context=context, build_args={}, exact=True)
    assert exact.key != bundle(context).key
    assert json.loads(exact.manifest)["exact"] is True


def test_a_file_and_a_folder_with_it_are_not_the_same(context: Path) -> None:
    (context / "folder").mkdir()
    (context / "folder" / "one").write_text("1")
    keys = {bundle(context, f"FROM a\nUSER root\nCOPY {source} /o").key for source in ("one", "folder")}
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
    assert {each.name for each in bundle(context, "FROM a\nUSER 0").deviations} == names - {
        "portable-modes",
        "times",
    }


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
    recipe.write_text(
        f"FROM debian:trixie{stage}\nUSER root\nARG GPU_FLAG=0\nWORKDIR /x\nRUN echo $GPU_FLAG\n"
    )
    if left_out:
        recipe.write_text(recipe.read_text() + "FROM environment AS notebook\nRUN late\n")
    offered = {"GPU_FLAG": "1", "NOTEBOOK_NAME": "N.ipynb"}
    made = convert_environment(recipe, context=tmp_path, offered=offered)
    assert "late" not in made.definition
    assert json.loads(made.manifest)["build_args"] == {"GPU_FLAG": "1"}


def test_a_notebook_that_a_recipe_takes_from_a_stage_of_its_own_is_left_out(tmp_path: Path) -> None:
    recipe = tmp_path / "Dockerfile"
    text = "FROM a AS notebook_autoconversion\nRUN late\nFROM b\nUSER root\nWORKDIR /x\n"
    recipe.write_text(f"{text}COPY --from=notebook_autoconversion /n /n\nRUN soon\n")
    made = convert_environment(recipe, context=tmp_path, offered={})
    assert not {"late", "--from", "COPY"} & set(made.definition.split())
    assert "soon" in made.definition
    (dropped,) = (each for each in made.deviations if each.name == "notebook-left-out")
    assert "'notebook_autoconversion'" in dropped.what
    recipe.write_text(f"{text}RUN soon\n")
    others = convert_environment(recipe, context=tmp_path, offered={}).deviations
    assert "notebook-left-out" not in {each.name for each in others}


def test_what_the_key_leaves_to_the_build(context: Path) -> None:
    """A key needs no network: what only a registry or a server knows is in it by its name."""
    text = "FROM a\nADD --checksum=sha256:{} https://b.c/d /\nADD https://b.c/e.git#v1 /e/\nCMD x\n"
    keys = []
    for each in (text.format("0" * 64), text.format("1" * 64), text.format("0" * 64).replace("v1", "v2")):
        sources = Bases()
        sources.url = lambda url: context / "one"  # type: ignore[method-assign]
        sources.git = lambda git: context  # type: ignore[method-assign]
        keys.append(convert(each, context=context, build_args={}, outside=sources).key)
    assert len(set(keys)) == 3
    known = ImageConfig(environment=(("PATH", "/x"),), user="y", entrypoint=("z",), folder="/w")
    text = "FROM base\nRUN x\nCOPY ${NAME}one /\nCMD y"
    made = [
        convert(text, context=context, build_args={}, outside=Bases({"base": each}))
        for each in (PLAIN, known)
    ]
    assert made[0].key == made[1].key
    assert made[0].definition != made[1].definition
    (context / "two").touch()
    assert convert(text, context=context, build_args={}, outside=Bases()).key != made[0].key


def test_what_nobody_knows_is_refused(context: Path) -> None:
    with pytest.raises(RecipeError, match=r"Dockerfile:2: RUN stands before WORKDIR"):
        bundle(context, "FROM a\nRUN b")


def test_the_base_images_are_asked_for_only_where_it_matters(context: Path) -> None:
    sources = Bases()
    made = convert(TEXT, context=context, build_args={}, outside=sources)
    assert sources.asked == []
    pinned = convert(TEXT, context=context, build_args={}, outside=sources, pin=True)
    assert sources.asked == [("debian:1", "linux/amd64")]
    assert pinned.key == made.key
    assert json.loads(pinned.manifest)["bases"][0]["digest"] == f"sha256:{'0' * 64}"
    assert read(pinned.definition).header["from"] == f"debian@sha256:{'0' * 64}"


def test_a_bundle_is_written_whole(context: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("out") / "deeper" / "bundle"
    made = bundle(context)
    made.write(folder)
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    assert found == {str(path): content for path, content in made.contents()}
    assert list(folder.parent.iterdir()) == [folder]
    bundle(context, A="other").write(folder)
    assert (folder / "manifest.json").read_bytes() != made.manifest


def test_nothing_but_a_bundle_is_replaced(context: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("out")
    bundle(context).write(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(RecipeError, match="is there and is no bundle"):
        bundle(context).write(folder)
    with pytest.raises(RecipeError, match="is there and is no bundle"):
        bundle(context).write(folder / "build.sh")


def test_no_part_of_a_bundle_is_left(
    context: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("out")

    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RecipeError, match="cannot be written: No space left") as caught:
        bundle(context).write(folder / "bundle")
    assert caught.value.hint
    assert list(folder.iterdir()) == []


@pytest.mark.posix
def test_the_script_of_a_bundle(context: Path, tmp_path: Path) -> None:
    """It gives the build folders of its own, marked, and the files beside it; nothing of them stays."""
    folder = tmp_path / "bundle"
    bundle(context).write(folder)
    (folder / "site").mkdir()
    (folder / "site" / "pip.conf").write_text("canary")
    program = tmp_path / "bin" / "apptainer"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\nprintf "%s\\n" "$@"\n'
        'for word; do case $word in /*:/*) ls -A "${word%%:*}"; echo "$word" >> "$SEEN" ;; esac; done\nexit 3\n'
    )
    program.chmod(0o755)
    seen = tmp_path / "seen"
    environment = {"PATH": f"{program.parent}:/usr/bin:/bin", "SEEN": str(seen)}
    ran = subprocess.run(
        [folder / "build.sh", "x.sif", "--force"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    said = ran.stdout.split("\n")
    assert ran.returncode == 3
    assert said[0] == "build" and "--force" in said
    assert said.count(".dl4mic-hpc-private") == 2 and "pip.conf" in said
    assert str(tmp_path / "x.sif") in said
    binds = [line.split(":") for line in seen.read_text().splitlines()]
    assert [bind[1:] for bind in binds] == [["/tmp"], ["/var/tmp"], ["/.dl4mic-hpc/site", "ro"]]
    assert not any(Path(bind[0]).exists() for bind in binds)
    ran = subprocess.run([folder / "build.sh"], capture_output=True, text=True)
    assert (ran.returncode, "error: name the image" in ran.stderr) == (2, True)
