"""`--dry-run`: the launch is played to a cluster that only takes notes.

The same code runs as in earnest, against a `Remote` that answers as an idle cluster would that has no image in its
cache, or the one that was named: what is shown is what would be done, to the last command. Nothing is connected to
or written.
"""

from __future__ import annotations

import dataclasses
import shlex
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from dl4mic_hpc import resources, transfer
from dl4mic_hpc.images import ensure
from dl4mic_hpc.remote import CommandResult, Remote, RemoteProcess
from dl4mic_hpc.sessions import launch, watch
from dl4mic_hpc.sessions.launch import LaunchPlan, LocalSide
from dl4mic_hpc.slurm.render import render_build, render_job

_SCRIPTS = ("probe.sh", "watch.sh")
_PROBED = "sbatch\tslurm\ntest\tok\napptainer\tapptainer\nwork\tok\n"
_READY = '1\x1e{"state": "ready", "node": "NODE", "port": 0, "token": ""}\x1e\x1e\x1e'
_BUILD_JOB, _JOB = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What a launch would do. `commands`: every command on the cluster, in order."""

    plan: LaunchPlan
    commands: tuple[str, ...]
    job_script: str
    build_script: str | None

    def chapters(self) -> list[tuple[str, str]]:
        """Titles and texts, in the order in which they matter to a reader."""
        found = [
            ("Notebook", "\n".join([self.plan.notebook.report.as_text(), *self._notebook_changes()])),
            ("Where its files come from", "\n".join(self._origins())),
        ]
        if self.plan.image.bundle is not None and self.build_script is not None:
            found.append(("Definition of the image", self.plan.image.bundle.definition))
            deviations = "\n".join(f"{one.what}: {one.reason}" for one in self.plan.image.bundle.deviations)
            found.append(("Where the image differs from what Docker would build", deviations or "nowhere"))
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
        bundle = self.plan.image.bundle
        return {
            "version": 1,
            "notebook_report": self.plan.notebook.report.as_text().splitlines(),
            "origins": self.plan.origins,
            "notebook_changes": self._notebook_changes(),
            "image": str(self.plan.image.image),
            "definition": bundle.definition if bundle else None,
            "build_script": self.build_script,
            "job_script": self.job_script,
            "commands": list(self.commands),
        }


def rehearse(plan: LaunchPlan) -> Rehearsal:
    """Plays the launch to a note taker."""
    notes = _NoteTaker(plan.request.profile.name, image_there=plan.image.bundle is None)
    local = LocalSide(save=lambda _: None, forget=lambda _: None, upload=_note_upload)
    session = launch.submit(notes, plan, notes, local)
    if session.headless:
        watch.wait_until_running(notes, session, notes)
        notes.commands.append("# then the notebook's log is followed, and the results are copied here")
    else:
        watch.wait_until_ready(notes, session, notes)
        notes.commands.append(
            "# then the tunnel: SSH to the node through the login node, or `srun --overlap` in the job"
        )
    build_script = None
    if plan.image.bundle is not None and session.build_dir is not None:
        spec = ensure.build_spec(plan.request.profile, plan.image, build_dir=session.build_dir, again=False)
        build_script = render_build(spec)
    job = dataclasses.replace(plan.job, depends_on=session.build_job_id)
    return Rehearsal(
        plan=plan, commands=tuple(notes.commands), job_script=render_job(job), build_script=build_script
    )


@dataclass(slots=True)
class _NoteTaker:
    """A Remote that notes every command and answers that all is well; a Watcher that hears nothing."""

    cluster: str
    image_there: bool
    commands: list[str] = field(default_factory=list)

    def run(self, *argv: str, stdin: bytes = b"", timeout: float | None = 60.0) -> CommandResult:
        scripts = {_script(name): f"<{name}, below>" for name in _SCRIPTS}
        shown = " ".join(scripts.get(word) or shlex.quote(word) for word in argv)
        self.commands.append(f"{shown}  # reads {len(stdin)} bytes" if stdin else shown)
        stdout = ""
        if _script("probe.sh") in argv:
            stdout = f"{_PROBED}image\t{'there' if self.image_there else 'absent'}\n"
        elif _script("watch.sh") in argv:
            stdout = _READY
        elif "sbatch" in argv:
            stdout = f"{_BUILD_JOB if argv[-1] == 'build.sh' else _JOB}\n"
        return CommandResult(argv=argv, exit_code=0, stdout=stdout, stderr="")

    def start(self, *argv: str) -> AbstractContextManager[RemoteProcess]:
        raise AssertionError("a rehearsal streams nothing")

    def put(self, path: PurePosixPath, data: bytes, *, mode: int = 0o600) -> None:
        raise AssertionError("a rehearsal writes nothing")

    def get(self, path: PurePosixPath) -> bytes | None:
        raise AssertionError("a rehearsal reads nothing")

    def say(self, text: str) -> None: ...

    def detail(self, text: str) -> None: ...

    def note(self, text: str) -> None: ...

    def on_node(self, node: str) -> None: ...


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
