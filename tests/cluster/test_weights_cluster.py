"""Pretrained weights in real sessions: fetched once on the login node, found inside the container."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.cluster import Cluster

PLACE = "/scratch/ada/weights-test"
PORT, NOBODY = 8123, 9
BODIES = {name: f"weights of {name} ".encode() * 5000 for name in ("torch", "keras", "cellpose", "notebook")}
WANTED = {
    "torch": "hub/checkpoints/m.pth",
    "keras": "models/m.h5",
    "cellpose": "m_0",
    "notebook": "m.zip",
}

# Plays a JupyterLab in which a library looks for its weights, locks and adds files, and ends.
LAB = """\
#!/bin/sh
cd /home/results || exit 1
cat "$TORCH_HOME/hub/checkpoints/m.pth" > torch
cat "$KERAS_HOME/models/m.h5" | cmp - "$HOME/.keras/models/m.h5" && cat "$KERAS_HOME/models/m.h5" > keras
cat "$CELLPOSE_LOCAL_MODELS_PATH/m_0" > cellpose
cat "$(sed -n 's/^.*notebook\t//p' "$DL4MIC_WEIGHTS")" > notebook
touch "$TORCH_HOME/hub/checkpoints/m.pth.lock" "$TORCH_HOME/other" "$HOME/.keras/keras.json" && echo yes > added
for file in $(cut -f 2 "$DL4MIC_WEIGHTS"); do touch "$file" "${file%/*}/more" 2> /dev/null && echo "$file" >> overwritten; done
echo "${FVCORE_CACHE-unset}" > fvcore
"""
DEFINITION = f"""\
Bootstrap: docker
From: registry:5000/library/debian:trixie-slim

%post
cat > /usr/local/bin/jupyter-lab <<'END'
{LAB}END
chmod 755 /usr/local/bin/jupyter-lab
"""


@pytest.fixture(scope="module")
def sif(cluster: Cluster) -> Iterator[str]:
    make = (
        'mkdir -p "$1" && cd "$1" && printf %s "$2" > lab.def && '
        "apptainer build --force --fakeroot --no-https lab.sif lab.def"
    )
    cluster.inside("login", "bash", "-lc", make, "make", PLACE, DEFINITION, user="ada")
    yield f"{PLACE}/lab.sif"
    cluster.inside("login", "rm", "-rf", PLACE)


@pytest.fixture(scope="module")
def served(cluster: Cluster) -> Iterator[str]:
    """The log of a web server on the login node."""
    folder = "/tmp/weights-served"
    for name, body in BODIES.items():
        write = f'mkdir -p {folder} && printf %s "$1" > {folder}/{name}'
        cluster.inside("login", "sh", "-c", write, "write", body.decode())
    start = (
        f"cd {folder} && {{ python3 -m http.server --bind 127.0.0.1 {PORT} > /dev/null 2> {folder}.log & }} && "
        f"echo $! > {folder}.pid && curl -s --retry 30 --retry-connrefused --retry-delay 1 127.0.0.1:{PORT} > /dev/null"
    )
    cluster.inside("login", "sh", "-c", start)
    yield f"{folder}.log"
    cluster.inside("login", "sh", "-c", f"kill $(cat {folder}.pid); rm -rf {folder}*")


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """Four files that are there, one that is another one than was pinned, one from where nobody answers."""
    server = f"http://127.0.0.1:{PORT}"
    entries = [
        {
            "url": f"{server}/{root}",
            "sha256": hashlib.sha256(BODIES[root]).hexdigest(),
            "root": root,
            "path": path,
        }
        for root, path in WANTED.items()
    ]
    entries += [
        {"url": f"{server}/torch?other", "sha256": "0" * 64, "root": "torch", "path": "other.pth"},
        {"url": f"http://127.0.0.1:{NOBODY}/x", "sha256": "0" * 64, "root": "fvcore", "path": "gone.pkl"},
    ]  # fmt: skip
    keys = {"notebook_url": "Tiny.ipynb", "requirements_url": "requirements.txt", "description": "Weights"}
    text = yaml.safe_dump({"config": {"dl4miceverywhere": keys, "dl4mic_hpc": {"weights": entries}}})
    (tmp_path / "configuration.yaml").write_text(text)
    (tmp_path / "requirements.txt").write_text("")
    (tmp_path / "Dockerfile").write_text("FROM debian:trixie-slim AS environment\n")
    cell = {
        "cell_type": "code",
        "id": "a",
        "source": "1",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
    }
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "Tiny.ipynb").write_text(json.dumps(notebook))
    return tmp_path / "configuration.yaml"


def test_weights_are_fetched_once_and_found_in_the_container(
    cluster: Cluster, sif: str, served: str, configuration: Path
):
    cluster.inside("login", "rm", "-rf", "/scratch/ada/dl4mic/weights")
    for _ in range(2):
        done = cluster.cli(
            "launch", "-c", str(configuration), "--image", sif, "-g", "0", "--detach", "--json"
        )
        # What is missing or wrong is said, and the session runs.
        assert (
            f"other.pth are not brought along (has the SHA-256 {hashlib.sha256(BODIES['torch']).hexdigest()}"
            in done.err
        )
        assert "gone.pkl are not brought along" in done.err
        cluster.wait_until_idle()
        home = f"{done.json['session_dir']}/home"

        def result(name: str, home: str = home) -> str:
            return cluster.inside(
                "login", "sh", "-c", f"cat {home}/results/{name} 2> /dev/null || true", user="ada"
            )

        assert {name: result(name).encode() for name in BODIES} == BODIES
        assert result("added") == "yes\n"
        told = json.loads(result("provenance.json"))["weights"]
        assert [one["name"] for one in told] == [Path(path).name for path in WANTED.values()]
        assert result("overwritten") == ""
        assert result("fvcore") == "unset\n"  # a library without files keeps its own folder
        # No link is left in the session's folder, and nothing on the node.
        assert ".keras" not in cluster.inside("login", "ls", "-A", home).split()
        for node in ("gpu01", "gpu02"):
            assert cluster.inside(node, "sh", "-c", "ls -d /tmp/dl4mic.* 2> /dev/null || true") == ""
    log = cluster.inside("login", "cat", served)
    assert {name: log.count(f"GET /{name} ") for name in BODIES} == dict.fromkeys(BODIES, 1)
    kept = cluster.inside("login", "sh", "-c", "cd /scratch/ada/dl4mic/weights && ls *").split()
    assert sorted(name for name in kept if not name.endswith(":")) == sorted(
        [*(Path(path).name for path in WANTED.values()), *["weights.json"] * len(WANTED)]
    )
