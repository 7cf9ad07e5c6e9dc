"""Results home, through the tar and find of this machine."""

from __future__ import annotations

import errno
import io
import json
import os
import resource
import stat
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from support.local_remote import LocalRemote
from support.transfers import RecordedProgress, contents, stand_in

from dl4mic_hpc.errors import SshError, TransferError, UsageError
from dl4mic_hpc.transfer import Summary, download, far
from dl4mic_hpc.transfer.failures import local_failure
from dl4mic_hpc.transfer.naming import NameRules

MANIFEST = ".dl4mic-hpc.json"

Fetch = Callable[..., Summary]


@pytest.fixture
def fetch(remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress) -> Fetch:
    """Downloads the folder on the cluster into the one on the laptop."""

    def run(source: Path = there, target: Path = here, remote: LocalRemote = remote) -> Summary:
        return download(remote, PurePosixPath(source), target, progress=progress)

    return run


def fill(folder: Path, **files: bytes) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)


def told(summary: Summary) -> dict[str, str]:
    return {str(skipped.path): skipped.reason for skipped in summary.skipped}


def test_a_folder(
    fetch: Fetch, remote: LocalRemote, here: Path, there: Path, progress: RecordedProgress
) -> None:
    (there / "a" / "b").mkdir(parents=True)
    (there / "empty" / "inner").mkdir(parents=True)
    fill(there / "a" / "b", x=b"123")
    fill(there, none=b"")
    target = here / "new" / "results"
    summary = fetch(target=target)
    assert contents(target) == contents(there)
    assert (summary.files, summary.bytes, summary.unchanged) == (2, 3, 0)
    assert (summary.kept, summary.skipped, summary.renamed) == ((), (), {})
    assert progress.started == [("cluster from local", 2, 3)]
    assert (progress.advanced, progress.finished) == (3, 1)
    assert len(remote.commands) == 2


def test_a_single_file(fetch: Fetch, remote: LocalRemote, here: Path, there: Path) -> None:
    fill(there, x=b"1", y=b"2")
    fill(there, **{"[x]*": b"3"})
    for name in ("x", "[x]*"):
        assert fetch(source=there / name).files == 1
        assert fetch(source=there / name).unchanged == 1
    assert contents(here) == {"x": b"1", "[x]*": b"3"}


def test_an_empty_folder_costs_one_command(fetch: Fetch, remote: LocalRemote, here: Path) -> None:
    assert fetch() == Summary()
    assert list(here.iterdir()) == []
    assert len(remote.commands) == 1


def test_hostile_names(fetch: Fetch, here: Path, there: Path) -> None:
    names = [
        "a b",
        "-rf",
        "--help",
        "[x]*?",
        "back\\n",
        "new\nline",
        "$(touch x)",
        "é 細胞",
        "x" * 255,
        "CON",
    ]
    names.append(os.fsdecode(b"bad\xff"))
    for name in names:
        (there / "folders" / name).mkdir(parents=True)
        (there / "folders" / name / name).write_bytes(os.fsencode(name))
        (there / name).write_bytes(b"1")
    assert fetch().files == 2 * len(names)
    assert contents(here) == contents(there)
    assert fetch().unchanged == 2 * len(names)


def test_hard_links_come_as_files(fetch: Fetch, here: Path, there: Path) -> None:
    fill(there, x=b"123")
    (there / "y").hardlink_to(there / "x")
    fetch()
    assert contents(here) == {"x": b"123", "y": b"123"}


def test_links_and_pipes_are_told(fetch: Fetch, here: Path, there: Path) -> None:
    fill(there, x=b"123")
    (there / "link").symlink_to("x")
    os.mkfifo(there / "pipe")
    summary = fetch()
    assert contents(here) == {"x": b"123"}
    assert told(summary) == {"link": "a link: links are not followed", "pipe": "neither a file nor a folder"}


def test_times_are_kept(fetch: Fetch, here: Path, there: Path) -> None:
    fill(there, x=b"1")
    os.utime(there / "x", ns=(1, 1_700_000_000_123_456_789))
    fetch()
    assert (here / "x").stat().st_mtime_ns == 1_700_000_000_123_456_789


