"""The proof of the GPUs as the batch script sees it: what it hands on, remembers, and when it ends the session."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from unit.slurm.test_job_script import HEADLESS, JUPYTER, UNTIL_READY, Node

from dl4mic_hpc.slurm import render
from dl4mic_hpc.slurm.job import GpuRequest, JobExit, Resources

pytestmark = pytest.mark.posix

WORKS = {
    "version": 1, "level": "driver", "verdict": "works", "asked": 1, "gpus": ["NVIDIA A100-SXM4-40GB"],
    "driver": "535.161.08", "framework": "", "reason": "", "proving": True, "remembered": False, "key": "",
}  # fmt: skip
PROVEN = WORKS | {
    "level": "framework", "framework": "PyTorch 2.1", "proving": False, "key": "0123456789abcdef-fedcba9876543210",
}  # fmt: skip
CPU = PROVEN | {"verdict": "cpu", "reason": 'it finds no GPU: "libcudnn.so.8" cannot be loaded', "key": ""}
GPU = Resources(time="60", mem="4G", cpus=2, gpus=GpuRequest(count=1))
PUBLISHED = "until grep -q '{text}' {folder}/gpu.json 2> /dev/null; do sleep 0.02; done"


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """Its session lies in a work folder; beside the image lies a record."""
    session = tmp_path / "work" / "sessions" / "bcdfgh"
    session.mkdir(parents=True)
    node = Node(session)
    (session / "image.json").write_text(json.dumps({"digest": "sha256:11", "sha256": "0123456789abcdef" * 4}))
    return node


def says(verdict: dict[str, Any]) -> str:
    """What the proof inside does: the whole line or nothing."""
    line = json.dumps(verdict).replace("'", "")
    return f'printf \'%s\\n\' \'{line}\' > "$private/gpu/new" && mv "$private/gpu/new" "$private/gpu/verdict.json"'


def published(text: str) -> str:
    return PUBLISHED.replace("{text}", text)


def told(node: Node) -> dict[str, Any]:
    return dict(json.loads((node.folder / "gpu.json").read_text()))


def test_what_works_is_handed_on_and_remembered(node: Node):
    ended = node.run(
        f"{JUPYTER}; {says(WORKS)}; {UNTIL_READY} cp {{folder}}/gpu.json {{folder}}/early.json; {says(PROVEN)}; "
        + published("framework\", \"verdict"),
        resources=GPU, require_gpu=True,
    )  # fmt: skip
    assert (ended["exit_code"], ended["reason"]) == (0, "")
    assert json.loads((node.folder / "early.json").read_text()) == WORKS
    assert told(node) == PROVEN
    proven = node.folder.parent.parent / "gpu"
    assert [path.name for path in proven.iterdir()] == [f"{PROVEN['key']}.json"]
    assert json.loads((proven / f"{PROVEN['key']}.json").read_text()) == PROVEN


def test_what_is_remembered_of_this_image_is_there_inside(node: Node):
    proven = node.folder.parent.parent / "gpu"
    proven.mkdir()
    for name in (PROVEN["key"], "another-image"):
        (proven / f"{name}.json").write_text("{}")
    node.run("ls $private/gpu/remembered > {folder}/listed", resources=GPU)
    assert (node.folder / "listed").read_text() == f"{PROVEN['key']}.json\n"
    assert "0123456789abcdef" in node.words


@pytest.mark.parametrize("headless", [None, HEADLESS])
@pytest.mark.parametrize("verdict", [CPU, CPU | {"verdict": "fewer"}, CPU | {"verdict": "unproven"}])
def test_a_session_that_requires_a_gpu_is_ended_with_the_reason(
    node: Node, headless: Any, verdict: dict[str, Any]
):
    ended = node.run(
        f"{says(verdict)}; exec /bin/sleep 50", resources=GPU, require_gpu=True, headless=headless
    )
    assert (ended["exit_code"], ended["reason"]) == (JobExit.NO_GPU, CPU["reason"])
    assert told(node) == verdict


def test_a_session_that_requires_a_gpu_is_not_handed_over_before_the_drivers_word(node: Node):
    """It would be ended: the reader of connection.json must never see it ready."""
    ended = node.run(
        f"{says(CPU)}; {JUPYTER}; trap 'cp {{folder}}/connection.json {{folder}}/seen.json; exit 0' TERM; "
        "while :; do /bin/sleep 0.02; done",
        resources=GPU, require_gpu=True,
    )  # fmt: skip
    assert ended["exit_code"] == JobExit.NO_GPU
    assert node.seen["state"] == "starting"


def test_a_driver_that_is_still_being_asked_by_the_framework_ends_nothing(node: Node):
    unproven = WORKS | {"verdict": "unproven", "reason": "the driver gave no answer within 1.5 s"}
    ended = node.run(f"{says(unproven)}; {JUPYTER}; {UNTIL_READY}", resources=GPU, require_gpu=True)
    assert ended["exit_code"] == 0
    assert told(node) == unproven | {"proving": False}


def test_without_the_option_the_session_goes_on_and_says_it(node: Node):
    ended = node.run(f"{says(CPU)}; {JUPYTER}; {UNTIL_READY}", resources=GPU)
    assert (ended["exit_code"], ended["reason"]) == (0, "")
    assert node.seen["state"] == "ready"
    assert told(node) == CPU
    assert not (node.folder.parent.parent / "gpu").exists()


def test_a_session_that_ends_before_the_last_word_says_so(node: Node):
    node.run(says(WORKS), resources=GPU, headless=HEADLESS)
    assert told(node) == WORKS | {
        "proving": False, "reason": "the session ended before the framework had been tried",
    }  # fmt: skip


def test_a_proof_that_never_answers_keeps_nobody_waiting(node: Node, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(render, "DRIVER_PATIENCE", 0.2)
    assert node.run(f"{JUPYTER}; {UNTIL_READY}", resources=GPU)["exit_code"] == 0
    assert not (node.folder / "gpu.json").exists()


@pytest.mark.parametrize("works", [True, False])
def test_inside_the_proof_runs_beside_jupyterlab_and_its_failure_is_a_verdict(node: Node, works: bool):
    """entry.sh for real, with a `jupyter-lab` of ours; /tmp/.dl4mic is the private folder there."""
    inside = node.folder / "inside"
    inside.mkdir()
    python = inside / "python"
    python.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {inside}/asked\nexit {0 if works else 1}\n')
    lab = inside / "jupyter-lab"
    lab.write_text(f"#!{python}\n")
    for file in (python, lab):
        file.chmod(0o755)
    changes = (
        "s|/tmp/.dl4mic|$private|",
        f"s|/home/.dl4mic-nonce|{node.folder}/home/.dl4mic-nonce|",
        "s|^cd /home|cd /|",
        "s|^exec .*--no-browser|until [ -e $private/gpu/go ]; do sleep 0.02; done|",
    )
    does = (
        f'export PATH={inside}:$PATH; sed "{"; ".join(changes)}" "$private/entry.sh" > {{folder}}/entry.sh; '
        'for last; do :; done; sh {folder}/entry.sh "$(cat {folder}/home/.dl4mic-nonce)" "$last"; '
        "cp $private/gpu/verdict.json {folder}/; true"
    )
    node.run(does, resources=GPU, frameworks=("torch",), session_dir=PurePosixPath(node.folder))
    asked = (inside / "asked").read_text().split()
    assert asked[0] == "/home/dl4mic_forms/gpu_proof.py"
    assert asked[2:] == [
        "--asked", "1", "--framework", "torch", "--image", "0123456789abcdef",
        "--provenance", "/home/results/provenance.json",
    ]  # fmt: skip
    if works:
        assert not (node.folder / "verdict.json").exists()
    else:
        assert (told(node)["verdict"], told(node)["proving"]) == ("unproven", False)
        assert "could not be run" in told(node)["reason"]
