"""Notebooks that run by themselves, on real Slurm, SSH and Apptainer."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from support.cluster import Cluster, Finished


def cell(kind: str, *lines: str) -> dict[str, Any]:
    code = {"outputs": [], "execution_count": None} if kind == "code" else {}
    return {"cell_type": kind, "metadata": {}, "source": "\n".join(lines), **code}


COLAB = [
    cell("markdown", "# **1. Where Colab keeps its files**"),
    cell(
        "code",
        "from google.colab import drive",
        "drive.mount('/content/gdrive')",
        "from pathlib import Path",
        "Path('/content/scratch.txt').write_text('kept')",
        "print('content holds', Path('/content/scratch.txt').read_text())",
        "import ipykernel.connect",
        "print('talks over', '\"ipc\"' in ipykernel.connect.get_connection_info())",
    ),
    cell("markdown", "# **2. Fill in a form**"),
    cell(
        "code",
        "#@title Divide",
        'Divisor = 0 #@param {type:"integer"}',
        "print('divided:', 12 / Divisor)",
        "Path('/home/results/quotient.txt').write_text(str(12 / Divisor))",
    ),
]


@pytest.fixture
def colab(tmp_path: Path) -> Path:
    """A notebook of Colab's that divides by what its form says."""
    path = tmp_path / "Divide.ipynb"
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": COLAB}))
    return path


@pytest.fixture
def run(cluster: Cluster, image: PurePosixPath, colab: Path, tmp_path: Path) -> Callable[..., Finished]:
    """Launches that notebook in the demo's image."""
    (tmp_path / "configuration.yaml").write_text(
        "config:\n  dl4miceverywhere:\n    notebook_url: Divide.ipynb\n    requirements_url: requirements.txt\n"
    )
    for name in ("requirements.txt", "Dockerfile"):
        (tmp_path / name).write_text("FROM scratch\n" if name == "Dockerfile" else "")

    def launch(*words: str, code: int = 0) -> Finished:
        return cluster.cli(
            "launch", "-c", str(tmp_path / "configuration.yaml"), "--image", str(image),
            "-o", str(tmp_path / "results"), "--headless", *words, code=code,
        )  # fmt: skip

    return launch


def executed(folder: Path) -> str:
    """All that the cells of the executed notebook printed."""
    notebook = json.loads((folder / "Divide.executed.ipynb").read_text())
    outputs = [one for each in notebook["cells"] for one in each.get("outputs", ())]
    return "".join("".join(one.get("text", "")) for one in outputs)


def test_it_runs_to_its_end_and_comes_home(run: Callable[..., Finished], tmp_path: Path, cluster: Cluster):
    done = run("--set", "Divisor=4")
    assert "content holds kept" in done.out and "divided: 3.0" in done.out
    # Ports of a shared node are everybody's.
    assert "talks over True" in done.out
    assert (tmp_path / "results" / "quotient.txt").read_text() == "3.0"
    assert "divided: 3.0" in executed(tmp_path / "results")
    session = done.out.split("Session ")[1].split()[0]
    row = next(
        row for row in cluster.cli("ps", "--all", "--json").json["sessions"] if row["session"] == session
    )
    assert (row["state"], row["headless"]) == ("ended", True)
    refused = cluster.cli("attach", session, code=2)
    assert "without JupyterLab" in refused.err and "logs" in refused.err
    assert "divided: 3.0" in cluster.cli("logs", session).out


def test_a_failing_cell_fails_the_run_and_what_there_is_comes_home(
    run: Callable[..., Finished], tmp_path: Path
):
    done = run(code=6)
    last = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(last) == 1 and "section 2" in last[0] and "ZeroDivisionError: division by zero" in last[0]
    assert "content holds kept" in executed(tmp_path / "results")
    assert not (tmp_path / "results" / "quotient.txt").exists()


def test_only_the_chosen_sections_run(run: Callable[..., Finished], tmp_path: Path):
    done = run("--sections", "1", "--json")
    assert done.json["state"] == "done"
    page = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "json.md").read_text(
        encoding="utf-8"
    )
    documented = page.split("## launch, headless")[1].split("```json")[1].split("```")[0]
    assert list(done.json) == list(json.loads(documented))
    assert "content holds kept" in done.err
    assert "divided" not in executed(tmp_path / "results")


def test_wrong_parameters_submit_nothing(run: Callable[..., Finished], cluster: Cluster):
    before = cluster.session_dirs()
    done = run("--set", "divisor=3", "--sections", "9", code=2)
    assert "'Divisor'" in done.err and "section 9" in done.err
    assert cluster.session_dirs() == before


def test_it_goes_on_without_this_computer(run: Callable[..., Finished], tmp_path: Path, cluster: Cluster):
    parameters = tmp_path / "parameters.json"
    parameters.write_text('{"Divisor": 3}')
    session = run("--parameters", str(parameters), "--detach", "--json").json["session"]
    assert "divided: 4.0" in cluster.cli("logs", session, "-f").out
    cluster.cli("stop", session)
    assert (tmp_path / "results" / "quotient.txt").read_text() == "4.0"


WRAPPER = """#!/bin/sh
case $1 in
    exec) shift; exec apptainer exec --bind /scratch/ada/hidden:/opt/venv/share/jupyter/labextensions/@jupyter-widgets "$@" ;;
    *) exec apptainer "$@" ;;
esac
"""


def test_an_image_that_cannot_show_forms_ends_the_session(
    cluster: Cluster, image: PurePosixPath, with_profile: Callable[..., Cluster]
):
    """The front end of the widgets is hidden from the container."""
    wrapper = "/scratch/ada/hiding/apptainer"
    cluster.inside("login", "mkdir", "-p", "/scratch/ada/hidden", "/scratch/ada/hiding", user="ada")
    cluster.inside(
        "login", "sh", "-c", f'printf %s "$1" > {wrapper}; chmod 755 {wrapper}', "sh", WRAPPER, user="ada"
    )
    laptop = with_profile(apptainer=wrapper)
    done = laptop.cli(
        "launch", "pixel_segmentation", "--image", str(image), "--no-browser", "--until-ready", code=7
    )
    assert "cannot show the notebook's forms" in done.err and "ipywidgets" in done.err
    cluster.wait_until_idle()


ENDLESS = [
    *COLAB[:2],
    cell("markdown", "# **2. Wait**"),
    cell("code", "print('waiting', flush=True)", "import time", "while True: time.sleep(0.1)"),
]


def test_ctrl_c_leaves_it_running_and_stop_brings_home_what_there_is(
    run: Callable[..., Finished], colab: Path, tmp_path: Path, cluster: Cluster, image: PurePosixPath
):
    colab.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": ENDLESS}))
    process = cluster.started(
        "launch", "-c", str(tmp_path / "configuration.yaml"), "--image", str(image),
        "-o", str(tmp_path / "results"), "--headless",
    )  # fmt: skip
    assert process.stdout
    lines = iter(process.stdout)
    assert any("waiting" in line for line in lines)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130 and "goes on without this window" in told
    session = told.split("logs ")[1].split()[0]
    row = next(row for row in cluster.cli("ps", "--json").json["sessions"] if row["session"] == session)
    assert (row["state"], row["headless"]) == ("running", True)
    cluster.cli("stop", session)
    assert "content holds kept" in executed(tmp_path / "results")
    cluster.wait_until_idle()
