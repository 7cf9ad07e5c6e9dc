"""The session's batch script, run on this machine with a stand-in for Apptainer."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from dl4mic_hpc.slurm import render
from dl4mic_hpc.slurm.job import GpuRequest, HeadlessJob, JobExit, JobSpec, Resources

pytestmark = pytest.mark.posix

APPTAINER = """#!/bin/bash
[ "$1" = exec ] || exit 0
printf '%s\\n' "$@" > {folder}/words
while [ "$1" != --workdir ]; do shift; done
private=$2/tmp/.dl4mic
{does}
"""
JUPYTER = 'printf \'{"port": 4711}\' > "$private/runtime/jpserver-1.json"'
UNTIL_READY = """
until grep -q ready {folder}/connection.json; do sleep 0.02; done
cp {folder}/connection.json {folder}/seen.json
"""


class Node:
    """A compute node on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "image.sif").touch()
        (folder / "sleep").write_text(f'#!/bin/sh\necho "$1" >> {folder}/slept\nexec /bin/sleep 0.01\n')
        (folder / "sleep").chmod(0o755)
        self.spec = JobSpec(
            session_id="bcdfgh",
            submit_token="0123",
            session_dir=PurePosixPath(folder),
            image=PurePosixPath(folder / "image.sif"),
            apptainer=str(folder / "apptainer"),
            resources=Resources(time="60", mem="4G", cpus=2, gpus=GpuRequest(count=0)),
        )

    def run(self, does: str, **changes: Any) -> dict[str, Any]:
        """exit.json of a job whose container does this. Nothing is left of it on the node."""
        program = self.folder / "apptainer"
        program.write_text(APPTAINER.replace("{does}", does).replace("{folder}", str(self.folder)))
        program.chmod(0o755)
        script = render.render_job(dataclasses.replace(self.spec, **changes))
        done = subprocess.run(
            ["bash", "-s"],
            input=script, capture_output=True, text=True, timeout=60,
            env=os.environ | {
                "SLURM_JOB_ID": "7", "SLURMD_NODENAME": "gpu01", "HOME": str(self.folder),
                "PATH": f"{self.folder}:{os.environ['PATH']}",
            },
        )  # fmt: skip
        ended: dict[str, Any] = json.loads((self.folder / "exit.json").read_text())
        assert ended["exit_code"] == done.returncode, done.stderr
        assert not (self.folder / "connection.json").exists()
        workdir = self.words[self.words.index("--workdir") + 1]
        assert not Path(workdir).exists()
        return ended

    @property
    def words(self) -> list[str]:
        return (self.folder / "words").read_text().splitlines()

    @property
    def seen(self) -> dict[str, Any]:
        """connection.json as the container saw it once it said ready."""
        return dict(json.loads((self.folder / "seen.json").read_text()))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_jupyterlab_that_can_show_forms_is_ready(node: Node):
    ended = node.run(f'{JUPYTER}; echo fits > "$private/front_end"; {UNTIL_READY}', front_end=True)
    assert (ended["exit_code"], ended["reason"]) == (0, "")
    assert (node.seen["state"], node.seen["port"], node.seen["node"]) == ("ready", 4711, "gpu01")


def test_ready_is_held_back_until_the_front_end_is_known(node: Node):
    """The job looks every 0.1 s whether it is known, and goes on when it is."""
    waited = "until grep -qx 0.1 {folder}/slept; do sleep 0.02; done; ! grep ready {folder}/connection.json || exit 9"
    ended = node.run(
        f'{JUPYTER}; {waited}; echo "unknown: x" > "$private/front_end"; {UNTIL_READY}', front_end=True
    )
    assert ended["exit_code"] == 0
    assert node.seen["state"] == "ready"


def test_a_front_end_that_never_answers_keeps_nobody_waiting(node: Node, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(render, "FRONT_END_PATIENCE", 0.2)
    assert node.run(f"{JUPYTER}; {UNTIL_READY}", front_end=True)["exit_code"] == 0
    assert node.seen["state"] == "ready"


def test_a_jupyterlab_that_cannot_show_forms_is_ended(node: Node):
    says = 'unfit: its "front end" is for JupyterLab 4'
    ended = node.run(f"{JUPYTER}; echo '{says}' > \"$private/front_end\"; exec /bin/sleep 50", front_end=True)
    assert ended["exit_code"] == JobExit.UNFIT
    assert ended["reason"] == says.removeprefix("unfit: ")


HEADLESS = HeadlessJob(notebook_file="n.ipynb")


@pytest.mark.parametrize(
    ("does", "code", "reason"),
    [
        ("echo done", 0, ""),
        ("echo part; echo 'cell 12: ValueError: \"ä\\b\"' >&2; exit 1", JobExit.CELL_FAILED, 'cell 12: ValueError: "ä\\b"'),
        ("echo 'nothing was run: x' >&2; exit 2", JobExit.REFUSED, "nothing was run: x"),
        ("exit 70", JobExit.NO_JUPYTERLAB, "the image has no JupyterLab"),
        ("exit 75", 75, "this site puts its own /home into containers; see run.log"),
        ("exit 255", 255, "the notebook ended with an error; see run.log"),
    ],
)  # fmt: skip
def test_how_a_notebook_that_runs_by_itself_ended(node: Node, does: str, code: int, reason: str):
    ended = node.run(does, headless=HEADLESS)
    assert (ended["exit_code"], ended["reason"]) == (code, reason)


def test_a_headless_session_says_that_it_runs_and_has_no_token(node: Node):
    node.run("cp {folder}/connection.json {folder}/seen.json", headless=HEADLESS)
    assert node.seen == {"version": 1, "state": "running", "job_id": 7, "node": "gpu01"}


@pytest.mark.parametrize("headless", [None, HEADLESS])
def test_content_is_the_working_folder_as_on_colab(node: Node, headless: HeadlessJob | None):
    node.run("true", headless=headless, content=True)
    assert f"{node.folder}/home:/content" in node.words
