"""Pretrained weights in the session's batch script, run on this machine with a stand-in for Apptainer."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from dl4mic_hpc.catalog.weights import Weights
from dl4mic_hpc.slurm import render
from dl4mic_hpc.slurm.job import GpuRequest, HeadlessJob, JobSpec, Resources
from dl4mic_hpc.slurm.weights import WeightsBind

pytestmark = pytest.mark.posix

# Runs the start script of the container as far as its working folder, with its paths as they are on this machine.
APPTAINER = """\
#!/bin/bash
[ "$1" = exec ] || exit 0
printf '%s\\n' "$@" > {folder}/words
while [ "$1" != --workdir ]; do shift; done
private=$2/tmp/.dl4mic
sed -e '/^cd /,$d' -e "s|/tmp/.dl4mic|$private|; s|/home|{folder}/home|g" "$private/entry.sh" > "$private/start.sh"
nonce=$(cat {folder}/home/.dl4mic-nonce)
(cd / && env -i PATH="$PATH" bash -c '. "$0"; env' "$private/start.sh" "$nonce" > {folder}/environment)
cp "$private/weights.tsv" {folder}/list
(cd "$private/libraries" && find . -type l -printf '%P %l\\n') | sort > {folder}/links
[ ! -L {folder}/home/.keras ] || readlink {folder}/home/.keras > {folder}/keras
"""


def weights(root: str, path: str) -> Weights:
    return Weights(url=f"https://a.org/{path}?a=1&b='2'", sha256="", root=root, path=path)


TORCH, KERAS = weights("torch", "hub/checkpoints/a.pth"), weights("keras", "models/b.h5")
OWN, GONE = weights("notebook", "c.zip"), weights("torch", "gone.pth")


@pytest.mark.parametrize("headless", [None, HeadlessJob(notebook_file="n.ipynb")])
def test_libraries_find_links_to_what_is_there(tmp_path: Path, headless: HeadlessJob | None) -> None:
    folder = tmp_path / "my weights"
    for one in (TORCH, KERAS, OWN):
        (folder / one.stored).parent.mkdir(parents=True)
        (folder / one.stored).write_text(one.name)
    (tmp_path / "image.sif").touch()
    program = tmp_path / "apptainer"
    program.write_text(APPTAINER.replace("{folder}", str(tmp_path)))
    program.chmod(0o755)
    spec = JobSpec(
        session_id="bcdfgh",
        submit_token="0123",
        session_dir=PurePosixPath(tmp_path),
        image=PurePosixPath(tmp_path / "image.sif"),
        apptainer=str(program),
        resources=Resources(time="60", mem="4G", cpus=2, gpus=GpuRequest(count=0)),
        headless=headless,
        weights=WeightsBind(folder=PurePosixPath(folder), files=(TORCH, KERAS, OWN, GONE)),
    )
    done = subprocess.run(
        ["bash", "-s"],
        input=render.render_job(spec), capture_output=True, text=True, timeout=60,
        env={**os.environ, "SLURM_JOB_ID": "7", "SLURMD_NODENAME": "gpu01", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "gone.pth are no longer in" in done.stderr

    words = (tmp_path / "words").read_text().splitlines()
    assert words[words.index("--bind") + 1] == f"{folder}:/tmp/.dl4mic/weights:ro"
    private = words[words.index("--workdir") + 1] + "/tmp/.dl4mic"
    lines = (tmp_path / "environment").read_text().splitlines()
    environment = dict(line.split("=", 1) for line in lines if "=" in line)
    assert {name: environment.get(name) for name in ("TORCH_HOME", "KERAS_HOME", "FVCORE_CACHE")} == {
        "TORCH_HOME": f"{private}/libraries/torch",
        "KERAS_HOME": f"{private}/libraries/keras",
        "FVCORE_CACHE": None,
    }
    assert environment["DL4MIC_WEIGHTS"] == f"{private}/weights.tsv"
    assert (tmp_path / "links").read_text().splitlines() == [
        f"keras/models/b.h5 /tmp/.dl4mic/weights/{KERAS.stored}",
        f"torch/hub/checkpoints/a.pth /tmp/.dl4mic/weights/{TORCH.stored}",
    ]
    assert (tmp_path / "list").read_text().splitlines() == [
        f"{one.url}\t/tmp/.dl4mic/weights/{one.stored}" for one in (TORCH, KERAS, OWN)
    ]
    # TensorFlow's Keras looks in the home folder; the link there does not outlive the job.
    assert (tmp_path / "keras").read_text() == f"{private}/libraries/keras\n"
    assert not (tmp_path / "home" / ".keras").is_symlink()


def test_without_weights_nothing_is_said_of_them() -> None:
    spec = JobSpec(
        session_id="bcdfgh",
        submit_token="0123",
        session_dir=PurePosixPath("/s"),
        image=PurePosixPath("/i"),
        apptainer="apptainer",
        resources=Resources(time="60", mem="4G", cpus=2, gpus=GpuRequest(count=0)),
    )
    script = render.render_job(spec)
    assert "weights" not in script.lower() and "keras" not in script.lower()
