"""Images on a real cluster: listed, read through, removed and pruned, with real jobs that use them."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.cluster import Cluster
from support.shelf import KEY, put_image, put_session

WORK = "/scratch/ada/shelf"
GROUP = "/groups-of-shelf/lab"
OTHER = "fedcba9876543210"


@pytest.fixture
def laptop(cluster: Cluster, with_profile: Callable[..., Cluster]) -> Iterator[Cluster]:
    """A laptop whose work folder holds two images of its own, and whose group keeps one."""
    with tempfile.TemporaryDirectory() as folder:
        for name, key in (("care_2d", KEY), ("n2v", OTHER)):
            put_image(Path(folder, "own"), name, key)
        put_image(Path(folder, "group"), "unet", 16 * "0")
        copy(cluster, f"{folder}/own", f"{WORK}/images", owner="ada:")
        copy(cluster, f"{folder}/group", GROUP, owner="root:")
    yield with_profile(work_dir=WORK, image_folders=[GROUP])
    cluster.inside(
        "login", "sh", "-c", "scancel --user=ada --full; rm -rf /scratch/ada/shelf /groups-of-shelf"
    )


def copy(cluster: Cluster, source: str, target: str, *, owner: str) -> None:
    """A folder into the containers, with its times, as others would leave it there."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(source, arcname=".")
    script = 'mkdir -p "$1" && tar -xf - -C "$1" && chown -R "$2" "$1" && chmod -R go-w,a+rX "$1"'
    container = f"dl4mic-{cluster.instance}-login"
    subprocess.run(
        [cluster.engine, "exec", "-i", container, "sh", "-c", script, "sh", target, owner],
        input=data.getvalue(),
        check=True,
    )
    cluster.inside("login", "sh", "-c", f"chown ada: {WORK}")


def names(cluster: Cluster) -> list[str]:
    return cluster.inside("login", "ls", f"{WORK}/images").split()


def use(cluster: Cluster, *, options: str = "") -> str:
    """A job of a session that uses the image care_2d; its id."""
    with tempfile.TemporaryDirectory() as folder:
        put_session(Path(folder), "k7q2mx", f"{WORK}/images/care_2d-{KEY}.sif")
        copy(cluster, folder, WORK, owner="ada:")
    submit = f"cd {WORK}/sessions/k7q2mx && sbatch --parsable {options} --job-name=dl4mic-k7q2mx --wrap='sleep 600' | tee job.id"
    return cluster.inside("login", "sh", "-c", submit, user="ada").strip()


def test_listed_read_and_removed(cluster: Cluster, laptop: Cluster):
    listed = {image["name"]: image for image in laptop.cli("image", "list", "--json").json["images"]}
    assert {name: (image["own"], image["usable"]) for name, image in listed.items()} == {
        "care_2d": (True, True),
        "n2v": (True, True),
        "unet": (False, True),
    }
    table = laptop.cli("image", "list").out
    assert "docker.io/lab/care:1" in table and GROUP in table and "usable" in table
    assert "as it was made" in laptop.cli("image", "check", "--all").out

    # One flipped bit, with size and time as they were: only reading finds it.
    image = f"{WORK}/images/n2v-{OTHER}.sif"
    flip = f"touch -r {image} {WORK}/t; printf X | dd of={image} bs=1 seek=99 conv=notrunc; touch -r {WORK}/t {image}"
    cluster.inside("login", "sh", "-c", flip)
    assert all(one["usable"] for one in laptop.cli("image", "list", "--json").json["images"])
    wrong = laptop.cli("image", "check", "--all", "--json", code=7)
    assert [one["verdict"] for one in wrong.json["images"]] == ["ok", "wrong", "ok"]
    assert f"image remove {OTHER}" in wrong.err

    assert "--yes" in laptop.cli("image", "remove", "n2v", code=2).err
    assert image in laptop.cli("image", "remove", "n2v", "--yes", "--json").json["removed"][0]["file"]
    assert names(cluster) == [f"care_2d-{KEY}.json", f"care_2d-{KEY}.sif"]
    assert "others keep" in laptop.cli("image", "remove", "unet", "--yes", code=2).err


