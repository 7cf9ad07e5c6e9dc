"""What lies in the image folders, found by the real script in real folders, with a stand-in for squeue only."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from support.local_remote import LocalRemote
from support.shelf import CONTENT, KEY, MODIFIED, put_image, put_session

from dl4mic_hpc import profile as profiles
from dl4mic_hpc.errors import ImageError, RemoteError, UsageError
from dl4mic_hpc.images import inventory, tidy
from dl4mic_hpc.images.shelf import Shelf
from dl4mic_hpc.profile import ClusterProfile

pytestmark = pytest.mark.posix
OTHER = "fedcba9876543210"
HOUR, DAY = 3600, 24 * 3600


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work folder"
    (folder / "images").mkdir(parents=True)
    return folder


@pytest.fixture
def profile(work: Path, tmp_path: Path) -> ClusterProfile:
    return profiles.parse(f"host: login\nwork_dir: {work}\nimage_folders: {tmp_path}/group\n", name="uni")


@pytest.fixture
def slurm(tmp_path: Path) -> Callable[[str], None]:
    """Makes squeue say this; the empty text is that it fails."""
    program = tmp_path / "bin" / "squeue"
    program.parent.mkdir()
    program.touch(mode=0o755)

    def say(text: str) -> None:
        program.write_text(f"#!/bin/sh\nprintf '{text}'\n" if text else "#!/bin/sh\necho down >&2; exit 1\n")

    say("a notice of the site\n7|dl4mic-abc|RUNNING\n8|dl4mic-x|PENDING\n")
    return say


@pytest.fixture
def remote(slurm: object, tmp_path: Path) -> LocalRemote:
    return LocalRemote(path=tmp_path / "bin")


@pytest.fixture
def look(remote: LocalRemote, profile: ClusterProfile) -> Callable[..., Shelf]:
    return lambda **options: inventory.look(remote, profile, **options)


def put(path: Path, content: str = "", *, age: float = 0) -> Path:
    """A file that was last changed and read `age` seconds ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return aged(path, age)


def aged(path: Path, seconds: float) -> Path:
    os.utime(path, (time.time() - seconds, time.time() - seconds))
    return path


# ---- Looking ---------------------------------------------------------------------------------------------------------


def test_an_image_and_what_is_known_of_it(look: Callable[..., Shelf], work: Path, remote: LocalRemote):
    image = put_image(work / "images")
    os.utime(put(image.with_suffix(".used")), (MODIFIED + 5, MODIFIED + 5))
    [found] = look().images
    assert found.as_json() == {
        "name": "care_2d",
        "key": KEY,
        "file": str(image),
        "own": True,
        "source": "docker.io/lab/care:1",
        "digest": "sha256:" + 64 * "a",
        "sha256": found.record and found.record.sha256,
        "cuda": "11.8.0",
        "size": len(CONTENT),
        "built": "2020-09-13T12:26:40Z",
        "last_used": "2020-09-13T12:26:45Z",
        "usable": True,
        "fault": None,
        "sessions": [],
        "build_job_id": None,
    }
    assert len(remote.commands) == 1


@pytest.mark.parametrize(
    ("job", "ended", "expected"),
    [
        ("7", False, "running"),
        ("8;uni", False, "pending"),
        ("9", False, None),
        ("9;elsewhere", False, "unknown"),
        ("7", True, None),
        ("", False, "not submitted"),
    ],
)
def test_a_session_uses_its_image_as_long_as_its_job_lives(
    look: Callable[..., Shelf], work: Path, job: str, ended: bool, expected: str | None
):
    image = put_image(work / "images")
    put_session(work, "k7q2mx", image, job=job, ended=ended)
    assert [user.state for user in look().images[0].users] == ([expected] if expected else [])


@pytest.mark.parametrize("spelling", ["images/../images/{}", "link/{}"])
def test_a_session_uses_its_image_however_it_names_it(look: Callable[..., Shelf], work: Path, spelling: str):
    image = put_image(work / "images")
    (work / "link").symlink_to(work / "images")
    put_session(work, "k7q2mx", f"{work}/{spelling.format(image.name)}", job="7")
    assert look().images[0].in_use == "session k7q2mx (running)"


