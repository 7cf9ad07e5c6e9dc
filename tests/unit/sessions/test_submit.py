"""What a launch leaves behind when it breaks in the middle: the real code on this machine, Slurm replayed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path, PurePosixPath

import pytest
from support.local_remote import LocalRemote, connection_lost
from support.web_server import Answer, WebServer

from dl4mic_hpc import catalog
from dl4mic_hpc import profile as profiles
from dl4mic_hpc.catalog import NotebookSpec, Pinned
from dl4mic_hpc.errors import Dl4micError, ImageError, JobError, SshError, UsageError
from dl4mic_hpc.images.fitness import Fitness
from dl4mic_hpc.images.place import Place
from dl4mic_hpc.remote import CommandResult
from dl4mic_hpc.sessions import provide, store
from dl4mic_hpc.sessions.launch import LaunchPlan, LaunchRequest, LocalSide, plan_launch, submit
from dl4mic_hpc.sessions.parameters import HeadlessRequest
from dl4mic_hpc.slurm.job import Resources

pytestmark = pytest.mark.posix


class Nobody:
    """A teller to whom nothing matters."""

    def say(self, text: str) -> None: ...

    def detail(self, text: str) -> None: ...

    def note(self, text: str) -> None: ...


def upload_nothing(*_: object) -> None: ...


PLACE = Place(node="n", user_namespaces=True, subuids=65536, subgids=65536, newuidmap=True)
LOCAL = LocalSide(upload=upload_nothing, fit=Fitness(login=PLACE, node=PLACE, looked=0.0, corrected="nodes"))


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

    def plan(
        self,
        image: str = "auto",
        *,
        spec: NotebookSpec | None = None,
        headless: HeadlessRequest | None = None,
    ) -> LaunchPlan:
        return plan_launch(
            LaunchRequest(
                profile=self.profile,
                notebook=spec or catalog.load("pixel_segmentation"),
                resources=Resources.of(self.profile),
                image=image,
                headless=headless,
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


def make_image(place: PurePosixPath, *, size: int = 3) -> None:
    """An image with its record; `size` is what the record says."""
    image = Path(place)
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(b"sif")
    record = {
        "version": 1,
        "key": image.stem.rpartition("-")[2],
        "name": "n",
        "size": size,
        "modified": int(image.stat().st_mtime),
        "sha256": "0",
        "source": {"kind": "recipe", "reference": "", "digest": ""},
    }
    image.with_suffix(".json").write_text(json.dumps(record))


def test_a_cached_image_is_used(site: Site):
    plan = site.plan()
    make_image(plan.session.image)
    session = submit(site.remote, plan, Nobody(), LOCAL)
    assert (session.build_job_id, session.image) == (None, plan.session.image)
    told = json.loads((Path(session.session_dir) / "provenance.json").read_text())
    assert (told["image"]["how"], told["image"]["sha256"]) == ("there", "0")


def test_an_image_that_its_record_does_not_tell_of_is_made_anew(site: Site):
    plan = site.plan()
    make_image(plan.session.image, size=4)
    assert submit(site.remote, plan, Nobody(), LOCAL).build_job_id == 41


def test_a_few_commands_are_enough(site: Site):
    """Each is a round trip to the other end of the world."""
    plan = site.plan()
    make_image(plan.session.image)
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


def test_an_image_that_was_done_long_before_the_data_is_not_waited_for(site: Site):
    """Slurm forgets a job after MinJobAge: then nothing can depend on it."""
    plan = site.plan()
    site.program(
        "sbatch",
        f"""case $1 in --test-only) ;; *)
            if grep -q dependency=afterok "$2"; then
                for folder in {site.work}/builds/*; do echo '{{"exit_code": 0}}' > "$folder/exit.json"; done
                echo "sbatch: error: Batch job submission failed: Job dependency problem" >&2; exit 1
            fi
            echo 41 ;;
        esac""",
    )
    session = submit(site.remote, plan, Nobody(), LOCAL)
    assert session.job_id == 41
    assert "afterok" not in (Path(session.session_dir) / "job.sh").read_text()


def test_an_image_that_failed_long_before_the_data_is_told_with_its_reason(site: Site):
    site.program(
        "sbatch",
        f"""case $1 in --test-only) ;; *)
            if grep -q dependency=afterok "$2"; then
                for folder in {site.work}/builds/*; do
                    echo '{{"exit_code": 78}}' > "$folder/exit.json"
                    echo "no space left on device" > "$folder/build.log"
                done
                echo "sbatch: error: Batch job submission failed: Job dependency problem" >&2; exit 1
            fi
            echo 41 ;;
        esac""",
    )
    with pytest.raises(ImageError, match="no space left"):
        submit(site.remote, site.plan(), Nobody(), LOCAL)


def test_a_build_that_others_wait_for_is_not_cancelled(site: Site):
    """Neither is one of which Slurm does not say who waits for it."""
    build = PurePosixPath(site.folder)
    site.program("squeue", "echo '9|afterok:41(unfulfilled)'")
    assert not provide.cancel(site.remote, 41, build, but_for=7)
    site.program("squeue", "echo 'squeue: error: Socket timed out' >&2; exit 1")
    assert not provide.cancel(site.remote, 41, build, but_for=7)
    site.program("squeue", "echo '7|afterok:41(unfulfilled)'")
    (site.folder / "joined").touch()
    assert not provide.cancel(site.remote, 41, build, but_for=7)
    assert not (site.folder / "calls").read_text().count("scancel")
    (site.folder / "joined").unlink()
    (site.folder / "login").write_text("a password")
    assert provide.cancel(site.remote, 41, build, but_for=7)
    assert site.calls("scancel") == ["scancel --quiet 41"] and not (site.folder / "login").exists()


def test_a_build_that_slurm_refuses_is_told_in_words_and_leaves_nothing(site: Site):
    site.program(
        "sbatch",
        'case $1 in --test-only) ;; *) echo "sbatch: error: invalid partition specified: x" >&2; exit 1 ;; esac',
    )
    with pytest.raises(JobError, match="there is no partition gpu"):
        submit(site.remote, site.plan(), Nobody(), LOCAL)
    assert site.left() == [] and store.every() == []
    assert list((site.work / "images").iterdir()) == []


@pytest.mark.parametrize("problem", [KeyboardInterrupt(), OSError("disk")])
def test_an_interrupted_copy_is_cleared_away(site: Site, problem: BaseException, tmp_path: Path):
    def broken(*_: object) -> None:
        raise problem

    plan = plan_with_data(site, tmp_path)
    with pytest.raises(type(problem)):
        submit(site.remote, plan, Nobody(), dataclasses.replace(LOCAL, upload=broken))
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
    assert one.session.image == two.session.image
    assert one.session.id != two.session.id
    assert one.session.submit_token != two.session.submit_token


def test_the_image_may_lie_anywhere_on_the_cluster(site: Site):
    plan = site.plan(image="/group/images/x.sif")
    assert list(plan.wish.places(site.profile)) == [PurePosixPath("/group/images/x.sif")]
    with pytest.raises(ImageError, match="does not exist on uni"):
        submit(site.remote, plan, Nobody(), LOCAL)
    assert site.left() == [] and store.every() == []


def test_a_headless_session_brings_its_parameters_and_starts_no_jupyterlab(site: Site):
    plan = site.plan(headless=HeadlessRequest(texts=["Trees=7"], sections="1-4"))
    session = submit(site.remote, plan, Nobody(), LOCAL)
    folder = Path(session.session_dir)
    given = json.loads((folder / "home" / "dl4mic_parameters.json").read_text())
    assert list(given.values()) == [7]
    script = (folder / "job.sh").read_text()
    assert "-m dl4mic_forms --parameters=dl4mic_parameters.json --sections=1-4 --" in script
    assert "--no-browser" not in script
    assert json.loads((folder / "session.json").read_text())["headless"] is True
    assert store.find(session.id) == session and session.headless


def test_parameters_that_the_notebook_would_refuse_are_refused_here(site: Site):
    with pytest.raises(UsageError, match="perhaps you meant 'Trees'"):
        site.plan(headless=HeadlessRequest(texts=["Trees_=7"]))
    assert site.remote.commands == [] and site.left() == [] and store.every() == []


def test_a_notebook_for_an_old_python_cannot_run_by_itself(site: Site):
    spec = dataclasses.replace(catalog.load("pixel_segmentation"), python_version="3.6")
    with pytest.raises(Dl4micError, match=r"3\.6"):
        site.plan(spec=spec, headless=HeadlessRequest())


def test_only_a_notebook_with_forms_asks_whether_they_can_be_shown(site: Site):
    assert site.plan().job.front_end
    assert not site.plan(headless=HeadlessRequest()).job.front_end


def test_a_pinned_notebook_is_fetched_once_and_its_origin_is_kept(site: Site):
    shipped = catalog.load("pixel_segmentation")
    original = shipped.read_notebook()
    sha256 = hashlib.sha256(original).hexdigest()
    with WebServer().running() as server:
        server.answer = lambda _: Answer(body=original)
        pinned = Pinned(url=f"{server.url}/n.ipynb?token=s3cret", sha256=sha256, name="Pixels.ipynb")
        spec = dataclasses.replace(shipped, notebook=pinned, revision="c" * 40)
        first = site.plan(spec=spec)
    second = site.plan(spec=spec)
    assert first.files["home/Pixels.ipynb"] == second.files["home/Pixels.ipynb"]
    told = second.provenance["notebook"]
    assert isinstance(told, dict)
    assert (told["url"], told["revision"], told["sha256"]) == (f"{server.url}/n.ipynb", "c" * 40, sha256)
    assert b"s3cret" not in second.files["home/Pixels.ipynb"] + json.dumps(second.provenance).encode()


def test_code_that_names_content_gets_such_a_folder(site: Site, tmp_path: Path):
    shipped = catalog.load("pixel_segmentation")
    assert not site.plan().job.content
    text = shipped.read_notebook().decode().replace("/home/results", "/content/results")
    (tmp_path / "colab.ipynb").write_text(text)
    assert site.plan(spec=dataclasses.replace(shipped, notebook=tmp_path / "colab.ipynb")).job.content
