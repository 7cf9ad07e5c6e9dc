"""The demo's notebook from top to bottom, in the container of a job, by the kernel that its JupyterLab starts."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from support.cluster import Cluster
from support.jupyter import Jupyter

NOTEBOOK = "Pixel_segmentation.ipynb"


@pytest.fixture(scope="module")
def run(
    cluster: Cluster, image: PurePosixPath, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """What the notebook printed, and its results as `stop` brought them home."""
    out = tmp_path_factory.mktemp("notebook") / "results"
    with cluster.held("launch", "pixel_segmentation", "-o", str(out)) as (facts, _):
        connection = json.loads(cluster.inside("login", "cat", f"{facts['session_dir']}/connection.json"))
        jupyter = Jupyter(facts["local_port"], connection["token"])
        _, model = jupyter.request("GET", f"/api/contents/{NOTEBOOK}")
        with jupyter.kernel(NOTEBOOK) as kernel:
            kernel.run("import os; os.environ['DL4MIC_HEADLESS'] = '1'; os.environ['MPLBACKEND'] = 'Agg'")
            printed = [
                kernel.run(cell["source"])
                for cell in model["content"]["cells"]
                if cell["cell_type"] == "code"
            ]
    cluster.cli("stop", facts["session"])
    yield "\n".join(printed), out


def test_it_segments_well_and_better_than_a_threshold(run: tuple[str, Path]):
    with next(run[1].rglob("quality_control.csv")).open() as file:
        table = list(csv.DictReader(file))
    assert len(table) >= 4
    scores = {row["picture"]: row for row in table}
    whole = scores["all together"]
    assert float(whole["IoU"]) > 0.85
    assert float(whole["IoU"]) > float(whole["IoU of a plain threshold"])


def test_what_it_made_came_home(run: tuple[str, Path]):
    files = {str(path.relative_to(run[1])) for path in run[1].rglob("*") if path.is_file()}
    assert {NOTEBOOK, "provenance.json"} <= files
    assert any(name.endswith(".tif") for name in files)
    assert any(name.endswith((".png", ".pdf")) for name in files)
    assert json.loads((run[1] / "provenance.json").read_text())["gpus_simulated"] is True
