"""A session's GPUs as the laptop sees them: before it is submitted, while it runs, and when it was ended for want of one."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.local_remote import LocalRemote
from unit.sessions.test_submit import LOCAL, Nobody, Site
from unit.sessions.test_watch import READY, Place, Told

from dl4mic_hpc import catalog
from dl4mic_hpc import profile as profiles
from dl4mic_hpc.catalog.frameworks import Named
from dl4mic_hpc.cli import console
from dl4mic_hpc.errors import JobError, UsageError
from dl4mic_hpc.sessions import gpu, gpu_request, herald, listing, probe, store
from dl4mic_hpc.sessions.gpu import GpuProof
from dl4mic_hpc.sessions.launch import LaunchPlan, LaunchRequest, plan_launch, submit
from dl4mic_hpc.sessions.probe import ClusterFacts
from dl4mic_hpc.sessions.watch import look, wait_until_ready
from dl4mic_hpc.slurm.job import JobExit, Resources

pytestmark = pytest.mark.posix

PROFILE = profiles.parse("host: login\nwork_dir: /scratch/ada\npartition: gpu\n", name="uni")
VERDICT: dict[str, Any] = {
    "level": "driver", "verdict": "works", "asked": 1, "gpus": ["NVIDIA A100-SXM4-40GB"], "driver": "535.161.08",
    "framework": "", "reason": "", "proving": True, "remembered": False, "key": "",
}  # fmt: skip
PROVEN = VERDICT | {"level": "framework", "framework": "PyTorch 2.1.0", "proving": False}
CPU = PROVEN | {"verdict": "cpu", "reason": "PyTorch 2.1.0: it finds no GPU"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


def proof(**values: Any) -> GpuProof:
    found = gpu.parse({"version": 1, **PROVEN, **values})
    assert found is not None
    return found


def test_a_fall_back_to_the_processor_is_told_while_jupyterlab_starts(place: Place) -> None:
    place.write("session/connection.json", state="starting", node="gpu01", job_id=7)
    place.write("session/gpu.json", **CPU)
    told = Told()

    def go_on(argv: tuple[str, ...]) -> None:
        if told.nodes:
            place.write("session/connection.json", **READY)

    place.remote.on_start = go_on
    wait_until_ready(place.remote, place.session, told)
    sentence = "this session computes on the CPU: PyTorch 2.1.0: it finds no GPU"
    assert told.words.count(sentence) == 1


def test_every_new_verdict_ends_the_login_nodes_wait(place: Place) -> None:
    seen = look(place.patient, place.session)
    for verdict in (VERDICT, PROVEN):
        place.patient.on_start = lambda _, verdict=verdict: place.write("session/gpu.json", **verdict)
        before = seen.signature
        seen = look(place.patient, place.session, after=before, wait=30)
        assert seen.signature != before
        assert seen.gpu == gpu.parse({"version": 1, **verdict})


@pytest.mark.parametrize("text", ["", "{", '{"version": 2}', '{"version": 1, "verdict": "works"}'])
def test_a_verdict_that_cannot_be_read_is_none(place: Place, text: str) -> None:
    (place.folder / "session" / "gpu.json").write_text(text)
    assert look(place.remote, place.session).gpu is None


@pytest.mark.parametrize(
    ("found", "column", "bad"),
    [
        (None, "a100:1", False),
        (VERDICT, "a100:1: being tried", False),
        (PROVEN, "a100:1: works", False),
        (VERDICT | {"proving": False}, "a100:1: driver works", False),
        (CPU, "a100:1: CPU ONLY", True),
        (CPU | {"verdict": "fewer"}, "a100:1: FEWER", True),
        (CPU | {"verdict": "unproven"}, "a100:1: not known", True),
        (CPU | {"verdict": "unproven", "proving": True}, "a100:1: being tried", False),
    ],
)
def test_what_ps_shows(place: Place, found: dict[str, Any] | None, column: str, bad: bool) -> None:
    session = replace(place.session, gpus="a100:1", simulated=False)
    verdict = gpu.parse({"version": 1, **found}) if found else None
    assert gpu.column(session, verdict) == column
    assert (verdict is not None and verdict.is_bad) is bad


def test_what_ps_shows_without_a_gpu_and_with_simulated_ones(place: Place) -> None:
    assert gpu.column(replace(place.session, gpus="0"), None) == "0"
    assert (
        gpu.column(replace(place.session, gpus="1", simulated=True), proof(verdict="simulated"))
        == "1 SIMULATED"
    )


def test_the_list_of_sessions_has_each_ones_verdict(place: Place, tmp_path: Path) -> None:
    session = place.session
    folder = tmp_path / "work" / "sessions" / session.id
    folder.mkdir(parents=True)
    store.save(session)
    place.write(f"work/sessions/{session.id}/session.json", **session.as_cluster_record())
    place.write(f"work/sessions/{session.id}/gpu.json", **CPU)
    (folder / "job.id").write_text("7\n")
    place.slurm(squeue="7|RUNNING|None|gpu01|N/A|1:00:00\n")
    profile = PROFILE.model_copy(update={"work_dir": tmp_path / "work", "name": session.cluster})
    (row,) = listing.states(place.patient, profile)
    assert (row.state, row.gpu) == ("starting", proof(**CPU))
    assert row.as_json()["gpu"]["reason"] == CPU["reason"]


def test_a_session_ended_for_want_of_a_gpu_says_why(place: Place) -> None:
    assert herald.want_of_gpu(place.remote, place.session) is None
    place.write("session/exit.json", job_id=7, exit_code=0, reason="", node="gpu01")
    assert herald.want_of_gpu(place.remote, place.session) is None
    place.write(
        "session/exit.json", job_id=7, exit_code=int(JobExit.NO_GPU), reason=CPU["reason"], node="gpu01"
    )
    problem = herald.want_of_gpu(place.remote, place.session)
    assert isinstance(problem, JobError) and problem.exit_code == 6
    assert CPU["reason"] in problem.message and "--require-gpu" in problem.hint


def test_verdicts_are_told_while_something_else_goes_on_and_each_once(place: Place) -> None:
    heard: list[str] = []
    first = threading.Event()

    def tell(found: GpuProof) -> None:
        heard.append(found.short)
        first.set()

    place.write("session/gpu.json", **VERDICT)
    with herald.heralded(place.patient, place.session, tell):
        assert first.wait(30)
        place.write("session/gpu.json", **CPU)
    assert heard == ["being tried", "CPU ONLY"]


def test_a_verdict_is_not_told_twice() -> None:
    heard: list[GpuProof] = []
    herald_ = herald.Herald(tell=heard.append)
    for found in (None, proof(), proof(), proof(verdict="cpu")):
        herald_.hear(found)
    assert heard == [proof(), proof(verdict="cpu")]


def test_a_session_without_a_gpu_is_not_asked_for_verdicts(place: Place) -> None:
    with herald.heralded(place.patient, replace(place.session, gpus="0"), lambda _: None):
        pass
    assert place.patient.commands == []


def test_the_terminal_says_it_loudly(capsys: pytest.CaptureFixture[str]) -> None:
    console.gpu(proof(**CPU))
    console.gpu(proof())
    assert capsys.readouterr().err.splitlines() == [
        "warning: this session computes on the CPU: PyTorch 2.1.0: it finds no GPU",
        "  GPU: PyTorch 2.1.0 computes on NVIDIA A100-SXM4-40GB",
    ]


# ---- Before it is submitted ------------------------------------------------------------------------------------------


def facts(**gres: str) -> ClusterFacts:
    known = {name: tuple(text.split(" ")) for name, text in gres.items()}
    return ClusterFacts(
        slurm="",
        apptainer="",
        work_error=None,
        free_bytes=None,
        gres=known,
        time_limits={"gpu*": "1-0", "old": "1-0"},
    )


@pytest.mark.parametrize(
    ("asked", "partition", "gres", "types"),
    [
        ("a100:2", (), {"gpu": "gpu:v100:4"}, ("a100",)),
        ("1", ("gpu",), {"gpu": "gpu:v100:4 gpu:a100:2(S:0-1) (null)", "old": "gpu:k80:1"}, ("a100", "v100")),
        ("1", ("gpu", "old"), {"gpu": "gpu:v100:4", "old": "gpu:k80:1"}, ("k80", "v100")),
        ("1", ("gpu",), {"gpu": "gpu:4"}, ()),
        ("1", ("gpu",), {"gpu": "gpu:a100:1 gpu:4"}, ()),
        ("1", ("nobody",), {"gpu": "gpu:v100:4"}, ()),
    ],
)  # fmt: skip
def test_the_types_that_a_session_may_get(
    asked: str, partition: tuple[str, ...], gres: dict[str, str], types: tuple[str, ...]
) -> None:
    resources = Resources.of(PROFILE, gpus=asked, partition=partition)
    assert gpu_request.types(resources, facts(**gres)) == types
    anywhere = replace(resources, partition=())
    if asked == "1" and partition == ("gpu",):
        assert gpu_request.types(anywhere, facts(**gres)) == types


def test_software_that_computes_on_no_gpu_of_the_partition_is_refused() -> None:
    old = Named(module="tensorflow", release=(2, 3), cuda=(10, 1))
    asked = Resources.of(PROFILE)
    with pytest.raises(JobError, match=r"TensorFlow 2\.3 computes with CUDA 10\.1.* a100"):
        gpu_request.before_submit(asked, [old], facts(gpu="gpu:a100:2"))
    (warning,) = gpu_request.before_submit(asked, [old], facts(gpu="gpu:a100:2 gpu:v100:2"))
    assert "does not compute on a100" in warning
    assert gpu_request.before_submit(Resources.of(PROFILE, gpus="0"), [old], facts(gpu="gpu:a100:2")) == ()


def test_drivers_that_were_seen_before_are_read_from_what_was_proven(tmp_path: Path) -> None:
    kept = tmp_path / "work" / "gpu"
    kept.mkdir(parents=True)
    for number, driver in enumerate(("535.161.08", "550.54.15")):
        line = json.dumps({"version": 1, **PROVEN, "driver": driver, "framework": 'a "b"'})
        (kept / f"{number}.json").write_text(line + "\n")
    profile = PROFILE.model_copy(update={"work_dir": tmp_path / "work"})
    found = probe.probe(LocalRemote(), profile)
    assert found.drivers == (("535.161.08", "NVIDIA A100-SXM4-40GB"), ("550.54.15", "NVIDIA A100-SXM4-40GB"))


def test_what_the_requirements_name_reaches_the_job_and_what_cannot_be_is_refused(
    site: Site, tmp_path: Path
) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("tensorflow==2.3.0\ntorch\n")
    spec = replace(catalog.load("pixel_segmentation"), requirements=requirements)

    def plan(gpus: str) -> LaunchPlan:
        return plan_launch(
            LaunchRequest(
                profile=site.profile,
                notebook=spec,
                resources=Resources.of(site.profile, gpus=gpus),
                require_gpu=gpus != "0",
            )
        )

    assert (plan("1").job.frameworks, plan("1").job.require_gpu) == (("tensorflow", "torch"), True)
    assert (plan("0").job.frameworks, plan("0").job.require_gpu) == ((), False)
    with pytest.raises(JobError, match=r"TensorFlow 2\.3 computes with CUDA 10\.1"):
        submit(site.remote, plan("a100:1"), Nobody(), LOCAL)
    assert site.left() == []


def test_a_required_gpu_that_can_never_be_is_refused() -> None:
    gpu_request.check_request(Resources.of(PROFILE), PROFILE, require=True)
    with pytest.raises(UsageError, match="-g 0"):
        gpu_request.check_request(Resources.of(PROFILE, gpus="0"), PROFILE, require=True)
    sandbox = profiles.parse("host: 127.0.0.1\nwork_dir: /a\ngpus: simulated\n", name="sandbox")
    gpu_request.check_request(Resources.of(sandbox), sandbox, require=False)
    with pytest.raises(JobError, match="simulated"):
        gpu_request.check_request(Resources.of(sandbox), sandbox, require=True)
