"""`notebook list`, `show` and `check` on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dl4mic_hpc import catalog
from dl4mic_hpc.errors import NotebookError
from dl4mic_hpc.sources import files

Run = Callable[..., Any]

NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {},
    "cells": [
        {"cell_type": "markdown", "metadata": {}, "source": ["# 1. **Train**"]},
        {
            "cell_type": "code",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": ["Notebook_version = '1.0'\n", 'Epochs = 5 #@param {type:"integer"}\n'],
        },
    ],
}

CONFIGURATION = """\
name: Sharpening
config:
  dl4miceverywhere:
    notebook_url: Sharpening.ipynb
    requirements_url: needs.txt
    notebook_version: '1.0'
    sections_to_remove: ''
    ubuntu_version: '22.04'
    python_version: '3.10'
    cuda_version: 11.8.0
    cudnn_version: 8.6.0.163
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Sharpening.ipynb").write_text(json.dumps(NOTEBOOK))
    (tmp_path / "needs.txt").write_text("tensorflow==2.12.0\n")
    (tmp_path / "configuration.yaml").write_text(CONFIGURATION)
    return tmp_path


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(spec: catalog.NotebookSpec, **_: Any) -> catalog.NotebookSpec:
        raise NotebookError("the notebook cannot be fetched: no network", hint="connect")

    monkeypatch.setattr(files, "obtain", refuse)


def listed(run_cli: Run, *words: str) -> set[str]:
    answer = run_cli("notebook", "list", *words, "--json")
    assert answer.code == 0, answer.err
    return {row["id"] for row in json.loads(answer.out)["notebooks"]}


# ---- list ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [70, 80, 120])
def test_the_list_is_grouped_by_task_and_fits_the_terminal(
    run_cli: Run, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = run_cli("notebook", "list").out.splitlines()
    assert max(map(len, lines)) <= columns
    headings = [line for line in lines if line and not line.startswith(" ")]
    assert headings == sorted({catalog.load(name).task for name in catalog.names()})
    assert {line.split()[0] for line in lines if line[:2] == "  " and line[2:3].strip()} == set(
        catalog.names()
    )
    assert sum(" broken: " in line for line in lines) == len(listed(run_cli, "--state", "broken"))


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--task", "registration"), {"drmime_2d"}),
        (("--task", "SEGMENTATION", "--dimensions", "3d"), {"cellpose_2d", "stardist_3d", "unet_3d"}),
        (("--framework", "pytorch", "--dimensions", "3D", "--state", "broken"), {"fnet_3d"}),
        (("--search", "nucleus STACKS"), {"stardist_3d"}),
        (("--state", "works"), {"pixel_segmentation"}),
    ],
    ids=lambda value: str(sorted(value)),
)
def test_the_list_is_filtered(run_cli: Run, words: tuple[str, ...], found: set[str]) -> None:
    assert listed(run_cli, *words) == found


def test_what_finds_nothing(run_cli: Run) -> None:
    nothing = run_cli("notebook", "list", "--search", "submarines")
    assert (nothing.code, nothing.out) == (0, "")
    assert "no notebook is like that" in nothing.err
    unknown = run_cli("notebook", "list", "--task", "Registraton")
    assert unknown.code == 2
    assert "perhaps you meant 'Registration'" in unknown.err


