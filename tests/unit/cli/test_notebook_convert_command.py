"""`notebook convert` as somebody types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.kernel import colab_notebook

Run = Callable[..., Any]

ORIGINAL = colab_notebook(
    "# T", "# 1. Install", "!pip install x", "# 2. Train", 'Rate = 1e-4 #@param {type:"number"}'
)
CONFIGURATION = """\
name: Demo
config:
  dl4miceverywhere:
    notebook_url: demo.ipynb
    requirements_url: requirements.txt
    sections_to_remove: "1."
    notebook_version: 1.2.3
    python_version: "{python}"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a notebook and its configuration, in which the commands run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo.ipynb").write_bytes(ORIGINAL)
    (tmp_path / "requirements.txt").write_text("")
    (tmp_path / "configuration.yaml").write_text(CONFIGURATION.format(python="3.10"))
    return tmp_path


def ids(path: Path) -> list[str]:
    return [cell["id"] for cell in json.loads(path.read_bytes())["cells"]]


def test_the_notebook_and_its_files_are_written_and_told(folder: Path, run_cli: Run) -> None:
    answer = run_cli("notebook", "convert", "demo.ipynb")
    assert (answer.code, answer.out) == (0, "demo.jupyterlab.ipynb\n"), answer.err
    assert ids(folder / "demo.jupyterlab.ipynb")[-1] == "train"
    assert (folder / "dl4mic_forms" / "forms.py").is_file()
    assert answer.err.splitlines()[:2] == ["demo.ipynb: 1 form field in 1 cell", "installs left out: x"]
    assert not [path for path in folder.rglob("*") if path.name.endswith(".part")]


@pytest.mark.parametrize(
    "given", [("-c", "configuration.yaml"), ("--remove", "1"), ("-c", "configuration.yaml", "--remove", "1.")]
)
def test_sections_go_as_the_configuration_or_the_command_says(
    folder: Path, run_cli: Run, given: tuple[str, ...]
) -> None:
    answer = run_cli("notebook", "convert", "demo.ipynb", *given, "-o", "out.ipynb")
    assert answer.code == 0, answer.err
    assert ids(folder / "out.ipynb") == ["cell-0", "dl4mic-how-to", "dl4mic-start", "cell-3", "train"]
    told = json.loads((folder / "out.ipynb").read_bytes())["metadata"]["dl4mic_hpc"]
    assert told.get("version") == ("1.2.3" if "-c" in given else None)
    assert len(told["sha256"]) == 64


def test_an_empty_list_of_sections_keeps_them_all(folder: Path, run_cli: Run) -> None:
    run_cli(
        "notebook", "convert", "demo.ipynb", "-c", "configuration.yaml", "--remove", "", "-o", "out.ipynb"
    )
    assert "cell-1" in ids(folder / "out.ipynb")


def test_the_report_as_json(folder: Path, run_cli: Run) -> None:
    answer = run_cli("notebook", "convert", "demo.ipynb", "--json")
    told = json.loads(answer.out)
    assert (answer.code, told["version"], told["output"]) == (0, 1, "demo.jupyterlab.ipynb")
    assert [field["name"] for field in told["fields"]] == ["Rate"]
    assert all(Path(name).is_file() for name in told["runtime_files"]) and told["runtime_files"]


def test_standard_output_gets_the_notebook_alone(folder: Path, run_cli: Run) -> None:
    answer = run_cli("notebook", "convert", "demo.ipynb", "-o", "-")
    assert json.loads(answer.out)["nbformat"] == 4
    assert "1 form field" in answer.err
    assert sorted(path.name for path in folder.iterdir()) == [
        "configuration.yaml",
        "demo.ipynb",
        "requirements.txt",
    ]


def test_nothing_is_overwritten_unless_asked(folder: Path, run_cli: Run) -> None:
    (folder / "out.ipynb").write_text("mine")
    answer = run_cli("notebook", "convert", "demo.ipynb", "-o", "out.ipynb")
    assert answer.code == 2
    assert "out.ipynb is there already" in answer.err and "--force" in answer.err
    assert (folder / "out.ipynb").read_text() == "mine"
    assert not (folder / "dl4mic_forms").exists()
    assert run_cli("notebook", "convert", "demo.ipynb", "-o", "out.ipynb", "--force").code == 0
    assert "train" in ids(folder / "out.ipynb")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("lost.ipynb",), 2, "the notebook lost.ipynb cannot be read"),
        (("requirements.txt",), 8, "requirements.txt is not a Jupyter notebook"),
        (("demo.ipynb", "--remove", "7"), 8, "there is no section 7 to remove"),
        (("demo.ipynb", "-c", "lost.yaml"), 2, "lost.yaml"),
        (("demo.ipynb", "-c", "no_such_notebook"), 2, "no_such_notebook"),
        (("demo.ipynb", "-o", "lost/out.ipynb"), 2, "there is no folder lost"),
        (("demo.ipynb", "-o", "-", "--json"), 2, "both want standard output"),
    ],
)  # fmt: skip
def test_mistakes_are_told_and_nothing_is_written(
    folder: Path, run_cli: Run, words: tuple[str, ...], code: int, says: str
) -> None:
    before = sorted(folder.iterdir())
    answer = run_cli("notebook", "convert", *words)
    assert (answer.code, answer.out) == (code, "")
    assert says in answer.err and "hint:" in answer.err
    assert sorted(folder.iterdir()) == before


def test_a_notebook_that_goes_without_them_gets_no_files_beside_it(folder: Path, run_cli: Run) -> None:
    (folder / "demo.ipynb").write_bytes(colab_notebook("# T", "# 1. Install", "x = 1"))
    (folder / "configuration.yaml").write_text(CONFIGURATION.format(python="3.6"))
    answer = run_cli("notebook", "convert", "demo.ipynb", "-c", "configuration.yaml", "--remove", "")
    assert answer.code == 0, answer.err
    assert not (folder / "dl4mic_forms").exists()


def test_a_folder_that_cannot_be_written_leaves_no_half_file(folder: Path, run_cli: Run) -> None:
    (folder / "dl4mic_forms").write_text("a file where the folder has to be")
    answer = run_cli("notebook", "convert", "demo.ipynb")
    assert answer.code == 2
    assert "cannot be written" in answer.err
    assert not (folder / "demo.jupyterlab.ipynb").exists()
