"""What .github/workflows/images.yml promises: who may write, when it publishes, and what its jobs know of each other.

Its commands are run by tests/cluster/test_images_workflow.py.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dl4mic_hpc.images import room
from dl4mic_hpc.images.matrix import Row

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / ".github" / "workflows" / "images.yml").read_text(encoding="utf-8")
JOBS: dict[str, Any] = yaml.safe_load(TEXT)["jobs"]


def commands(job: str) -> str:
    return "\n".join(step.get("run", "") for step in JOBS[job]["steps"])


def test_only_the_job_that_publishes_may_write_packages() -> None:
    assert yaml.safe_load(TEXT)["permissions"] == {"contents": "read"}
    given = {name: job.get("permissions") for name, job in JOBS.items()}
    assert given.pop("publish") == {"contents": "read", "packages": "write"}
    assert set(given.values()) == {None}
    assert "image build" not in commands("publish") and "image test" not in commands("publish")


def test_it_publishes_on_the_main_branch_only() -> None:
    condition = JOBS["publish"]["if"]
    assert (
        "github.ref == 'refs/heads/main'" in condition and "github.event_name != 'pull_request'" in condition
    )
    assert [job for job in JOBS if "image publish" in commands(job)] == ["publish"]
    (login,) = (
        step for job in JOBS.values() for step in job["steps"] if "login-action" in step.get("uses", "")
    )
    assert login in JOBS["publish"]["steps"]


def test_what_the_jobs_take_from_the_matrix_is_in_it() -> None:
    used = set(re.findall(r"matrix\.(\w+)", TEXT)) - {"outputs", "json", "txt"}
    assert used == {"notebook", "tag"}
    assert used <= {field.name for field in dataclasses.fields(Row)}


def test_the_disk_is_what_the_program_counts_with() -> None:
    assert f"inputs.disk || '{room.RUNNER:g}'" in TEXT


@pytest.mark.parametrize("job", JOBS)
def test_actions_are_pinned_and_jobs_end(job: str) -> None:
    assert JOBS[job]["timeout-minutes"] <= 180
    uses = [step["uses"] for step in JOBS[job]["steps"] if "uses" in step]
    assert uses and all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", one) for one in uses)


def test_the_page_has_the_figures_that_the_program_counts_with() -> None:
    page = (ROOT / "docs" / "how-to" / "publish-images.md").read_text(encoding="utf-8")
    cells = [
        [cell.strip() for cell in line.split("|")[1:3]] for line in page.splitlines() if line.startswith("|")
    ]
    figures = {first: [float(one) for one in re.findall(r"\d+(?:\.\d+)?", second)] for first, second in cells}
    assert figures["CUDA base image, compressed"] == [room.CUDA_BASE[0]]
    assert figures["CUDA base image, unpacked"] == [room.CUDA_BASE[1]]
    assert figures["Debian or Ubuntu, compressed and unpacked"] == list(room.PLAIN_BASE)
    added = next(
        value for name, value in figures.items() if name.startswith("What DL4MicEverywhere's recipe adds")
    )
    assert added == [room.CUDA_PACKAGES] and figures["The same without CUDA"] == [room.PLAIN_PACKAGES]
    assert figures["TensorFlow"] == [room.FRAMEWORKS["tensorflow"]]
    assert (
        figures["PyTorch, also for Cellpose"] == [room.FRAMEWORKS["torch"]] == [room.FRAMEWORKS["cellpose"]]
    )
    assert figures["All other requirements"] == [room.OTHERS]
    assert f"promises [{room.RUNNER:g} GB of disk]" in page
