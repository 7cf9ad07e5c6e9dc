"""COPY's and ADD's files: what is taken, how it is packed, and that nothing but names, modes and contents counts."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import socket
import stat
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe import archives
from dl4mic_hpc.recipe import context as build_context
from dl4mic_hpc.recipe.context import MTIME, Packed, context_digest, pack
from dl4mic_hpc.recipe.outside import Nothing, Outside
from dl4mic_hpc.recipe.patterns import Patterns, has_wildcards
from dl4mic_hpc.recipe.steps import Context, Copy, Git, Origin, Source, Text, Url
from dl4mic_hpc.recipe.tree import Tree

URL = Url(address="https://example.org/a/data.csv", checksum="")
GIT = Git(repository="https://example.org/a.git", ref="", folder="", keep_git=False, checksum="")


def source(path: str | tuple[Origin, str]) -> Source:
    if isinstance(path, tuple):
        return Source(origin=path[0], path=path[1])
    return Source(origin=Context(), path=path, glob=has_wildcards(path))


def packed(
    folder: Path,
    *sources: str | tuple[Origin, str],
    to: str = "/x/",
    portable: bool = True,
    outside: Outside | None = None,
    beside: Path | None = None,
    **flags: object,
) -> Packed:
    fields: dict[str, object] = {"destination": to, "line": 7, "text": "COPY", **flags}
    copy = Copy(sources=tuple(map(source, sources)), **fields)  # type: ignore[arg-type]
    return pack(
        copy,
        context=folder,
        name="Dockerfile",
        outside=outside or Nothing(),
        portable_modes=portable,
        beside=beside,
    )


def listing(archive: bytes) -> dict[str, tuple[str, int]]:
    """By name: content and mode; of a link, "-> " and where it leads."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        found = {}
        for entry in tar:
            assert (entry.uid, entry.gid, entry.uname, entry.gname, entry.mtime) == (0, 0, "", "", MTIME)
            content = tar.extractfile(entry) if entry.isreg() else None
            said = content.read().decode() if content else f"-> {entry.linkname}"
            found[entry.name] = (said, entry.mode)
    return found


def names(found: Packed) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(found.archive)) as tar:
        return tar.getnames()


def folders(found: Packed) -> list[str]:
    return [line.split(" ", 1)[1] for line in found.folders.decode().splitlines()]


def fill(folder: Path, *files: str) -> Path:
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"<{name}>", encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fill(tmp_path, "one", "two", "tree/b", "tree/a/deep/c", "tree/é ü")
    (tmp_path / "tree" / "empty").mkdir()
    return tmp_path


def test_files_keep_their_names(folder: Path) -> None:
    found = packed(folder, "one", "tree/b")
    assert listing(found.archive) == {"b": ("<tree/b>", 0o644), "one": ("<one>", 0o644)}
    assert packed(folder, "two", "one").archive == packed(folder, "one", "two").archive
    assert (found.folders, found.archives, found.member) == (b"", (), None)


def test_of_a_folder_the_contents_are_copied(folder: Path) -> None:
    for path in ("tree", "tree/", "/tree", "./one/../tree"):
        found = packed(folder, path)
        assert names(found) == ["a/deep/c", "b", "é ü"]
        assert found.folders == b"0755 a\n0755 a/deep\n0755 empty\n"


def test_the_whole_context(folder: Path) -> None:
    for path in (".", "/"):
        assert set(names(packed(folder, path))) == {"one", "two", "tree/b", "tree/a/deep/c", "tree/é ü"}


@pytest.mark.parametrize(
    ("sources", "to", "member"),
    [
        (["one"], "/x/y", "one"),
        (["one"], "/x/", None),
        (["tree"], "/x/y", None),
        (["on*"], "/x/y", "one"),
        (["on*", "none*"], "/x/y", "one"),
        (["*o*"], "/x/y", None),
        (["one", "two"], "/x/y", None),
        (["one", "tree"], "/x/y", None),
        ([(Text(content=b"x"), "name")], "/x/y", "name"),
        ([(Text(content=b"x"), "name")], "/x/", None),
    ],
)
def test_one_file_for_a_name_that_may_be_a_folder(
    folder: Path, sources: list[str], to: str, member: str | None
) -> None:
    assert packed(folder, *sources, to=to).member == member


