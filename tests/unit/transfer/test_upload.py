"""Data up, through the tar, find and mv of this machine."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path, PurePosixPath

import pytest
from support.local_remote import LocalRemote
from support.transfers import RecordedProgress, contents, stand_in

from dl4mic_hpc.errors import SshError, TransferError, UsageError
from dl4mic_hpc.transfer import Entry, Kind, far, upload
from dl4mic_hpc.transfer.failures import reason_of

HOSTILE = [
    "a b",
    " leading and trailing ",
    "-rf",
    "--checkpoint-action=exec=touch x",
    "[x]*?",
    "back\\slash\\n",
    "new\nline",
    "tab\t",
    "quote'\"`$(touch x)",
    "é \U0001f52c 細胞",
    "~",
    "#",
    "{a,b}",
    "x" * 255,
    "moves",
    os.fsdecode(b"bad\xff"),
]


def fill(folder: Path, **files: bytes) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)


def test_a_folder(remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress) -> None:
    (here / "a" / "b").mkdir(parents=True)
    (here / "empty" / "inner").mkdir(parents=True)
    (here / "a" / "b" / "x.tif").write_bytes(b"123")
    (here / "none").touch()
    target = there / "new" / "data"
    summary = upload(remote, here, PurePosixPath(target), progress=progress)
    assert contents(target) == contents(here)
    assert (summary.files, summary.bytes, summary.unchanged) == (2, 3, 0)
    assert (summary.kept, summary.skipped) == ((), ())
    assert progress.started == [("laptop to local", 2, 3)]
    assert (progress.advanced, progress.finished) == (3, 1)
    assert len(remote.commands) == 2


def test_a_single_file(remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress) -> None:
    fill(here, x=b"1", y=b"2")
    assert upload(remote, here / "x", PurePosixPath(there), progress=progress).files == 1
    assert contents(there) == {"x": b"1"}


def test_an_empty_folder_costs_one_command(
    remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress
) -> None:
    upload(remote, here, PurePosixPath(there / "data"), progress=progress)
    assert contents(there / "data") == {}
    assert len(remote.commands) == 1
    assert progress.started == []


def test_a_folder_without_files(
    remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress
) -> None:
    (here / "empty" / "inner").mkdir(parents=True)
    upload(remote, here, PurePosixPath(there), progress=progress)
    assert contents(there) == {"empty": None, "empty/inner": None}


def test_hostile_names(remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress) -> None:
    for name in HOSTILE:
        (here / name).write_bytes(os.fsencode(name))
        (here / "folders" / name).mkdir(parents=True)
        (here / "folders" / name / name).write_bytes(b"1")
    summary = upload(remote, here, PurePosixPath(there), progress=progress)
    assert contents(there) == contents(here)
    assert summary.files == 2 * len(HOSTILE)
    assert upload(remote, here, PurePosixPath(there), progress=progress).unchanged == 2 * len(HOSTILE)


def test_the_target_has_a_hostile_name_too(
    remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress
) -> None:
    fill(here, x=b"1")
    target = there / "-rf $(touch x) '\n[x]*"
    target.mkdir()
    fill(target, x=b"old")
    summary = upload(remote, here, PurePosixPath(target), progress=progress)
    assert contents(target) == {"x": b"1"}
    assert Path(summary.kept[0]).read_bytes() == b"old"
    assert len(list(there.iterdir())) == 2


def test_times_are_kept_and_others_may_not_look(
    remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress
) -> None:
    (here / "a").mkdir()
    (here / "a" / "x").write_bytes(b"1")
    (here / "a" / "x").chmod(0o777)
    os.utime(here / "a" / "x", ns=(1, 1_700_000_000_123_456_789))
    upload(remote, here, PurePosixPath(there / "data"), progress=progress)
    facts = (there / "data" / "a" / "x").stat()
    assert facts.st_mtime_ns == 1_700_000_000_123_456_789
    assert stat.S_IMODE(facts.st_mode) == 0o600
    for folder in (there / "data", there / "data" / "a"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_big_file(remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress) -> None:
    block = os.urandom(1_000_003)
    with (here / "big").open("wb") as file:
        for _ in range(50):
            file.write(block)
    summary = upload(remote, here, PurePosixPath(there), progress=progress)
    assert summary.bytes == progress.advanced == 50_000_150
    assert (there / "big").read_bytes() == block * 50


def test_a_second_run_sends_nothing(
    remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress
) -> None:
    fill(here, x=b"1", y=b"2")
    upload(remote, here, PurePosixPath(there), progress=progress)
    fill(here, z=b"3")
    summary = upload(remote, here, PurePosixPath(there), progress=progress)
    assert (summary.files, summary.bytes, summary.unchanged) == (1, 1, 2)
    del remote.commands[:]
    assert upload(remote, here, PurePosixPath(there), progress=progress).unchanged == 3
    assert len(remote.commands) == 1


def test_what_lies_there_is_kept(
    remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress
) -> None:
    fill(here, edited=b"new", new=b"1", file_here=b"2")
    (here / "folder_here").mkdir()
    fill(here / "folder_here", x=b"3")
    target = there / "data"
    (target / "file_here").mkdir(parents=True)
    fill(target / "file_here", deep=b"theirs")
    fill(target, edited=b"their version", folder_here=b"their file", other=b"only there")
    summary = upload(remote, here, PurePosixPath(target), progress=progress)
    assert contents(target) == contents(here) | {"other": b"only there"}
    [kept] = (folder for folder in there.iterdir() if folder.name.startswith("data (kept "))
    assert contents(kept) == {
        "edited": b"their version",
        "folder_here": b"their file",
        "file_here": None,
        "file_here/deep": b"theirs",
    }
    assert {Path(path) for path in summary.kept} == {
        kept / name for name in ("edited", "folder_here", "file_here")
    }


def test_a_link_there_is_not_followed(
    remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress
) -> None:
    (here / "sub").mkdir()
    fill(here / "sub", x=b"1")
    for name in ("data", "elsewhere"):
        (there / name).mkdir()
    (there / "data" / "sub").symlink_to(there / "elsewhere")
    upload(remote, here, PurePosixPath(there / "data"), progress=progress)
    assert contents(there / "data") == {"sub": None, "sub/x": b"1"}
    assert contents(there / "elsewhere") == {}


def test_a_target_that_is_a_link_is_followed(
    remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress
) -> None:
    fill(here, x=b"1")
    (there / "disk").mkdir()
    (there / "data").symlink_to(there / "disk")
    upload(remote, here, PurePosixPath(there / "data"), progress=progress)
    assert contents(there / "disk") == {"x": b"1"}


def test_what_turns_up_meanwhile_is_not_overwritten(
    remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress
) -> None:
    fill(here, x=b"mine")
    remote.on_write = lambda size: fill(there, x=b"theirs")
    upload(remote, here, PurePosixPath(there), progress=progress)
    assert (there / "x").read_bytes() == b"mine"
    [kept] = there.glob("x (kept *)")
    assert kept.read_bytes() == b"theirs"


# ---- Interrupted -----------------------------------------------------------------------------------------------------


def partial(there: Path) -> list[Path]:
    return [path for path in (there / ".dl4mic-hpc-partial").rglob("*") if path.is_file()]


def test_a_lost_connection_and_on(
    remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress
) -> None:
    (here / "sub").mkdir()
    for number in range(40):
        (here / "sub" / f"{number:02}").write_bytes(os.urandom(100_000))
    remote.lost_after_writing = 2_500_000
    with pytest.raises(SshError):
        upload(remote, here, PurePosixPath(there), progress=progress)
    assert progress.finished == 1
    assert [path.name for path in there.iterdir()] == [".dl4mic-hpc-partial"], "nothing half-done looks whole"
    remote.lost_after_writing = None
    summary = upload(remote, here, PurePosixPath(there), progress=progress)
    assert contents(there) == contents(here)
    assert summary.files == 40
    assert summary.bytes <= 2_000_000, "what had arrived is not sent twice"


def test_half_a_file_is_sent_again(
    remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress
) -> None:
    fill(here, big=os.urandom(3_000_000))
    os.utime(here / "big", (1_700_000_000, 1_700_000_000))
    remote.lost_after_writing = 2_500_000
    with pytest.raises(SshError):
        upload(remote, here, PurePosixPath(there), progress=progress)
    assert "big" in [path.name for path in partial(there)]
    fill(here, big=os.urandom(2_000_000))
    remote.lost_after_writing = None
    # Half a file holds space that the next upload may need: it goes before the free space is asked for.
    remote.on_start = lambda argv: "receive" not in argv or held.extend(path.name for path in partial(there))
    held: list[str] = []
    assert upload(remote, here, PurePosixPath(there), progress=progress).bytes == 2_000_000
    assert "big" not in held
    assert contents(there) == contents(here)


def test_a_file_that_changed_since_is_not_adopted(
    remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress
) -> None:
    fill(here, a=os.urandom(500_000), b=os.urandom(500_000))
    remote.lost_after_writing = 900_000
    with pytest.raises(SshError):
        upload(remote, here, PurePosixPath(there), progress=progress)
    fill(here, a=os.urandom(500_000))
    remote.lost_after_writing = None
    assert upload(remote, here, PurePosixPath(there), progress=progress).bytes == 1_000_000
    assert contents(there) == contents(here)


def test_a_stream_cut_between_two_files_puts_nothing_in_place(remote: LocalRemote, there: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("files/x"), io.BytesIO())
    result = remote.run(
        *far.command("receive", str(there), ".dl4mic-hpc-partial/1", "now"), stdin=stream.getvalue()
    )
    assert result.exit_code != 0
    assert "the stream ended early" in result.stderr
    assert [path.name for path in there.iterdir()] == [".dl4mic-hpc-partial"]


def test_moves_are_made_as_listed(remote: LocalRemote, there: Path) -> None:
    stage = ".dl4mic-hpc-partial/1"
    moves = "".join(f"./{stage}/files\0./{folder}\0{name}\0" for folder, name in ("ax", "ay", "bz"))
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in (
            ("files/x", ""),
            ("files/y", ""),
            ("files/z", ""),
            ("folders", ""),
            ("moves", moves),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content.encode()))
    assert (
        remote.run(*far.command("receive", str(there), stage, "now"), stdin=stream.getvalue()).exit_code == 0
    )
    assert contents(there) == {"a": None, "a/x": b"", "a/y": b"", "b": None, "b/z": b""}


# ---- Refused by the cluster ------------------------------------------------------------------------------------------


def test_no_right_to_write(
    ordinary_user: tuple[LocalRemote, Path], here: Path, progress: RecordedProgress
) -> None:
    remote, folder = ordinary_user
    locked = folder / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    fill(here, x=b"1")
    for target in (locked, locked / "data"):
        with pytest.raises(TransferError, match="you have no right to use that folder") as caught:
            upload(remote, here, PurePosixPath(target), progress=progress)
        assert "Permission denied" in caught.value.message
    assert progress.started == []


def test_a_file_where_the_folder_should_be(
    remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress
) -> None:
    fill(here, x=b"1")
    fill(there, data=b"theirs")
    with pytest.raises(TransferError, match="File exists"):
        upload(remote, here, PurePosixPath(there / "data"), progress=progress)
    assert contents(there) == {"data": b"theirs"}


def test_too_little_space(here: Path, there: Path, stand_ins: Path, progress: RecordedProgress) -> None:
    fill(here, x=bytes(3000))
    head = "Filesystem 1024-blocks Used Available Capacity Mounted on"
    stand_in(stand_ins, "df", f"echo '{head}'; echo 'nfs:/a b 100 98 2 98% {there}'")
    remote = LocalRemote(path=stand_ins)
    with pytest.raises(TransferError, match=r"3\.0 kB to send, 2\.0 kB free") as caught:
        upload(remote, here, PurePosixPath(there), progress=progress)
    assert "nothing was sent" in caught.value.hint
    assert contents(there) == {}
    assert len(remote.commands) == 1
    fill(here, x=bytes(2048))
    assert upload(remote, here, PurePosixPath(there), progress=progress).files == 1


@pytest.mark.parametrize("answer", ["echo 'proc 0 0 0 - /proc'", "exit 1", "echo 'nfs - - - - /x'"])
def test_a_disk_that_does_not_tell_its_space(
    answer: str, here: Path, there: Path, stand_ins: Path, progress: RecordedProgress
) -> None:
    fill(here, x=b"1")
    stand_in(stand_ins, "df", answer)
    assert upload(LocalRemote(path=stand_ins), here, PurePosixPath(there), progress=progress).files == 1


def test_a_file_that_cannot_be_written_there(
    remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress
) -> None:
    """A real refusal in the middle: a limit on the size of files, in blocks of 1024 bytes."""
    limited = LocalRemote(prefix=("bash", "-c", 'trap "" XFSZ; ulimit -f 256; exec "$@"', "limited"))
    fill(here, a=os.urandom(200_000), b=b"")
    os.truncate(here / "b", 500_000_000)
    with pytest.raises(TransferError, match=r"sending laptop to local stopped after .* of 500 MB") as caught:
        upload(limited, here, PurePosixPath(there), progress=progress)
    assert "File too large" in caught.value.message
    assert progress.advanced < 250_000_000, "it did not go on sending in vain"
    assert progress.finished == 1
    assert [path.name for path in there.iterdir()] == [".dl4mic-hpc-partial"]
    fill(here, b=b"123")
    assert upload(remote, here, PurePosixPath(there), progress=progress).bytes == 3, (
        "the first file had arrived"
    )
    assert contents(there) == contents(here)


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("No space left on device", "the disk there is full"),
        ("Disk quota exceeded", "your quota there is used up"),
    ],
)
def test_a_disk_that_fills_up(
    said: str, meaning: str, here: Path, there: Path, stand_ins: Path, progress: RecordedProgress
) -> None:
    """What GNU tar 1.34 and head say on a full tmpfs; tar itself would read on, and fail file by file."""
    stand_in(
        stand_ins,
        "tar",
        "dd bs=1000 count=100 of=/dev/null 2>&-; echo 'tar: files/x: Wrote only 5120 of 10240 bytes' >&2; exec sleep 60",
    )
    stand_in(stand_ins, "head", f"echo \"head: error writing 'standard output': {said}\" >&2; exit 1")
    fill(here, x=bytes(4_000_000))
    with pytest.raises(TransferError, match=meaning) as caught:
        upload(LocalRemote(path=stand_ins), here, PurePosixPath(there), progress=progress)
    assert said in caught.value.message
    assert "run the same command again" in caught.value.hint
    assert progress.advanced < 2_000_000


def test_the_line_that_says_why() -> None:
    noise = "Welcome to the cluster\ntar: something odd\ntar: Exiting with failure status due to previous errors\nbye"
    assert reason_of(noise) == "tar: something odd"
    assert (
        reason_of(f"tar: files/x: Wrote only 1 of 2 bytes\n{noise}\nmv: x: Permission denied")
        == "mv: x: Permission denied"
    )
    assert reason_of("Welcome\nslurmstepd: killed") == "slurmstepd: killed"
    assert reason_of("") == ""


def test_no_gnu_tar(here: Path, there: Path, stand_ins: Path, progress: RecordedProgress) -> None:
    stand_in(stand_ins, "tar", 'echo "tar: unrecognized option: warning=none" >&2; exit 1')
    fill(here, x=b"1")
    with pytest.raises(TransferError, match="GNU tar or GNU find is missing"):
        upload(LocalRemote(path=stand_ins), here, PurePosixPath(there), progress=progress)


def test_a_file_that_did_not_arrive_is_noticed(
    here: Path, there: Path, stand_ins: Path, progress: RecordedProgress
) -> None:
    stand_in(stand_ins, "rmdir", f"printf 1 > '{there}/x'; exec /usr/bin/env -i rmdir \"$@\"")
    fill(here, x=b"123", y=b"1")
    with pytest.raises(
        TransferError, match="1 of the files sent to local did not arrive whole, 'x' among them"
    ):
        upload(LocalRemote(path=stand_ins), here, PurePosixPath(there), progress=progress)


def test_an_answer_that_is_none(here: Path, there: Path, stand_ins: Path, progress: RecordedProgress) -> None:
    stand_in(stand_ins, "find", "echo hello")
    with pytest.raises(TransferError, match="no listing"):
        upload(LocalRemote(path=stand_ins), here, PurePosixPath(there), progress=progress)


def test_a_login_shell_that_talks(here: Path, there: Path, progress: RecordedProgress) -> None:
    remote = LocalRemote(
        prefix=("bash", "-c", 'echo Welcome; printf "a\\0b"; echo Hello >&2; exec "$@"', "talk")
    )
    fill(here, x=b"1")
    assert upload(remote, here, PurePosixPath(there), progress=progress).files == 1
    assert upload(remote, here, PurePosixPath(there), progress=progress).unchanged == 1


# ---- The local side --------------------------------------------------------------------------------------------------


def test_a_missing_folder_asks_nothing_of_the_cluster(
    remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress
) -> None:
    with pytest.raises(UsageError):
        upload(remote, here / "raw", PurePosixPath(there), progress=progress)
    assert remote.commands == []


@pytest.mark.parametrize("size", [4_000_000, 1_000_000])
def test_a_file_that_changes_while_it_is_read_is_read_again(
    size: int, remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress
) -> None:
    """It grows, or it shrinks."""
    fill(here, a=os.urandom(3_000_000), b=b"1")
    after = os.urandom(size)

    def change(written: int) -> None:
        if written > 500_000 and (here / "a").stat().st_size == 3_000_000:
            fill(here, a=after)

    remote.on_write = change
    summary = upload(remote, here, PurePosixPath(there), progress=progress)
    assert contents(there) == {"a": after, "b": b"1"}
    assert (summary.files, summary.bytes, summary.skipped) == (2, size + 1, ())


def test_a_file_that_is_being_written_all_the_time_is_not_sent(
    remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress
) -> None:
    fill(here, a=os.urandom(1_000_000), b=b"1")
    fill(there, a=b"theirs")

    def grow(written: int) -> None:
        with (here / "a").open("ab") as file:
            file.write(b"more")

    remote.on_write = grow
    summary = upload(remote, here, PurePosixPath(there), progress=progress)
    assert contents(there) == {"a": b"theirs", "b": b"1"}
    assert [str(skipped.path) for skipped in summary.skipped] == ["a"]
    assert "being written" in summary.skipped[0].reason
    assert (summary.files, summary.kept) == (1, ())


def test_a_file_that_is_gone_or_unreadable_is_told(
    remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress
) -> None:
    fill(here, a=b"1", b=b"2")
    remote.on_start = lambda argv: "receive" in argv and (here / "a").unlink()
    summary = upload(remote, here, PurePosixPath(there), progress=progress)
    assert contents(there) == {"b": b"2"}
    assert [(str(skipped.path), skipped.reason) for skipped in summary.skipped] == [
        ("a", "cannot be read: No such file or directory")
    ]


def test_a_disk_that_fails_while_it_is_read_ends_the_transfer(
    remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(here, a=b"1")
    (here / "b").symlink_to("a")
    real = Path.open

    def failing(path: Path, *words: str) -> object:
        return real(Path("/proc/self/mem"), *words) if path.name == "b" else real(path, *words)

    monkeypatch.setattr(Path, "open", failing)
    monkeypatch.setattr("dl4mic_hpc.transfer.send._facts", lambda file, path: _entry(path))
    written: list[int] = []
    remote.on_write = written.append
    with pytest.raises(TransferError, match="'b' cannot be read to its end: Input/output error"):
        upload(remote, here, PurePosixPath(there), progress=progress)
    assert [path.name for path in there.iterdir() if path.name != ".dl4mic-hpc-partial"] == []
    assert written == [], "not another byte"


def _entry(path: PurePosixPath) -> Entry:
    return Entry(path=path, kind=Kind.FILE, size=1)


def test_a_file_that_was_shorter_for_a_moment_is_not_sent(
    remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network drives may still tell a file's old size and time."""
    fill(here, a=b"")
    monkeypatch.setattr("dl4mic_hpc.transfer.send._facts", lambda file, path: _entry(path))
    summary = upload(remote, here, PurePosixPath(there), progress=progress)
    assert contents(there) == {}
    assert [str(skipped.path) for skipped in summary.skipped] == ["a"]
