"""What the cluster has to say before anything is staged or submitted there: one command, one answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from dl4mic_hpc import resources
from dl4mic_hpc.errors import Dl4micError, ImageError, RemoteError, UsageError
from dl4mic_hpc.images import record
from dl4mic_hpc.images.choice import Seen
from dl4mic_hpc.images.record import Entry
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.remote import Remote


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """The login node's answer. A `None` says that the question was not asked or could not be answered.

    `time_limits` by partition; the default partition's name ends with `*`, as sinfo prints it. `images`: those that
    are there, of the ones that would do. `fitness`: what is remembered of the cluster, as text. `weights`: the
    files in the weights' folder, for `images.weights`. `gres`: of each partition, as sinfo prints it.
    `drivers`: release and GPU model, of each GPU that a session was proven to compute on.
    """

    slurm: str | None
    apptainer: str | None
    work_error: str | None
    free_bytes: int | None
    module_error: str | None = None
    slurm_error: str | None = None
    user: str = ""
    images: dict[PurePosixPath, Seen] = field(default_factory=dict)
    fitness: str = ""
    weights: str = ""
    gres: dict[str, tuple[str, ...]] = field(default_factory=dict)
    drivers: tuple[tuple[str, str], ...] = ()
    data_there: bool = True
    refusal: str | None = None
    time_limits: dict[str, str] = field(default_factory=dict)

    def problems(self, profile: ClusterProfile) -> dict[str, Dl4micError]:
        """What makes a launch impossible, in the order in which a launch would meet it."""
        where = profile.path or f"the profile of {profile.name}"
        found: dict[str, Dl4micError] = {}
        if self.module_error:
            found["modules"] = RemoteError(
                f"a module could not be loaded: {self.module_error}", hint=f"correct `modules` in {where}"
            )
        if self.slurm is None:
            found["Slurm"] = RemoteError(
                f"there is no Slurm on the login node of {profile.name}: sbatch was not found",
                hint=f"if sbatch comes from a module, add it to `modules` in {where}; otherwise check `host`",
            )
        elif self.slurm_error:
            found["Slurm"] = RemoteError(
                f"Slurm does not answer on {profile.name}: {self.slurm_error}",
                hint="try again in some minutes; if it lasts, ask the cluster's support",
            )
        if self.apptainer is None:
            found["Apptainer"] = ImageError(
                f"Apptainer was not found on {profile.name}: {profile.apptainer}",
                hint=f"add its module to `modules`, or its path as `apptainer`, in {where}",
            )
        if self.work_error:
            full = "No space left" in self.work_error or "quota" in self.work_error.lower()
            found["work folder"] = RemoteError(
                f"the work folder {profile.work_dir} {'is full' if full else 'cannot be written to'}: {self.work_error}",
                hint=f"{'free some space there, or ' if full else ''}choose another `work_dir` in {where}",
            )
        return found

    def require(self, profile: ClusterProfile) -> None:
        """Raises the first problem; nothing has been touched by then."""
        for problem in self.problems(profile).values():
            raise problem


def probe(
    remote: Remote,
    profile: ClusterProfile,
    *,
    images: Sequence[PurePosixPath] = (),
    data: PurePosixPath | None = None,
    job_script: str = "",
) -> ClusterFacts:
    """Asks everything at once: a login node is some ten thousand kilometres away on a bad day."""
    result = remote.run(
        "bash", "-l", "-c", resources.data("templates", "probe.sh").read_text(encoding="utf-8"), "probe",
        str(profile.work_dir), profile.apptainer, "\n".join(map(str, images)), str(data or ""), *profile.modules,
        stdin=job_script.encode(),
        timeout=120,
    ).check("looking at the cluster", hint=f"`dl4mic-hpc cluster check {profile.name}` goes step by step")  # fmt: skip
    return parse(result.stdout, images=images)


def parse(text: str, *, images: Sequence[PurePosixPath] = ()) -> ClusterFacts:
    """The answer's lines as values; RemoteError if the end of it is missing."""
    answers = dict(line.split("\t", 1) for line in text.splitlines() if "\t" in line)
    if "sbatch" not in answers or "apptainer" not in answers or "work" not in answers:
        raise RemoteError(
            "the cluster's answer was cut short",
            hint="try again; if it lasts, look whether ~/.bash_profile or ~/.profile on the cluster ends the shell",
        )
    free = answers.get("free_kib", "")
    return ClusterFacts(
        slurm=None if answers["sbatch"] == "missing" else answers["sbatch"],
        apptainer=None if answers["apptainer"] == "missing" else answers["apptainer"],
        work_error=None if answers["work"] == "ok" else answers.get("work_said", "unknown reason"),
        free_bytes=int(free) * 1024 if free.isdigit() else None,
        module_error=answers.get("module_failed"),
        slurm_error=answers.get("slurm_failed"),
        user=answers.get("user", ""),
        images={
            path: seen for number, path in enumerate(images, 1) if (seen := _seen(path, answers, str(number)))
        },
        fitness=answers.get("cluster", ""),
        weights=answers.get("weights", ""),
        gres=_gres(answers.get("gres", "")),
        drivers=tuple(
            (driver, model)
            for driver, _, model in (each.partition("|") for each in answers.get("drivers", "").split("\x1f"))
            if model
        ),
        data_there=answers.get("data") != "absent",
        refusal=answers.get("test_said", "") if answers.get("test") == "refused" else None,
        time_limits=dict(word.split("|", 1) for word in answers.get("limits", "").split() if "|" in word),
    )


def data_missing(path: PurePosixPath | None, cluster: str) -> UsageError:
    return UsageError(
        f"the data folder {path} does not exist on {cluster}, or you may not read it",
        hint="correct the path after `-d cluster:`; without `cluster:` it is a folder of this computer",
    )


def _seen(path: PurePosixPath, answers: Mapping[str, str], number: str) -> Seen | None:
    entries = tuple(filter(None, map(Entry.parse, answers.get(f"entries.{number}", "").split("\x1f"))))
    if not entries:
        return None
    return Seen(path=path, record=record.parse(answers.get(f"record.{number}", "")), entries=entries)


def _gres(text: str) -> dict[str, tuple[str, ...]]:
    """What the nodes of each partition have ("gpu|gpu:a100:2" a word), every kind once."""
    found: dict[str, tuple[str, ...]] = {}
    for word in text.split():
        name, _, gres = word.partition("|")
        found[name] = tuple(dict.fromkeys((*found.get(name, ()), gres)))
    return found
