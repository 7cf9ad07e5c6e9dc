"""An image built on this computer, on its way to the cluster: the real commands, on this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import cast

import pytest
from support.local_remote import LocalRemote

from dl4mic_hpc.errors import TransferError
from dl4mic_hpc.images import record, upload
from dl4mic_hpc.images.choice import Wish
from dl4mic_hpc.recipe.bundle import Bundle
from dl4mic_hpc.remote import CommandResult, RemoteProcess

pytestmark = pytest.mark.posix

CONTENT = bytes(range(256)) * 12_000  # more than one chunk
WISH = Wish(
    name="care_2d",
    way="build",
    bundle=cast(Bundle, SimpleNamespace(key="k" * 16, manifest=b"{}")),
    cuda="11.8.0",
)


class Nobody:
    def say(self, text: str) -> None: ...
    def detail(self, text: str) -> None: ...
    def note(self, text: str) -> None: ...


class Garbling(LocalRemote):
    """Loses the first byte of what is sent."""

    @contextmanager
    def start(self, *argv: str) -> Iterator[RemoteProcess]:
        with super().start(*argv) as process:
            write, lost = process.write, []

            def garbled(data: bytes) -> None:
                write(data if lost else data[1:])
                lost.append(True)

            process.write = garbled  # type: ignore[method-assign]
            yield process


class Slow(LocalRemote):
    """Never says that the file is there."""

    @contextmanager
    def start(self, *argv: str) -> Iterator[RemoteProcess]:
        with super().start(*argv) as process:

            def wait(timeout: float | None = None) -> CommandResult:
                assert timeout is not None and timeout >= 3600
                raise TimeoutError

            process.wait = wait  # type: ignore[method-assign]
            yield process


def send(remote: LocalRemote, tmp_path: Path) -> Path:
    file = tmp_path / "made.sif"
    file.write_bytes(CONTENT)
    place = tmp_path / "work" / "images" / "care_2d-kkkk.sif"
    upload.image(
        remote, file, PurePosixPath(place), wish=WISH, apptainer="apptainer version 1.4.5", teller=Nobody()
    )
    return place


def test_it_arrives_whole_with_a_record_that_fits(tmp_path: Path):
    place = send(LocalRemote(), tmp_path)
    assert place.read_bytes() == CONTENT
    told = record.parse(place.with_suffix(".json").read_text())
    assert told is not None
    assert (told.size, told.modified) == (len(CONTENT), int(place.stat().st_mtime))
    assert told.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert (told.key, told.cuda, told.source.kind) == ("k" * 16, "11.8.0", "recipe")
    assert place.stat().st_mode & 0o022 == 0
    assert sorted(path.name for path in place.parent.iterdir()) == ["care_2d-kkkk.json", "care_2d-kkkk.sif"]


def test_what_arrives_damaged_is_not_kept(tmp_path: Path):
    with pytest.raises(TransferError, match="what arrived is not what was sent"):
        send(Garbling(), tmp_path)
    assert list((tmp_path / "work" / "images").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path):
    (tmp_path / "work").write_text("a file")
    with pytest.raises(TransferError, match="did not arrive"):
        send(LocalRemote(), tmp_path)


def test_a_disk_that_takes_too_long_is_told(tmp_path: Path):
    with pytest.raises(TransferError, match="within an hour") as problem:
        send(Slow(), tmp_path)
    assert problem.value.hint


def test_the_file_in_the_making_bears_no_jobs_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A job that makes the same image removes the files of jobs that are over."""
    monkeypatch.setattr(upload.secrets, "token_hex", lambda size: "1234567890"[: 2 * size])
    seen: list[str] = []
    remote = LocalRemote()

    def look(size: int) -> None:
        seen.extend(path.name for path in tmp_path.rglob("*.part"))

    remote.on_write = look
    send(remote, tmp_path)
    names = [seen[-1], *(word for argv in remote.commands for word in argv if "12345678" in word)]
    assert not any(name.removesuffix(".part").rpartition(".")[2].isdigit() for name in names)
