"""Is a cluster fit for a launch? Every check with its verdict, and what to do where it fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from dl4mic_hpc.errors import Dl4micError, ImageError, JobError, RemoteError, perhaps_you_meant
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.remote import Remote
from dl4mic_hpc.sessions.probe import ClusterFacts, probe
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
    findings = [Finding(what="SSH", verdict="ok", detail=f"logged in to {profile.host}")]
    if facts.slurm is None:
        findings.append(_failed("Slurm", facts, profile))
        findings.append(Finding(what="partitions and GPUs", verdict="not checked"))
    else:
        findings.append(Finding(what="Slurm", verdict="ok", detail=facts.slurm))
        findings += _partitions(remote, profile)
    findings.append(
        Finding(what="Apptainer", verdict="ok", detail=facts.apptainer)
        if facts.apptainer
        else _failed("Apptainer", facts, profile)
    )
    free = f", {facts.free_bytes / 1024**3:.1f} GiB free" if facts.free_bytes is not None else ""
    findings.append(
        Finding(what="work folder", verdict="ok", detail=f"{profile.work_dir}{free}")
        if not facts.work_error
        else _failed("work folder", facts, profile)
    )
    return findings


def _failed(what: str, facts: ClusterFacts, profile: ClusterProfile) -> Finding:
    """The error that a launch would give for this check."""
    parts = {"Slurm": "slurm", "Apptainer": "apptainer", "work folder": "work_error"}
    healthy = {"slurm": "there", "apptainer": "there", "work_error": None, "module_error": None}
    healthy[parts[what]] = getattr(facts, parts[what])
    try:
        ClusterFacts(free_bytes=None, **healthy).require(profile)
    except (ImageError, RemoteError) as error:
        return Finding(what=what, verdict="failed", detail=error.message, error=error)
    raise AssertionError(what)


def _partitions(remote: Remote, profile: ClusterProfile) -> list[Finding]:
    found = site.parse_sinfo(remote.run(*site.SINFO_COMMAND).stdout)
    findings = []
    for name in profile.partition:
        if name not in found:
            error = JobError(
                f"there is no partition {name} on {profile.name}",
                hint=f"{perhaps_you_meant(name, found)}; correct `partition` in {profile.path or 'the profile'}",
            )
            findings.append(Finding(what="partition", verdict="failed", detail=error.message, error=error))
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
