"""What JupyterLab said of itself, recorded from real ones, and what becomes of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dl4mic_hpc.notebook.dl4mic_forms import front_end

EXTENSION = front_end.EXTENSION


def info(lab: str, extension: str = "", *, disabled: bool = False) -> dict[str, Any]:
    found = {EXTENSION: {"version": extension}} if extension else {}
    return {
        "version": lab,
        "extensions": {},
        "federated_extensions": found,
        "disabled": {EXTENSION: True} if disabled else {},
    }


@pytest.mark.parametrize(
    ("told", "misfits", "says"),
    [
        (info("3.6.8", "5.0.15"), [], ["fits"]),
        (info("4.6.6", "3.1.11"), [], ["fits"]),
        (
            info("3.6.8", "5.0.16"),
            [("@jupyterlab/application", "~3.6.8", "^4.0.0"), ("@lumino/widgets", "^1.37.2", "^2.0.0")],
            ["unfit: ", "5.0.16", "3.6.8", "^4.0.0", "jupyterlab_widgets<3.0.17"],
        ),
        (
            info("4.6.6", "3.0.0"),
            [("@jupyterlab/application", "~4.6.6", "^3.0.0")],
            ["unfit: ", "4.6.6", "ipywidgets>=8.1"],
        ),
        (info("4.6.6"), None, ["unfit: ", "4.6.6", "no front end", "ipywidgets"]),
        (info("4.6.6", "5.0.16", disabled=True), [], ["unfit: ", "switched off"]),
    ],
)
def test_what_fits(told: dict[str, Any], misfits: Any, says: list[str]):
    verdict = front_end.judge(told, misfits)
    assert all(words in verdict for words in says)
    assert ("unfit" in verdict) == (says != ["fits"])


JUPYTERLAB = """
class AppOptions:
    def __init__(self, labextensions_path, logger):
        assert labextensions_path == ["/where/they/are"]

class _AppHandler:
    def __init__(self, options):
        self.info = {"version": "3.6.8", "federated_extensions": {EXTENSION: {"version": "5.0.16"}}}
    def _ensure_disabled_info(self):
        self.info["disabled"] = {}
    def _get_extension_compat(self):
        return {EXTENSION: [("@jupyterlab/application", "~3.6.8", "^4.0.0")]}
"""


def ask(tmp_path: Path, jupyterlab: str) -> str:
    """What the file says, run as the job runs it, beside a JupyterLab whose code is given."""
    for package, module, code in (
        ("jupyterlab", "commands", f"EXTENSION = {EXTENSION!r}\n{jupyterlab}"),
        ("jupyter_core", "paths", "def jupyter_path(kind):\n    return ['/where/they/are']\n"),
    ):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
        (tmp_path / package / f"{module}.py").write_text(code)
    subprocess.run(
        [sys.executable, str(front_end.__file__), str(tmp_path / "answer")],
        env={"PYTHONPATH": str(tmp_path)}, check=True,
    )  # fmt: skip
    assert not (tmp_path / "answer.new").exists()
    return (tmp_path / "answer").read_text()


def test_the_answer_is_one_line(tmp_path: Path):
    answer = ask(tmp_path, JUPYTERLAB)
    assert answer.startswith("unfit: ") and answer.count("\n") == 1


def test_a_jupyterlab_that_cannot_be_asked_is_not_held_against_the_image(tmp_path: Path):
    answer = ask(tmp_path, "raise ImportError('a line\\nand another')")
    assert answer == "unknown: ImportError: a line and another\n"
