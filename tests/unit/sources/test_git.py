"""Real repositories behind git's own server for HTTP, which this process calls as a web server would."""

from __future__ import annotations

import base64
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from support.forge import Forge

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.steps import Git
from dl4mic_hpc.sources import git
from dl4mic_hpc.sources.cache import Cache

PERSON = base64.b64encode(b"ada:s3cret w0rd").decode()

pytestmark = pytest.mark.usefixtures("own_git")


def fetch(
    cache: Cache, repository: str, ref: str = "", folder: str = "", keep_git: bool = False, checksum: str = ""
) -> Path:
    wanted = Git(repository=repository, ref=ref, folder=folder, keep_git=keep_git, checksum=checksum)
    return git.checkout(wanted, cache=cache, say=lambda _: None)


def refuse(cache: Cache, repository: str, **fields: str) -> str:
    with pytest.raises(RecipeError) as refused:
        fetch(cache, repository, **fields)  # type: ignore[arg-type]
    return f"{refused.value}\n{refused.value.hint}"


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# ---- What it fetches -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smart", [True, False])
def test_the_files_and_nothing_else(forge: Forge, cache: Cache, smart: bool) -> None:
    forge.smart = smart
    forge.commit({"a": "one\ntwo\n", "b/c": "3"})
    folder = fetch(cache, forge.url())
    assert tree(folder) == ["a", "b", "b/c"]
    assert (folder / "a").read_bytes() == b"one\ntwo\n"


@pytest.mark.posix
def test_modes_and_links_whatever_the_person_s_umask(forge: Forge, cache: Cache) -> None:
    forge.commit({"a": "1", "b": "2"})
    (forge.folder / "x.git" / "b").chmod(0o755)
    (forge.folder / "x.git" / "link").symlink_to("nowhere")
    forge.commit({})
    before = os.umask(0o077)
    try:
        folder = fetch(cache, forge.url())
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((folder / name).stat().st_mode) for name in ("a", "b", ".")}
    assert modes == {"a": 0o644, "b": 0o755, ".": 0o755}
    assert (folder / "link").readlink() == Path("nowhere")


@pytest.mark.parametrize(
    ("ref", "content", "smart"),
    [
        *[("", "3", True), ("main", "3", True), ("heads/main", "3", True), ("refs/heads/main", "3", True)],
        *[("old", "2", True), ("feature/main", "2", True), ("both", "2", True), ("COMMIT", "1", True)],
        *[("v1", "1", True), ("refs/tags/v1", "1", True), ("light", "1", True)],
        *[("old", "2", False), ("v1", "1", False), ("COMMIT", "1", False)],
    ],
)
def test_a_ref(forge: Forge, cache: Cache, ref: str, content: str, smart: bool) -> None:
    forge.smart = smart
    first = forge.commit({"a": "1"})
    forge.run("tag", "--annotate", "--message=x", "v1")
    forge.run("tag", "light")
    forge.run("tag", "both")
    forge.commit({"a": "2"})
    for branch in ("old", "both", "feature/main"):
        forge.run("branch", branch)
    forge.commit({"a": "3"})
    folder = fetch(cache, forge.url(), ref=first if ref == "COMMIT" else ref)
    assert (folder / "a").read_text() == content


def test_a_branch_is_asked_for_anew_and_a_commit_is_fetched_once(forge: Forge, cache: Cache) -> None:
    first = forge.commit({"a": "1"})
    before = fetch(cache, forge.url(), ref="main")
    asked = len(forge.server.asked)
    assert fetch(cache, forge.url(), ref="main") == before
    assert len(forge.server.asked) == asked + 2  # the server's greeting, and the list
    forge.commit({"a": "2"})
    assert (fetch(cache, forge.url(), ref="main") / "a").read_text() == "2"
    forge.server.asked.clear()
    assert fetch(cache, forge.url(), ref=first) == before
    assert (before / "a").read_text() == "1"
    assert forge.server.asked == []


@pytest.mark.parametrize("smart", [True, False])
def test_submodules_come_along(forge: Forge, cache: Cache, smart: bool) -> None:
    forge.smart = smart
    forge.commit({"deep": "3"}, name="inmost")
    for outer, inner in (("inner", "inmost"), ("x", "inner")):
        forge.commit({"a": outer}, name=outer)
        forge.run("submodule", "add", str(forge.folder / f"{inner}.git"), "sub", name=outer)
        forge.run("config", "--file=.gitmodules", "submodule.sub.url", f"../{inner}.git", name=outer)
        forge.commit({}, name=outer)
    folder = fetch(cache, forge.url())
    assert tree(folder) == [
        *(".gitmodules", "a", "sub", "sub/.gitmodules", "sub/a", "sub/sub", "sub/sub/deep"),
    ]


def test_a_folder(forge: Forge, cache: Cache) -> None:
    forge.commit({"a/b/c": "1", "a/d": "2"})
    assert tree(fetch(cache, forge.url(), folder="a/b")) == ["c"]
    assert tree(fetch(cache, forge.url(), folder="a", keep_git=True)) == ["b", "b/c", "d"]


@pytest.mark.parametrize("ref", ["", "main", "v1"])
def test_the_history_is_kept_if_wanted(forge: Forge, cache: Cache, ref: str) -> None:
    commit = forge.commit({"a": "1"})
    forge.run("tag", "--annotate", "--message=x", "v1")
    folder = fetch(cache, forge.url(), ref=ref, keep_git=True)
    assert (folder / ".git" / "HEAD").read_text().strip() == commit
    assert not (folder / ".git" / "FETCH_HEAD").exists()
    assert not (folder / ".git" / "logs").exists()
    (forge.folder / "x.git" / ".git").rename(forge.folder / "away")
    shutil.copytree(folder / ".git", forge.folder / "x.git" / ".git")
    assert forge.run("status", "--porcelain") == ""
    if ref == "v1":
        assert forge.run("describe") == "v1"


