"""Trains twice, compares, and tells it in a table."""

from __future__ import annotations

import csv
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from support.cluster import Cluster
from support.jupyter import Jupyter

from dl4mic_hpc import catalog, sandbox
from dl4mic_hpc.catalog import NotebookSpec, Pinned
from dl4mic_hpc.notebook.dl4mic_forms import parameters
from upstream.originals import taken
from upstream.training import data
from upstream.training.person import Person

HOME = Path(__file__).resolve().parents[3] / ".cache" / "test-cluster"
"""The home of the tests' own cluster; `make clean` ends it."""

OURS = Path(__file__).parent / "stardist_2d"
VALUES = OURS / "parameters.json"
NAME = "StarDist_2D_ZeroCostDL4Mic.ipynb"
REQUIREMENTS = "StarDist_2D_requirements_simple.txt"

SECTIONS = "1,3.2-3.4,4,5-5.2,6.1"
"""All but the download of an example, the export to the BioImage Model Zoo, and the prediction on big data."""

GOOD = 0.5
"""The least F1 score of a test picture that counts as learned; the first weights find no nucleus."""

TOO_LONG = 3600.0
"""Seconds for one of the two, the first build of the image included."""

MODEL = "nuclei"
WEIGHTS = f"{MODEL}/weights_best.h5"
LOSSES = f"{MODEL}/Quality Control/training_evaluation.csv"
SCORES = f"{MODEL}/Quality Control/Quality_Control for {MODEL}.csv"
PICTURES = [f"nuclei_{number:02d}.tif" for number in range(data.PARTS["test"])]
EQUAL = (
    *(f"{MODEL}/{name}" for name in ("config.json", "thresholds.json", "weights_last.h5")),
    WEIGHTS,
    LOSSES,
    SCORES,
    *(f"{MODEL}/Quality Control/Prediction/{name}" for name in PICTURES),
    *(f"prediction/{name}" for name in PICTURES),
    "prediction/Nuclei_count.csv",
)
"""What must be equal. Reports and archives hold the time of day, event logs the name of the node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """One training. seconds: from the command until the results were home. losses: training, validation; per epoch."""

    seconds: float
    losses: list[tuple[float, float]]
    scores: list[float]
    digests: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Both trainings. wrong: what is not as it must be, a sentence each."""

    spec: NotebookSpec
    by_hand: Trained
    headless: Trained
    wrong: tuple[str, ...]


def run(clones: Path, elsewhere: Path, home: Path = HOME) -> Outcome:
    """clones: holds the clone of ZeroCostDL4Mic. elsewhere: an empty folder. home: the cluster's, started if need be.

    MissingError where the clone has not what the catalogue pins; AssertionError with what the program or the notebook
    said where one of the two does not come to its end.
    """
    spec = catalog.load(OURS.name)
    for file, name in ((spec.notebook, NAME), (spec.requirements, REQUIREMENTS)):
        assert isinstance(file, Pinned)
        (elsewhere / name).write_bytes(taken(file, clones))
    data.write(elsewhere / "data")
    cluster = _cluster(home)
    by_hand = _timed(_train_by_hand, cluster, elsewhere, elsewhere / "by_hand")
    headless = _timed(_train_headless, cluster, elsewhere, elsewhere / "headless")
    differ = [name for name in EQUAL if by_hand.digests[name] != headless.digests[name]]
    wrong = [f"{name} is not the same by hand and headless" for name in differ]
    wrong += [
        f"the F1 score of a test picture is {score:.2f}, less than {GOOD}"
        for score in by_hand.scores
        if score < GOOD
    ]
    return Outcome(spec=spec, by_hand=by_hand, headless=headless, wrong=tuple(wrong))


def _cluster(home: Path) -> Cluster:
    with mock.patch.dict("os.environ", DL4MIC_HPC_HOME=str(home)):
        status = sandbox.up(say=lambda text: print(f"sandbox: {text}"))
    (home / "user").mkdir(exist_ok=True)
    assert status.engine is not None
    return Cluster(home=home, engine=status.engine, instance=status.instance)


def _launch(folder: Path, out: Path) -> tuple[str, ...]:
    return (
        *("launch", "-c", str(OURS / catalog.CONFIGURATION), "--cluster", "sandbox", "-g", "1"),
        *("-n", str(folder / NAME), "-r", str(folder / REQUIREMENTS)),
        *("-d", str(folder / "data"), "-o", str(out)),
    )


def _train_by_hand(cluster: Cluster, folder: Path, out: Path) -> None:
    """JupyterLab through the tunnel: cell after cell, the forms filled in, Run pressed; then `stop`."""
    values = json.loads(VALUES.read_text(encoding="utf-8"))
    with cluster.held(*_launch(folder, out)) as (facts, _):
        try:
            connection = json.loads(cluster.inside("login", "cat", f"{facts['session_dir']}/connection.json"))
            jupyter = Jupyter(facts["local_port"], connection["token"])
            _, model = jupyter.request("GET", f"/api/contents/{NAME}")
            cells = model["content"]["cells"]
            with Person(jupyter, NAME) as person:
                for cell in parameters.choose(parameters.read_cells(model["content"]), SECTIONS):
                    print(f"by hand: {cell}", flush=True)
                    person.work("".join(cells[cell.number - 1]["source"]), cell, values)
        finally:
            cluster.cli("stop", facts["session"])


def _train_headless(cluster: Cluster, folder: Path, out: Path) -> None:
    print("headless", flush=True)
    options = ("--headless", "--parameters", str(VALUES), "--sections", SECTIONS)
    cluster.cli(*_launch(folder, out), *options, timeout=TOO_LONG)


def _timed(
    train: Callable[[Cluster, Path, Path], None], cluster: Cluster, folder: Path, out: Path
) -> Trained:
    start = time.monotonic()
    train(cluster, folder, out)
    seconds = time.monotonic() - start
    missing = [name for name in EQUAL if not (out / name).is_file()]
    assert not missing, f"{train.__name__}: did not come home: {', '.join(missing)}"
    return Trained(
        seconds=seconds,
        losses=[(float(row["loss"]), float(row["val_loss"])) for row in _rows(out / LOSSES)],
        scores=[float(row["f1 score"]) for row in _rows(out / SCORES)],
        digests={name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in EQUAL},
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
