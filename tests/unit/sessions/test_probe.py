"""The probe really runs here, on a machine without Slurm and with stand-ins where it has to be there."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest
from support.local_remote import LocalRemote

from dl4mic_hpc import profile as profiles
from dl4mic_hpc.errors import Dl4micError, ImageError, RemoteError
from dl4mic_hpc.sessions.probe import parse, probe

pytestmark = pytest.mark.posix


def profile_at(work: Path, **values: str) -> profiles.ClusterProfile:
    lines = {"host": "login", "work_dir": str(work), **values}
    return profiles.parse("".join(f"{key}: {value}\n" for key, value in lines.items()), name="uni")


@pytest.fixture
def stand_ins(tmp_path: Path) -> Path:
    """sbatch, squeue and apptainer that answer as the real ones did."""
    folder = tmp_path / "bin"
    folder.mkdir()
    scripts = {
        "sbatch": '[ "$1" = --version ] && echo "slurm-wlm 24.11.5" && exit; grep -q bad && '
        '{ echo "allocation failure: Invalid qos specification" >&2; exit 1; }; exit 0',
        "squeue": 'echo "41|/scratch/me/builds/x y"',
        "sinfo": 'printf "gpu*|1-00:00:00\\nshort|30:00\\n"',
        "apptainer": 'echo "apptainer version 1.4.5"',
    }
    for name, body in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def remote(stand_ins: Path, monkeypatch: pytest.MonkeyPatch) -> LocalRemote:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    # A login shell sets PATH anew; this one keeps the stand-ins in it.
    home = Path(os.environ["HOME"])
    (home / ".bash_profile").write_text(f"PATH={stand_ins}:$PATH\necho a site that greets\n")
    return LocalRemote(path=stand_ins)


def test_everything_is_there(remote: LocalRemote, tmp_path: Path):
    facts = probe(
        remote,
        profile_at(tmp_path / "work"),
        images=[PurePosixPath(tmp_path / "x.sif")],
        data=PurePosixPath(tmp_path),
        job_script="#!/bin/bash\ngood\n",
    )
    assert facts.problems(profile_at(tmp_path)) == {}
    assert (facts.images, facts.data_there, facts.refusal) == ({}, True, None)
    assert facts.time_limits == {"gpu*": "1-00:00:00", "short": "30:00"}
    assert facts.free_bytes and facts.free_bytes > 0
    assert len(remote.commands) == 1
    assert not list((tmp_path / "work" / "sessions").iterdir())


def test_a_check_is_told_the_versions(remote: LocalRemote, tmp_path: Path):
    facts = probe(remote, profile_at(tmp_path / "work"))
    assert (facts.slurm, facts.apptainer) == ("slurm-wlm 24.11.5", "apptainer version 1.4.5")


def test_a_request_that_slurm_would_refuse(remote: LocalRemote, tmp_path: Path):
    facts = probe(remote, profile_at(tmp_path / "work"), job_script="bad\n")
    assert facts.refusal == "allocation failure: Invalid qos specification"


def test_of_an_image_that_is_there_record_and_owners_are_told(remote: LocalRemote, tmp_path: Path):
    folder = tmp_path / "a group's images"
    folder.mkdir()
    image = folder / "x.sif"
    image.write_bytes(b"sif")
    image.with_suffix(".json").write_text(
        '{"version": 1, "key": "k", "name": "n", "size": 3, "modified": 7,\n'
        ' "sha256": "0", "source": {"kind": "recipe"}}\n'
    )
    asked = [PurePosixPath("/none.sif"), PurePosixPath(image)]
    facts = probe(remote, profile_at(tmp_path / "w"), images=asked)
    (seen,) = facts.images.values()
    assert seen.path == PurePosixPath(image) and seen.record is not None
    assert (seen.record.size, seen.entries[0].size, seen.entries[0].owner) == (3, 3, facts.user)
    assert [entry.path for entry in seen.entries] == [
        PurePosixPath(path) for path in (image, image.with_suffix(".json"), *image.parents)
    ]
    assert len(remote.commands) == 1


def test_an_image_behind_a_link_is_looked_at_where_it_lies(remote: LocalRemote, tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.sif").write_bytes(b"sif")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    image = PurePosixPath(tmp_path / "link" / "x.sif")
    seen = probe(remote, profile_at(tmp_path / "w"), images=[image]).images[image]
    assert seen.record is None
    assert seen.entries[1].path == PurePosixPath(tmp_path / "real")


def test_a_record_that_is_a_pipe_is_none(remote: LocalRemote, tmp_path: Path):
    image = tmp_path / "x.sif"
    image.write_bytes(b"sif")
    os.mkfifo(image.with_suffix(".json"))
    (seen,) = probe(remote, profile_at(tmp_path / "w"), images=[PurePosixPath(image)]).images.values()
    assert seen.record is None


def test_a_record_that_cannot_be_read_is_none(remote: LocalRemote, stand_ins: Path, tmp_path: Path):
    """The launch then says so; the other images in the folder are looked at all the same."""
    (stand_ins / "head").write_text(
        '#!/bin/sh\ncase $* in *a.json) exit 1 ;; *) exec /usr/bin/head "$@" ;; esac\n'
    )
    (stand_ins / "head").chmod(0o755)
    images = [PurePosixPath(tmp_path / name) for name in ("a.sif", "b.sif")]
    for image in map(Path, images):
        image.write_bytes(b"sif")
        image.with_suffix(".json").write_text("{}")
    seen = probe(remote, profile_at(tmp_path / "w"), images=images).images
    assert (list(seen), seen[images[0]].record) == (images, None)


def test_of_a_record_of_others_only_the_beginning_is_read(remote: LocalRemote, tmp_path: Path):
    image = tmp_path / "x.sif"
    image.write_bytes(b"sif")
    image.with_suffix(".json").write_text('{"version": 1, "key": "k", "name": "n", "size": 3, "modified": 7, '
        '"sha256": "0", "source": {"kind": "recipe"}}' + 70_000 * " " + "no JSON")  # fmt: skip
    (seen,) = probe(remote, profile_at(tmp_path / "w"), images=[PurePosixPath(image)]).images.values()
    assert seen.record is not None


def test_a_folder_of_others_that_hangs_holds_up_no_launch(
    remote: LocalRemote, stand_ins: Path, tmp_path: Path
):
    """As an automatically mounted folder whose server is away. The limit is cut to a second here."""
    (stand_ins / "readlink").write_text(
        '#!/bin/sh\ncase $* in *hung*) sleep 600 ;; *) exec /usr/bin/readlink "$@" ;; esac\n'
    )
    (stand_ins / "timeout").write_text(
        f"#!/bin/sh\necho >> {tmp_path}/limits\n"
        '[ "$1" != --signal=KILL ] || { shift 2; set -- --signal=KILL 1 "$@"; }\nexec /usr/bin/timeout "$@"\n'
    )
    for name in ("readlink", "timeout"):
        (stand_ins / name).chmod(0o755)
    images = []
    for folder, name in (("hung", "a"), ("hung", "b"), ("mine", "c")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{name}.sif").write_bytes(b"sif")
        images.append(PurePosixPath(tmp_path / folder / f"{name}.sif"))
    facts = probe(remote, profile_at(tmp_path / "w"), images=images)
    assert list(facts.images) == images[2:]
    assert (tmp_path / "limits").read_text().count("\n") == 3  # sinfo, one image that hung, and the last


def test_data_that_is_not_there(remote: LocalRemote, tmp_path: Path):
    facts = probe(remote, profile_at(tmp_path / "w"), data=PurePosixPath("/none"))
    assert (facts.images, facts.data_there) == ({}, False)


def test_a_machine_without_slurm_and_apptainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    profile = profile_at(tmp_path / "work", apptainer="/nowhere/apptainer")
    problems = probe(LocalRemote(), profile).problems(profile)
    assert list(problems) == ["Slurm", "Apptainer"]
    assert isinstance(problems["Slurm"], RemoteError) and isinstance(problems["Apptainer"], ImageError)
    assert "/nowhere/apptainer" in problems["Apptainer"].message


def test_a_work_folder_that_cannot_be_made(remote: LocalRemote, tmp_path: Path):
    (tmp_path / "file").write_text("")
    profile = profile_at(tmp_path / "file" / "work")
    problem = probe(remote, profile).problems(profile)["work folder"]
    assert "cannot be written to" in problem.message and "Not a directory" in problem.message
    with pytest.raises(Dl4micError):
        probe(remote, profile).require(profile)


@pytest.mark.parametrize("said", ["No space left on device", "Disk quota exceeded"])
def test_full_is_told_apart_from_forbidden(said: str, tmp_path: Path):
    facts = parse(f"sbatch\tslurm\napptainer\ta\nwork\tfailed\nwork_said\thead: write error: {said}\n")
    assert "is full" in facts.problems(profile_at(tmp_path))["work folder"].message


def test_a_module_that_does_not_exist_is_told_first(tmp_path: Path):
    facts = parse("module_failed\tapptainer/9: not found\nsbatch\tslurm\napptainer\tmissing\nwork\tok\n")
    assert list(facts.problems(profile_at(tmp_path))) == ["modules", "Apptainer"]


def test_an_answer_that_was_cut_short_is_no_answer():
    with pytest.raises(RemoteError, match="cut short"):
        parse("sbatch\tslurm 24\n")


def test_a_controller_that_does_not_answer_is_asked_once(
    remote: LocalRemote, stand_ins: Path, tmp_path: Path
):
    said = "slurm_load_partitions: Unable to contact slurm controller (connect failure)"
    (stand_ins / "sinfo").write_text(f"#!/bin/sh\necho '{said}' >&2; exit 1\n")
    (stand_ins / "squeue").write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\n")
    profile = profile_at(tmp_path / "work")
    problem = probe(remote, profile, job_script="good\n").problems(profile)["Slurm"]
    assert "does not answer" in problem.message and said in problem.message
    assert not (tmp_path / "asked").exists()
