"""The proof of the GPUs in a real job: simulated ones say so, and without that word the missing driver is reported."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from cluster.test_launch import read_token
from support import nvidia
from support.cluster import Cluster
from support.jupyter import Jupyter
from unit.notebook.test_notebook_gpu import torch

PROVEN = """until grep -q '"proving": false' "$1/gpu.json"; do sleep 0.2; done"""
NOTEBOOK = "Pixel_segmentation.ipynb"
MISSING = "the driver's library libcuda.so.1 is missing"
ON_THE_CPU = f"this session computes on the CPU: {MISSING}"


@pytest.fixture
def earnest(image: PurePosixPath, with_profile: Callable[..., Cluster]) -> Cluster:
    """A laptop whose profile does not know that the GPUs are simulated."""
    return with_profile(gpus="1")


@pytest.fixture
def launched(earnest: Cluster, tmp_path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    done = earnest.cli(
        "launch", "pixel_segmentation", "--until-ready", "--no-browser", "--json", "-o", str(tmp_path / "out")
    )
    yield done.json, done.err
    earnest.cli("stop", done.json["session"])


def row(laptop: Cluster, session: str) -> dict[str, Any]:
    return next(each for each in laptop.cli("ps", "--json").json["sessions"] if each["session"] == session)


def test_a_missing_driver_is_reported_everywhere(
    earnest: Cluster, launched: tuple[dict[str, Any], str], tmp_path: Path
) -> None:
    facts, told = launched
    assert f"warning: {ON_THE_CPU}" in told
    assert (facts["gpu"]["verdict"], facts["gpu"]["level"], facts["gpu"]["proving"]) == (
        "cpu",
        "driver",
        False,
    )
    assert facts["gpu"]["reason"].startswith(MISSING)
    assert row(earnest, facts["session"])["gpu"] == facts["gpu"]
    assert "1: CPU ONLY" in earnest.cli("ps").out
    with earnest.held("attach", facts["session"]) as (again, _):
        assert again["gpu"] == facts["gpu"]
        jupyter = Jupyter(again["local_port"], read_token(earnest, facts["session_dir"]))
        with jupyter.kernel(NOTEBOOK) as kernel:
            said = kernel.run("import dl4mic_forms; dl4mic_forms.check_gpu()")
    assert f"GPU: {ON_THE_CPU[0].upper()}{ON_THE_CPU[1:]}" in said
    earnest.cli("results", facts["session"], "-o", str(tmp_path / "early"))
    provenance = json.loads((tmp_path / "early" / "provenance.json").read_text())
    assert provenance["gpus_simulated"] is False
    assert provenance["gpu"]["reason"] == facts["gpu"]["reason"]


@pytest.mark.parametrize("how", [("--no-browser",), ("--headless",)])
def test_a_session_that_requires_a_gpu_is_ended_with_the_reason(
    earnest: Cluster, cluster: Cluster, how: tuple[str, ...], tmp_path: Path
) -> None:
    done = earnest.cli(
        "launch", "pixel_segmentation", "--require-gpu", "-o", str(tmp_path / "out"), *how, code=6
    )
    assert f"it would not have computed on its GPU: {MISSING}" in done.err
    assert "--require-gpu" in done.err
    cluster.wait_until_idle()


def test_simulated_gpus_say_so_everywhere(cluster: Cluster, image: PurePosixPath, tmp_path: Path) -> None:
    done = cluster.cli(
        "launch",
        "pixel_segmentation",
        "--until-ready",
        "--no-browser",
        "--json",
        "-g",
        "2",
        "-o",
        str(tmp_path / "out"),
    )
    facts = done.json
    try:
        assert (facts["gpu"]["verdict"], facts["gpu"]["reason"]) == ("simulated", "SIMULATED: not computed")
        assert row(cluster, facts["session"])["gpu"] == facts["gpu"]
        assert "2 SIMULATED" in cluster.cli("ps").out
        cluster.cli("results", facts["session"])
        provenance = json.loads((tmp_path / "out" / "provenance.json").read_text())
        assert provenance["gpu"]["reason"] == "SIMULATED: not computed"
        with cluster.held("attach", facts["session"]) as (again, _):
            jupyter = Jupyter(again["local_port"], read_token(cluster, facts["session_dir"]))
            with jupyter.kernel(NOTEBOOK) as kernel:
                said = kernel.run("import dl4mic_forms; dl4mic_forms.check_gpu()")
        assert "GPU: SIMULATED: not computed." in said
    finally:
        cluster.cli("stop", facts["session"])
    refused = cluster.cli("launch", "pixel_segmentation", "--require-gpu", "--no-browser", code=6)
    assert "are simulated" in refused.err


@pytest.fixture
def answering(cluster: Cluster, tmp_path: Path) -> Iterator[None]:
    """gpu01 has a driver's libraries, which Apptainer's --nv finds as it finds the real ones: by ldconfig."""
    nvidia.build(tmp_path)
    places = [f"/usr/local/lib/{name}" for name in nvidia.LIBRARIES]
    node = f"dl4mic-{cluster.instance}-gpu01"
    try:
        for name, place in zip(nvidia.LIBRARIES, places, strict=True):
            subprocess.run([cluster.engine, "cp", str(tmp_path / name), f"{node}:{place}"], check=True)
        cluster.inside("gpu01", "ldconfig")
        yield
    finally:
        cluster.inside("gpu01", "rm", "-f", *places)
        cluster.inside("gpu01", "ldconfig")


def test_a_driver_that_answers_is_enough_for_software_without_a_framework(
    earnest: Cluster, answering: None, tmp_path: Path
) -> None:
    launch = (
        "launch",
        "pixel_segmentation",
        "--partition",
        "a100",
        "--require-gpu",
        "--no-browser",
        "--json",
    )
    facts = earnest.cli(*launch, "--until-ready", "-o", str(tmp_path / "out")).json
    try:
        found = facts["gpu"]
        assert (found["verdict"], found["level"], found["gpus"]) == ("works", "driver", [nvidia.GPU])
        assert (
            found["reason"] == "neither TensorFlow nor PyTorch is in the image, so only the driver was asked"
        )
        assert "1: driver works" in earnest.cli("ps").out
    finally:
        earnest.cli("stop", facts["session"])
    more = earnest.cli(*launch, "--until-ready", "-g", "2", "-o", str(tmp_path / "more"), code=6)
    assert "the driver finds 1 of the 2 GPUs that were asked for" in more.err


@pytest.fixture
def with_torch(cluster: Cluster, image: PurePosixPath) -> Iterator[str]:
    """The demo's image with a PyTorch that multiplies matrices, and a record of it, in a folder of its own."""
    folder = "/scratch/ada/with-torch"
    definition = (
        f"Bootstrap: localimage\nFrom: {image}\n%post\n"
        'place=$("$(sed -n 1s/..//p "$(command -v jupyter-lab)")" -c \'import site; print(site.getsitepackages()[0])\')\n'
        f"cat > \"$place/torch.py\" <<'END'\n{torch()}END\n"
    )
    # The lowest level packs in an eighth of the time.
    packing = '--mksquashfs-args "-comp gzip -Xcompression-level 1"'
    script = f'mkdir -p "$1" && cd "$1" && printf "%s" "$2" > a.def && apptainer build --fakeroot {packing} a.sif a.def'
    try:
        cluster.inside("gpu01", "sh", "-c", script, "sh", folder, definition, user="ada")
        record = json.dumps({"version": 1, "sha256": "0123456789abcdef" * 4})
        cluster.inside(
            "login", "sh", "-c", 'printf "%s" "$1" > "$2/a.json"', "sh", record, folder, user="ada"
        )
        yield f"{folder}/a.sif"
    finally:
        cluster.inside("login", "rm", "-rf", folder, "/scratch/ada/dl4mic/gpu")


