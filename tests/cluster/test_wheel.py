"""The program as it is installed: the built wheel in an environment of its own, away from the repository."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path, PurePosixPath

from support.cluster import Cluster


def test_the_installed_wheel_launches(
    cluster: Cluster, image: PurePosixPath, other_laptop: Cluster, installed_wheel: Path
):
    laptop = dataclasses.replace(other_laptop, program=(str(installed_wheel),))
    python = installed_wheel.parent / "python"
    where = subprocess.run(
        [python, "-c", "import dl4mic_hpc; print(dl4mic_hpc.__file__)"],
        check=True,
        capture_output=True,
        text=True,
        cwd=laptop.home,
    ).stdout
    assert str(Path(__file__).parents[2]) not in where
    facts = laptop.cli(
        "launch", "pixel_segmentation", "--cluster", "sandbox", "--until-ready", "--no-browser", "--json"
    ).json
    assert (facts["state"], facts["build_job_id"]) == ("ready", None)
    assert "has ended" in laptop.cli("stop", facts["session"]).out
    assert (laptop.home / f"results-{facts['session']}" / "Pixel_segmentation.ipynb").is_file()