# ---- show ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "columns"), [*((name, 80) for name in catalog.names()), ("wgan", 120)])
@pytest.mark.usefixtures("no_network")
def test_what_is_shown_without_network(
    run_cli: Run, monkeypatch: pytest.MonkeyPatch, name: str, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    spec = catalog.load(name)
    shown = run_cli("notebook", "show", name)
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    assert max(len(line) for line in lines if "http" not in line) <= columns
    told = lines[lines.index("") + 1 :]
    labels = ("task", "framework", "state", "goes in", "comes out", "data layout", "please cite")
    for line in told[: told.index("")]:
        assert line[:14].strip() in ("", *labels) and line[13:14] == " ", "a column of labels, one of texts"
    running = " ".join(shown.out.split())
    for told in (
        spec.title,
        spec.version,
        spec.description,
        spec.task,
        spec.input,
        spec.output,
        spec.state_note,
    ):
        assert " ".join(told.split()) in running
    for paper in spec.cite:
        assert " ".join(paper.text.split()) in running and paper.address in running
    for line in spec.layout.splitlines():
        assert line in shown.out
    assert all(one.name in running for one in spec.weights)
    for key, why in spec.corrected.items():
        assert f"corrected {key}: {why}" in running
    assert "The form fields cannot be shown: the notebook cannot be fetched: no network" in running


def test_fields_are_shown_by_form(run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = run_cli("notebook", "show", "Pixel-Segmentation").out.splitlines()
    form = lines.index("train-the-forest")
    assert lines[form + 1].startswith("  ")
    assert any(line.split()[:3] == ["Trees", "integer", "50"] for line in lines[form:])


@pytest.mark.usefixtures("no_network")
def test_what_could_not_be_had_is_null(run_cli: Run) -> None:
    shown = json.loads(run_cli("notebook", "show", "wgan", "--json").out)
    assert shown["fields"] is None
    assert shown["fields_missing"] == "the notebook cannot be fetched: no network"
    assert shown["files"]["requirements"]["name"] == "WGAN_requirements_simple.txt"
    assert list(shown["corrected"]) == ["requirements_url"]


@pytest.mark.usefixtures("no_network")
def test_weights_are_shown(run_cli: Run) -> None:
    shown = json.loads(run_cli("notebook", "show", "stardist_3d", "--json").out)["weights"]
    assert [one["name"] for one in shown] == [
        "config.json",
        "thresholds.json",
        "weights_best.h5",
        "weights_last.h5",
    ]
    assert {one["library"] for one in shown} == {"notebook"}
    assert [bool(one["sha256"]) for one in shown] == [True, True, False, False]
    assert shown[0]["url"].startswith("https://raw.githubusercontent.com/stardist/")


# ---- check -----------------------------------------------------------------------------------------------------------


def test_nothing_is_wrong(run_cli: Run, folder: Path) -> None:
    for given in (folder, folder / "configuration.yaml"):
        (folder / "Dockerfile").write_text("FROM a")
        answer = run_cli("notebook", "check", str(given))
        assert (answer.code, answer.out) == (0, f"{folder / 'configuration.yaml'}: nothing is wrong\n")


def test_everything_is_told_at_once_in_the_order_of_the_file(run_cli: Run, folder: Path) -> None:
    file = folder / "configuration.yaml"
    text = CONFIGURATION.replace("sections_to_remove: ''", "sections_to_remove: 1. 7.")
    file.write_text(text.replace("'3.10'", "'3.6'").replace("_version: '1.0'", "_version: '1.1'"))
    (folder / "needs.txt").write_text("numpy ==\ntorch==1.4.0\n")
    answer = run_cli("notebook", "check", str(folder), "--json")
    said = json.loads(answer.out)
    assert answer.code == 8
    assert "has 3 mistakes" in answer.err
    assert [(one["line"], one["key"]) for one in said["mistakes"]] == [
        (5, "requirements_url"),
        (7, "sections_to_remove"),
        (9, "python_version"),
    ]
    assert "there is no section 7" in said["mistakes"][1]["text"]
    assert [(one["line"], one["key"]) for one in said["warnings"]] == [
        (5, "requirements_url"),
        (6, "notebook_version"),
        (9, "python_version"),
    ]
    text_answer = run_cli("notebook", "check", str(folder))
    assert text_answer.out.count("mistake   line ") == 3
    assert text_answer.out.count("warning   line ") == 3


def test_a_warning_alone_is_no_failure(run_cli: Run, folder: Path) -> None:
    (folder / "needs.txt").write_text("tensorflow==2.19.0\n")
    answer = run_cli("notebook", "check", str(folder))
    assert answer.code == 0
    assert "finds no GPU" in " ".join(answer.out.split())


@pytest.mark.parametrize(
    ("break_it", "line", "says"),
    [
        (lambda folder: (folder / "needs.txt").write_bytes(b"\xff"), 5, "the requirements are no text in UTF-8"),
        (lambda folder: (folder / "needs.txt").unlink(), None, "not there beside the configuration: needs.txt"),
        (lambda folder: (folder / "Sharpening.ipynb").write_text("{"), 4, "Sharpening.ipynb"),
        (lambda folder: (folder / "configuration.yaml").write_bytes(b"a: 1\n\xff"), 2, "no text in UTF-8"),
        (lambda folder: (folder / "configuration.yaml").write_text(""), 1, "is expected"),
    ],
)  # fmt: skip
def test_what_cannot_be_read(
    run_cli: Run, folder: Path, break_it: Callable[[Path], object], line: int | None, says: str
) -> None:
    break_it(folder)
    answer = run_cli("notebook", "check", str(folder), "--json")
    (mistake,) = json.loads(answer.out)["mistakes"]
    assert answer.code == 8
    assert mistake["line"] == line
    assert says in mistake["text"]


@pytest.mark.usefixtures("no_network")
def test_what_cannot_be_fetched_is_said_and_no_mistake(run_cli: Run, folder: Path) -> None:
    file = folder / "configuration.yaml"
    file.write_text(CONFIGURATION.replace("Sharpening.ipynb", "https://a.invalid/N.ipynb"))
    answer = run_cli("notebook", "check", str(file), "--json")
    assert answer.code == 0
    assert json.loads(answer.out)["not_checked"] == [
        "requirements: the notebook cannot be fetched: no network",
        "notebook: the notebook cannot be fetched: no network",
    ]


def test_a_file_that_is_not_there(run_cli: Run, tmp_path: Path) -> None:
    answer = run_cli("notebook", "check", str(tmp_path / "gone.yaml"))
    assert answer.code == 2
    assert "cannot be read" in answer.err


# ---- launch ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("yolov2", "warning: yolov2 is known to be broken. Upstream lists it as broken."),
        (
            "stardist_2d",
            "\nstardist_2d has not been tried with this program. The image's CUDA and cuDNN are too old",
        ),
    ],
)
@pytest.mark.usefixtures("no_network")
def test_a_launch_says_what_is_known_of_the_notebook(run_cli: Run, name: str, told: str) -> None:
    run_cli("cluster", "add", "myuni", "--host", "login.invalid", "--work-dir", "/scratch/ada")
    assert told in "\n" + run_cli("launch", name, "--dry-run").err


@pytest.mark.parametrize("given", [("pixel_segmentation",), ("-c", "configuration.yaml")], ids=str)
def test_a_launch_says_nothing_where_there_is_nothing_to_say(
    run_cli: Run, given: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "Dockerfile").write_text("FROM a")
    run_cli("cluster", "add", "myuni", "--host", "login.invalid", "--work-dir", "/scratch/ada")
    said = run_cli("launch", *given, "--image", "/scratch/ada/a.sif", "--dry-run").err
    assert "known to be" not in said and "not been tried" not in said