def test_a_later_source_wins(folder: Path) -> None:
    fill(folder, "tree/one")
    assert listing(packed(folder, "one", "tree").archive)["one"][0] == "<tree/one>"
    assert listing(packed(folder, "tree", "one").archive)["one"][0] == "<one>"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*", ["a.py", "b", "c.txt", "deep/t", "l.py", "s.py"]),
        ("*.py", ["a.py", "b", "l.py"]),
        ("?.py", ["a.py", "b", "l.py"]),
        ("[^l].py", ["a.py", "b"]),
        ("*/*.py", ["s.py"]),
        ("sub/*.py", ["s.py"]),
        ("sub/*/t", ["t"]),
        ("*/deep", ["t"]),
        ("sub[^x]s.py", ["s.py"]),
        ("l*", ["l.py"]),
    ],
)
@pytest.mark.posix
def test_globs(tmp_path: Path, pattern: str, found: list[str]) -> None:
    """A folder that matches gives its contents, a link what it leads to, under the link's name."""
    fill(tmp_path, "a.py", "b.py/b", "c.txt", "sub/s.py", "sub/deep/t")
    (tmp_path / "l.py").symlink_to("c.txt")
    got = packed(tmp_path, pattern)
    assert names(got) == found
    assert listing(got.archive).get("l.py", ("<c.txt>",))[0] == "<c.txt>"


def test_of_a_folder_that_matches_nothing_inside_matches(tmp_path: Path) -> None:
    fill(tmp_path, "ab/c/f")
    assert names(packed(tmp_path, "*[^x]?")) == ["c/f"]


def test_a_name_with_wildcards_in_it(tmp_path: Path) -> None:
    fill(tmp_path, "arr[0].txt", "arr0.txt")
    assert names(packed(tmp_path, "arr[[]0].txt")) == ["arr[0].txt"]
    assert names(packed(tmp_path, r"arr\[0].txt*")) == ["arr[0].txt"]
    literal = Source(origin=Context(), path="arr[0].txt")
    copy = Copy(sources=(literal,), destination="/x/", line=1, text="COPY")
    found = pack(copy, context=tmp_path, name="D", outside=Nothing(), portable_modes=True)
    assert names(found) == ["arr[0].txt"]


def test_a_pattern_may_match_nothing_if_another_source_does(folder: Path) -> None:
    assert names(packed(folder, "one", "none*")) == ["one"]
    with pytest.raises(RecipeError, match=r"^Dockerfile:7: nothing in the build context matches no\*ne x\*$"):
        packed(folder, "no*ne", "x*")


@pytest.mark.parametrize(
    ("ignore", "sources", "found", "made"),
    [
        ("one\n", ["."], [".dockerignore", "tree/a/deep/c", "tree/b", "tree/é ü", "two"], None),
        ("*\n!tree/a\n", ["."], ["tree/a/deep/c"], ["tree", "tree/a", "tree/a/deep"]),
        ("*\n!tree/b\n", ["tree"], ["b"], []),
        ("*\n!tree/b\n", ["*"], ["b"], []),
        ("**\n!**/c\n", ["."], ["tree/a/deep/c"], ["tree", "tree/a", "tree/a/deep"]),
        ("tree/*\n!tree/empty\n", ["tree"], [], ["empty"]),
        ("**/deep\n", ["tree"], ["b", "é ü"], ["a", "empty"]),
        ("tree/a/deep/c\n", ["tree/a"], [], ["deep"]),
    ],
)
def test_dockerignore(
    folder: Path, ignore: str, sources: list[str], found: list[str], made: list[str] | None
) -> None:
    (folder / ".dockerignore").write_text(ignore, encoding="utf-8")
    got = packed(folder, *sources)
    assert names(got) == found
    assert made is None or folders(got) == made


