"""`--dry-run`: the launch is played to a cluster that only takes notes.

The same code runs as in earnest, against a `Remote` that answers as an idle cluster would that has no image in its
cache, or the one that was named: what is shown is what would be done, to the last command. Nothing is connected to
or written.
"""

from __future__ import annotations

import dataclasses
import io
import shlex
import tarfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from dl4mic_hpc import resources, transfer
from dl4mic_hpc.images import weights
from dl4mic_hpc.images.fitness import Fitness
from dl4mic_hpc.images.place import Place
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.remote import CommandResult, Remote, RemoteProcess
from dl4mic_hpc.sessions import launch, watch
from dl4mic_hpc.sessions.gpu import GpuProof
from dl4mic_hpc.sessions.launch import LaunchPlan, LocalSide
from dl4mic_hpc.slurm.render import render_job

_SCRIPTS = ("probe.sh", "image_lock.sh", "watch.sh")
_USER = "you"
_PROBED = f"sbatch\tslurm\ntest\tok\napptainer\tapptainer\nwork\tok\nuser\t{_USER}\n"
_READY = '1\x1e{"state": "ready", "node": "NODE", "port": 0, "token": ""}\x1e\x1e\x1e\x1e'
_BUILD_JOB, _JOB = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What a launch would do. `commands`: every command on the cluster, in order. `ways`: how the image is found."""

    plan: LaunchPlan
    image: PurePosixPath
    ways: tuple[str, ...]
    commands: tuple[str, ...]
    job_script: str
    build_script: str | None

    def chapters(self) -> list[tuple[str, str]]:
        """Titles and texts, in the order in which they matter to a reader."""
        found = [
            ("Notebook", "\n".join([self.plan.notebook.report.as_text(), *self._notebook_changes()])),
            ("Where its files come from", "\n".join(self._origins())),
        ]
        found.append(("The image", "\n".join(self.ways)))
        addresses = [one.url for one in self.plan.request.notebook.weights]
        if addresses:
            found.append(("Pretrained weights (fetched if they are not there yet)", "\n".join(addresses)))
        bundle = self.plan.wish.bundle
        if bundle is not None:
            found.append(("Definition of the image", bundle.definition))
            deviations = "\n".join(f"{one.what}: {one.reason}" for one in bundle.deviations)
            found.append(("Where the image differs from what Docker would build", deviations or "nowhere"))
        if self.build_script is not None:
            found.append(("build.sh (if the image is not there yet)", self.build_script))
        found.append(("job.sh", self.job_script))
        found.append((f"Commands on {self.plan.request.profile.name}", "\n".join(self.commands)))
        found += [(name, _script(name)) for name in _SCRIPTS]
        return found

    def _notebook_changes(self) -> list[str]:
        return [f"cell {change.cell}: {change.kind}: {change.text}" for change in self.plan.notebook.changes]

    def _origins(self) -> list[str]:
        return [
            f"{part}: {origin['url'] or origin['file']} (SHA-256 {origin['sha256']})"
            for part, origin in self.plan.origins.items()
        ]

    def as_json(self) -> dict[str, Any]:
        bundle = self.plan.wish.bundle
        return {
            "version": 1,
            "notebook_report": self.plan.notebook.report.as_text().splitlines(),
            "origins": self.plan.origins,
            "notebook_changes": self._notebook_changes(),
            "image": str(self.image),
            "image_ways": list(self.ways),
            "definition": bundle.definition if bundle else None,
            "build_script": self.build_script,
            "job_script": self.job_script,
            "commands": list(self.commands),
        }


def rehearse(plan: LaunchPlan) -> Rehearsal:
    """Plays the launch to a note taker."""
    profile, spec = plan.request.profile, plan.request.notebook
    notes = _NoteTaker(profile.name, image=plan.wish.path, weights=weights.list_of(spec))
    local = LocalSide(
        save=lambda _: None, forget=lambda _: None, upload=_note_upload, look_up=_not_asked, fit=_all_well()
    )
    session = launch.submit(notes, plan, notes, local)
    if session.headless:
        watch.wait_until_running(notes, session, notes)
        notes.commands.append("# then the notebook's log is followed, and the results are copied here")
    else:
        watch.wait_until_ready(notes, session, notes)
        notes.commands.append(
            "# then the tunnel: SSH to the node through the login node, or `srun --overlap` in the job"
        )
    job = dataclasses.replace(
        plan.job,
        image=session.image,
        depends_on=session.build_job_id,
        weights=weights.bind(profile, spec.weights),
    )
    return Rehearsal(
        plan=plan,
        image=session.image,
        ways=tuple(_ways(plan)),
        commands=tuple(notes.commands),
        job_script=render_job(job),
        build_script=notes.build_script,
    )


def _ways(plan: LaunchPlan) -> Iterator[str]:
    """In which order a launch looks for the image."""
    wish = plan.wish
    places = [str(path) for path in wish.places(plan.request.profile)]
    yield f"used if it is there: {', else '.join(places)}"
    if wish.published and wish.way in ("auto", "pull"):
        yield f"else pulled, if the registry has it (not asked now): {wish.published}"
    if wish.bundle is not None and wish.way in ("auto", "build"):
        yield "else built from the recipe"
    if wish.no_bundle:
        yield f"not built from the recipe: {wish.no_bundle}"


def _not_asked(remote: Remote, profile: ClusterProfile, reference: str, platform: str) -> None:
    """A rehearsal asks no registry: it takes the published image to be there."""


def _all_well() -> Fitness:
    """A cluster whose compute nodes have internet and can build."""
    place = Place(node="NODE", user_namespaces=True, subuids=65536, subgids=65536, newuidmap=True, fuse=True)
    return Fitness(login=place, node=place, looked=0.0, corrected="nodes")


@dataclass(slots=True)
class _NoteTaker:
    """A Remote that notes every command and answers that all is well; a Watcher that hears nothing."""

    cluster: str
    image: PurePosixPath | None
    weights: str
    commands: list[str] = field(default_factory=list)
    build_script: str | None = None

    def run(self, *argv: str, stdin: bytes = b"", timeout: float | None = 60.0) -> CommandResult:
        scripts = {_script(name): f"<{name}, below>" for name in _SCRIPTS}
        shown = " ".join(scripts.get(word) or shlex.quote(word) for word in argv)
        self.commands.append(f"{shown}  # reads {len(stdin)} bytes" if stdin else shown)
        stdout = ""
        if _script("probe.sh") in argv:
            stdout = f"{_PROBED}weights\t{self.weights}\n"
            if self.image is not None:
                stdout += f"entries.1\t755|{_USER}|1|1|{self.image}\n"
        elif _script("watch.sh") in argv:
            stdout = _READY
        elif _script("image_lock.sh") in argv:
            stdout = f"submitted\t{_BUILD_JOB}\t\n"
            self.build_script = _file_of(stdin, "build.sh")
        elif "sbatch" in argv:
            stdout = f"{_JOB}\n"
        return CommandResult(argv=argv, exit_code=0, stdout=stdout, stderr="")

    def start(self, *argv: str) -> AbstractContextManager[RemoteProcess]:
        raise AssertionError("a rehearsal streams nothing")

    def put(self, path: PurePosixPath, data: bytes, *, mode: int = 0o600) -> None:
        raise AssertionError("a rehearsal writes nothing")

    def get(self, path: PurePosixPath) -> bytes | None:
        raise AssertionError("a rehearsal reads nothing")

    def proxy(self) -> AbstractContextManager[str]:
        raise AssertionError("a rehearsal asks no registry")

    def say(self, text: str) -> None: ...

    def detail(self, text: str) -> None: ...

    def note(self, text: str) -> None: ...

    def on_node(self, node: str) -> None: ...

    def on_gpu(self, found: GpuProof) -> None: ...


def _file_of(archive: bytes, name: str) -> str:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        file = tar.extractfile(name)
        assert file is not None
        return file.read().decode()


def _note_upload(remote: Remote, source: Path, target: PurePosixPath) -> None:
    """The data is listed, not read."""
    listing = transfer.list_local(source)
    size = sum(entry.size for entry in listing.entries.values())
    remote.run(
        "tar",
        "-x",
        "-C",
        str(target),
        f"# {len(listing.entries)} entries of {source}, {size} bytes, as a stream",
    )


def _script(name: str) -> str:
    return resources.data("templates", name).read_text(encoding="utf-8")
