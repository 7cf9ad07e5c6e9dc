"""What an image is tried for, what its answers mean, and what the program inside it reports."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dl4mic_hpc import notebook
from dl4mic_hpc.images import trial
from dl4mic_hpc.images.trial import Finding, Trial
from dl4mic_hpc.notebook import Converted, imports
from dl4mic_hpc.notebook.dl4mic_forms import image_check

GOOD: dict[str, Any] = {
    "python": "3.10.12",
    "key": "0123456789abcdef",
    "jupyterlab": "4.1.0",
    "lab": "",
    "kernel": "",
    "front_end": "fits",
    "imports": {"numpy": {}, "os": {}},
    "packages": {"NumPy": "1.26.4", "tensorflow": "2.12.0"},
}
REQUIREMENTS = "numpy==1.26.4 \\\n    --hash=sha256:00\ntensorflow>=2.12  # TF\n-r others.txt\nold; python_version < '3.8'\n"


def converted(*cells: str) -> Converted:
    code = [{"cell_type": "code", "source": text, "metadata": {}, "outputs": []} for text in cells]
    return notebook.convert(
        json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": code}).encode(),
        name="a.ipynb",
    )


def judged(found: Mapping[str, Any], *cells: str, requirements: str = REQUIREMENTS) -> dict[str, Finding]:
    findings = trial.judge(
        {**GOOD, **found}, converted(*(cells or ("x = 1 #@param",))), requirements=requirements
    )
    return {one.what: one for one in findings}


def failing(text: str, error: str = "ImportError") -> dict[str, Any]:
    return {"imports": {"tensorflow": {"statement": "import tensorflow", "error": error, "text": text}}}


def test_an_image_that_has_everything_fits() -> None:
    found = judged({})
    assert {one.verdict for one in found.values()} == {"ok"}
    assert set(found) == {"JupyterLab", "kernel", "forms", "imports", "requirements"}
    assert found["imports"].detail == "numpy, os"
    assert found["requirements"].detail.startswith("2 ")


def test_forms_are_asked_for_only_by_a_notebook_that_has_some() -> None:
    assert "forms" not in judged({"front_end": "unfit: nothing"}, "x = 1")


@pytest.mark.parametrize(
    ("found", "what", "verdict", "words"),
    [
        ({"lab": "it ended with 1: boom"}, "JupyterLab", "unfit", "boom"),
        ({"kernel": "KeyError: 'x'"}, "kernel", "unfit", "KeyError"),
        ({"front_end": "unfit: its JupyterLab 4.6.6 has none"}, "forms", "unfit", "has none"),
        ({"front_end": "unknown: AttributeError: x"}, "forms", "unknown", "AttributeError"),
        (failing("no module named 'csbdeep'"), "import tensorflow", "unfit", "csbdeep"),
        (failing("libcuda.so.1: cannot open shared object file"), "import tensorflow", "gpu", "libcuda"),
        (
            failing("Found no NVIDIA driver on your system", "RuntimeError"),
            "import tensorflow",
            "gpu",
            "driver",
        ),
        (
            failing("libcudart.so.11.0: cannot open shared object file"),
            "import tensorflow",
            "unfit",
            "libcudart",
        ),
        (
            {"packages": {"numpy": "1.25.0", "tensorflow": "2.12.0"}},
            "requirement numpy",
            "unfit",
            "has 1.25.0",
        ),
        ({"packages": {"numpy": "1.26.4"}}, "requirement tensorflow", "unfit", "has none"),
    ],
)
def test_what_is_amiss_is_said(found: dict[str, Any], what: str, verdict: str, words: str) -> None:
    finding = judged(found)[what]
    assert finding.verdict == verdict
    assert words in finding.detail


@pytest.mark.parametrize(("cell", "verdict"), [("!git clone https://e.x/a", "unknown"), ("1", "unfit")])
def test_a_module_that_the_notebook_clones_cannot_be_told_of(cell: str, verdict: str) -> None:
    found = judged(failing("No module named 'nets'", "ModuleNotFoundError"), cell)
    assert found["import tensorflow"].verdict == verdict


def test_a_trial_fits_unless_something_is_unfit() -> None:
    made = {
        "notebook": "a", "title": "A", "image": "a.sif", "size": 1, "sha256": "0", "key": "1", "tested": "now",
        "program": "p", "apptainer": "v", "python": "3", "jupyterlab": "4", "packages": {"numpy": "1"},
    }  # fmt: skip
    for verdict, fits in (("ok", True), ("gpu", True), ("unknown", True), ("unfit", False)):
        findings = (Finding(what="x", verdict=verdict, detail=""),)  # type: ignore[arg-type]
        told = Trial(**made, findings=findings).as_json()  # type: ignore[arg-type]
        assert told["version"] == 1 and told["fits"] is fits
        assert told["findings"] == [{"what": "x", "verdict": verdict, "detail": ""}]


# ---- What a notebook imports -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("import numpy as np, os.path", {"numpy": ("import numpy as np",), "os": ("import os.path",)}),
        ("#@title A\nx = 1 #@param\nif x:\n  from skimage import io", {"skimage": ("from skimage import io",)}),
        ("%matplotlib inline\n!pip list\nimport numpy", {"numpy": ("import numpy",)}),
        ("for a in b:\n  !ls\nimport numpy", {"numpy": ("import numpy",)}),
        ("a = !ls\nthis is no python\nimport numpy", {"numpy": ("import numpy",)}),
        ("try:\n  import cupy\nexcept ImportError:\n  import numpy\nelse:\n  import torch", {"torch": ("import torch",)}),
        ("try:\n  import torch\nfinally:\n  import numpy", {"torch": ("import torch",), "numpy": ("import numpy",)}),
        ("def f():\n  import torch\n  return torch", {"torch": ("import torch",)}),
        ("from google.colab import files\nfrom . import x\nfrom .y import z\nfrom __future__ import annotations", {}),
        ("%%bash\nimport numpy", {}),
    ],
)  # fmt: skip
def test_the_imports_of_a_cell(cell: str, found: dict[str, tuple[str, ...]]) -> None:
    assert imports.of(converted(cell).notebook) == found


def test_the_request_holds_imports_and_the_first_cell() -> None:
    asked = trial.request(converted("import numpy\nx = 1 #@param"))
    assert asked["imports"] == {"numpy": ("import numpy",)}
    assert "dl4mic_forms.start" in asked["start"]


# ---- Inside the image ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statements", "error", "text"),
    [
        (["import json", "from json import loads"], "", ""),
        (["import json", "from json import load, nothing_such"], "ImportError", "nothing_such"),
        (["import no_such_module"], "ModuleNotFoundError", "no_such_module"),
        (["import sys; sys.exit(3)"], "SystemExit", "3"),
        (["import os; os._exit(7)"], "ended with 7", ""),
        (["import os; print('a line'); os.kill(os.getpid(), 9)"], "ended with -9", ""),
    ],
)
@pytest.mark.posix
def test_statements_are_tried_in_a_process_of_their_own(statements: list[str], error: str, text: str) -> None:
    said = image_check.imported(statements)
    assert said.get("error", "") == error
    assert text in said.get("text", "")
    assert not said or said["statement"] in statements


def test_the_packages_are_those_of_this_python() -> None:
    assert image_check.packages()["pytest"] == pytest.__version__


def test_an_import_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_check, "IMPORT", 0.2)
    assert image_check.imported(["import threading; threading.Event().wait()"])["error"] == "Timeout"


@pytest.mark.posix
def test_the_kernel_runs_the_first_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_PATH", str(Path(sys.prefix, "share", "jupyter")))
    assert image_check.kernel("a = 1") == ""
    assert image_check.kernel("1 / 0") == "ZeroDivisionError: division by zero"


SERVER = """\
import http.server, json, os
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.headers["Authorization"].startswith("token ")
        self.send_response(200 if known else 403)
        self.end_headers()
        self.wfile.write(PAGES.get(self.path, "").encode())