@pytest.mark.parametrize(
    ("harm", "fault"),
    [
        (lambda image: image.with_suffix(".json").unlink(), "record is missing"),
        (lambda image: image.with_suffix(".json").write_text('{"version": 9}'), "record is missing"),
        (lambda image: image.write_bytes(b"short"), "5 bytes"),
        (lambda image: os.utime(image), "changed after"),
    ],
)
def test_an_image_that_no_launch_uses_says_why(
    look: Callable[..., Shelf], work: Path, harm: Callable[[Path], object], fault: str
):
    harm(put_image(work / "images"))
    assert fault in look().images[0].fault


def test_the_folders_of_others_are_looked_at_with_mistrust(
    look: Callable[..., Shelf], work: Path, tmp_path: Path
):
    image = put_image(tmp_path / "group")
    put_image(work / "images")
    (tmp_path / "group").chmod(0o777)
    put_session(work, "k7q2mx", image, job="7")
    own, others = look().images
    assert (own.own, own.fault, own.in_use) == (True, "", "")
    assert (others.own, others.in_use) == (False, "session k7q2mx (running)")
    assert others.fault == f"others can write to {tmp_path}/group"


def test_a_link_is_judged_by_the_folders_of_what_it_leads_to(
    look: Callable[..., Shelf], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[PurePosixPath] = []
    monkeypatch.setattr(
        "dl4mic_hpc.images.record.distrust",
        lambda entries, **_: seen.extend(one.path for one in entries) or "",
    )
    real = put_image(tmp_path / "elsewhere")
    (tmp_path / "group").mkdir()
    (tmp_path / "group" / real.name).symlink_to(real)
    look()
    assert {
        PurePosixPath(tmp_path / "elsewhere"),
        PurePosixPath(tmp_path / "group"),
        PurePosixPath("/"),
    } <= set(seen)


def test_a_record_of_others_cannot_speak_for_slurm(look: Callable[..., Shelf], tmp_path: Path):
    image = put_image(tmp_path / "group")
    image.with_suffix(".json").write_text("\x1djobs\x1e1\x1eforged\x1dend")
    assert look().slurm_error == ""


def test_an_answer_that_was_cut_short(
    look: Callable[..., Shelf], profile: ClusterProfile, remote: LocalRemote
):
    with pytest.raises(RemoteError, match="cut short"):
        inventory.parse("\x1dnow\x1e1\x1eada\x1djobs\x1e0\x1e", profile)


LEFTOVERS = [
    # name, job or '', seconds since it was changed, dead
    ("images/a-{key}.sif.9.part", "", HOUR, True),
    ("images/a-{key}.sif.9.part", "", 60, False),
    ("images/a-{key}.json.7.part", "", 40 * DAY, False),
    ("images/a-{key}.sif.part", "", HOUR, False),
    ("images/a-{key}.lock/", "7", DAY, False),
    ("images/a-{key}.lock/", "9", 0, True),
    ("images/a-{key}.lock/", "", 60, False),
    ("images/a-{key}.lock/", "", HOUR, True),
    ("images/a-{key}.gone", "", 0, True),
    ("images/a-{key}.json", "", 0, True),
    ("images/a-{key}.used", "", 0, True),
    ("builds/{key}-k7q2mx/", "9", 2 * DAY, True),
    ("builds/{key}-k7q2mx/", "9", HOUR, False),
    ("builds/{key}-k7q2mx/", "7", 2 * DAY, False),
    ("builds/{key}-k7q2mx/", "9;elsewhere", 2 * DAY, False),
    ("builds/{key}-k7q2mx/", "", 2 * DAY, True),
]


@pytest.mark.parametrize(("name", "job", "seconds", "dead"), LEFTOVERS)
def test_a_leftover_is_dead_with_its_job_and_only_then_cleared_away(
    look: Callable[..., Shelf], remote: LocalRemote, profile: ClusterProfile, work: Path,
    name: str, job: str, seconds: float, dead: bool,
):  # fmt: skip
    path = work / name.format(key=KEY)
    if name.endswith("/"):
        path.mkdir(parents=True)
        if job:
            file = path / ("job.id" if name.startswith("builds") else "job")
            put(file, f"{job}\n", age=seconds)
    else:
        put(path, "part")
    aged(path, seconds)
    shelf = look()
    [found] = shelf.leftovers
    assert (found.path, found.dead) == (PurePosixPath(path), dead)
    # The script decides the same by itself.
    said = inventory.script(remote, "clear", str(work), "", str(path.relative_to(work)), what="x")
    assert said == f"{'removed' if dead else 'used'}\t{path.relative_to(work)}\n"
    assert path.exists() is not dead


DOWNLOAD = f"cache/layouts/sha256-{64 * 'a'}"


def put_download(work: Path, *, age: float) -> Path:
    """An image as it was downloaded, last written to `age` seconds ago."""
    blob = put(work / DOWNLOAD / "blobs" / "sha256" / "b", "blob", age=age)
    for folder in list(blob.parents)[:3]:
        aged(folder, age)
    return work / DOWNLOAD


def put_build(work: Path, job: str, *, ended: bool) -> None:
    """The folder of a job that converts the download."""
    folder = work / "builds" / f"{KEY}-k7q2mx"
    put(folder / "build.sh", f"apptainer build x 'oci:{work}/{DOWNLOAD}'\n")
    if job:
        put(folder / "job.id", f"{job}\n")
    if ended:
        put(folder / "exit.json", "{}")


@pytest.mark.parametrize(
    ("job", "ended", "seconds", "dead", "goes"),
    [
        (None, False, 40 * DAY, True, True),
        (None, False, 2 * DAY, True, False),
        (None, False, HOUR, False, False),
        ("7", False, 40 * DAY, False, False),
        ("7", True, 40 * DAY, True, True),
        ("9", False, 40 * DAY, True, True),
        ("9;elsewhere", False, 40 * DAY, False, False),
        ("", False, 40 * DAY, False, False),
    ],
)
def test_a_download_goes_when_it_is_old_and_no_job_needs_it(
    look: Callable[..., Shelf], remote: LocalRemote, profile: ClusterProfile, work: Path,
    job: str | None, ended: bool, seconds: float, dead: bool, goes: bool,
):  # fmt: skip
    path = put_download(work, age=seconds)
    if job is not None:
        put_build(work, job, ended=ended)
    shelf = look(unread_for=30 * DAY)
    found = {str(one.path): one for one in shelf.leftovers}[str(path)]
    assert (found.what, found.size, found.dead) == (
        "a downloaded image that no job needs" if dead else "a downloaded image", len("blob"), dead
    )  # fmt: skip
    assert (found in tidy.plan(shelf, unused_for=30 * DAY).leftovers) is goes
    # The script decides the same by itself.
    said = inventory.script(remote, "clear", str(work), str(30 * DAY), DOWNLOAD, what="x")
    assert said.splitlines()[0] == f"{'removed' if goes else 'used'}\t{DOWNLOAD}"
    assert path.exists() is not goes


def test_a_downloads_day_of_rest_is_none_of_the_caches(remote: LocalRemote, work: Path):
    put_download(work, age=2 * HOUR)
    put(work / "cache" / "apptainer" / "blob", "four", age=2 * HOUR)
    said = inventory.script(remote, "clear", str(work), str(HOUR), DOWNLOAD, what="x")
    assert said == f"used\t{DOWNLOAD}\ncache\t4\n"


def test_a_download_that_goes_on_meanwhile_is_kept(
    look: Callable[..., Shelf], remote: LocalRemote, profile: ClusterProfile, work: Path
):
    path = put_download(work, age=40 * DAY)
    planned = tidy.plan(look(unread_for=30 * DAY), unused_for=30 * DAY)
    os.utime(path)
    done = tidy.prune(remote, profile, planned)
    assert (len(planned.leftovers), done.leftovers, path.exists()) == (1, (), True)


@pytest.mark.parametrize("notice", ["Notice: maintenance on Monday\n", "2 jobs of yours wait\n"])
def test_a_sites_notice_before_the_jobs_number_hides_no_job(
    look: Callable[..., Shelf], remote: LocalRemote, profile: ClusterProfile, work: Path, notice: str
):
    image = put_image(work / "images")
    put_session(work, "k7q2mx", image, job=f"{notice}7")
    folder = work / "builds" / f"{KEY}-k7q2mx"
    put(folder / "job.id", f"{notice}7\n", age=2 * DAY)
    aged(folder, 2 * DAY)
    shelf = look()
    assert shelf.images[0].in_use == "session k7q2mx (running)"
    [build] = shelf.leftovers
    assert (build.what, build.dead) == ("the folder of build job 7", False)
    said = inventory.script(remote, "clear", str(work), "", f"builds/{folder.name}", what="x")
    assert said.startswith("used")


def test_a_notice_in_a_dead_sessions_answer_keeps_no_image(
    look: Callable[..., Shelf], remote: LocalRemote, profile: ClusterProfile, work: Path
):
    put_session(work, "k7q2mx", put_image(work / "images"), job="Notice: maintenance\n9")
    shelf = look()
    assert shelf.images[0].in_use == ""
    tidy.remove(remote, profile, shelf, shelf.images)
    assert not list((work / "images").iterdir())


def test_what_belongs_to_an_image_or_to_nobody_knows_whom_is_no_leftover(
    look: Callable[..., Shelf], work: Path
):
    put_image(work / "images").with_suffix(".used").touch()
    (work / "images" / "notes.txt").write_text("mine")
    assert look().leftovers == ()


def test_where_slurm_is_silent_everything_counts_as_in_use(
    look: Callable[..., Shelf], slurm: Callable[[str], None], work: Path
):
    image = put_image(work / "images")
    put_session(work, "k7q2mx", image, job="9")
    put(work / "images" / f"b-{KEY}.gone")
    slurm("")
    shelf = look()
    assert shelf.slurm_error == "down"
    assert [user.state for user in shelf.images[0].users] == ["unknown"]
    assert not any(one.dead for one in shelf.leftovers)
    for act in (lambda: tidy.plan(shelf, unused_for=0), lambda: tidy.require_unused(shelf, ())):
        with pytest.raises(RemoteError, match="Slurm does not answer"):
            act()


# ---- Naming ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["care_2d", KEY, KEY[:4], f"care_2d-{KEY}", f"care_2d-{KEY}.sif"])
def test_an_image_has_several_names(look: Callable[..., Shelf], work: Path, word: str):
    image = put_image(work / "images")
    put_image(work / "images", "n2v", OTHER)
    assert look().find_own(word).path == PurePosixPath(image)
    assert look().find_own(str(image)).path == PurePosixPath(image)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("n2v", "fedcba9876543210, 0000000000000000"),
        ("unet", "image list"),
        ("012", "image list"),
        ("care_2d", "others keep"),
    ],
)
def test_a_word_that_names_no_image_of_ones_own(
    look: Callable[..., Shelf], work: Path, tmp_path: Path, word: str, said: str
):
    put_image(tmp_path / "group")
    for key in (OTHER, 16 * "0"):
        put_image(work / "images", "n2v", key)
    with pytest.raises(UsageError) as caught:
        look().find_own(word)
    message = f"{caught.value.message} {caught.value.hint}"
    assert all(piece in message for piece in said.split(", "))


