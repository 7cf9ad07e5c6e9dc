"""What a launch leaves behind when it breaks in the middle: the real code on this machine, Slurm replayed."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import pytest
from support.local_remote import LocalRemote, connection_lost

from dl4mic_hpc import catalog
from dl4mic_hpc import profile as profiles
from dl4mic_hpc.errors import JobError, SshError
from dl4mic_hpc.remote import CommandResult
from dl4mic_hpc.sessions import store
from dl4mic_hpc.sessions.launch import LaunchPlan, LaunchRequest, LocalSide, plan_launch, submit
from dl4mic_hpc.slurm.job import Resources

pytestmark = pytest.mark.posix


class Nobody:
    """A teller to whom nothing matters."""

    def say(self, text: str) -> None: ...

    def detail(self, text: str) -> None: ...

    def note(self, text: str) -> None: ...


def upload_nothing(*_: object) -> None: ...


LOCAL = LocalSide(upload=upload_nothing)


class LosesTheAnswer(LocalRemote):
    """The connection breaks after the job was submitted and before sbatch's answer is here."""

    def run(self, *argv: str, stdin: bytes = b"", timeout: float | None = 60.0) -> CommandResult:
        answer = super().run(*argv, stdin=stdin, timeout=timeout)
        if argv[-1] == "job.sh":
            raise connection_lost()
        return answer


