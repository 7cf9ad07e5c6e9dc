"""Is a cluster fit for a launch? Every check with its verdict, and what to do where it fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from dl4mic_hpc.errors import Dl4micError, JobError, perhaps_you_meant
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.remote import Remote
from dl4mic_hpc.sessions.probe import probe
from dl4mic_hpc.slurm import site
from dl4mic_hpc.slurm.site import Partition


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check. `error` is what a launch would end with."""

    what: str
    verdict: Literal["ok", "failed", "not checked"]
    detail: str = ""
    error: Dl4micError | None = None

    @property
    def hint(self) -> str:
        return self.error.hint if self.error else ""

    def as_json(self) -> dict[str, Any]:
        return {"check": self.what, "verdict": self.verdict, "detail": self.detail, "hint": self.hint or None}


def check(remote: Remote, profile: ClusterProfile) -> list[Finding]:
    """The checks in the order in which a launch would meet them; two commands on the cluster."""
    facts = probe(remote, profile)
    problems = facts.problems(profile)
    free = f", {facts.free_bytes / 1024**3:.1f} GiB free" if facts.free_bytes is not None else ""
    details = {
        "SSH": f"logged in to {profile.host}",
        "modules": ", ".join(profile.modules) or "none to load",
        "Slurm": facts.slurm or "",
        "Apptainer": facts.apptainer or "",
        "work folder": f"{profile.work_dir}{free}",
    }
    findings = [_finding(what, detail, problems.get(what)) for what, detail in details.items()]
    if facts.slurm is None or facts.slurm_error:
        return [*findings, Finding(what="partitions and GPUs", verdict="not checked")]
    return [*findings, *_partitions(remote, profile)]


def _finding(what: str, detail: str, problem: Dl4micError | None) -> Finding:
    if problem is None:
        return Finding(what=what, verdict="ok", detail=detail)
    return Finding(what=what, verdict="failed", detail=problem.message, error=problem)


def _partitions(remote: Remote, profile: ClusterProfile) -> list[Finding]:
    found = site.parse_sinfo(remote.run(*site.SINFO_COMMAND).stdout)
    findings = []
    for name in profile.partition:
        if name not in found:
            error = JobError(
                f"there is no partition {name} on {profile.name}",
                hint=f"{perhaps_you_meant(name, found)}; correct `partition` in {profile.path or 'the profile'}",
            )
            findings.append(_finding("partition", "", error))
    findings += [
        Finding(
            what=f"partition {one.name}", verdict="ok", detail=_in_words(one, simulated=profile.simulated)
        )
        for one in found.values()
    ]
    return findings


def _in_words(partition: Partition, *, simulated: bool) -> str:
    gpus = (
        ", ".join(f"{count} {kind or 'of one type'}" for kind, count in sorted(partition.gpus.items()))
        or "none"
    )
    limit = "no time limit" if partition.time_limit == "infinite" else f"at most {partition.time_limit}"
    state = "" if partition.available else ", closed at the moment"
    return f"{partition.nodes} node(s), GPUs per node: {gpus}{' (SIMULATED)' if simulated else ''}, {limit}{state}"
