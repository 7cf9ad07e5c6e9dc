"""Slurm's words in plain words: why a job waits, why it was refused, how it ended."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dl4mic_hpc.errors import Dl4micError, ImageError, JobError, RemoteError, UsageError
from dl4mic_hpc.slurm import duration
from dl4mic_hpc.slurm.answers import JobStatus
from dl4mic_hpc.slurm.job import JobExit, Resources

# https://slurm.schedmd.com/job_reason_codes.html
_WAITING = {
    "Priority": "other jobs are ahead of it",
    "Resources": "it is next, as soon as what it asks for is free",
    "Dependency": "for its image to be built",
    "None": "for Slurm to look at it",
    "": "for Slurm to look at it",
    "BeginTime": "for its start time",
    "JobHeldUser": "it is held; `scontrol release` lets it go",
    "JobHeldAdmin": "an administrator holds it; ask the cluster's support",
    "ReqNodeNotAvail": "the nodes that it could use are down or reserved (maintenance?)",
    "Reservation": "for its reservation",
    "Licenses": "for a licence",
    "PartitionDown": "its partition is closed at the moment",
    "PartitionInactive": "its partition is closed at the moment",
    "PartitionTimeLimit": "it asks for more time than the partition allows; stop it and give a shorter --time",
    "PartitionNodeLimit": "it asks for more nodes than the partition allows",
    "AssociationJobLimit": "your account runs as many jobs as it may",
    "DependencyNeverSatisfied": "its image could not be built",
    "BadConstraints": "no node is as its constraint asks",
}
_WAITING_PATTERNS = (
    (
        r"QOSMax.*PerUser.*|QOSMaxJobs.*",
        "you use as much as your QoS allows at a time; it starts when a job of yours ends",
    ),
    (r"QOS.*", "your group uses as much as its QoS allows at a time"),
    (r"Assoc(Grp|Max).*|Association.*", "your account uses as much as it may at a time"),
    (r"MaxGRESPerAccount|MaxGRES.*", "your account uses as many GPUs as it may at a time"),
    (r"ReqNodeNotAvail.*", "the nodes that it could use are down or reserved (maintenance?)"),
)

_ENDED = {
    "COMPLETED": ("the session has ended", "`dl4mic-hpc results {id}` brings its results home"),
    "CANCELLED": ("the job was cancelled", "`dl4mic-hpc results {id}` brings its results home"),
    "TIMEOUT": (
        "the job ran into its time limit",
        "launch again with a longer --time; results so far: `dl4mic-hpc results {id}`",
    ),
    "OUT_OF_MEMORY": (
        "the job needed more memory than it asked for",
        "raise `mem` in the cluster's profile, then launch again",
    ),
    "NODE_FAIL": ("the compute node failed", "launch again; Slurm will choose another node"),
    "PREEMPTED": ("the job had to make room for another one", "launch again, perhaps in another --partition"),
    "FAILED": ("the job failed", "`dl4mic-hpc logs {id}` shows what it said"),
    "BOOT_FAIL": ("the compute node did not start", "launch again"),
    "DEADLINE": ("the job could not be done before its deadline", "launch again without a deadline"),
}


_OWN: Mapping[int, tuple[type[Dl4micError], str, str]] = {
    JobExit.NO_JUPYTERLAB: (
        ImageError,
        "{said}",
        "give an image that has JupyterLab, or a recipe that installs it",
    ),
    JobExit.UNFIT: (
        ImageError,
        "this image cannot show the notebook's forms: {said}",
        "add what is said there to the requirements (-r), which builds another image; `launch --headless` needs no forms",
    ),
    JobExit.CELL_FAILED: (
        JobError,
        "the notebook failed: {said}",
        "`dl4mic-hpc logs {id}` shows what it printed; the executed notebook lies among the results",
    ),
    JobExit.REFUSED: (
        UsageError,
        "the notebook was not run: {said}",
        "correct the parameters or sections, then launch again",
    ),
    JobExit.NO_GPU: (
        JobError,
        "the session was ended, because it would not have computed on its GPU: {said}",
        "launch again with another -g or --partition, or without --require-gpu; `dl4mic-hpc logs {id}` shows more",
    ),
}
"""What job.sh means by its own exit codes."""


def explain_pending(status: JobStatus) -> str:
    """A sentence for a job that waits, with Slurm's own start estimate where there is one."""
    reason = status.reason.partition("(")[0].strip() or status.reason
    words = _WAITING.get(reason)
    if words is None:
        words = next((text for pattern, text in _WAITING_PATTERNS if re.fullmatch(pattern, reason)), None)
    sentence = f"waiting: {words}" if words else f"waiting; Slurm's reason is {status.reason}"
    start = status.start.replace("T", " ")
    return f"{sentence} (start expected {start})" if start else sentence