class Site:
    """A login node on this machine; its Slurm is a folder of scripts that write down how they are called."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.work = folder / "work"
        (folder / "bin").mkdir()
        self.program(
            "sbatch", 'case $1 in --version) echo "slurm-wlm 24.11.5" ;; --test-only) ;; *) echo 41 ;; esac'
        )
        self.program("squeue", "")
        self.program("sinfo", "echo 'gpu*|1-00:00:00'")
        self.program("scancel", "")
        self.program("apptainer", 'echo "apptainer version 1.4.5"')
        home = folder / "home"
        home.mkdir()
        (home / ".bash_profile").write_text(f"PATH={folder}/bin:$PATH\n")
        monkeypatch.setenv("HOME", str(home))
        self.remote = LocalRemote(path=folder / "bin")
        text = f"host: login\nwork_dir: {self.work}\npartition: gpu\nregistry_mirrors: {{docker.io: 'mirror:5000'}}\n"
        self.profile = profiles.parse(text, name="uni")

    def program(self, name: str, body: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >> {self.folder}/calls\n{body}\n')
        path.chmod(0o755)

    def calls(self, name: str) -> list[str]:
        return [
            line for line in (self.folder / "calls").read_text().splitlines() if line.startswith(f"{name} ")
        ]

    def plan(self, image: str = "auto") -> LaunchPlan:
        return plan_launch(
            LaunchRequest(
                profile=self.profile,
                notebook=catalog.load("pixel_segmentation"),
                resources=Resources.of(self.profile),
                image=image,
            )
        )

    def left(self) -> list[str]:
        """What lies in the work folder, of sessions and builds."""
        return [
            str(path.relative_to(self.work))
            for name in ("sessions", "builds")
            for path in (self.work / name).glob("*")
        ]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


def test_a_launch_puts_everything_in_place(site: Site):
    session = submit(site.remote, site.plan(), Nobody(), LOCAL)
    folder = Path(session.session_dir)
    assert (session.job_id, session.build_job_id) == (41, 41)
    assert store.find(session.id) == session
    assert folder.stat().st_mode & 0o777 == 0o700
    told = json.loads((folder / "session.json").read_text())
    assert (told["submit_token"], told["build_job_id"], told["job_id"]) == (session.submit_token, 41, None)
    assert (folder / "job.id").read_text() == "41\n"
    assert f"--comment=dl4mic-hpc:{session.submit_token}" in (folder / "job.sh").read_text()
    assert "--dependency=afterok:41" in (folder / "job.sh").read_text()
    assert (folder / "home" / "Pixel_segmentation.ipynb").is_file()
    assert json.loads((folder / "provenance.json").read_text())["gpus_simulated"] is False
    bundle = Path(str(session.build_dir))
    assert "From: mirror:5000/library/debian:trixie-slim" in (bundle / "image.def").read_text()


def test_a_cached_image_is_used_unless_it_is_to_be_built_again(site: Site):
    plan = site.plan()
    image = Path(plan.image.image)
    image.parent.mkdir(parents=True)
    image.write_bytes(b"sif")
    assert submit(site.remote, plan, Nobody(), LOCAL).build_job_id is None
    assert submit(site.remote, site.plan(image="build"), Nobody(), LOCAL).build_job_id == 41


def test_a_few_commands_are_enough(site: Site):
    """Each is a round trip to the other end of the world."""
    plan = site.plan()
    Path(plan.image.image).parent.mkdir(parents=True)
    Path(plan.image.image).write_bytes(b"sif")
    submit(site.remote, plan, Nobody(), LOCAL)
    assert len(site.remote.commands) == 2


def test_a_request_that_slurm_would_refuse_writes_nothing(site: Site):
    site.program(
        "sbatch",
        'case $1 in --version) echo s ;; *) echo "allocation failure: Invalid qos specification" >&2; exit 1 ;; esac',
    )
    with pytest.raises(JobError, match="QoS"):
        submit(site.remote, site.plan(), Nobody(), LOCAL)
    assert site.left() == [] and store.every() == []


def test_a_job_refused_after_the_build_was_submitted_takes_the_build_with_it(site: Site):
    site.program(
        "sbatch",
        'case "$*" in --version) echo s ;; --test-only) ;; *build.sh) echo 41 ;;\n'
        '*) echo "QOSMaxSubmitJobPerUserLimit" >&2; exit 1 ;; esac',
    )
    with pytest.raises(JobError, match="QoS allows"):
        submit(site.remote, site.plan(), Nobody(), LOCAL)
    assert site.left() == [] and store.every() == []
    assert any(call.endswith(" 41") for call in site.calls("scancel"))


@pytest.mark.parametrize("problem", [KeyboardInterrupt(), OSError("disk")])
def test_an_interrupted_copy_is_cleared_away(site: Site, problem: BaseException, tmp_path: Path):
    def broken(*_: object) -> None:
        raise problem

    plan = plan_with_data(site, tmp_path)
    with pytest.raises(type(problem)):
        submit(site.remote, plan, Nobody(), LocalSide(upload=broken))
    assert site.left() == [] and store.every() == []
    assert len(site.calls("scancel")) == 2


def plan_with_data(site: Site, folder: Path) -> LaunchPlan:
    (folder / "raw").mkdir()
    return plan_launch(
        LaunchRequest(
            profile=site.profile,
            notebook=catalog.load("pixel_segmentation"),
            resources=Resources.of(site.profile),
            data=folder / "raw",
        )
    )


def test_when_the_connection_breaks_at_sbatch_the_session_stays_on_record(site: Site):
    """Whether Slurm took the job is not known then: the record must survive, and the answer is on the cluster."""

    remote = LosesTheAnswer(path=site.folder / "bin")
    with pytest.raises(SshError, match="lost") as problem:
        submit(remote, site.plan(), Nobody(), LOCAL)
    (kept,) = store.every()
    assert kept.job_id is None and kept.id in problem.value.hint
    assert (Path(kept.session_dir) / "job.id").read_text() == "41\n"


def test_the_same_notebook_gives_the_same_image_and_another_session(site: Site):
    one, two = site.plan(), site.plan()
    assert one.image.image == two.image.image
    assert one.session.id != two.session.id
    assert one.session.submit_token != two.session.submit_token


def test_the_image_may_lie_anywhere_on_the_cluster(site: Site):
    plan = site.plan(image="/group/images/x.sif")
    assert plan.image.image == PurePosixPath("/group/images/x.sif")
    assert plan.image.bundle is None