@pytest.mark.parametrize(("options", "state"), [("--mem=100M", "running"), ("--mem=100M --hold", "pending")])
def test_what_a_session_uses_stays(cluster: Cluster, laptop: Cluster, options: str, state: str):
    job = use(cluster, options=options)
    if state == "running":
        wait = f"until squeue --noheader --jobs={job} --format=%T | grep -q RUNNING; do sleep 0.1; done"
        cluster.inside("login", "timeout", "60", "sh", "-c", wait)
    [mine, *_] = laptop.cli("image", "list", "--json").json["images"]
    assert mine["sessions"] == [{"session": "k7q2mx", "state": state, "job_id": int(job)}]
    done = laptop.cli("image", "remove", "care_2d", "--yes", code=7)
    assert f"session k7q2mx ({state})" in done.err and "dl4mic-hpc stop" in done.err
    pruned = laptop.cli("image", "prune", "--older-than", "0d", "--yes", "--json").json
    assert [one["name"] for one in pruned["images"]] == ["n2v"]
    assert f"care_2d-{KEY}.sif" in names(cluster)
    cluster.inside("login", "scancel", job)
    cluster.wait_until_idle()
    laptop.cli("image", "remove", "care_2d", "--yes")
    assert names(cluster) == []


def test_pruning_says_first_what_it_does(cluster: Cluster, laptop: Cluster):
    dead = f"{WORK}/images/care_2d-{KEY}.sif.1000000.part"
    blob = f"{WORK}/cache/apptainer/cache/blob/blobs/sha256/aa"
    make = f"""
        printf 12345 > {dead}; touch -d '1 hour ago' {dead}
        mkdir -p {WORK}/builds/{KEY}-k7q2mx/ctx/sealed {WORK}/cache/apptainer/cache/blob/blobs/sha256 {WORK}/weights
        echo 1000000 > {WORK}/builds/{KEY}-k7q2mx/job.id; : > {WORK}/builds/{KEY}-k7q2mx/ctx/sealed/file
        chmod a-w {WORK}/builds/{KEY}-k7q2mx/ctx/sealed
        printf 1234567 > {blob}; printf w > {WORK}/weights/w; touch {WORK}/images/n2v-{OTHER}.used
        find {WORK}/builds {WORK}/weights {blob} -exec touch -d '90 days ago' {{}} +
    """
    cluster.inside("login", "sh", "-c", make, user="ada")
    before = cluster.inside("login", "find", WORK)

    planned = laptop.cli("image", "prune", "--dry-run", "--json").json
    assert planned["removed"] is False
    assert [one["name"] for one in planned["images"]] == ["care_2d"]
    assert {one["path"] for one in planned["leftovers"]} == {dead, f"{WORK}/builds/{KEY}-k7q2mx"}
    assert planned["cache"] == 7
    assert cluster.inside("login", "find", WORK) == before
    assert "--yes" in laptop.cli("image", "prune", code=2).err
    assert cluster.inside("login", "find", WORK) == before

    done = laptop.cli("image", "prune", "--yes", "--json").json
    assert json.dumps({**planned, "removed": True}) == json.dumps(done)
    left = cluster.inside("login", "find", WORK, "-type", "f").split()
    assert f"{WORK}/weights/w" in left and f"{WORK}/images/n2v-{OTHER}.sif" in left
    assert not [path for path in left if "1000000" in path or "builds" in path or path == blob]
    assert "Nothing to clear away" in laptop.cli("image", "prune", "--yes").out


def test_what_others_can_change_is_not_usable(cluster: Cluster, laptop: Cluster):
    cluster.inside("login", "chmod", "g+w", GROUP)
    wrong = laptop.cli("image", "check", "unet", code=7)
    assert f"others can write to {GROUP}" in wrong.out and "tell root" in wrong.err


def test_a_session_leaves_word_that_it_has_used_its_image(cluster: Cluster, laptop: Cluster):
    # No image that could run; that it is used is said before.
    image = f"{WORK}/images/care_2d-{KEY}.sif"
    cluster.inside("login", "cp", "-rp", f"{WORK}/images", f"{WORK}/elsewhere")
    for path in (image, image.replace("images", "elsewhere")):
        laptop.cli("launch", "pixel_segmentation", "--image", path, "--no-browser", "-g", "0", code=None)
    cluster.wait_until_idle()
    assert cluster.inside(
        "login", "sh", "-c", f"cd {WORK}; ls -d sessions/* | wc -l; ls */*.used"
    ).split() == [
        "2",
        image.removeprefix(f"{WORK}/").replace(".sif", ".used"),
    ]
    mine, other, _ = laptop.cli("image", "list", "--json").json["images"]
    assert mine["last_used"] > mine["built"] and other["last_used"] is None
    assert [one["name"] for one in laptop.cli("image", "prune", "--yes", "--json").json["images"]] == ["n2v"]
