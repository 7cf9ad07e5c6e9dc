"""`make gpu-proof` without a GPU: it says so, and its page stays as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from gpu_proof.__main__ import SECTION, Case, Ran, page_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "gpu-proof.md"
WORKS = {"verdict": "works", "level": "framework", "reason": "", "framework": "PyTorch 2.9.0"}
CASE = Case(what="both levels", verdict="works", level="framework", asked=1)


def test_without_a_gpu_it_fails_saying_so(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before")
    done = subprocess.run(
        [sys.executable, "-m", "gpu_proof", sys.executable, page, tmp_path],
        env=os.environ | {"PATH": str(tmp_path), "PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{ROOT}"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: there is no NVIDIA GPU on this machine")
    assert page.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["page.md"]


@pytest.mark.parametrize(
    ("found", "seconds", "problem"),
    [
        (WORKS, 0.4, ""),
        (
            WORKS | {"verdict": "cpu", "reason": "no CUDA"},
            0.4,
            "framework: cpu (no CUDA), not framework: works",
        ),
        (WORKS, 2.5, "the driver's verdict came after 2.5 s"),
    ],
)
def test_what_counts_as_proven(found: dict[str, str], seconds: float, problem: str) -> None:
    assert Ran(case=CASE, found=found, driver_seconds=seconds, seconds=9.0).problem == problem


def test_the_page_has_the_section_that_is_written_anew() -> None:
    page = PAGE.read_text(encoding="utf-8")
    new = page_of(page, "1 x NVIDIA A100", [Ran(case=CASE, found=WORKS, driver_seconds=0.4, seconds=9.0)])
    assert new.startswith(page[: page.index(SECTION)])
    assert new.endswith("| both levels | framework: works | 0.40 s | 9.0 s | PyTorch 2.9.0 |\n")
    assert "| Case |" in page or "Not proven on a real GPU." in page
