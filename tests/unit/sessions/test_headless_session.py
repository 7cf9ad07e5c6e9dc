"""A notebook that runs by itself: the real scripts on real files, Slurm's answers replayed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.local_remote import LocalRemote, connection_lost
from unit.sessions.test_watch import Place, Told

from dl4mic_hpc.errors import Dl4micError, ImageError, JobError, SshError, UsageError
from dl4mic_hpc.sessions import headless

pytestmark = pytest.mark.posix


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A session whose login node never sleeps."""
    found = Place(tmp_path)
    found.session = replace(found.session, headless=True)
    found.slurm(squeue="7\n")
    (tmp_path / "bin" / "sleep").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "sleep").chmod(0o755)
    found.write("session/connection.json", state="running", node="gpu01", job_id=7)
    return found


def follow(place: Place, told: Told | None = None) -> str:
    printed: list[bytes] = []
    headless.follow(place.remote, place.session, told or Told(), printed.append)
    return b"".join(printed).decode()


def log(place: Place, text: str) -> None:
    with (place.folder / "session" / "run.log").open("a") as file:
        file.write(text)


def test_what_the_notebook_prints_comes_as_it_is_printed_until_its_end(place: Place):
    log(place, "---- cell 1\n")
    (place.folder / "session" / "job.log").write_text("not the notebook's\n")

    def go_on(size: int) -> None:
        if size and not (place.folder / "session" / "exit.json").exists():
            log(place, "ä 10 %\rdone\n")
            place.write("session/exit.json", exit_code=0, reason="")

    place.remote.on_read = go_on
    told = Told()
    assert follow(place, told) == "---- cell 1\nä 10 %\rdone\n"
    assert told.words == ["the notebook runs on gpu01"]
    assert headless.failure(place.remote, place.session) is None


def test_a_notebook_that_has_ended_already_is_no_failure(place: Place):
    (place.folder / "session" / "connection.json").unlink()
    log(place, "done\n")
    place.write("session/exit.json", exit_code=0, reason="")
    assert follow(place) == "done\n"
    assert headless.failure(place.remote, place.session) is None


def test_its_own_last_word_may_come_later_than_slurms(place: Place):
    (place.folder / "session" / "connection.json").unlink()
    log(place, "done\n")
    place.slurm(squeue="7|COMPLETED|None|gpu01|N/A|0:00\n")

    def go_on(argv: tuple[str, ...]) -> None:
        if "squeue" in argv:
            place.write("session/exit.json", exit_code=0, reason="")

    place.remote.on_start = go_on
    assert follow(place) == "done\n"


@pytest.mark.parametrize("gone", ["", "slurm_load_jobs error: Invalid job id specified\n"])
def test_a_job_that_was_killed_outright_is_not_followed_for_ever(place: Place, gone: str):
    log(place, "half\n")
    place.slurm(squeue=gone, sacct="7|NODE_FAIL|0:0|gpu01\n")
    assert follow(place) == "half\n"
    problem = headless.failure(place.remote, place.session)
    assert problem is not None and "compute node failed" in problem.message


def test_a_lost_connection_is_an_error(place: Place):
    log(place, "half\n")

    def lose(size: int) -> None:
        raise connection_lost()

    place.remote.on_read = lose
    with pytest.raises(SshError):
        follow(place)


@pytest.mark.parametrize(
    ("code", "state", "kind", "words"),
    [
        (81, "FAILED", JobError, "the notebook failed: cell 12: ValueError"),
        (82, "FAILED", UsageError, "was not run: cell 12: ValueError"),
        (78, "FAILED", ImageError, "cannot show the notebook's forms"),
        (70, "FAILED", ImageError, "cell 12: ValueError"),
        (1, "FAILED", JobError, "the job failed: cell 12: ValueError"),
        (81, "OUT_OF_MEMORY", JobError, "memory"),
        (143, "TIMEOUT", JobError, "time limit"),
    ],
)
def test_how_it_ended_is_told_by_slurm_and_by_the_jobs_own_word(
    place: Place, code: int, state: str, kind: type[Dl4micError], words: str
):
    place.slurm(squeue=f"7|{state}|None|gpu01|N/A|0:00\n")
    place.write("session/exit.json", exit_code=code, reason="cell 12: ValueError")
    problem = headless.failure(place.remote, place.session)
    assert type(problem) is kind
    assert words in problem.message
    assert "{" not in problem.hint


def test_the_logs_of_a_headless_session_hold_what_it_printed(place: Place):
    from dl4mic_hpc.sessions import logs

    log(place, "epoch 1\n")
    remote = LocalRemote(path=place.folder / "bin")
    assert b"".join(logs.read(remote, place.session, follow=False)) == b"==> run.log <==\nepoch 1\n"
