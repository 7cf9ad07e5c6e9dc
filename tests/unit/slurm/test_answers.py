"""Slurm's answers, as Slurm 24.11 printed them."""

from __future__ import annotations

import pytest

from dl4mic_hpc.errors import RemoteError
from dl4mic_hpc.slurm import answers, site


def test_squeue_is_read_past_a_wrappers_notices():
    jobs = answers.parse_squeue(
        "Notice: the cluster is down on Monday\n"
        "7|RUNNING|None|gpu01|2026-11-22T14:57:36|29:58\n"
        "8|PENDING|Resources||N/A|1:00:00\n"
    )
    assert set(jobs) == {7, 8}
    assert (jobs[7].is_running, jobs[7].node, jobs[7].reason, jobs[7].time_left) == (
        True,
        "gpu01",
        "",
        "29:58",
    )
    assert (jobs[8].is_pending, jobs[8].reason, jobs[8].start) == (True, "Resources", "")


@pytest.mark.parametrize(
    "state", ["COMPLETED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "CANCELLED", "NODE_FAIL", "DEADLINE"]
)
def test_what_is_neither_waiting_nor_running_is_over(state: str):
    assert answers.parse_squeue(f"9|{state}|None||N/A|0:00\n")[9].is_over


def test_a_job_that_is_completing_is_not_over():
    assert not answers.parse_squeue("9|COMPLETING|None|gpu01|N/A|0:00\n")[9].is_over


def test_sacct_says_by_whom_a_job_was_cancelled_but_the_state_is_one_word():
    jobs = answers.parse_sacct(
        "6|CANCELLED by 2001|0:0|gpu02\n7|FAILED|3:0|gpu01\n8|PENDING|0:0|None assigned\n"
    )
    assert (jobs[6].state, jobs[7].exit_code, jobs[8].node) == ("CANCELLED", 3, "")


@pytest.mark.parametrize(
    ("answer", "job"),
    [
        ("123\n", 123),
        ("123;federation\n", 123),
        ("sbatch: INFO: charged to lab\n123\n", 123),
        ("123\nThank you!\n", 123),
    ],
)
def test_sbatch_gives_the_job_whatever_the_site_adds(answer: str, job: int):
    assert answers.parse_sbatch(answer) == job


def test_sbatch_without_a_job_id_is_an_error_that_quotes_it():
    with pytest.raises(RemoteError, match="sure, done"):
        answers.parse_sbatch("sure, done\n")


def test_all_jobs_are_asked_for_in_one_question():
    assert "--jobs=1,2,3" in answers.squeue_command([1, 2, 3])


def test_partitions_of_several_lines_are_one():
    found = site.parse_sinfo(
        "gpu|up|1-00:00:00|1|idle|gpu:a100:2(S:0-1)\ngpu|up|1-00:00:00|1|mix|gpu:v100:2\ncpu|down|infinite|4|down*|(null)\n"
    )
    assert (found["gpu"].nodes, found["gpu"].gpus) == (2, {"a100": 2, "v100": 2})
    assert (found["cpu"].available, found["cpu"].gpus) == (False, {})


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("gpu:2", {"": 2}),
        ("gpu:a100:4(S:0-1),lustre:1", {"a100": 4}),
        ("gpu:1g.10gb:7", {"1g.10gb": 7}),
        ("gpu", {"": 1}),
        ("(null)", {}),
    ],
)
def test_gres_of_a_node(gres: str, gpus: dict[str, int]):
    assert site.parse_gres(gres) == gpus
