"""Which image a session gets: the order, the reasons, and what is not trusted."""

from __future__ import annotations

import dataclasses
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dl4mic_hpc import catalog
from dl4mic_hpc import profile as profiles
from dl4mic_hpc.errors import ImageError, RegistryError
from dl4mic_hpc.images import choice, record
from dl4mic_hpc.images.choice import Seen, Wish
from dl4mic_hpc.images.record import Entry, ImageRecord, Source
from dl4mic_hpc.recipe.bundle import Bundle

PROFILE = profiles.parse(
    "host: login\nwork_dir: /scratch/ada\nimage_folders: [/group/a, /group/b]\ntrusted_owners: [lab]\n",
    name="uni",
)
REFERENCE = "henriqueslab/dl4miceverywhere:care-gpu"
BUNDLE = cast(Bundle, SimpleNamespace(key="0123456789abcdef"))
WISH = Wish(name="care_2d", way="auto", published=REFERENCE, bundle=BUNDLE)
PUBLISHED, RECIPE = [f"{name}" for name, _ in WISH.files()]
OWN, GROUP = PurePosixPath("/scratch/ada/images"), PurePosixPath("/group/a")


def record_of(**changes: Any) -> ImageRecord:
    made = ImageRecord(key="k", name="n", size=10, modified=100, sha256="0", source=Source(kind="recipe"))
    return dataclasses.replace(made, **changes)


def seen(
    path: PurePosixPath, *, owner: str = "ada", mode: int = 0o755, **changes: Any
) -> dict[PurePosixPath, Seen]:
    """An image there; `owner` and `mode` are those of the image and of its nearest folder."""
    entries = (
        Entry(path=path, mode=mode, owner=owner, size=10, modified=100),
        Entry(path=path.parent, mode=mode, owner=owner, size=0, modified=0),
        Entry(path=PurePosixPath("/"), mode=0o755, owner="root", size=0, modified=0),
    )
    made = record_of(**{"key": path.stem.rpartition("-")[2], **changes})
    return {path: Seen(path=path, record=made, entries=entries)}


def nobody_is_asked(reference: str) -> str:
    raise AssertionError(f"{reference} was asked for")


def chosen(wish: Wish, there: dict[PurePosixPath, Seen], ask: Any = nobody_is_asked) -> choice.Choice:
    return choice.choose(wish, there, PROFILE, user="ada", ask=ask)


def test_names_are_looked_for_in_the_own_folder_and_then_in_those_of_others():
    folders = (OWN, GROUP, PurePosixPath("/group/b"))
    assert list(WISH.places(PROFILE)) == [folder / name for name in (PUBLISHED, RECIPE) for folder in folders]


def test_the_published_image_that_is_there_goes_before_the_built_one():
    there = seen(OWN / RECIPE) | seen(OWN / PUBLISHED)
    assert (chosen(WISH, there).kind, chosen(WISH, there).image) == ("there", OWN / PUBLISHED)
    assert chosen(WISH, seen(OWN / RECIPE)).image == OWN / RECIPE


def test_an_image_of_a_group_is_used_where_it_lies():
    found = chosen(WISH, seen(GROUP / PUBLISHED, owner="lab"))
    assert (found.kind, found.image) == ("there", GROUP / PUBLISHED) and "/group/a" in found.reason


@pytest.mark.parametrize(
    ("where", "given", "why"),
    [
        (GROUP, {"owner": "mallory"}, "belongs to mallory"),
        (GROUP, {"owner": "lab", "mode": 0o775}, "others can write"),
        (GROUP, {"mode": 0o757}, "others can write"),
        (OWN, {"owner": "mallory"}, "belongs to mallory"),
        (OWN, {"size": 11}, "its record says 11"),
        (OWN, {"modified": 99}, "changed after"),
        (GROUP, {"owner": "lab", "key": "another"}, "tells of another image"),
    ],
)
def test_what_is_not_trusted_is_passed_over_and_said(where: PurePosixPath, given: dict[str, Any], why: str):
    found = chosen(WISH, seen(where / PUBLISHED, **given), lambda _: "")
    assert found.kind == "pull"
    assert why in found.notes[0] and str(where / PUBLISHED) in found.notes[0]


def test_of_a_groups_folder_the_file_itself_is_used_whatever_the_link_says_later():
    (found,) = seen(GROUP / PUBLISHED, owner="lab").values()
    real = dataclasses.replace(found.entries[0], path=PurePosixPath("/group/store/x.sif"))
    there = {found.path: dataclasses.replace(found, entries=(real, *found.entries[1:]))}
    assert chosen(WISH, there).image == real.path


def test_what_is_replaced_is_told_apart_from_what_takes_its_place():
    assert chosen(WISH, seen(OWN / PUBLISHED, size=11), lambda _: "").replaces == "10:100"
    assert chosen(WISH, {}, lambda _: "").replaces == ""