def test_a_folder_with_exceptions_is_there_once(folder: Path) -> None:
    tree = Tree(folder, Patterns(["*", "!tree/a", "!tree/b"]))
    assert [node.path for node in tree.below(tree.find(""))] == [
        "tree", "tree/a", "tree/a/deep", "tree/a/deep/c", "tree/b",
    ]  # fmt: skip
    assert tree.glob("t*") == ["tree"]


def test_a_dockerignore_of_the_dockerfile_wins(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (folder / ".dockerignore").write_text("one")
    beside = tmp_path_factory.mktemp("recipes")
    (beside / "Dockerfile.dockerignore").write_text("t*")
    assert names(packed(folder, ".", beside=beside)) == [".dockerignore", "one"]
    assert "two" in names(packed(folder, "."))
    (folder / "Dockerfile.dockerignore").write_text("")
    assert "one" in names(packed(folder, "."))


def test_what_dockerignore_leaves_out_cannot_be_named(folder: Path) -> None:
    (folder / ".dockerignore").write_text("tree\none\n!tree/x\n")
    for path in ("one", "tree", "tree/a", "tree/b"):
        with pytest.raises(
            RecipeError, match=rf"^Dockerfile:7: {path} is left out .* by \.dockerignore"
        ) as caught:
            packed(folder, path)
        assert f"!{path}" in caught.value.hint
    with pytest.raises(RecipeError, match="nothing in the build context matches o"):
        packed(folder, "o*")


@pytest.mark.posix
def test_what_is_left_out_need_not_be_readable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def guarded(place: str) -> object:
        if Path(place).name == "tree":
            raise PermissionError(13, "Permission denied", place)
        return scandir(place)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(RecipeError, match=r"Dockerfile:7: .*tree cannot be read: Permission denied"):
        packed(folder, ".")
    for ignore in ("tree", "tree\n!tree/b"):
        (folder / ".dockerignore").write_text(ignore)
        assert names(packed(folder, ".")) == [".dockerignore", "one", "two"]


@pytest.mark.parametrize(
    ("exclude", "found", "made"),
    [
        (["b"], ["a/deep/c", "é ü"], ["a", "a/deep", "empty"]),
        (["a"], ["b", "é ü"], ["empty"]),
        (["*"], [], []),
        (["**/c"], ["b", "é ü"], ["a", "a/deep", "empty"]),
        (["*", "!a/deep/c"], ["a/deep/c"], ["a", "a/deep"]),
        (["./a/../b", "empty/"], ["a/deep/c", "é ü"], ["a", "a/deep"]),
        (["/b", "tree/b"], ["a/deep/c", "b", "é ü"], ["a", "a/deep", "empty"]),
    ],
)
def test_exclude_speaks_of_what_is_in_the_source(
    folder: Path, exclude: list[str], found: list[str], made: list[str]
) -> None:
    got = packed(folder, "tree", exclude=tuple(exclude))
    assert (names(got), folders(got)) == (found, made)
    assert names(packed(folder, "t*e", exclude=tuple(exclude))) == found


def test_exclude_of_a_file_that_is_a_source(folder: Path) -> None:
    for path in ("one", "*"):
        with pytest.raises(RecipeError, match="--exclude says one, which is a source by itself"):
            packed(folder, path, exclude=("one",))
    with pytest.raises(RecipeError, match=r"--exclude: '\[' is no pattern"):
        packed(folder, "tree", exclude=("[",))


@pytest.mark.parametrize(
    ("path", "found", "made"),
    [
        ("tree/a", ["tree/a/deep/c"], ["tree", "tree/a", "tree/a/deep"]),
        ("tree/./a", ["a/deep/c"], ["a", "a/deep"]),
        ("tree/a/./deep/c", ["deep/c"], ["deep"]),
        ("one", ["one"], []),
        ("*/b", ["tree/b"], ["tree"]),
        ("**/c", ["tree/a/deep/c"], ["tree", "tree/a", "tree/a/deep"]),
        ("t*/./**/c", ["a/deep/c"], ["a", "a/deep"]),
        ("tree/./*", ["a/deep/c", "b", "é ü"], ["a", "a/deep", "empty"]),
        ("tree/./none*", [], []),
        (".", ["one", "tree/a/deep/c", "tree/b", "tree/é ü", "two"], None),
    ],
)
def test_parents(folder: Path, path: str, found: list[str], made: list[str] | None) -> None:
    got = packed(folder, path, parents=True)
    assert names(got) == found
    assert made is None or folders(got) == made
    assert got.member is None


def test_parents_with_exclude_and_modes(folder: Path) -> None:
    got = packed(folder, "tree", parents=True, exclude=("tree/a", "**/é*"))
    assert (names(got), folders(got)) == (["tree/b"], ["tree", "tree/empty"])


@pytest.mark.posix
def test_parents_follow_no_links(folder: Path) -> None:
    (folder / "link").symlink_to("tree")
    with pytest.raises(RecipeError, match="link/b is reached through a link"):
        packed(folder, "link/b", parents=True)
    with pytest.raises(RecipeError, match="has no tree/none"):
        packed(folder, "tree/none", parents=True)
    assert names(packed(folder, "link/./b", parents=True)) == ["b"]


@pytest.mark.posix
def test_links_in_a_folder_stay_links(folder: Path) -> None:
    for name, target in {
        "l": "b",
        "out": "../../etc/x",
        "abs": "/usr/lib",
        "dir": "a//deep/./",
        "gone": "no",
    }.items():
        (folder / "tree" / name).symlink_to(target)
    got = packed(folder, "tree")
    links = {name: said for name, (said, _) in listing(got.archive).items() if said.startswith("->")}
    assert links == {
        "l": "-> b", "out": "-> ../../etc/x", "abs": "-> /usr/lib", "dir": "-> a//deep/./", "gone": "-> no",
    }  # fmt: skip
    assert listing(packed(folder, "tree", mode="600").archive)["l"] == ("-> b", 0o777)


@pytest.mark.posix
def test_a_source_that_is_a_link_is_followed(folder: Path) -> None:
    for name, target in {
        "to-file": "tree/b",
        "to-tree": "./tree",
        "chain": "to-tree",
        "rooted": "/tree/a",
        "clamped": "../../../tree/a",
        "tree/up": "../one",
        "tree/a/top": "/one",
    }.items():
        (folder / name).symlink_to(target)
    assert listing(packed(folder, "to-file").archive) == {"to-file": ("<tree/b>", 0o644)}
    assert "b" in names(packed(folder, "chain"))
    assert names(packed(folder, "rooted")) == names(packed(folder, "clamped")) == ["deep/c", "top"]
    assert listing(packed(folder, "to-tree/a/top").archive) == {"top": ("<one>", 0o644)}
    assert names(packed(folder, "to-tree/b")) == ["b"]
    assert listing(packed(folder, "chain/up").archive)["up"][0] == "<one>"
    assert names(packed(folder, "to-tree/*")) == ["b", "deep/c", "top", "up", "é ü"]
    assert names(packed(folder, "*/b")) == ["b"]


@pytest.mark.posix
@pytest.mark.parametrize(
    ("name", "target", "said"),
    [
        ("gone", "none", r"has no gone \(gone -> none, which is looked for in the context\)"),
        ("out", "../secret", r"has no out \(out -> \.\./secret"),
        ("passwd", "/etc/passwd", r"has no passwd \(passwd -> /etc/passwd"),
        ("loop", "loop", "loop is a link that leads to itself"),
        ("hidden", "two", "two is left out"),
        ("two-link", "one", "two-link is left out"),
    ],
)
def test_links_that_lead_nowhere(folder: Path, name: str, target: str, said: str) -> None:
    (folder.parent / "secret").write_text("x")
    (folder / name).symlink_to(target)
    (folder / ".dockerignore").write_text("two*\n")
    with pytest.raises(RecipeError, match=said):
        packed(folder, name)


@pytest.mark.posix
def test_modes(folder: Path) -> None:
    (folder / "one").chmod(0o700)
    (folder / "two").chmod(0o660)
    (folder / "tree" / "b").chmod(0o4755)
    (folder / "tree" / "a").chmod(0o1775)
    assert {mode for _, mode in listing(packed(folder, "one", "two").archive).values()} == {0o755, 0o644}
    exact = packed(folder, ".", portable=False)
    found = listing(exact.archive)
    assert [found[name][1] for name in ("one", "two", "tree/b")] == [0o700, 0o660, 0o4755]
    assert b"1775 tree/a\n" in exact.folders


@pytest.mark.posix
def test_chmod(folder: Path) -> None:
    (folder / "tree" / "b").chmod(0o755)
    got = packed(folder, "tree", mode="640")
    assert {mode for _, mode in listing(got.archive).values()} == {0o640}
    assert got.folders == b"0640 a\n0640 a/deep\n0640 empty\n"
    got = packed(folder, "tree", mode="go-rx,u+X")
    assert [mode for _, mode in listing(got.archive).values()] == [0o600, 0o700, 0o600]
    assert got.folders.startswith(b"0700 a\n")
    (folder / "tree" / "empty").chmod(0o600)
    assert b"0711 empty\n" in packed(folder, "tree", mode="+X", portable=False).folders
    text = packed(folder, (Text(content=b"x"), "f"), mode="+x")
    assert listing(text.archive)["f"][1] == 0o755
    with pytest.raises(RecipeError, match="Dockerfile:7: --chmod=9 says no mode"):
        packed(folder, "one", mode="9")


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
    assert context_digest(folder, "Dockerfile") == context_digest(elsewhere, "Dockerfile")


class Fetched(Nothing):
    def __init__(self, path: Path) -> None:
        self.path = path

    def url(self, url: Url) -> Path:
        return self.path

    def git(self, git: Git) -> Path:
        return self.path


@pytest.mark.posix
def test_what_is_fetched(folder: Path) -> None:
    from_url = Fetched(folder / "one")
    for portable, mode in ((True, 0o644), (False, 0o600)):
        got = packed(folder, (URL, "data.csv"), to="/d", outside=from_url, portable=portable, unpack=True)
        assert (listing(got.archive), got.member) == ({"data.csv": ("<one>", mode)}, "data.csv")
    (folder / "tree" / "b").chmod(0o777)
    (folder / "tree" / ".dockerignore").write_text("*")
    from_git = packed(folder, (GIT, ""), outside=Fetched(folder / "tree"), portable=False, exclude=("a",))
    assert {name: mode for name, (_, mode) in listing(from_git.archive).items()} == {
        ".dockerignore": 0o644, "b": 0o755, "é ü": 0o644,
    }  # fmt: skip
    assert folders(from_git) == ["empty"]
    for origin in (URL, GIT):
        with pytest.raises(
            RecipeError, match=r"^Dockerfile:7: https://example.org/a.* is not fetched here"
        ) as caught:
            packed(folder, (origin, "x"))
        assert caught.value.hint


def test_a_here_document(folder: Path) -> None:
    got = packed(folder, (Text(content="é\n".encode()), "conf"), "one")
    assert listing(got.archive) == {"conf": ("é\n", 0o644), "one": ("<one>", 0o644)}


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("inner")
        entry.uid, entry.size = 1000, 2
        tar.addfile(entry, io.BytesIO(b"hi"))
    return buffer.getvalue()


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "two streams": lambda data: gzip.compress(data[:700], mtime=0) + gzip.compress(data[700:], mtime=0),
}


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_add_unpacks_archives_by_their_content(folder: Path, kind: str) -> None:
    (folder / "data.txt").write_bytes(COMPRESSIONS[kind](tarred()))
    got = packed(folder, "data.txt", to="/x", unpack=True)
    assert (got.archives, names(got), got.member) == ((tarred(),), [], None)
    assert names(packed(folder, "data.txt")) == ["data.txt"]


