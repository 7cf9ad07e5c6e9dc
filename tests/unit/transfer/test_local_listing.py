"""What `list_local` finds, and the listings that the cluster answers."""

from __future__ import annotations

import os
import socket
from pathlib import Path, PurePosixPath

import pytest

from dl4mic_hpc.errors import UsageError
from dl4mic_hpc.transfer.listing import Entry, Kind, Listing, list_local, nanoseconds, parse_listing

SECOND = 1_000_000_000


def kinds(listing: Listing) -> dict[str, Kind]:
    return {str(path): entry.kind for path, entry in listing.entries.items()}


def reasons(listing: Listing) -> dict[str, str]:
    return {str(skipped.path): skipped.reason for skipped in listing.skipped}


def file(path: str = "x", size: int = 1, mtime_ns: int = 0) -> Entry:
    return Entry(path=PurePosixPath(path), kind=Kind.FILE, size=size, mtime_ns=mtime_ns)


# ---- Here ------------------------------------------------------------------------------------------------------------


def test_files_and_folders(here: Path) -> None:
    (here / "a" / "empty").mkdir(parents=True)
    (here / "a" / "x.tif").write_bytes(b"123")
    os.utime(here / "a" / "x.tif", ns=(5, 1_700_000_000_123_456_700))
    listing = list_local(here)
    assert kinds(listing) == {"a": Kind.FOLDER, "a/empty": Kind.FOLDER, "a/x.tif": Kind.FILE}
    assert listing.entries[PurePosixPath("a/x.tif")] == file("a/x.tif", 3, 1_700_000_000_123_456_700)
    assert listing.skipped == ()


def test_a_single_file(here: Path) -> None:
    (here / "x.tif").write_bytes(b"123")
    assert kinds(list_local(here / "x.tif")) == {"x.tif": Kind.FILE}


def test_what_systems_leave_behind_is_left_out(here: Path) -> None:
    for name in (
        ".DS_Store",
        "Thumbs.db",
        "._x.tif",
        ".dl4mic-hpc.json",
        ".dl4mic-hpc-1f3c.part",
        ".hidden",
        "x.tif",
    ):
        (here / name).touch()
    listing = list_local(here)
    assert set(kinds(listing)) == {".hidden", "x.tif"}
    assert listing.skipped == ()


def test_a_missing_folder(here: Path) -> None:
    with pytest.raises(UsageError) as caught:
        list_local(here / "raw")
    assert str(here / "raw") in caught.value.message
    assert caught.value.exit_code == 2


def test_a_folder_that_cannot_be_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UsageError, match="cannot be read: Permission denied"):
        list_local(here)


def test_a_part_that_cannot_be_read_is_told(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "a").mkdir()
    (here / "x.tif").touch()
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "a":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    listing = list_local(here)
    assert set(kinds(listing)) == {"a", "x.tif"}
    assert reasons(listing) == {"a": "cannot be read: Permission denied"}


@pytest.mark.posix
def test_links(here: Path, there: Path) -> None:
    (here / "sub").mkdir()
    (here / "sub" / "x.tif").write_bytes(b"123")
    (there / "secret").write_bytes(b"1")
    (here / "inside.tif").symlink_to("sub/x.tif")
    (here / "outside").symlink_to(there / "secret")
    (here / "folder").symlink_to("sub")
    (here / "broken").symlink_to("nowhere")
    (here / "loop").symlink_to("loop")
    listing = list_local(here)
    assert set(kinds(listing)) == {"sub", "sub/x.tif", "inside.tif"}
    assert listing.entries[PurePosixPath("inside.tif")].size == 3
    told = reasons(listing)
    assert "outside the folder" in told["outside"]
    assert "links to folders are not followed" in told["folder"]
    assert "does not exist" in told["broken"]
    assert "loop" in told


@pytest.mark.posix
def test_a_source_that_is_a_link_is_followed(here: Path, there: Path) -> None:
    (there / "x.tif").touch()
    (here / "raw").symlink_to(there)
    assert set(kinds(list_local(here / "raw"))) == {"x.tif"}