def test_a_framework_that_computes_is_proven_once(
    earnest: Cluster, cluster: Cluster, answering: None, with_torch: str, tmp_path: Path
) -> None:
    launch = (
        "launch",
        "pixel_segmentation",
        "--partition",
        "a100",
        "--image",
        with_torch,
        "--require-gpu",
        "--no-browser",
    )
    for remembered in (False, True):
        out = tmp_path / f"out-{remembered}"
        facts = earnest.cli(*launch, "--json", "--until-ready", "-o", str(out)).json
        cluster.inside("login", "timeout", "60", "sh", "-c", PROVEN, "sh", facts["session_dir"])
        found = row(earnest, facts["session"])["gpu"]
        assert (found["verdict"], found["level"], found["framework"]) == (
            "works",
            "framework",
            "PyTorch 2.1.0",
        )
        assert found["remembered"] is remembered
        assert "1: works" in earnest.cli("ps").out
        earnest.cli("stop", facts["session"])
        assert json.loads((out / "provenance.json").read_text())["gpu"]["framework"] == "PyTorch 2.1.0"
    listed = cluster.inside("login", "ls", "/scratch/ada/dl4mic/gpu").split()
    assert [name[:17] for name in listed] == ["0123456789abcdef-"]


def test_a_headless_run_says_it_beside_what_the_notebook_prints(earnest: Cluster, tmp_path: Path) -> None:
    done = earnest.cli(
        "launch", "pixel_segmentation", "--headless", "--sections", "1", "--json", "-o", str(tmp_path / "out")
    )
    assert done.json["state"] == "done"
    assert done.err.count(ON_THE_CPU) == 1
