"""Converted notebooks without a browser: any runner of notebooks, and the one that comes with the forms."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.kernel import colab_notebook, converted_in, open_notebook

TWO = (
    '#@title One\na = 1 #@param {type:"number"}\nb = "x" #@param ["x", "y"]\nprint("one runs")',
    '#@title Two\na = 2 #@param {type:"number"}\nassert a < 10, "too big"\nprint("two runs")',
)


def headless(home: Path, parameters: object = None, *cells: str) -> tuple[list[Any], Any]:
    file = home / "parameters.json"
    file.write_text(json.dumps(parameters or {}), encoding="utf-8")
    original = colab_notebook(*(cells or TWO))
    with open_notebook(home, original, DL4MIC_HEADLESS="1", DL4MIC_PARAMETERS=str(file)) as desk:
        outcomes = desk.run_all()
        return outcomes, desk.value("(a, globals().get('b'))") if outcomes[-1].status == "ok" else None


def fields(home: Path) -> dict[str, Any]:
    content = json.loads((home / "results" / "dl4mic_settings.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = content["notebooks"]["under test"]["fields"]
    return found


def test_the_cells_run_as_they_are_written(tmp_path: Path) -> None:
    outcomes, values = headless(tmp_path)
    assert [outcome.text for outcome in outcomes[1:]] == ['a = 1\nb = "x"\none runs\n', "a = 2\ntwo runs\n"]
    assert values == (2, "x")


def test_parameters_by_name_and_by_form(tmp_path: Path) -> None:
    outcomes, values = headless(tmp_path, {"a": 5, "two.a": 0.5, "b": "y"})
    assert outcomes[1].text == "a = 5\nb = 'y'\none runs\n"
    assert values == (0.5, "y")
    assert fields(tmp_path) == {"one.a": 5, "one.b": "y", "two.a": 0.5}
    log = next((tmp_path / "results" / "logs").glob("two_*.log")).read_text(encoding="utf-8")
    assert "a = 0.5\n\ntwo runs\n\ndone after" in log
    # The settings, and the record of a run, are the parameters of the next.
    (record,) = (tmp_path / "results" / "dl4mic_runs").glob("*_one.json")
    for stored, expected in ((tmp_path / "results" / "dl4mic_settings.json", (0.5, "y")), (record, (2, "y"))):
        _, values = headless(tmp_path, json.loads(stored.read_text(encoding="utf-8")))
        assert values == expected


@pytest.mark.parametrize(
    ("parameters", "failing", "says"),
    [
        ({"a": 50}, 2, "too big"),
        ({"a": "5"}, 0, "one: 'a' is a number, not '5'\n  two: 'a' is a number"),
        ([1], 0, "must hold names and values"),
    ],
)
def test_what_is_wrong_is_said_before_the_first_cell(
    tmp_path: Path, parameters: object, failing: int, says: str
) -> None:
    outcomes, _ = headless(tmp_path, parameters)
    assert [outcome.status for outcome in outcomes] == ["ok"] * failing + ["error"]
    assert says in outcomes[-1].text
    assert ("Traceback" in outcomes[-1].text) == (failing == 2)


def test_without_the_notebooks_own_file_each_cell_is_checked_as_it_comes(tmp_path: Path) -> None:
    """Some runners execute a copy elsewhere; the start cell knows the names of the fields only."""
    cell = '#@markdown ### Path to the data\nData_folder = "" #@param {type:"string"}'
    file = tmp_path / "parameters.json"
    environment = {"DL4MIC_HEADLESS": "1", "DL4MIC_PARAMETERS": str(file)}
    file.write_text('{"tow": 1}', encoding="utf-8")
    with open_notebook(tmp_path, colab_notebook(*TWO, cell), **environment) as desk:
        (tmp_path / "notebook.ipynb").unlink()
        (start,) = desk.run_all()
        assert "'tow' is set" in start.text
        file.write_text('{"one.a": "5"}', encoding="utf-8")
        said = [desk.run(each) for each in desk.cells]
        assert [outcome.status for outcome in said] == ["ok", "error", "ok", "error"]
        assert "one: 'a' is a number" in said[1].text
        assert "'Data_folder' is empty" in said[3].text


def test_magics_and_shell_lines_work(tmp_path: Path) -> None:
    cell = '%%time\n#@title T\na = 1 #@param {type:"number"}\n!echo shell {a}'
    outcomes, _ = headless(tmp_path, {"a": 3}, cell)
    assert "shell 3" in outcomes[-1].text
    assert "Wall time" in outcomes[-1].text


BOTH = """\
#@title Both
n = 3 #@param {type:"integer"}
rate = 1e-4 #@param {type:"number"}
name = "a" #@param {type:"string"}
free = [n] #@param {type:"raw"}
import os.path as where
for i in range(n): pass
def double(x): return 2 * x
result = double(n) * rate
"""
ALL_NAMES = (
    "sorted((k, repr(v)) for k, v in globals().items() if k[0] != '_' and ' at 0x' not in repr(v)"
    " and k not in ('In', 'Out', 'dl4mic_forms'))"
)


def test_a_click_and_a_run_without_a_browser_leave_the_same_names(tmp_path: Path) -> None:
    values = {"n": 4, "rate": 2e-05, "name": "ü", "free": "[n, 5]"}
    file = tmp_path / "parameters.json"
    file.write_text(json.dumps(values), encoding="utf-8")
    environment = {"DL4MIC_HEADLESS": "1", "DL4MIC_PARAMETERS": str(file)}
    with open_notebook(tmp_path, colab_notebook(BOTH), **environment) as desk:
        desk.run_all()
        alone = desk.value(ALL_NAMES)
    with open_notebook(tmp_path, colab_notebook(BOTH)) as desk:
        desk.run_all()
        for name, value in values.items():
            desk.fill("both", name, value=value)
        desk.press("both")
        assert desk.value(ALL_NAMES) == alone
    assert ("result", repr(8 * 2e-05)) in alone


# ---- The runner --------------------------------------------------------------------------------------------------------

SECTIONS = (
    "# A title",
    "# **1. Load**",
    'import os, sys\nloaded = 1\nprint("loaded")\nos.system("echo by a program")',
    "# **2. Train**",
    '#@title Train\n#@markdown ### Path to training images\nTraining_source = "" #@param {type:"string"}\n'
    'epochs = 3 #@param {type:"integer"}\nprint("trained", epochs)',
    "# **3. Use**",
    '#@title Use\nx = 1 #@param {type:"raw"}\nprint("used", loaded)\nassert x != 13, "unlucky"',
)


def run(home: Path, *arguments: str, parameters: object = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dl4mic_forms", str(home / "notebook.ipynb"), *arguments]
    if parameters is not None:
        (home / "parameters.json").write_text(json.dumps(parameters), encoding="utf-8")
        command += ["--parameters", "parameters.json"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    environment["IPYTHONDIR"] = str(home / ".ipython")
    return subprocess.run(
        command, cwd=home, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    converted_in(tmp_path, colab_notebook(*SECTIONS))
    return tmp_path


def executed(home: Path) -> dict[str, str]:
    """What the executed notebook holds under each cell, by the cell's first words."""
    cells = json.loads((home / "results" / "notebook.executed.ipynb").read_text(encoding="utf-8"))["cells"]
    texts = {}
    for cell in cells:
        if cell["cell_type"] == "code" and cell["outputs"]:
            said = ["".join(each.get("text", each.get("ename", ""))) for each in cell["outputs"]]
            texts["".join(cell["source"]).split("\n")[0]] = "".join(said)
    return texts