server = http.server.HTTPServer(("127.0.0.1", 0), Page)
os.makedirs(os.environ["JUPYTER_RUNTIME_DIR"])
with open(os.environ["JUPYTER_RUNTIME_DIR"] + "/nbserver-1.json", "w") as file:
    json.dump({"port": server.server_address[1]}, file)
server.serve_forever()
"""
PAGES = {"/api/kernelspecs": "python3", "/lab": "jupyter-config-data"}


@pytest.mark.posix
@pytest.mark.parametrize(
    ("program", "problem"),
    [
        (f"PAGES = {PAGES}\n{SERVER}", ""),
        (
            f"PAGES = { ({**PAGES, '/lab': 'nothing'}) }\n{SERVER}",
            "/lab is served without jupyter-config-data",
        ),
        (
            f"PAGES = { ({**PAGES, '/api/kernelspecs': ''}) }\n{SERVER}",
            "/api/kernelspecs is served without python3",
        ),
        ("import sys; sys.exit('boom')", "it ended with 1: boom"),
    ],
    ids=["good", "no page", "no kernel", "ended"],
)
def test_jupyterlab_is_started_and_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, problem: str
) -> None:
    package = tmp_path / "jupyterlab"
    package.mkdir()
    (package / "__init__.py").write_text("__version__ = '4.9'")
    (package / "__main__.py").write_text(program)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    version, wrong = image_check.lab()
    del sys.modules["jupyterlab"]
    assert version == "4.9"
    assert wrong.startswith(problem) and bool(wrong) == bool(problem)


def test_an_image_without_jupyterlab_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jupyterlab", None)
    version, wrong = image_check.lab()
    assert version == "" and "jupyterlab" in wrong