def test_add_unpacks_only_sources_that_are_archives(folder: Path) -> None:
    (folder / "tree" / "in.tar").write_bytes(tarred())
    got = packed(folder, "tree", unpack=True)
    assert ("in.tar" in names(got), got.archives) == (True, ())
    got = packed(folder, "one", "tree/*.tar", unpack=True)
    assert (names(got), got.archives) == (["one"], (tarred(),))
    with pytest.raises(RecipeError, match="the file one comes after an archive"):
        packed(folder, "tree/in.tar", "one", unpack=True)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"text", gzip.compress(b"text", mtime=0), b"BZhello", b"\x1f\x8b\x08", bytes(10_240), tarred()[:300],
        lzma.compress(b""), gzip.compress(bytes(1024), mtime=0),
    ],
)  # fmt: skip
def test_what_is_no_archive_is_copied(folder: Path, content: bytes) -> None:
    (folder / "data.tar.gz").write_bytes(content)
    got = packed(folder, "data.tar.gz", unpack=True, to="/x/y")
    assert (names(got), got.archives, got.member) == (["data.tar.gz"], (), "data.tar.gz")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x28\xb5\x2f\xfd....", "ADD would unpack d, which Zstandard"),
        (b"\x5a\x2a\x4d\x18....", "ADD would unpack d, which Zstandard"),
        (gzip.compress(tarred() + bytes(range(256)) * 400)[:-300], "the archive d cannot be decompressed"),
        (bz2.compress(tarred() + os.urandom(10**6))[:-9], "the archive d cannot be decompressed"),
    ],
)
def test_archives_that_cannot_be_unpacked(folder: Path, content: bytes, said: str) -> None:
    (folder / "d").write_bytes(content)
    with pytest.raises(RecipeError, match=f"^Dockerfile:7: {said}"):
        packed(folder, "d", unpack=True)
    assert names(packed(folder, "d")) == ["d"]