@pytest.mark.posix
def test_sockets_and_pipes_are_skipped(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(here / "pipe")
    monkeypatch.chdir(here)  # The address of a socket is short.
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        listing = list_local(here)
    assert kinds(listing) == {}
    assert reasons(listing) == dict.fromkeys(("pipe", "socket"), "neither a file nor a folder")


# ---- There -----------------------------------------------------------------------------------------------------------


def test_an_answer_of_the_cluster() -> None:
    answer = (
        b"f\x0012\x001700000000.1234567890\0./a b/\xc3\xa9\nx.tif\0d\x004096\x001700000000.0000000000\0./a b\0"
        b"l\x003\x001.5\0./link\0s\x000\x001.0\0./socket\0x\x000\x001.0\0./secret\0f\x001\x001.0\0./bad\xff\0"
    )
    listing = parse_listing(answer)
    assert kinds(listing) == {
        "a b": Kind.FOLDER,
        "a b/é\nx.tif": Kind.FILE,
        "bad\udcff": Kind.FILE,
        "link": Kind.LINK,
        "socket": Kind.OTHER,
    }
    assert listing.entries[PurePosixPath("a b/é\nx.tif")] == file(
        "a b/é\nx.tif", 12, 1_700_000_000_123_456_789
    )
    assert reasons(listing) == {"secret": "you have no right to read it on the cluster"}
    assert next(iter(listing.entries)) == PurePosixPath("a b"), "folders come before what they hold"


@pytest.mark.parametrize(
    "answer",
    [
        b"f\x001\x001.0\0../evil\0",
        b"f\x001\x001.0\0./a/../../evil\0",
        b"f\x001\x001.0\0/etc/evil\0",
        b"f\x001\x001.0\0.\0",
        b"f\x001\x001.0\0./cut",
        b"f\x001\x001.0\0",
        b"f\0many\x001.0\0./x\0",
        b"f\x001\0noon\0./x\0",
    ],
)
def test_an_answer_that_is_no_listing(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_listing(answer)


def test_nothing_is_a_listing_too() -> None:
    assert parse_listing(b"") == Listing()


def test_times_are_exact() -> None:
    assert nanoseconds("1700000000.1234567890") == 1_700_000_000_123_456_789
    assert nanoseconds("1700000000") == 1_700_000_000 * SECOND
    assert nanoseconds("-1.5") == -1_500_000_000


# ---- The same file? --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        (file(mtime_ns=5 * SECOND + 123), file(mtime_ns=5 * SECOND + 123), True),
        (file(mtime_ns=5 * SECOND + 123_456_789), file(mtime_ns=5 * SECOND), True),
        (file(mtime_ns=5 * SECOND + 123_456_789), file(mtime_ns=5 * SECOND + 123_456_700), True),
        (file(mtime_ns=5 * SECOND + 123_456_789), file(mtime_ns=5 * SECOND + 123_456_000), True),
        (file(mtime_ns=5 * SECOND + 123_456_789), file(mtime_ns=5 * SECOND + 123_456_790), False),
        (file(mtime_ns=5 * SECOND + 123_456_789), file(mtime_ns=5 * SECOND + 987_654_321), False),
        (file(mtime_ns=5 * SECOND + 123_456_789), file(mtime_ns=6 * SECOND), False),
        (file(mtime_ns=5 * SECOND + 123_456_789), file(mtime_ns=5 * SECOND + 100_000_000), False),
        (file(size=1), file(size=2), False),
        (file(size=0), Entry(path=PurePosixPath("x"), kind=Kind.FOLDER), False),
        (
            Entry(path=PurePosixPath("x"), kind=Kind.LINK),
            Entry(path=PurePosixPath("x"), kind=Kind.LINK),
            False,
        ),
        (
            Entry(path=PurePosixPath("x"), kind=Kind.FOLDER, size=1),
            Entry(path=PurePosixPath("x"), kind=Kind.FOLDER),
            True,
        ),
    ],
)
def test_same(one: Entry, two: Entry, same: bool) -> None:
    assert one.same(two) is same
    assert two.same(one) is same