def test_the_runner_runs_everything_and_keeps_the_executed_notebook(home: Path) -> None:
    done = run(home, parameters={"Training_source": "data", "epochs": 5})
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("----")] == [
        "---- cell 3", "---- cell 5 (section 1, form load)", "---- cell 7 (section 2, form train)",
        "---- cell 9 (section 3, form use)",
    ]  # fmt: skip
    assert lines.count("by a program") == 1
    assert "trained 5" in lines
    assert lines[-1].startswith("done: 4 cells in ")
    assert executed(home)["%%dl4mic_form train"].endswith("trained 5\n")
    assert list((home / "results" / "logs").glob("use_*.log"))


def test_the_runner_runs_chosen_sections_and_asks_for_nothing_of_the_others(home: Path) -> None:
    done = run(home, "--sections", "1,3", "--output", "elsewhere/out.ipynb")
    assert done.returncode == 0
    assert "used 1" in done.stdout
    assert "trained" not in done.stdout
    assert (home / "elsewhere" / "out.ipynb").is_file()


def test_a_failing_cell_fails_the_run_and_is_named(home: Path) -> None:
    done = run(home, parameters={"Training_source": "data", "x": 13})
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "cell 9 (section 3, form use): AssertionError: unlucky"
    assert executed(home)["%%dl4mic_form use"].endswith("used 1\nAssertionError")


@pytest.mark.parametrize(
    ("arguments", "parameters", "says"),
    [
        ((), {}, ["train: 'Training_source' is empty; it must be set"]),
        ((), {"Training_source": "", "epochs": 0.5, "X": 1}, [
            "'X' is set, which no form of this notebook has; perhaps you meant 'x'",
            "train: 'epochs' is a whole number, not 0.5",
        ]),
        (("--sections", "1,9,a"), {}, [
            "no cell is in section 9; sections with cells are: 1, 2, 3", "'a' is no section; write them like 1-3,5,6.1",
        ]),
    ],
)  # fmt: skip
def test_what_the_runner_refuses_it_refuses_whole(
    home: Path, arguments: tuple[str, ...], parameters: object, says: list[str]
) -> None:
    done = run(home, *arguments, parameters=parameters)
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["nothing was run:", *says]
    assert not (home / "results").exists()


def test_a_path_left_empty_on_purpose_is_taken_where_nothing_is_deleted(home: Path) -> None:
    assert run(home, parameters={"Training_source": ""}).returncode == 0


def test_what_was_done_before_the_time_limit_is_on_disk(tmp_path: Path) -> None:
    """Slurm ends a job by SIGTERM; here the cell sends it to the runner, which is the kernel's parent."""
    ends = f"import os, time\nprint('before')\nos.kill(os.getppid(), {int(signal.SIGTERM)})\ntime.sleep(60)"
    converted_in(tmp_path, colab_notebook("# T", 'a = 1 #@param {type:"raw"}\nprint("first")', "# U", ends))
    done = run(tmp_path)
    assert done.returncode == 128 + signal.SIGTERM
    assert executed(tmp_path)["%%dl4mic_form t"].endswith("first\n")


def test_a_kernel_that_dies_is_a_failure(tmp_path: Path) -> None:
    converted_in(tmp_path, colab_notebook("# T", 'a = 1 #@param {type:"raw"}\nimport os\nos._exit(9)'))
    done = run(tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "cell 4 (form t): the kernel died; it may have run out of memory"