@pytest.mark.parametrize(("text", "seconds"), [("12h", 43200), ("30d", 2592000), ("2w", 1209600), ("0d", 0)])
def test_ages(text: str, seconds: int):
    assert tidy.age(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "1.5d", "-1d", "3 months"])
def test_no_ages(text: str):
    with pytest.raises(UsageError, match="no length of time"):
        tidy.age(text)


# ---- Reading ---------------------------------------------------------------------------------------------------------


def test_reading_finds_what_a_look_cannot(look: Callable[..., Shelf], remote: LocalRemote, work: Path):
    whole = put_image(work / "images")
    changed = put_image(work / "images", "n2v", OTHER)
    changed.write_bytes(CONTENT[:-1] + b"!")
    os.utime(changed, (MODIFIED, MODIFIED))
    text = put_image(work / "images", "text", 16 * "0", content=b"hello")
    shelf = look()
    assert not any(image.fault for image in shelf.images)
    verdicts = {
        verdict.image.path.name: " ".join(verdict.faults) for verdict in tidy.check(remote, shelf.images)
    }
    assert verdicts.pop(whole.name) == ""
    assert "SHA-256 differs" in verdicts.pop(changed.name)
    assert verdicts == {text.name: "it is no Apptainer image"}


def test_an_image_that_cannot_be_read(look: Callable[..., Shelf], remote: LocalRemote, work: Path):
    image = put_image(work / "images")
    shelf = look()
    image.unlink()
    image.mkdir()
    [verdict] = tidy.check(remote, shelf.images)
    assert verdict.faults == ("it cannot be read to its end",)
    assert verdict.as_json()["verdict"] == "wrong"