@pytest.mark.parametrize(
    ("sources", "said", "hint"),
    [
        (("x",), "has no x", "there is: both, one, tree, two"),
        (("ome",), "has no ome", "perhaps you meant 'one'"),
        (("tree/none",), "has no tree/none", "there is: a, b"),
        (("one/none",), "has no one/none", "put it there"),
        (("none/x*",), "has no none", ""),
        (("../x",), r"\.\./x lies outside of the build context", "further up"),
        (("tree/../../x*",), "lies outside of the build context", ""),
        (("x" * 300,), "has no xxx", ""),
        (("a\x00b",), r"the name 'a\\x00b' holds", "rename"),
        (("[x",), r"'\[x' is no pattern", "brackets"),
        (("one", "both"), "one would be a file and a folder", ""),
        (("both", "one"), "one would be a file and a folder", ""),
    ],
)
def test_what_is_refused(folder: Path, sources: tuple[str, ...], said: str, hint: str) -> None:
    (folder / "both" / "one").mkdir(parents=True)
    with pytest.raises(RecipeError, match=f"^Dockerfile:7: .*{said}") as caught:
        packed(folder, *sources)
    assert hint in caught.value.hint
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "said"), [("nowhere", "there is no build context"), ("one", "is not a folder")]
)
def test_a_context_that_is_no_folder(folder: Path, name: str, said: str) -> None:
    with pytest.raises(RecipeError, match=f"^Dockerfile:7: .*{said}"):
        packed(folder / name, ".")
    with pytest.raises(RecipeError, match=said):
        context_digest(folder / name, "Dockerfile")


