"""Is a cluster fit for a launch? Every check with its verdict, and what to do where it fails."""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dl4mic_hpc.errors import Dl4micError, ImageError, JobError, perhaps_you_meant
from dl4mic_hpc.images import fitness
from dl4mic_hpc.images.fitness import Fitness
from dl4mic_hpc.images.verdicts import Verdict
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.remote import Remote, Teller
from dl4mic_hpc.sessions.probe import probe
from dl4mic_hpc.slurm import site
from dl4mic_hpc.slurm.site import Partition


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check. `error` is what a launch would end with; `advice` helps where nothing fails."""

    what: str
    verdict: Literal["ok", "warning", "failed", "not checked"]
    detail: str = ""
    error: Dl4micError | None = None
    advice: str = ""

    @property
    def hint(self) -> str:
        return self.error.hint if self.error else self.advice

    def as_json(self) -> dict[str, Any]:
        return {"check": self.what, "verdict": self.verdict, "detail": self.detail, "hint": self.hint or None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All checks, and what the cluster can do for images: None where it could not be asked; or `remembered`."""

    findings: list[Finding]
    fitness: Fitness | None = None
    remembered: bool = False

    @property
    def looked(self) -> str:
        """When the cluster was asked what it can do for images, as people read it; "" if it was not."""
        return _moment(self.fitness).strftime("%Y-%m-%d %H:%M UTC") if self.fitness else ""

    def as_json(self, profile: ClusterProfile) -> dict[str, Any]:
        checks = [one.as_json() for one in self.findings]
        return {
            "version": 1,
            "cluster": profile.name,
            "checks": checks,
            "fitness": self._fitness_as_json(profile),
        }

    def _fitness_as_json(self, profile: ClusterProfile) -> dict[str, Any] | None:
        found = self.fitness
        if found is None:
            return None
        return {
            "looked": _moment(found).isoformat(timespec="seconds"),
            "remembered": self.remembered,
            "internet": found.internet,
            "pulls": found.pulls(profile),
            "platform": found.platform,
            "build_options": list(found.build_options),
            "login": asdict(found.login),
            "node": asdict(found.node) if found.node else None,
            "no_node": found.no_node or None,
        }


def _moment(found: Fitness) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(found.looked, datetime.UTC)


def check(remote: Remote, profile: ClusterProfile, teller: Teller, *, fresh: bool = False) -> Report:
    """The checks in the order in which a launch would meet them.

    Two commands on the cluster. Where nothing is remembered of what it can do for images, or `fresh`, a small job too.
    """
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
        return Report(findings=[*findings, Finding(what="partitions and GPUs", verdict="not checked")])
    findings += _partitions(remote, profile)
    if "work folder" in problems:
        return Report(findings=[*findings, Finding(what="images", verdict="not checked")])
    remembered = None if fresh else fitness.recall(facts.fitness, apptainer=facts.apptainer or "")
    found = remembered or fitness.look(remote, profile, teller)
    findings += [_from_verdict(one) for one in found.explain(profile)]
    return Report(findings=findings, fitness=found, remembered=remembered is not None)


def _from_verdict(found: Verdict) -> Finding:
    if found.grade == "failed":
        error = ImageError(f"{found.what}: {found.reason}", hint=found.hint)
        return Finding(what=found.what, verdict="failed", detail=found.reason, error=error)
    return Finding(what=found.what, verdict=found.grade, detail=found.reason, advice=found.hint)


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