def test_a_big_file(fetch: Fetch, here: Path, there: Path) -> None:
    block = os.urandom(1_000_003)
    with (there / "big").open("wb") as file:
        for _ in range(50):
            file.write(block)
    assert fetch().bytes == 50_000_150
    assert (here / "big").read_bytes() == block * 50


def test_a_second_run_fetches_nothing(fetch: Fetch, remote: LocalRemote, here: Path, there: Path) -> None:
    fill(there, x=b"1", y=b"2")
    fetch()
    fill(there, z=b"3")
    summary = fetch()
    assert (summary.files, summary.bytes, summary.unchanged) == (1, 1, 2)
    del remote.commands[:]
    before = (here / MANIFEST).stat()
    assert fetch().unchanged == 3
    assert len(remote.commands) == 1
    assert (here / MANIFEST).stat() == before, "nothing was written"


def test_the_program_s_own_files_are_not_results(fetch: Fetch, here: Path, there: Path) -> None:
    (there / ".dl4mic-hpc-partial" / "1").mkdir(parents=True)
    fill(there / ".dl4mic-hpc-partial" / "1", x=b"1")
    fill(there, **{MANIFEST: b"theirs", "x": b"1"})
    assert fetch().files == 1
    assert contents(here) == {"x": b"1"}


# ---- Nothing here is overwritten -------------------------------------------------------------------------------------


def test_what_the_cluster_changed_replaces_what_was_fetched(fetch: Fetch, here: Path, there: Path) -> None:
    fill(there, x=b"first")
    fetch()
    fill(there, x=b"second")
    summary = fetch()
    assert contents(here) == {"x": b"second"}
    assert summary.kept == ()


@pytest.mark.parametrize("state", ["never fetched", "edited since", "fetched from elsewhere", "record lost"])
def test_a_file_of_the_user_is_set_aside(
    state: str, fetch: Fetch, here: Path, there: Path, tmp_path: Path
) -> None:
    theirs = here / "plot.ome.tif"
    if state == "fetched from elsewhere":
        (tmp_path / "other").mkdir()
        fill(tmp_path / "other", **{"plot.ome.tif": b"precious"})
        fetch(source=tmp_path / "other")
    elif state != "never fetched":
        (there / "plot.ome.tif").write_bytes(b"precious" if state == "record lost" else b"first")
        fetch()
    if state in ("never fetched", "edited since"):
        theirs.write_bytes(b"precious")
        os.utime(theirs, (1_600_000_000, 1_600_000_000))
    if state == "record lost":
        (here / MANIFEST).write_text("{]")
    (there / "plot.ome.tif").write_bytes(b"from the cluster")
    summary = fetch()
    [kept] = here.glob("plot.ome (kept *).tif")
    assert kept.read_bytes() == b"precious"
    assert theirs.read_bytes() == b"from the cluster"
    assert summary.kept == (kept,)
    assert fetch().kept == ()


