"""Waiting for JupyterLab: the real watch script on real files, Slurm's answers replayed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from support.local_remote import LocalRemote
from unit.sessions.test_store import session as make_session

from dl4mic_hpc.errors import ImageError, JobError, RemoteError, SessionGoneError
from dl4mic_hpc.remote import CommandResult
from dl4mic_hpc.sessions.gpu import GpuProof
from dl4mic_hpc.sessions.session import Session
from dl4mic_hpc.sessions.watch import look, wait_until_ready

pytestmark = pytest.mark.posix


class Told:
    """A watcher that writes down what it is told."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.nodes: list[str] = []

    def say(self, text: str) -> None:
        self.words.append(text)

    def detail(self, text: str) -> None:
        self.words.append(text)

    def note(self, text: str) -> None:
        self.words.append(text)

    def on_node(self, node: str) -> None:
        self.nodes.append(node)

    def on_gpu(self, found: GpuProof) -> None:
        self.words.append(found.sentence)


class Impatient(LocalRemote):
    """A login node that looks once where the program would let it wait for a change."""

    def run(self, *argv: str, stdin: bytes = b"", timeout: float | None = 60.0) -> CommandResult:
        *words, _rounds, pause = argv
        return super().run(*(*words, "0", pause) if argv[0] == "sh" else argv, stdin=stdin, timeout=timeout)


