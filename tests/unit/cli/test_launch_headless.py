"""`launch --headless` as typed, without any cluster."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def run(run_cli: Run) -> Run:
    run_cli("cluster", "add", "myuni", "--host", "login.invalid", "--work-dir", "/scratch/ada/dl4mic")
    return lambda *words: run_cli("launch", "pixel_segmentation", *words)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--set", "Trees=3"], "add --headless"),
        (["--sections", "1"], "add --headless"),
        (["--parameters", "p.json"], "add --headless"),
        (["--headless", "-p", "8888"], "--headless starts no JupyterLab"),
        (["--headless", "--until-ready"], "--headless starts no JupyterLab"),
        (["--headless", "--parameters", "/nowhere/p.json"], "cannot be read"),
        (["--headless", "--set", "Trees"], "is no parameter"),
    ],
)
def test_what_does_not_go_together_is_said(run: Run, words: list[str], says: str):
    answer = run(*words)
    assert answer.code == 2
    assert says in answer.err


def test_a_dry_run_shows_the_runner_and_where_the_files_come_from(run: Run, tmp_path: Path):
    (tmp_path / "p.json").write_text('{"Trees": 3}')
    answer = run(
        "--headless", "--parameters", str(tmp_path / "p.json"), "--sections", "1-4", "--dry-run", "--json"
    )
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert "-m dl4mic_forms --parameters=dl4mic_parameters.json --sections=1-4" in told["job_script"]
    assert "# then the notebook's log is followed" in told["commands"][-1]
    assert {part: origin["file"] for part, origin in told["origins"].items()} == {
        "notebook": "Pixel_segmentation.ipynb", "requirements": "requirements.txt", "recipe": "Dockerfile",
    }  # fmt: skip
    assert "27 form fields" in told["notebook_report"][0]


def test_a_dry_run_with_an_image_that_is_named_builds_none(run: Run):
    answer = run("--image", "/group/images/x.sif", "--dry-run", "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert (told["image"], told["definition"], told["build_script"]) == ("/group/images/x.sif", None, None)
    assert list(told["origins"]) == ["notebook"]