def test_two_set_aside_in_one_second(
    fetch: Fetch, here: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dl4mic_hpc.transfer.folder._stamp", lambda: "2026-01-01 120000")
    for content in (b"one", b"two", b"three"):
        fill(here, x=content)
        fill(there, x=content + b" of the cluster")
        fetch()
    assert sorted(contents(here).values()) == sorted([b"one", b"two", b"three", b"three of the cluster"])
    assert (here / "x (kept 2026-01-01 120000 3)").read_bytes() == b"three"


def test_a_file_edited_while_the_download_runs_is_set_aside(
    fetch: Fetch, remote: LocalRemote, here: Path, there: Path
) -> None:
    fill(there, x=b"first")
    fetch()
    fill(there, x=b"second")
    remote.on_start = lambda argv: "send" in argv and fill(here, x=b"edited")
    summary = fetch()
    assert (here / "x").read_bytes() == b"second"
    assert [path.read_bytes() for path in map(Path, summary.kept)] == [b"edited"]


def test_the_same_file_is_not_touched(fetch: Fetch, here: Path, there: Path) -> None:
    fill(there, x=b"1")
    fill(here, x=b"1")
    os.utime(there / "x", (1_600_000_000, 1_600_000_000))
    os.utime(here / "x", (1_600_000_000, 1_600_000_000))
    before = (here / "x").stat().st_ino
    assert fetch().unchanged == 1
    assert (here / "x").stat().st_ino == before


def test_a_folder_and_a_file_of_one_name(fetch: Fetch, here: Path, there: Path) -> None:
    (there / "a").mkdir()
    fill(there / "a", x=b"1")
    fill(there, b=b"2")
    fill(here, a=b"my file")
    (here / "b").mkdir()
    fill(here / "b", y=b"mine")
    summary = fetch()
    assert len(summary.kept) == 2
    assert contents(here / "a") == {"x": b"1"}
    assert (here / "b").read_bytes() == b"2"
    assert {path.name[:7]: path.is_dir() for path in here.glob("* (kept *")} == {
        "a (kept": False,
        "b (kept": True,
    }


def test_a_link_here_leads_nothing_out_of_the_folder(
    fetch: Fetch, here: Path, there: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (there / "sub").mkdir()
    fill(there / "sub", x=b"1")
    fill(there, y=b"2")
    (here / "sub").symlink_to(tmp_path / "elsewhere")
    fill(tmp_path, precious=b"mine")
    (here / "y").symlink_to(tmp_path / "precious")
    (there / "broken").mkdir()
    (here / "broken").symlink_to("nowhere")
    summary = fetch()
    assert contents(tmp_path / "elsewhere") == {}
    assert (tmp_path / "precious").read_bytes() == b"mine"
    assert (here / "sub" / "x").read_bytes() == b"1"
    assert len(summary.kept) == 3
    assert all(path.is_symlink() for path in map(Path, summary.kept))


def test_a_link_made_while_the_download_runs_leads_nothing_out(
    fetch: Fetch, remote: LocalRemote, here: Path, there: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (there / "sub").mkdir()
    fill(there / "sub", x=b"1")

    def swap(argv: tuple[str, ...]) -> None:
        if "send" in argv:
            (here / "sub").rmdir()
            (here / "sub").symlink_to(tmp_path / "elsewhere")

    remote.on_start = swap
    with pytest.raises(TransferError, match="leads out of"):
        fetch()
    assert contents(tmp_path / "elsewhere") == {}


# ---- Names -----------------------------------------------------------------------------------------------------------


def test_names_that_this_computer_cannot_store(
    fetch: Fetch, here: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = NameRules(windows=True, unicode_only=True, case_sensitive=False)
    monkeypatch.setattr("dl4mic_hpc.transfer.folder.rules_of", lambda folder: rules)
    (there / "Model").mkdir()
    (there / "model").mkdir()
    fill(there / "Model", x=b"1")
    fill(there / "model", x=b"2")
    fill(there, **{"image.tif": b"3", "Image.tif": b"4", "12:30.tif": b"5", "aux": b"6"})
    summary = fetch()
    assert sorted(content for content in contents(here).values() if content) == [
        b"1",
        b"2",
        b"3",
        b"4",
        b"5",
        b"6",
    ]
    assert len({name.casefold() for name in contents(here)}) == len(contents(here))
    assert {str(path) for path in summary.renamed} == {"model", "model/x", "image.tif", "12:30.tif", "aux"}
    assert summary.renamed[PurePosixPath("aux")].read_bytes() == b"6"  # type: ignore[attr-defined]
    assert fetch().unchanged == 6


# ---- Files that change -----------------------------------------------------------------------------------------------


def test_a_file_that_changes_while_it_is_read_is_fetched_again(
    fetch: Fetch, remote: LocalRemote, here: Path, there: Path
) -> None:
    fill(there, a=os.urandom(4_000_000), b=b"1")
    after = os.urandom(5_000_000)

    def change(received: int) -> None:
        if received > 100_000 and (there / "a").stat().st_size != len(after):
            fill(there, a=after)

    remote.on_read = change
    summary = fetch()
    assert contents(here) == {"a": after, "b": b"1"}
    assert (summary.files, summary.skipped, summary.kept) == (2, (), ())
    assert len(remote.commands) == 3
    assert fetch().unchanged == 2


def test_a_file_that_grows_all_the_time_is_here_in_part_and_told(
    fetch: Fetch, remote: LocalRemote, here: Path, there: Path
) -> None:
    fill(there, log=os.urandom(1_000_000), b=b"1")

    def grow(received: int) -> None:
        with (there / "log").open("ab") as file:
            file.write(b"more")

    remote.on_read = lambda received: received > 100_000 and grow(received)
    summary = fetch()
    assert told(summary) == {"log": "is still being written on the cluster: what was there is here"}
    assert len(remote.commands) == 3, "twice, not for ever"
    assert (there / "log").read_bytes().startswith((here / "log").read_bytes())
    remote.on_read = lambda received: None
    assert (fetch().files, fetch().unchanged) == (1, 2)
    assert contents(here) == contents(there)


def test_a_file_that_appears_meanwhile_comes_too(
    fetch: Fetch, remote: LocalRemote, here: Path, there: Path
) -> None:
    fill(there, a=b"1")
    remote.on_start = lambda argv: "send" in argv and fill(there, late=b"2")
    assert fetch().files == 2
    assert contents(here) == {"a": b"1", "late": b"2"}


def test_files_that_keep_coming_up_are_told(
    fetch: Fetch, remote: LocalRemote, here: Path, there: Path
) -> None:
    fill(there, a=b"1")
    remote.on_start = lambda argv: "send" in argv and fill(there, **{f"late{len(remote.commands)}": b"2"})
    summary = fetch()
    assert contents(here) == {"a": b"1", "late1": b"2"}
    assert told(summary) == {"late2": "came up on the cluster while other files were fetched: fetch it later"}


def test_a_file_that_is_removed_meanwhile_is_told(
    fetch: Fetch, remote: LocalRemote, here: Path, there: Path
) -> None:
    fill(there, a=b"1", b=b"2")
    remote.on_start = lambda argv: "send" in argv and (there / "a").unlink(missing_ok=True)
    summary = fetch()
    assert contents(here) == {"b": b"2"}
    assert told(summary) == {"a": "was removed on the cluster before it could be fetched"}


def test_what_may_not_be_read_is_told(
    ordinary_user: tuple[LocalRemote, Path], fetch: Fetch, here: Path
) -> None:
    remote, folder = ordinary_user
    results = folder / "results"
    (results / "closed").mkdir(parents=True)
    fill(results, x=b"1", secret=b"2")
    (results / "secret").chmod(0)
    (results / "closed").chmod(0)
    results.chmod(0o755)
    try:
        summary = fetch(source=results, remote=remote)
    finally:
        (results / "closed").chmod(0o700)
    assert contents(here) == {"x": b"1"}
    assert told(summary) == dict.fromkeys(("closed", "secret"), "you have no right to read it on the cluster")


def test_what_could_not_be_read_after_all_is_told(
    fetch: Fetch, here: Path, there: Path, stand_ins: Path
) -> None:
    """tar's words for a file on a broken disk; the others come."""
    fill(there, a=b"1", b=b"2")
    said = "tar: ./a: Cannot open: Input/output error"
    stand_in(
        stand_ins,
        "tar",
        f"tr '\\0' '\\n' | grep -v a | /bin/tar -c -b 128 --format=pax -T -; echo '{said}' >&2; exit 2",
    )
    summary = fetch(remote=LocalRemote(path=stand_ins))
    assert contents(here) == {"b": b"2"}
    assert told(summary) == {"a": f"could not be read on the cluster: {said}"}


def test_what_could_be_read_at_the_second_try_is_not_told(
    fetch: Fetch, here: Path, there: Path, stand_ins: Path
) -> None:
    fill(there, a=b"1", b=b"2")
    once = f"[ ! -e '{stand_ins}/once' ] && : > '{stand_ins}/once' && set -- --exclude=./a \"$@\""
    stand_in(stand_ins, "tar", f'{once}; exec /bin/tar "$@"')
    summary = fetch(remote=LocalRemote(path=stand_ins))
    assert contents(here) == {"a": b"1", "b": b"2"}
    assert (summary.files, summary.skipped) == (2, ())


def test_a_part_that_could_not_be_listed_is_told(fetch: Fetch, there: Path, stand_ins: Path) -> None:
    fill(there, a=b"1")
    said = "find: './x': Input/output error"
    stand_in(stand_ins, "find", f'/usr/bin/find "$@"; echo "{said}" >&2; exit 1')
    assert told(fetch(remote=LocalRemote(path=stand_ins))) == {".": f"a part could not be listed: {said}"}


def test_all_names_are_taken_in_before_the_first_file_comes(remote: LocalRemote, there: Path) -> None:
    """Else both sides would wait for each other: the laptop to be read from, the cluster too."""
    names = [f"{number:04}{'x' * 200}" for number in range(1500)]
    for name in names:
        (there / name).touch()
    stdin = b"".join(f"./{name}\0".encode() for name in names)
    with remote.start(*far.command("send", str(there))) as process:
        writer = threading.Thread(target=process.write, args=(stdin,), daemon=True)
        writer.start()
        writer.join(timeout=20)
        assert not writer.is_alive()
        assert process.wait().exit_code == 0


# ---- Refused or broken -----------------------------------------------------------------------------------------------


def test_there_is_nothing_there(fetch: Fetch, there: Path, progress: RecordedProgress) -> None:
    with pytest.raises(TransferError, match=f"there is no file or folder {there}/results on local"):
        fetch(source=there / "results")
    assert progress.started == []


def test_a_lost_connection_and_on(fetch: Fetch, remote: LocalRemote, here: Path, there: Path) -> None:
    for number in range(40):
        fill(there, **{f"{number:02}": os.urandom(100_000)})
    remote.lost_after_reading = 2_500_000
    with pytest.raises(SshError):
        fetch()
    whole = contents(here)
    assert whole == {name: content for name, content in contents(there).items() if name in whole}
    assert 20 <= len(whole) < 40
    fill(there, **{"00": b"changed there meanwhile"})
    remote.lost_after_reading = None
    summary = fetch()
    assert (summary.files, summary.unchanged, summary.kept) == (40 - len(whole) + 1, len(whole) - 1, ())
    assert contents(here) == contents(there)


def test_a_stream_that_ends_early(fetch: Fetch, here: Path, there: Path, stand_ins: Path) -> None:
    fill(there, a=os.urandom(300_000))
    stand_in(stand_ins, "tar", '/bin/tar "$@" | head -c 200000; echo "tar: ./a: Read error" >&2; exit 2')
    with pytest.raises(TransferError, match=r"fetching cluster from local stopped: tar: \./a: Read error"):
        fetch(remote=LocalRemote(path=stand_ins))
    assert contents(here) == {}


def member(name: str, **facts: object) -> bytes:
    info = tarfile.TarInfo(name)
    for key, value in facts.items():
        setattr(info, key, value)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", bufsize=65536) as archive:
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    return stream.getvalue().ljust(65536, b"\0")


@pytest.mark.parametrize(
    "archive",
    [
        member("../evil", size=1),
        member("/tmp/evil", size=1),
        member("./a/../../evil", size=1),
        member("./other", size=1),
        member("./a", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("./a", type=tarfile.LNKTYPE, linkname="b"),
        member("./a", type=tarfile.CHRTYPE),
        member("./a", type=tarfile.DIRTYPE),
    ],
)
def test_an_archive_has_no_say_in_where_files_go(
    archive: bytes, fetch: Fetch, here: Path, there: Path, stand_ins: Path
) -> None:
    fill(there, a=b"1")
    (stand_ins / "archive").write_bytes(archive)
    stand_in(stand_ins, "tar", f"cat > /dev/null; cat '{stand_ins}/archive'")
    before = sorted(here.parent.rglob("*"))
    with pytest.raises(TransferError, match="was not asked for"):
        fetch(remote=LocalRemote(path=stand_ins))
    assert sorted(here.parent.rglob("*")) == before


def test_a_listing_has_no_say_in_where_files_go(fetch: Fetch, here: Path, stand_ins: Path) -> None:
    stand_in(stand_ins, "find", "printf 'f\\0001\\0001.0\\0./../evil\\000'")
    with pytest.raises(TransferError, match="lies outside the folder"):
        fetch(remote=LocalRemote(path=stand_ins))
    assert contents(here) == {}


def test_a_login_shell_that_talks(fetch: Fetch, here: Path, there: Path) -> None:
    remote = LocalRemote(
        prefix=("bash", "-c", 'echo Welcome; printf "a\\0b"; echo Hello >&2; exec "$@"', "talk")
    )
    fill(there, x=b"1")
    assert fetch(remote=remote).files == 1
    assert contents(here) == {"x": b"1"}


def test_a_target_that_is_a_file(fetch: Fetch, here: Path) -> None:
    fill(here, x=b"1")
    with pytest.raises(UsageError, match="is a file"):
        fetch(target=here / "x")
    with pytest.raises(TransferError, match="cannot be written"):
        fetch(target=here / "x" / "results")
    assert contents(here) == {"x": b"1"}


def test_too_little_space_here(
    fetch: Fetch, remote: LocalRemote, here: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(there, x=bytes(3000))
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 2000}))
    with pytest.raises(TransferError, match=r"3\.0 kB to fetch, 2\.0 kB free"):
        fetch()
    assert contents(here) == {}
    assert len(remote.commands) == 1


def test_a_disk_here_that_refuses_in_the_middle(fetch: Fetch, here: Path, there: Path) -> None:
    """A real refusal: a limit on the size of files."""
    fill(there, a=b"1", b=os.urandom(4_000_000))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, limits[1]))
    try:
        with pytest.raises(TransferError, match="cannot be written: File too large") as caught:
            fetch()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "run the same command again" in caught.value.hint
    assert contents(here) == {"a": b"1"}, "no half file"
    assert (fetch().files, contents(here)) == (1, contents(there))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk of this computer is full (No space left on device)"),
        (errno.EDQUOT, "the disk of this computer is full (Disk quota exceeded)"),
        (errno.EACCES, "Permission denied"),
    ],
)
def test_local_failures_in_plain_words(code: int, words: str) -> None:
    failure = local_failure(Path("results"), OSError(code, os.strerror(code)))
    assert failure.message == f"results cannot be written: {words}"
    assert failure.exit_code == 9


