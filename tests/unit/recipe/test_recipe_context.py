"""COPY's files: what is taken, how it is packed, and that nothing but names, modes and contents counts."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe import context as build_context
from dl4mic_hpc.recipe.context import MTIME, Packed, pack
from dl4mic_hpc.recipe.steps import Copy


def copy(*sources: str, to: str = "/x/", add: bool = False) -> Copy:
    return Copy(sources=sources, destination=to, refuse_archives=add, line=7, text="COPY")


def packed(folder: Path, *sources: str, to: str = "/x/", add: bool = False, portable: bool = True) -> Packed:
    return pack(copy(*sources, to=to, add=add), context=folder, name="Dockerfile", portable_modes=portable)


def listing(archive: bytes) -> dict[str, tuple[str, int]]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        found = {}
        for entry in tar:
            content = tar.extractfile(entry)
            assert content
            assert (entry.uid, entry.gid, entry.uname, entry.gname, entry.mtime) == (0, 0, "", "", MTIME)
            found[entry.name] = (content.read().decode(), entry.mode)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in {
        "one": "1",
        "two": "2",
        "tree/b": "b",
        "tree/a/deep/c": "c",
        "tree/é ü": "e",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    (tmp_path / "tree" / "empty").mkdir()
    return tmp_path


def test_files_keep_their_names(folder: Path) -> None:
    found = packed(folder, "one", "tree/b")
    assert listing(found.archive) == {"b": ("b", 0o644), "one": ("1", 0o644)}
    assert packed(folder, "two", "one").archive == packed(folder, "one", "two").archive
    assert (found.folders, found.member) == (b"", None)


def test_of_a_folder_the_contents_are_copied(folder: Path) -> None:
    found = packed(folder, "tree")
    assert list(listing(found.archive)) == ["a/deep/c", "b", "é ü"]
    assert found.folders == b"0755 a\n0755 a/deep\n0755 empty\n"


def test_the_whole_context(folder: Path) -> None:
    assert set(listing(packed(folder, ".").archive)) == {"one", "two", "tree/b", "tree/a/deep/c", "tree/é ü"}


def test_one_file_for_a_name_that_may_be_a_folder(folder: Path) -> None:
    assert packed(folder, "one", to="/x/y").member == "one"
    assert packed(folder, "one", to="/x/").member is None
    assert packed(folder, "tree", to="/x/y").member is None


def test_a_later_source_wins(folder: Path) -> None:
    (folder / "tree" / "one").write_text("other")
    assert listing(packed(folder, "one", "tree").archive)["one"][0] == "other"
    assert listing(packed(folder, "tree", "one").archive)["one"][0] == "1"


@pytest.mark.posix
def test_modes(folder: Path) -> None:
    (folder / "one").chmod(0o700)
    (folder / "two").chmod(0o660)
    (folder / "tree" / "a").chmod(0o1775)
    assert {mode for _, mode in listing(packed(folder, "one", "two").archive).values()} == {0o755, 0o644}
    exact = packed(folder, ".", portable=False)
    assert (listing(exact.archive)["one"][1], listing(exact.archive)["two"][1]) == (0o700, 0o660)
    assert b"1775 tree/a\n" in exact.folders


def test_modes_where_the_system_keeps_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_context, "_KEEPS_MODES", False)
    (folder / "one").write_text("#!/bin/sh\n")
    found = packed(folder, ".", portable=False)
    assert (listing(found.archive)["one"][1], listing(found.archive)["two"][1]) == (0o755, 0o644)
    assert b"0755 tree\n" in found.folders


def test_times_and_places_do_not_count(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "copy"
    for path in sorted(folder.rglob("*"), reverse=True):
        target = elsewhere / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            target.write_bytes(path.read_bytes())
            os.utime(target, (1, 1))
    assert packed(folder, "tree", "one") == packed(elsewhere, "tree", "one")


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (("none",), "has no none"),
        (("tree/none",), "has no tree/none"),
        (("one/none",), "has no one/none"),
        (("one", "both"), "one would be a file and a folder"),
    ],
)
def test_what_is_refused(folder: Path, sources: tuple[str, ...], said: str) -> None:
    (folder / "both" / "one").mkdir(parents=True)
    with pytest.raises(RecipeError, match=f"Dockerfile:7: .*{said}") as caught:
        packed(folder, *sources)
    assert caught.value.hint


@pytest.mark.parametrize("name", [".dockerignore", "Dockerfile.dockerignore"])
def test_dockerignore_is_not_passed_over(folder: Path, name: str) -> None:
    (folder / name).touch()
    with pytest.raises(RecipeError, match=f"Dockerfile:7: {name} is not converted yet"):
        packed(folder, "one")


@pytest.mark.posix
def test_links_and_other_things(folder: Path) -> None:
    (folder / "link").symlink_to("one")
    (folder / "tree" / "a" / "inner").symlink_to("deep")
    os.mkfifo(folder / "pipe")
    for source, said in (
        ("link", "link is a symbolic link"),
        ("tree", "tree/a/inner is a symbolic link"),
        ("tree/a/inner/c", "tree/a/inner is a symbolic link"),
        ("pipe", "pipe is neither a file nor a folder"),
    ):
        with pytest.raises(RecipeError, match=said):
            packed(folder, source)


@pytest.mark.posix
def test_names_that_no_list_can_hold(folder: Path) -> None:
    (folder / "tree" / "a\nb").touch()
    with pytest.raises(RecipeError, match=r"the name 'a\\nb' holds"):
        packed(folder, "tree")


def test_unreadable_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_bytes(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    with pytest.raises(RecipeError, match=r"Dockerfile:7: .*one cannot be read: Permission denied"):
        packed(folder, "one")


@pytest.mark.parametrize("kind", ["w", "w:gz", "w:bz2", "w:xz"])
def test_add_unpacks_no_archives(folder: Path, kind: str) -> None:
    with tarfile.open(folder / "data", kind) as tar:
        tar.addfile(tarfile.TarInfo("x"))
    assert list(packed(folder, "data").archive)
    for source in ("data", "."):
        with pytest.raises(RecipeError, match="ADD would unpack the archive data"):
            packed(folder, source, add=True)
    assert listing(packed(folder, "one", add=True).archive) == {"one": ("1", 0o644)}
