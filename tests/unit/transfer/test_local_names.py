"""Names that this computer can store."""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dl4mic_hpc.transfer.naming import NameRules, extended, local_names, rules_of

WINDOWS = NameRules(windows=True, unicode_only=True, case_sensitive=False)
MACOS = NameRules(unicode_only=True, case_sensitive=False)
LINUX = NameRules()


def named(rules: NameRules, *paths: str) -> dict[str, str]:
    return {str(path): str(name) for path, name in local_names(map(PurePosixPath, paths), rules).items()}


def test_a_linux_laptop_takes_every_name() -> None:
    paths = ("a", "A", "a/x:y.tif", "CON", "bad\udcff", "new\nline")
    assert named(LINUX, *paths) == dict(zip(paths, paths, strict=True))


def test_two_names_that_are_one_here_get_two_names() -> None:
    names = named(MACOS, "Image.tif", "image.tif", "IMAGE.TIF", "other.tif")
    assert names["other.tif"] == "other.tif"
    assert names["IMAGE.TIF"] == "IMAGE.TIF"
    assert len({name.casefold() for name in names.values()}) == 4
    assert names["image.tif"].startswith("image (")
    assert names["image.tif"].endswith(").tif")


def test_what_lies_in_folders_of_one_name_goes_with_its_folder() -> None:
    names = named(MACOS, "Model", "Model/x", "model", "model/x", "model/sub", "model/sub/y")
    assert names["Model/x"] == "Model/x"
    assert names["model"] != "model"
    assert names["model/x"] == names["model"] + "/x"
    assert names["model/sub/y"] == names["model"] + "/sub/y"


def test_a_letter_written_in_two_ways() -> None:
    composed, decomposed = "é.tif", unicodedata.normalize("NFD", "é.tif")
    assert composed != decomposed
    assert (
        len({unicodedata.normalize("NFC", name) for name in named(MACOS, composed, decomposed).values()}) == 2
    )


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("a:b.tif", "a_b ("),
        ('a<>"|?*\\b.tif', "a_______b ("),
        ("new\nline.tif", "new_line ("),
        ("ends with dot.", "ends with dot ("),
        ("ends with space ", "ends with space ("),
        ("...", "_ ("),
        ("CON", "_CON ("),
        ("aux.txt", "_aux ("),
        ("lpt1.tar.gz", "_lpt1.tar ("),
        ("COM¹", "_COM¹ ("),
        ("bad\udcff.tif", "bad_ ("),
    ],
)
def test_names_that_windows_refuses(name: str, start: str) -> None:
    assert named(WINDOWS, name)[name].startswith(start)


@pytest.mark.parametrize("name", ["console.tif", "nullify", ".hidden", "COM", "COM10", "a.b c (1).tif", "é"])
def test_names_that_windows_takes(name: str) -> None:
    assert named(WINDOWS, name) == {name: name}


def test_a_remark_in_a_name() -> None:
    assert extended("stack.ome.tif", "kept") == "stack.ome (kept).tif"
    assert extended("README", "kept") == "README (kept)"
    assert extended(".hidden", "kept") == ".hidden (kept)"
    long = extended("é" * 125 + ".tif", "kept 2026-01-01 120000")
    assert len(long.encode()) <= 255
    assert long.endswith(" (kept 2026-01-01 120000).tif")


def test_the_rules_of_a_folder_here(tmp_path: Path) -> None:
    rules = rules_of(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "probe").touch()
    assert rules.case_sensitive is not (tmp_path / "PROBE").exists()
    assert rules.windows is (sys.platform == "win32")


NAMES = st.text("aAé\u0301:. \udcff", min_size=1, max_size=4).filter(lambda name: name not in (".", ".."))
PATHS = st.sets(st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: PurePosixPath(*parts)), max_size=12)


@given(PATHS, st.sampled_from([WINDOWS, MACOS, LINUX]))
def test_no_two_paths_share_a_name(paths: set[PurePosixPath], rules: NameRules) -> None:
    everything = paths | {parent for path in paths for parent in path.parents if parent.parts}
    names = local_names(everything, rules)
    assert set(names) == everything
    keys = {str(name) for name in names.values()}
    if not rules.case_sensitive:
        keys = {unicodedata.normalize("NFC", key).casefold() for key in keys}
    assert len(keys) == len(everything)
    assert all(names.get(path.parent, PurePosixPath()) == name.parent for path, name in names.items())
    assert names == local_names(sorted(everything, reverse=True), rules)
