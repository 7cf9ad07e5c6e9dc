"""`image list`, `check`, `remove`, `prune` as a person meets them; the cluster is this machine."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.local_remote import LocalRemote
from support.shelf import KEY, put_image, put_session

from dl4mic_hpc.cli import console

pytestmark = pytest.mark.posix


@pytest.fixture
def image(tmp_path: Path, run_cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image on the cluster myuni, where nothing runs."""
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    squeue.write_text("#!/bin/sh\n")
    squeue.chmod(0o755)

    @contextlib.contextmanager
    def connect(*_: object, **__: object) -> Iterator[LocalRemote]:
        yield LocalRemote(path=squeue.parent)

    monkeypatch.setattr("dl4mic_hpc.ssh.connect", connect)
    assert run_cli("cluster", "add", "myuni", "--host", "h", "--work-dir", str(tmp_path / "work")).code == 0
    return put_image(tmp_path / "work" / "images")


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A terminal at which a person answers this."""

    def answer(text: str) -> None:
        monkeypatch.setattr(console, "can_ask", lambda: True)
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    return answer


@pytest.mark.parametrize("verb", [("remove", KEY[:6]), ("prune",)])
@pytest.mark.parametrize(("said", "gone"), [("y\n", True), ("n\n", False), ("", False)])
def test_a_person_is_asked(
    image: Path, run_cli: Callable[..., Any], answering: Callable[[str], None],
    verb: tuple[str, ...], said: str, gone: bool,
):  # fmt: skip
    answering(said)
    done = run_cli("image", *verb)
    assert done.code == 0
    assert "? [y/N]" in done.err
    assert ("Nothing was removed" in done.out) is not gone
    assert image.exists() is not gone


@pytest.mark.parametrize("verb", [("remove", KEY), ("prune",)])
def test_where_nobody_can_answer_nothing_is_removed(
    image: Path, run_cli: Callable[..., Any], verb: tuple[str, ...]
):
    done = run_cli("image", *verb)
    assert (done.code, image.exists()) == (2, True)
    assert "--yes" in done.err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("check",), "give --all"),
        (("check", KEY, "--all"), "exclude each other"),
        (("check", "unet"), "there is no image 'unet' on myuni"),
        (("remove", "unet", "--yes"), "there is no image 'unet' on myuni"),
        (("prune", "--older-than", "3 months"), "12h, 30d, 2w"),
    ],
)
def test_what_cannot_be_meant(image: Path, run_cli: Callable[..., Any], argv: tuple[str, ...], said: str):
    done = run_cli("image", *argv)
    assert (done.code, image.exists()) == (2, True)
    assert said in done.err


def test_the_list_says_who_uses_what(image: Path, run_cli: Callable[..., Any]):
    put_session(image.parents[1], "k7q2mx", image)
    (image.parent / f"n2v-{KEY}.lock").mkdir()
    done = run_cli("image", "list")
    head, row, *rest = done.out.splitlines()
    assert head.startswith("NAME") and row.startswith(f"care_2d  {KEY}  docker.io/lab/care:1")
    assert "session k7q2mx (not submitted)  usable" in row
    assert "a lock" in rest[2] and "in use, or recent" in rest[2]


def test_reading_tells_what_to_do(image: Path, run_cli: Callable[..., Any]):
    image.with_suffix(".json").unlink()
    done = run_cli("image", "check", "care_2d")
    assert done.code == 7
    assert "record is missing" in done.out and f"image remove {KEY}" in done.err


def test_pruning_twice_finds_nothing_the_second_time(image: Path, run_cli: Callable[..., Any]):
    first = json.loads(run_cli("image", "prune", "--yes", "--json").out)
    assert (first["removed"], [one["key"] for one in first["images"]]) == (True, [KEY])
    second = run_cli("image", "prune", "--yes")
    assert second.out.startswith("Nothing to clear away")