def test_an_image_without_a_record_is_passed_over():
    (one,) = seen(OWN / RECIPE).values()
    found = chosen(dataclasses.replace(WISH, way="build"), {one.path: dataclasses.replace(one, record=None)})
    assert found.kind == "build" and "record" in found.notes[0]


def test_the_published_image_goes_before_a_build():
    asked: list[str] = []
    found = chosen(WISH, {}, lambda reference: asked.append(reference) or "")
    assert (found.kind, found.image, asked) == ("pull", OWN / PUBLISHED, [REFERENCE])
    found = chosen(WISH, {}, lambda _: "the registry has no such image")
    assert (found.kind, found.image, found.reason) == (
        "build",
        OWN / RECIPE,
        "the registry has no such image",
    )


def test_a_registry_that_does_not_answer_starts_no_build():
    def silent(reference: str) -> str:
        raise RegistryError("no answer", hint="", reason="silent")

    with pytest.raises(RegistryError):
        chosen(WISH, {}, silent)


def test_a_way_can_be_forced():
    there = seen(OWN / RECIPE) | seen(OWN / PUBLISHED)
    assert chosen(dataclasses.replace(WISH, way="build"), there).image == OWN / RECIPE
    assert chosen(dataclasses.replace(WISH, way="pull"), seen(OWN / RECIPE), lambda _: "").kind == "pull"
    with pytest.raises(ImageError, match="no such image"):
        chosen(dataclasses.replace(WISH, way="pull"), {}, lambda _: "no such image")


def test_where_nothing_can_be_had_it_says_both():
    wish = dataclasses.replace(WISH, bundle=None, no_bundle="the recipe cannot be fetched")
    with pytest.raises(
        ImageError, match="not published, and it cannot be built: the recipe cannot be fetched"
    ):
        chosen(wish, {}, lambda _: "it is not published")


def test_where_nothing_can_be_had_what_was_passed_over_is_named():
    wish = dataclasses.replace(WISH, way="pull")
    with pytest.raises(
        ImageError, match=r"not published; the image .* is passed over: .* belongs to mallory"
    ):
        chosen(wish, seen(GROUP / PUBLISHED, owner="mallory"), lambda _: "it is not published")


def test_a_path_is_taken_as_it_is():
    path = PurePosixPath("/anywhere/x.sif")
    wish = Wish(name="care_2d", way="", path=path)
    assert chosen(wish, seen(path, owner="mallory", size=11)).image == path
    with pytest.raises(ImageError, match="does not exist"):
        chosen(wish, {})


def test_the_key_of_a_published_image_is_blind_to_how_its_name_is_written():
    full = dataclasses.replace(WISH, published=f"docker://docker.io/{REFERENCE}")
    assert next(full.files()) == next(WISH.files())
    other = dataclasses.replace(WISH, published=f"oras://docker.io/{REFERENCE}")
    assert next(other.files()) != next(WISH.files())


@pytest.mark.parametrize(
    ("tag", "own", "reference"),
    [
        (None, False, "docker.io/henriqueslab/dl4miceverywhere:care_2d_zerocostdl4mic-z1.15.3-d2.1.0-gpu"),
        (None, True, ""),
        ("mine", False, "docker.io/henriqueslab/dl4miceverywhere:mine"),
        ("mine", True, "docker.io/henriqueslab/dl4miceverywhere:mine"),
        ("ghcr.io/lab/care", False, "ghcr.io/lab/care"),
        ("care:2", False, "care:2"),
    ],
)
def test_what_is_published_of_a_notebook(tag: str | None, own: bool, reference: str):
    assert choice.published_reference(catalog.load("care_2d"), tag, own_requirements=own) == reference


def test_a_notebook_without_cuda_has_another_tag_and_ours_has_none():
    spec = dataclasses.replace(catalog.load("care_2d"), cuda_version="")
    assert not choice.published_reference(spec, None, own_requirements=False).endswith("-gpu")
    assert choice.published_reference(catalog.load("pixel_segmentation"), None, own_requirements=False) == ""


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"version": 2}', '{"version": 1, "key": 1}', "{"])
def test_a_damaged_record_is_none(text: str):
    assert record.parse(text) is None


def test_a_record_is_read_as_it_was_written():
    import json

    made = record_of(source=Source(kind="registry", reference="a/b:c", digest="sha256:1"), cuda="11.8.0")
    assert record.parse(json.dumps(made.as_json())) == made


def test_a_line_of_stat_may_hold_any_path():
    entry = Entry.parse("1777|ada|3|-5|/a|b c/x.sif")
    assert entry is not None
    assert (entry.mode, entry.modified, entry.path) == (0o1777, -5, PurePosixPath("/a|b c/x.sif"))
    assert Entry.parse("cannot stat") is None