def test_what_a_killed_program_left_is_removed_once_it_is_old(fetch: Fetch, here: Path, there: Path) -> None:
    fill(there, x=b"1")
    fill(here, **{".dl4mic-hpc-1111.part": b"old", ".dl4mic-hpc-2222.part": b"young", "y.part": b"mine"})
    for name in (".dl4mic-hpc-1111.part", "y.part"):
        os.utime(here / name, (time.time() - 7200, time.time() - 7200))
    fetch()
    assert set(contents(here)) == {".dl4mic-hpc-2222.part", "y.part", "x"}


# ---- The record ------------------------------------------------------------------------------------------------------


def test_the_record(fetch: Fetch, here: Path, there: Path, tmp_path: Path) -> None:
    fill(there, x=b"123")
    os.utime(there / "x", ns=(1, 1_700_000_000_123_456_789))
    (tmp_path / "other").mkdir()
    fill(tmp_path / "other", y=b"1")
    fetch()
    fetch(source=tmp_path / "other")
    record = json.loads((here / MANIFEST).read_text())
    assert record["version"] == 1
    assert set(record["sources"]) == {f"local:{there}", f"local:{tmp_path / 'other'}"}
    mtime = 1_700_000_000_123_456_789
    facts = {"local": "x", "size": 3, "mtime_ns": mtime, "local_mtime_ns": mtime}
    assert record["sources"][f"local:{there}"] == {"x": facts}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"version": 2, "sources": {"local:THERE": {"x": {"local": "x", "size": 4, "mtime_ns": 1, "local_mtime_ns": 1}}}}',
        '{"version": 1}',
        '{"version": 1, "sources": []}',
        '{"version": 1, "sources": {"local:THERE": {"x": {"size": 3}}}}',
        '{"version": 1, "sources": {"local:THERE": {"x": 1}}}',
        '{"version": 1, "sources": {"local:THERE": 1}}',
    ],
)
def test_a_record_that_is_none_counts_as_lost(text: str, fetch: Fetch, here: Path, there: Path) -> None:
    fill(here, **{MANIFEST: text.replace("THERE", str(there)).encode()}, x=b"mine")
    os.utime(here / "x", ns=(1, 1))
    fill(there, x=b"123")
    assert len(fetch().kept) == 1
    assert fetch().unchanged == 1


def test_others_may_read_the_results(fetch: Fetch, here: Path, there: Path) -> None:
    """The user's own umask decides, as for every file that they make."""
    fill(there, x=b"1")
    (there / "x").chmod(0o600)
    before = os.umask(0o027)
    try:
        fetch()
    finally:
        os.umask(before)
    assert stat.S_IMODE((here / "x").stat().st_mode) == 0o640