def test_a_reading_that_never_ends_is_told(
    look: Callable[..., Shelf], remote: LocalRemote, work: Path, monkeypatch: pytest.MonkeyPatch
):
    put_image(work / "images")
    shelf = look()

    def endless(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr("support.local_remote.LocalProcess.wait", endless)
    with pytest.raises(RemoteError, match="gave no answer"):
        list(tidy.check(remote, shelf.images))


# ---- Removing --------------------------------------------------------------------------------------------------------


def lying(work: Path) -> list[str]:
    return sorted(str(path.relative_to(work)) for path in work.rglob("*") if path.is_file())


def test_an_image_goes_with_what_lies_beside_it_and_nothing_else(
    look: Callable[..., Shelf], remote: LocalRemote, profile: ClusterProfile, work: Path
):
    image = put_image(work / "images")
    image.with_suffix(".used").touch()
    dead_lock = image.with_suffix(".lock")
    dead_lock.mkdir()
    (dead_lock / "job").write_text("9\n")
    put_session(work, "ended1", image, job="9")
    put_session(work, "ended2", image, job="7", ended=True)
    kept = lying(put_image(work / "images", "care_2d_more", OTHER).parents[1])
    shelf = look()
    tidy.require_unused(shelf, [shelf.find_own(KEY)])
    tidy.remove(remote, profile, shelf, [shelf.find_own(KEY)])
    assert lying(work) == [name for name in kept if KEY not in name]
    assert not dead_lock.exists()


def put_lock(work: Path, job: str) -> None:
    (work / "images" / f"care_2d-{KEY}.lock").mkdir()
    (work / "images" / f"care_2d-{KEY}.lock" / "job").write_text(f"{job}\n")


MEANWHILE = {
    "a session runs": lambda work, say: put_session(
        work, "k7q2mx", work / f"images/care_2d-{KEY}.sif", job="7"
    ),
    "a session is being put there": lambda work, say: put_session(
        work, "k7q2mx", work / f"images/care_2d-{KEY}.sif"
    ),
    "a launch has taken the lock": lambda work, say: put_lock(work, "7"),
    "a job makes it anew": lambda work, say: say(f"11|dl4mic-build-{KEY}|RUNNING\n"),
}


@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_an_image_that_somebody_needs_is_not_removed(
    look: Callable[..., Shelf], remote: LocalRemote, profile: ClusterProfile, work: Path,
    slurm: Callable[[str], None], meanwhile: str,
):  # fmt: skip
    put_image(work / "images")
    before, shelf = lying(work), look()
    MEANWHILE[meanwhile](work, slurm)
    with pytest.raises(ImageError, match="in use"):
        tidy.remove(remote, profile, shelf, shelf.images)
    assert set(before) <= set(lying(work))
    assert look().images[0].fault == ""
    # Had one looked later, nothing would have been tried.
    with pytest.raises(ImageError, match="in use"):
        tidy.require_unused(look(), look().images)


def test_where_slurm_falls_silent_the_image_is_put_back(
    look: Callable[..., Shelf],
    remote: LocalRemote,
    profile: ClusterProfile,
    work: Path,
    slurm: Callable[[str], None],
):
    put_image(work / "images")
    before, shelf = lying(work), look()
    slurm("")
    with pytest.raises(RemoteError, match="down"):
        tidy.remove(remote, profile, shelf, shelf.images)
    assert lying(work) == before
    assert not list((work / "images").glob("*.lock"))


# ---- Pruning ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def full(work: Path, tmp_path: Path) -> Path:
    """One of everything. Images were made long ago; `used` are the ages of their last sessions in days."""
    used = {"never": None, "long_ago": 40, "yesterday": 1, "in_use": 40}
    for number, (name, days) in enumerate(used.items()):
        image = put_image(work / "images", name, f"{number:016x}")
        if days is not None:
            put(image.with_suffix(".used"), age=days * DAY)
        if name == "in_use":
            put_session(work, "k7q2mx", image, job="7")
    put_image(tmp_path / "group")
    mine = put_image(work / "images", "mine")
    mine.rename(work / "images" / "mine.sif")
    mine.with_suffix(".json").unlink()
    put(work / "images" / f"never-{OTHER}.gone", "four")
    for name, days in {"index.json": 99, "old": 99, "new": 0}.items():
        put(work / "cache" / "apptainer" / "cache" / "blob" / name, name, age=days * DAY)
    read = put(work / "cache" / "apptainer" / "cache" / "blob" / "read", "read")
    os.utime(read, (time.time(), time.time() - 99 * DAY))
    put(work / "weights" / "w", "w", age=99 * DAY)
    return work


def test_what_nobody_has_needed_for_long_is_cleared_away(
    look: Callable[..., Shelf], remote: LocalRemote, profile: ClusterProfile, full: Path
):
    planned = tidy.plan(look(unread_for=30 * DAY), unused_for=30 * DAY)
    assert [image.name for image in planned.images] == ["long_ago", "never"]
    assert [one.path.suffix for one in planned.leftovers] == [".gone"]
    assert planned.cache == len("old")
    assert planned.size == 2 * len(CONTENT) + len("four") + len("old")
    assert [(path.name[:6], why) for path, why in planned.kept] == [
        ("in_use", "in use by session k7q2mx (running)")
    ]
    before = set(lying(full))
    done = tidy.prune(remote, profile, planned)
    assert done == planned
    assert {name.partition("-")[0] for name in before - set(lying(full))} == {
        "images/never",
        "images/long_ago",
        "cache/apptainer/cache/blob/old",
    }


def test_what_somebody_begins_to_use_meanwhile_is_kept(
    look: Callable[..., Shelf],
    remote: LocalRemote,
    profile: ClusterProfile,
    full: Path,
    slurm: Callable[[str], None],
):
    planned = tidy.plan(look(unread_for=30 * DAY), unused_for=30 * DAY)
    before = lying(full)
    for image in planned.images:
        Path(image.path.with_suffix(".used")).touch()
    (full / "images" / f"never-{OTHER}.lock").mkdir()
    slurm(f"12|dl4mic-build-{KEY}|PENDING\n")
    done = tidy.prune(remote, profile, planned)
    assert done.is_empty
    assert len(done.kept) == 4
    assert set(before) <= set(lying(full))


def test_the_cache_is_let_alone_while_an_image_is_made(
    look: Callable[..., Shelf], full: Path, slurm: Callable[[str], None]
):
    slurm(f"12|dl4mic-build-{OTHER}|PENDING\n")
    assert tidy.plan(look(unread_for=30 * DAY), unused_for=30 * DAY).cache == 0


def test_the_script_touches_nothing_that_it_does_not_know(remote: LocalRemote, work: Path):
    for name in (
        "sessions/s/session.json",
        "weights/w",
        f"images/a-{KEY}.sif",
        "images/notes",
        "images/my-holiday_pictures.x",
        "cache/layouts/mine/x",
        f"{DOWNLOAD}/blobs/x",
    ):
        put(work / name, "kept")
    for path in work.rglob("*"):
        aged(path, 99 * DAY)
    before = lying(work)
    names = [*before, "sessions", "weights", "images/../weights", "sessions/s", "cache/layouts/mine", "."]
    said = inventory.script(remote, "clear", str(work), "", *names, what="x")
    assert lying(work) == before
    assert {line.split("\t")[0] for line in said.splitlines()} == {"used"}