class Place:
    """A session's folders on this machine, and Slurm's answers for its jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "session").mkdir()
        (folder / "build").mkdir()
        (folder / "bin").mkdir()
        self.slurm(squeue="", sacct="")
        self.patient = LocalRemote(path=folder / "bin")
        self.remote = Impatient(path=folder / "bin")
        self.session: Session = make_session(session_dir=PurePosixPath(folder / "session"), job_id=7)

    def slurm(self, **answers: str) -> None:
        for name, answer in answers.items():
            (self.folder / f"{name}.answer").write_text(answer)
            program = self.folder / "bin" / name
            program.write_text(f"#!/bin/sh\ncat '{self.folder}/{name}.answer'\n")
            program.chmod(0o755)

    def building(self) -> Session:
        return replace(self.session, build_job_id=6, build_dir=PurePosixPath(self.folder / "build"))

    def write(self, name: str, **values: Any) -> None:
        (self.folder / name).write_text(json.dumps({"version": 1, **values}))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


READY = {"state": "ready", "node": "gpu01", "port": 4711, "token": "s3cret", "job_id": 7}


def test_a_session_that_is_ready(place: Place):
    place.write("session/connection.json", **READY)
    told = Told()
    endpoint = wait_until_ready(place.remote, place.session, told)
    assert (endpoint.node, endpoint.port, endpoint.token) == ("gpu01", 4711, "s3cret")
    assert "s3cret" not in " ".join(told.words)


def test_one_question_lasts_until_something_changes(place: Place):
    first = look(place.patient, place.session)

    def change(argv: tuple[str, ...]) -> None:
        place.write("session/connection.json", **READY)

    place.patient.on_start = change
    seen = look(place.patient, place.session, after=first.signature, wait=30)
    assert seen.endpoint is not None
    assert seen.signature != first.signature


def test_the_node_is_told_while_jupyter_starts(place: Place):
    place.write("session/connection.json", state="starting", node="gpu02", job_id=7)
    told = Told()

    def go_on(argv: tuple[str, ...]) -> None:
        if told.nodes:
            place.write("session/connection.json", **READY)

    place.remote.on_start = go_on
    wait_until_ready(place.remote, place.session, told)
    assert told.nodes == ["gpu02"]


def test_a_waiting_job_is_explained(place: Place):
    place.slurm(squeue="7|PENDING|Resources||2026-11-22T16:00:00|1:00:00\n")
    told = Told()

    def go_on(argv: tuple[str, ...]) -> None:
        if "squeue" in argv:
            place.write("session/connection.json", **READY)

    place.remote.on_start = go_on
    wait_until_ready(place.remote, place.session, told)
    assert any("as soon as what it asks for is free" in word and "16:00" in word for word in told.words)


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        ("FAILED", "Apptainer was not found on the compute node", "Apptainer was not found"),
        ("TIMEOUT", "ended by a signal", "time limit"),
        ("OUT_OF_MEMORY", "", "memory"),
    ],
)
def test_why_a_job_ended_is_told_by_its_file_and_by_slurm(place: Place, state: str, reason: str, words: str):
    place.slurm(squeue=f"7|{state}|None|gpu01|N/A|0:00\n")
    place.write("session/exit.json", exit_code=1, reason=reason)
    with pytest.raises(JobError) as problem:
        wait_until_ready(place.remote, place.session, Told())
    assert words in problem.value.message
    assert reason in problem.value.message


def test_a_job_that_squeue_has_forgotten_is_looked_up_in_sacct(place: Place):
    place.slurm(squeue="", sacct="7|NODE_FAIL|0:0|gpu01\n")
    with pytest.raises(JobError, match="compute node failed"):
        wait_until_ready(place.remote, place.session, Told())


def test_a_build_that_failed_is_told_with_its_last_words(place: Place):
    place.write("build/exit.json", exit_code=78)
    (place.folder / "build" / "build.log").write_text("line\nE: Unable to locate package nonsense\n")
    place.slurm(squeue="6|FAILED|None|gpu01|N/A|0:00\n7|CANCELLED|DependencyNeverSatisfied||N/A|0:00\n")
    with pytest.raises(ImageError) as problem:
        wait_until_ready(place.remote, place.building(), Told())
    assert "Unable to locate package nonsense" in problem.value.message
    assert "build.log" in problem.value.hint


def test_a_build_that_was_killed_before_it_could_say_so(place: Place):
    place.slurm(squeue="6|OUT_OF_MEMORY|None|gpu01|N/A|0:00\n7|PENDING|Dependency||N/A|0:00\n", sacct="")
    session = place.building()
    place.slurm(squeue="6|OUT_OF_MEMORY|None|gpu01|N/A|0:00\n7|CANCELLED|None||N/A|0:00\n")
    with pytest.raises(ImageError) as problem:
        wait_until_ready(place.remote, session, Told())
    assert "build.mem" in problem.value.hint


def test_the_builds_last_line_is_shown_while_it_runs(place: Place):
    place.slurm(squeue="6|RUNNING|None|gpu01|N/A|0:00\n7|PENDING|Dependency||N/A|0:00\n")
    (place.folder / "build" / "build.log").write_text("Get:1 trixie\nSetting up python3\n")
    told = Told()

    def go_on(argv: tuple[str, ...]) -> None:
        if any("Setting up python3" in word for word in told.words):
            place.write("session/connection.json", **READY)

    place.remote.on_start = go_on
    wait_until_ready(place.remote, place.building(), told)
    assert any("being built on gpu01" in word for word in told.words)


def test_slurm_is_asked_for_all_jobs_at_once_and_not_all_the_time(place: Place):
    place.slurm(squeue="6|PENDING|Priority||N/A|0:00\n7|PENDING|Dependency||N/A|0:00\n")
    now = [0.0]

    def go_on(argv: tuple[str, ...]) -> None:
        now[0] += 5.0
        if now[0] > 120:
            place.write("session/connection.json", **READY)

    place.remote.on_start = go_on
    wait_until_ready(place.remote, place.building(), Told(), clock=lambda: now[0])
    questions = [argv for argv in place.remote.commands if argv[0] == "squeue"]
    assert 2 <= len(questions) <= 12
    assert all("--jobs=7,6" in argv for argv in questions)


def test_a_folder_that_is_gone_is_told_apart(place: Place):
    gone = replace(place.session, session_dir=PurePosixPath("/nowhere"))
    with pytest.raises(SessionGoneError):
        look(place.remote, gone)


def test_half_written_files_are_not_there_yet(place: Place):
    (place.folder / "session" / "connection.json").write_text('{"version": 1, "sta')
    assert look(place.remote, place.session).connection is None


def test_noise_from_the_shell_is_an_error_not_a_guess(place: Place):
    script = place.folder / "bin" / "sh"
    script.write_text("#!/bin/bash\necho hello\n")
    script.chmod(0o755)
    with pytest.raises(RemoteError, match="cut short"):
        look(LocalRemote(path=place.folder / "bin"), place.session)