# ---- Checksums -------------------------------------------------------------------------------------------------------


def test_the_commit_is_the_one_that_was_meant(forge: Forge, cache: Cache) -> None:
    commit = forge.commit({"a": "1"})
    forge.run("tag", "--annotate", "--message=x", "v1")
    tag = forge.run("rev-parse", "v1")
    for ref, checksum in (
        ("main", commit),
        ("main", commit[:7]),
        ("v1", tag),
        ("v1", commit),
        (commit, commit[:12]),
    ):
        assert (fetch(cache, forge.url(), ref=ref, checksum=checksum) / "a").exists()
    for ref in ("main", "v1", commit):
        said = refuse(cache, forge.url(), ref=ref, checksum="0" * 40)
        assert f"is the commit {commit}, not {'0' * 40}" in said


# ---- Passwords -------------------------------------------------------------------------------------------------------


@pytest.mark.posix
def test_a_password_of_the_address_reaches_its_server_and_no_command_line(
    forge: Forge, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.commit({"a": "1"})
    forge.password = PERSON
    seen = tmp_path / "seen"
    wrapper = tmp_path / "bin" / "git"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {seen}\nexec {shutil.which("git")} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", str(wrapper.parent), prepend=os.pathsep)
    address = forge.url().replace("://", "://ada:s3cret%20w0rd@")
    folder = fetch(cache, address, keep_git=True)
    assert (folder / "a").exists()
    assert "s3cret" not in (folder / ".git" / "config").read_text()
    assert "ls-remote" in seen.read_text()
    assert "s3cret" not in seen.read_text()


def test_a_wrong_password_is_in_no_message(forge: Forge, cache: Cache) -> None:
    forge.commit({"a": "1"})
    forge.password = "other"
    said = refuse(cache, forge.url().replace("://", "://ada:s3cret@"))
    assert f"{forge.url()} cannot be fetched" in said
    assert "s3cret" not in said


def test_nobody_is_asked_for_a_password(forge: Forge, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    forge.password = PERSON
    monkeypatch.setenv("SSH_ASKPASS", "false")
    assert "could not read Username" in refuse(cache, forge.url())


# ---- What it refuses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "repository",
    [
        *(
            "file:///tmp/x.git",
            "/tmp/x.git",
            "x.git",
            "ext::sh -c id",
            "ext::sh -c id://x",
            "",
            "--upload-pack=id",
        ),
        *(
            "https://",
            "https://[/x",
            "https://host/a\nb",
            "ftp://host/x",
            "-oProxyCommand=id@host:x",
            "git@-oX:y://z",
        ),
        *("https://host/%0aevil", "https://a:b%0Ac@host/x"),
    ],
)
def test_what_is_no_repository_s_address(cache: Cache, repository: str) -> None:
    assert "cannot be fetched" in refuse(cache, repository)


@pytest.mark.parametrize("ref", ["--upload-pack=id", "-x", "a b", "a:b", "a*", "a^{}", "a\nb"])
def test_what_is_no_ref(cache: Cache, ref: str) -> None:
    assert "names no branch, tag or commit" in refuse(cache, "https://127.0.0.1:1/x.git", ref=ref)


def test_a_ref_that_is_not_there(forge: Forge, cache: Cache) -> None:
    forge.commit({"a": "1"})
    forge.run("branch", "feature/x")
    assert "has no branch or tag 'x'" in refuse(cache, forge.url(), ref="x")
    assert "cannot be fetched" in refuse(cache, forge.url(), ref="0" * 40)


@pytest.mark.parametrize("checksum", ["sha256:00", "x", "0" * 65])
def test_what_is_no_checksum(cache: Cache, checksum: str) -> None:
    assert "is no checksum" in refuse(cache, "https://127.0.0.1:1/x.git", checksum=checksum)


@pytest.mark.parametrize("folder", ["no", "a", "../x", "/b", "b/..", "link", ".git"])
def test_a_folder_that_is_not_inside(forge: Forge, cache: Cache, folder: str) -> None:
    forge.commit({"a": "1", "b/c": "2"})
    if hasattr(os, "symlink"):
        (forge.folder / "x.git" / "link").symlink_to("b")
    forge.commit({})
    assert f"has no folder '{folder}'" in refuse(cache, forge.url(), folder=folder)


@pytest.mark.parametrize("make", [lambda forge: str(forge.folder / "own.git"), lambda forge: "ext::sh -c id"])
def test_a_submodule_of_this_computer(forge: Forge, cache: Cache, make: Callable[[Forge], str]) -> None:
    forge.commit({"secret": "1"}, name="own")
    forge.commit({"a": "1"})
    forge.run("submodule", "add", str(forge.folder / "own.git"), "sub")
    forge.run("config", "--file=.gitmodules", "submodule.sub.url", make(forge))
    forge.commit({})
    assert "not allowed" in refuse(cache, forge.url())


def test_no_git(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    said = refuse(cache, "https://ada:s3cret@127.0.0.1:1/x.git")
    assert "no git that works" in said
    assert "s3cret" not in said


def test_nobody_there(cache: Cache) -> None:
    assert "https://127.0.0.1:1/x.git cannot be fetched: fatal: " in refuse(
        cache, "https://127.0.0.1:1/x.git"
    )