def explain_end(status: JobStatus, *, session_id: str, said: str = "", code: int = 0) -> Dl4micError:
    """The error for a job that ended otherwise than it should.

    `said` and `code` are its own reason and exit code, if it left them; where Slurm ended it, Slurm's word counts.
    """
    own = _OWN.get(code) if status.state in ("FAILED", "COMPLETED") else None
    if own is not None:
        error, sentence, hint = own
        return error(sentence.format(said=said), hint=hint.format(id=session_id))
    sentence, hint = _ENDED.get(
        status.state, (f"the job ended ({status.state})", "`dl4mic-hpc logs {id}` shows what it said")
    )
    detail = f": {said}" if said else ""
    return JobError(f"{sentence}{detail} (job {status.job_id})", hint=hint.format(id=session_id))


def refuse_time(resources: Resources, limits: Mapping[str, str]) -> JobError | None:
    """The error for a time limit above that of every partition asked for; many sites accept such a job and never start it.

    `limits` by partition, the default one's name with a `*`, as sinfo prints them.
    """
    asked = duration.seconds(resources.time)
    wanted = resources.partition or tuple(name for name in limits if name.endswith("*"))
    known = {name.rstrip("*"): limit for name, limit in limits.items()}
    allowed = [known[name.rstrip("*")] for name in wanted if name.rstrip("*") in known]
    if not allowed or any(_allows(limit, asked) for limit in allowed):
        return None
    return JobError(
        f"the time limit {resources.time} is longer than the partition allows ({', '.join(allowed)})",
        hint=f"give a shorter --time, at most {allowed[0]}",
    )


def _allows(limit: str, asked: int | None) -> bool:
    try:
        most = duration.seconds(limit)
    except ValueError:
        return True
    return most is None or (asked is not None and asked <= most)


_REFUSED = (
    (
        r"invalid partition|Invalid partition",
        "there is no partition {partition}",
        "`dl4mic-hpc cluster check {cluster}` lists the partitions; give one with --partition or in the profile",
    ),
    (
        r"Invalid account|invalid account",
        "Slurm does not accept the account and partition together (account {account}, partition {partition})",
        "ask your group which account has GPUs; write it as `account` in the profile",
    ),
    (
        r"[Ii]nvalid qos",
        "Slurm does not accept the QoS {qos}",
        "correct `qos` in the profile, or leave it out",
    ),
    (
        r"Invalid generic resource|GRES.*(invalid|not available)",
        "the cluster has no GPU called {gpus}",
        "`dl4mic-hpc cluster check {cluster}` lists the GPUs; give one with -g",
    ),
    (
        r"Requested node configuration is not available|[Nn]ode count specification invalid|More processors requested",
        "no node of the cluster has what was asked for ({gpus} GPU, {cpus} CPUs, {mem} memory, partition {partition})",
        "ask for less: -g for GPUs, `cpus` and `mem` in the profile; `dl4mic-hpc cluster check {cluster}` lists the GPUs",
    ),
    (
        r"[Tt]ime limit|Requested time limit is invalid",
        "the time limit {time} is longer than the partition allows",
        "give a shorter --time",
    ),
    (
        r"Job violates accounting/QOS policy|QOS\w*Limit|AssocMax|QOSMax",
        "the request is above what your account or QoS allows",
        "ask for less time or fewer GPUs, or for another `qos` in the profile",
    ),
    (r"[Ii]nvalid feature", "no node has the constraint {constraint}", "correct `constraint` in the profile"),
    (r"[Ii]nvalid node name", "there is no node {nodelist}", "correct `nodelist` in the profile"),
)


def explain_refusal(stderr: str, resources: Resources, *, cluster: str) -> Dl4micError:
    """The error for an sbatch that refused; Slurm's own words are always kept."""
    said = " ".join(
        line.removeprefix("sbatch:").strip().removeprefix("error:").strip()
        for line in stderr.splitlines()
        if line.strip()
    )
    if re.search(r"Unable to contact slurm controller|Connection refused|timed out on send/recv", said):
        return RemoteError(
            f"Slurm does not answer on {cluster}: {said}",
            hint="try again in some minutes; if it lasts, ask the cluster's support",
        )
    values = {
        "cluster": cluster,
        "partition": ",".join(resources.partition) or "(the default one)",
        "account": resources.account or "(your default)",
        "qos": resources.qos or "(your default)",
        "gpus": str(resources.gpus),
        "cpus": resources.cpus,
        "mem": resources.mem,
        "time": resources.time,
        "constraint": resources.constraint,
        "nodelist": resources.nodelist,
    }
    for pattern, sentence, hint in _REFUSED:
        if re.search(pattern, said):
            return JobError(f"{sentence.format(**values)}; Slurm says: {said}", hint=hint.format(**values))
    return JobError(
        f"Slurm refused the job: {said}",
        hint=f"`dl4mic-hpc cluster check {cluster}` shows what the cluster offers",
    )
