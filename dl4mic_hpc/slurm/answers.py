"""Slurm's answers: text in, values out.

The formats are asked for explicitly (squeue --format, sacct --parsable2), so that a site's own defaults
(SQUEUE_FORMAT, …) change nothing; they are the same from Slurm 20 to 26.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from dl4mic_hpc.errors import RemoteError

_SQUEUE_FIELDS = "%i|%T|%r|%N|%S|%L"
_SACCT_FIELDS = "JobIDRaw,State,ExitCode,NodeList"

PENDING = frozenset({"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"})
RUNNING = frozenset({"RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING", "STAGE_OUT"})
ENDING = frozenset({"COMPLETING"})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """What Slurm says of a job. `state` is Slurm's own word; times as Slurm prints them."""

    job_id: int
    state: str
    reason: str = ""
    node: str = ""
    start: str = ""
    time_left: str = ""
    exit_code: int | None = None

    @property
    def is_pending(self) -> bool:
        return self.state in PENDING

    @property
    def is_running(self) -> bool:
        return self.state in RUNNING

    @property
    def is_over(self) -> bool:
        return not (self.is_pending or self.is_running or self.state in ENDING)


def squeue_command(jobs: Iterable[int]) -> tuple[str, ...]:
    """One question for all jobs: never one per job."""
    return (
        "squeue", "--noheader", "--states=all", f"--jobs={','.join(map(str, jobs))}", f"--format={_SQUEUE_FIELDS}",
    )  # fmt: skip


def parse_squeue(text: str) -> dict[int, JobStatus]:
    """Jobs by id; lines that are no job (notices of a site's wrapper) are passed over."""
    found = {}
    for line in text.splitlines():
        fields = line.strip().split("|")
        if len(fields) != 6 or not fields[0].isdigit():
            continue
        job, state, reason, node, start, left = fields
        found[int(job)] = JobStatus(
            job_id=int(job),
            state=state,
            reason="" if reason == "None" else reason,
            node=node,
            start="" if start == "N/A" else start,
            time_left=left,
        )
    return found


def sacct_command(jobs: Iterable[int]) -> tuple[str, ...]:
    return (
        "sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={','.join(map(str, jobs))}",
        f"--format={_SACCT_FIELDS}",
    )  # fmt: skip


def parse_sacct(text: str) -> dict[int, JobStatus]:
    """Jobs by id. A cancelled job's state reads "CANCELLED by 1000"; only the first word is the state."""
    found = {}
    for line in text.splitlines():
        fields = line.strip().split("|")
        if len(fields) != 4 or not fields[0].isdigit() or not fields[1]:
            continue
        job, state, code, node = fields
        found[int(job)] = JobStatus(
            job_id=int(job),
            state=state.split()[0],
            node="" if node == "None assigned" else node,
            exit_code=int(code.split(":")[0]) if code[:1].isdigit() else None,
        )
    return found


DEPENDENTS_COMMAND = ("squeue", "--noheader", "--me", "--states=PENDING", "--format=%i|%E")


def parse_dependents(text: str, job: int) -> set[int]:
    """The pending jobs that wait for `job`, from the answer to DEPENDENTS_COMMAND ("7|afterok:5(unfulfilled)")."""
    found = set()
    for line in text.splitlines():
        waiting, _, dependencies = line.strip().partition("|")
        if waiting.isdigit() and re.search(rf"(?<![0-9]){job}(?![0-9])", dependencies):
            found.add(int(waiting))
    return found


def sbatch_command(folder: PurePosixPath, script: str) -> tuple[str, ...]:
    """Submits `script` of `folder` and keeps sbatch's answer beside it, in job.id, in one command.

    If the connection breaks in between, the answer is on the cluster all the same.
    """
    return (
        "sh", "-c", 'umask 077; cd "$1" && answer=$(sbatch --parsable "$2") && printf "%s\\n" "$answer" | tee job.id', "sbatch",
        str(folder), script,
    )  # fmt: skip


def parse_sbatch(text: str) -> int:
    """The job id in `sbatch --parsable`'s answer ("123" or "123;cluster"), past a site's own notices."""
    for line in reversed(text.splitlines()):
        found = re.fullmatch(r"([0-9]+)(?:;[\w.-]+)?", line.strip())
        if found:
            return int(found[1])
    raise RemoteError(
        f"sbatch answered without a job id: {text.strip()[:200]!r}",
        hint="`dl4mic-hpc ps` shows whether the job was accepted",
    )