@pytest.mark.posix
def test_a_context_that_is_a_link(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    link = tmp_path_factory.mktemp("links") / "context"
    link.symlink_to(folder)
    assert packed(link, ".") == packed(folder, ".")


@pytest.mark.posix
def test_what_is_neither_file_nor_folder(folder: Path) -> None:
    os.mkfifo(folder / "tree" / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(folder)
        try:
            server.bind("plug")
        finally:
            os.chdir(here)
    for path, said in (
        ("tree", "tree/pipe is a named pipe"),
        ("tree/pipe", "tree/pipe is a named"),
        ("plug", "plug is a so"),
    ):
        for unpack in (False, True):
            with pytest.raises(RecipeError, match=said):
                packed(folder, path, unpack=unpack)
    (folder / ".dockerignore").write_text("**/p*\n")
    assert "tree/b" in names(packed(folder, "."))


@pytest.mark.posix
@pytest.mark.parametrize("name", ["a\nb", "a\x7fb", b"a\xffb"])
def test_names_that_no_list_can_hold(folder: Path, name: str | bytes) -> None:
    path = folder / "tree" / os.fsdecode(name)
    for make, remove in ((Path.touch, Path.unlink), (Path.mkdir, Path.rmdir)):
        make(path)
        with pytest.raises(RecipeError, match=r"Dockerfile:7: the name 'a.*b' holds"):
            packed(folder, "tree")
        remove(path)
    path.touch()
    (folder / ".dockerignore").write_text("tree/a?b")
    assert packed(folder, "tree").archive


@pytest.mark.posix
def test_links_to_what_no_archive_can_hold(folder: Path) -> None:
    (folder / "tree" / "l").symlink_to(os.fsdecode(b"\xff"))
    with pytest.raises(RecipeError, match="holds a character"):
        packed(folder, "tree")


def test_unreadable_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_bytes(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    with pytest.raises(RecipeError, match=r"Dockerfile:7: .*one cannot be read: Permission denied"):
        packed(folder, "one")


def test_more_than_an_instruction_may_hold(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LIMIT", 5)
    assert names(packed(folder, "one"))
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read"))
    for sources in (("one", "two"), (".",), ("*",), ((Text(content=b"123456"), "t"),)):
        with pytest.raises(RecipeError, match=r"^Dockerfile:7: this takes more than 0 MiB") as caught:
            packed(folder, *sources)
        assert ".dockerignore" in caught.value.hint
    (folder / "bomb").write_bytes(gzip.compress(tarred(), mtime=0))
    with pytest.raises(RecipeError, match="takes more than"):
        packed(folder, "bomb", unpack=True)


def test_a_file_that_grows_while_it_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LIMIT", 5)
    monkeypatch.setattr(Path, "read_bytes", lambda path: b"123456")
    with pytest.raises(RecipeError, match="takes more than"):
        packed(folder, "one")


def test_a_bad_dockerignore_is_named_by_its_own_line(folder: Path) -> None:
    (folder / ".dockerignore").write_text("a\n[\n")
    with pytest.raises(RecipeError, match=r"^\.dockerignore:2: "):
        packed(folder, "one")
    with pytest.raises(RecipeError, match=r"^\.dockerignore:2: "):
        context_digest(folder, "Dockerfile")


@pytest.mark.posix
def test_folders_deeper_than_the_stack(tmp_path: Path) -> None:
    depth = sys.getrecursionlimit() + 100
    inside = [tmp_path / ("d/" * level) for level in range(1, depth + 1)]
    try:
        for path in inside:
            path.mkdir()
        assert len(folders(packed(tmp_path, "."))) == depth
        assert len(context_digest(tmp_path, "Dockerfile")) == 32
    finally:
        for path in reversed(inside):  # pytest's own cleaning would give up
            path.rmdir()


@pytest.mark.posix
@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (lambda folder: (folder / "one").write_text("other"), True),
        (lambda folder: (folder / "one").chmod(0o755), True),
        (lambda folder: (folder / "one").chmod(0o600), False),
        (lambda folder: (folder / "new").mkdir(), True),
        (lambda folder: (folder / "new").symlink_to("x"), True),
        (lambda folder: (folder / "one").rename(folder / "1"), True),
        (lambda folder: (folder / "two").write_text("other"), False),
        (lambda folder: os.mkfifo(folder / "pipe"), True),
    ],
)
def test_the_digest_of_a_context(folder: Path, change: Callable[[Path], object], seen: bool) -> None:
    (folder / ".dockerignore").write_text("two\n")
    before = context_digest(folder, "Dockerfile")
    assert len(before) == 32
    change(folder)
    assert (context_digest(folder, "Dockerfile") != before) is seen


@pytest.mark.posix
def test_the_digest_passes_over_what_cannot_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = context_digest(folder, "Dockerfile")
    real = Path.open

    def guarded(path: Path, *arguments: object) -> object:
        if path.name == "one":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", guarded)
    assert context_digest(folder, "Dockerfile") != before
    assert stat.S_ISREG((folder / "one").stat().st_mode)
