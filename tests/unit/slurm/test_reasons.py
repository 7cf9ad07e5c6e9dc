from __future__ import annotations

import pytest

from dl4mic_hpc.errors import JobError, RemoteError
from dl4mic_hpc.slurm.answers import JobStatus
from dl4mic_hpc.slurm.duration import seconds
from dl4mic_hpc.slurm.job import GpuRequest, JobExit, Resources
from dl4mic_hpc.slurm.reasons import explain_end, explain_pending, explain_refusal, refuse_time

ASKED = Resources(
    time="60",
    mem="4G",
    cpus=2,
    gpus=GpuRequest(count=7, type="a100"),
    partition=("nope",),
    account="foo",
    qos="bar",
)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Priority", "other jobs are ahead of it"),
        ("Resources", "it is next"),
        ("Dependency", "its image"),
        ("QOSMaxGRESPerUser", "you use as much as your QoS allows"),
        ("AssocGrpGRES", "your account uses as much"),
        ("ReqNodeNotAvail, UnavailableNodes:gpu01", "down or reserved"),
        ("SomethingNew", "Slurm's reason is SomethingNew"),
    ],
)
def test_why_a_job_waits(reason: str, words: str):
    assert words in explain_pending(JobStatus(job_id=1, state="PENDING", reason=reason))


def test_slurms_own_estimate_is_passed_on():
    status = JobStatus(job_id=1, state="PENDING", reason="Resources", start="2026-11-22T16:00:00")
    assert "2026-11-22 16:00:00" in explain_pending(status)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            "sbatch: error: invalid partition specified: nope\nallocation failure: Invalid partition name specified",
            "no partition nope",
        ),
        ("allocation failure: Requested node configuration is not available", "a100:7 GPU"),
        ("allocation failure: Invalid account or account/partition combination specified", "account foo"),
        ("allocation failure: Invalid qos specification", "QoS bar"),
        ("allocation failure: Invalid node name specified", "no node"),
        ("allocation failure: Invalid feature specification", "constraint"),
        (
            "sbatch: error: Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)",
            "time limit 60",
        ),
        ("sbatch: error: something nobody has seen", "something nobody has seen"),
    ],
)
def test_a_refusal_is_explained_and_slurms_words_are_kept(said: str, words: str):
    problem = explain_refusal(said, ASKED, cluster="uni")
    assert isinstance(problem, JobError)
    assert words in problem.message
    assert said.splitlines()[-1].split(": ")[-1] in problem.message
    assert problem.hint


def test_a_controller_that_does_not_answer_is_no_fault_of_the_request():
    said = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)"
    assert isinstance(explain_refusal(said, ASKED, cluster="uni"), RemoteError)


@pytest.mark.parametrize(
    ("state", "words"), [("TIMEOUT", "time limit"), ("OUT_OF_MEMORY", "memory"), ("NEW_STATE", "NEW_STATE")]
)
def test_how_a_job_ended(state: str, words: str):
    problem = explain_end(JobStatus(job_id=5, state=state), session_id="bcdfgh", said="")
    assert words in problem.message
    assert "{" not in problem.hint


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("90", 5400),
        ("90:30", 5430),
        ("1:30:00", 5400),
        ("1-12", 129600),
        ("1-00:00:00", 86400),
        ("infinite", None),
    ],
)
def test_time_limits_are_read_as_slurm_reads_them(text: str, number: int | None):
    assert seconds(text) == number


LIMITS = {"gpu*": "1-00:00:00", "short": "30:00", "long": "infinite", "odd": "n/a"}


@pytest.mark.parametrize(
    ("time", "partition", "refused"),
    [
        ("24:00:00", (), False),
        ("24:00:01", (), True),
        ("31", ("short",), True),
        ("31", ("short", "gpu"), False),
        ("9-00", ("long",), False),
        ("9-00", ("odd",), False),
        ("9-00", ("unheard",), False),
    ],
)
def test_a_time_that_no_partition_allows_is_refused(time: str, partition: tuple[str, ...], refused: bool):
    asked = Resources(time=time, mem="4G", cpus=2, gpus=GpuRequest(count=1), partition=partition)
    assert (refuse_time(asked, LIMITS) is not None) is refused


@pytest.mark.parametrize("code", list(JobExit))
@pytest.mark.parametrize("state", ["FAILED", "TIMEOUT"])
def test_the_jobs_own_word_counts_unless_slurm_ended_it(code: JobExit, state: str):
    problem = explain_end(JobStatus(job_id=5, state=state), session_id="bcdfgh", said="cell 3 {x}", code=code)
    assert "cell 3 {x}" in problem.message
    assert ("time limit" in problem.message) == (state == "TIMEOUT")
    assert isinstance(problem, JobError) or state == "FAILED"
