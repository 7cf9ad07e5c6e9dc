"""A launch that would bring pretrained weights, shown and not done."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dl4mic_hpc import resources
from dl4mic_hpc.sources import downloads


def test_a_dry_run_shows_the_weights_and_fetches_none(
    run_cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "download", lambda *_, **__: pytest.fail("fetched"))
    source = resources.data("configs", "notebooks", "pixel_segmentation")
    for entry in source.iterdir():
        shutil.copyfile(str(entry), tmp_path / entry.name)
    with (tmp_path / "configuration.yaml").open("a") as file:
        file.write(
            "    weights: [{url: 'https://weights.invalid/a', root: torch, path: hub/checkpoints/a.pth}]\n"
        )
    run_cli("cluster", "add", "myuni", "--host", "login.invalid", "--work-dir", "/scratch/ada/dl4mic")
    words = ("launch", "-c", str(tmp_path / "configuration.yaml"), "--image", "/group/x.sif", "--dry-run")
    answer = run_cli(*words, "--json")
    assert answer.code == 0, answer.err
    script = json.loads(answer.out)["job_script"]
    assert "weights=/scratch/ada/dl4mic/weights" in script
    assert "/a.pth torch/hub/checkpoints/a.pth https://weights.invalid/a" in script
    shown = run_cli(*words).out
    assert "Pretrained weights (fetched if they are not there yet)" in shown
