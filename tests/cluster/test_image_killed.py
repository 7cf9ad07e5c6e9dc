"""Whoever makes an image is killed, at one point after the other: nothing half made is used, nothing stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.sandbox_registry import SandboxRegistry
from support.supply import WORK, Supply

NAME = "docker.io/lab/killed:1"
RECIPE = """\
FROM debian:trixie-slim AS environment
USER root
WORKDIR /home
RUN mkdir /opt/kept && touch /opt/kept/file && chown -R 33:33 /opt/kept && chmod 700 /opt/kept
"""
KILL = "kill -KILL 0"
"""The job and all that it has started, as Slurm kills what needs too much memory and a node that fails."""
WHEN_IT_IS_WRITTEN = '(until [ -s "$part" ]; do sleep 0.01; done; kill -KILL 0) &'


def dies(point: str, how: str = KILL) -> str:
    """For the profile's `pre_script`: the job ends itself at this step."""
    return f"step() {{ printf '== %s\\n' \"$1\"; case $1 in '{point}'*) {how}\n;; esac; }}\n"


def killed(supply: Supply, script: str, *argv: str) -> None:
    """Makes an image with this `pre_script`, by a job that comes to its end without a word."""
    supply.profile(pre_script=script).cli("image", *argv, "--detach")
    supply.cluster.wait_until_idle()
    last = f"builds/{supply.builds()[0]}"
    supply.on_login(f"test -s {last}/build.log && ! test -e {last}/exit.json")


@pytest.fixture
def name(registry: SandboxRegistry) -> str:
    registry.push("lab/killed", "1", first=b"one", second=b"two")
    return NAME


def test_the_launch_is_killed_when_it_has_the_lock(supply: Supply, name: str):
    """Before sbatch, and between sbatch and the lock's word of the job: as the folder is left then."""
    image = supply.laptop.cli("image", "pull", name, "--json").json["image"]
    lock = image.replace(".sif", ".lock")
    for begun in (f"mkdir {lock}", f"mkdir {lock}; echo {WORK}/builds/gone > {lock}/build_dir"):
        supply.on_login(f"rm -f images/*; {begun}; touch -d '4 minutes ago' {lock}")
        supply.laptop.cli("image", "pull", name)
        assert supply.image_and_record_alone()


def test_the_job_is_cancelled_before_it_starts(supply: Supply, name: str):
    supply.on_login("scontrol update PartitionName=a100 State=DOWN", user="root")
    try:
        waiting = supply.laptop.cli("image", "pull", name, "--detach", "--json").json["job_id"]
        again = supply.laptop.cli("image", "pull", name, "--detach", "--json").json
        assert (again["state"], again["job_id"]) == ("submitted", waiting)
        supply.on_login(f"scancel {waiting}")
    finally:
        supply.on_login("scontrol update PartitionName=a100 State=UP", user="root")
    assert supply.laptop.cli("image", "pull", name, "--json").json["job_id"] != waiting
    assert supply.image_and_record_alone()


@pytest.mark.parametrize(
    ("point", "record", "image"),
    [
        ("started", False, False),
        ("unpacking", False, False),
        ("fetching", False, False),
        ("checking", False, False),
        ("writing", False, False),
        ("taking its checksum", False, False),
        ("described", False, False),
        ("recorded", True, False),
        ("in place", True, True),
    ],
)
def test_the_job_is_killed(
    supply: Supply, registry: SandboxRegistry, name: str, point: str, record: bool, image: bool
):
    killed(supply, dies(point), "pull", name)
    ends = [left.rpartition(".")[2] for left in supply.names()]
    assert ("json" in ends, "sif" in ends, "lock" in ends) == (record, image, True)
    again = supply.profile(pre_script=None).cli("image", "pull", name, "--json").json
    assert again["state"] == ("there" if image else "made")
    if image:  # which nobody has to make again: what is left of the job goes when it is made anew
        assert supply.whole(again["image"])
        registry.push("lab/killed", "1", first=b"three")
        supply.laptop.cli("image", "pull", name, "--refresh")
    assert supply.image_and_record_alone()


def test_the_build_is_killed_while_it_writes(supply: Supply, recipe: Callable[..., Path]):
    configuration = str(recipe(RECIPE))
    killed(supply, dies("building", WHEN_IT_IS_WRITTEN), "build", "-c", configuration)
    assert [left.rpartition(".")[2] for left in supply.names()] == ["lock", "part"]
    assert supply.left_on_node() != ""
    supply.profile(pre_script=None).cli("image", "build", "-c", configuration)
    assert supply.image_and_record_alone()


def test_an_old_image_beside_the_record_of_a_new_one_is_not_used(
    supply: Supply, registry: SandboxRegistry, name: str
):
    """Killed while it replaces an image: what lies there is the old one, which its record no longer tells of."""
    supply.laptop.cli("image", "pull", name)
    registry.push("lab/killed", "1", first=b"three", second=b"four" * 10_000)
    killed(supply, dies("recorded"), "pull", name, "--refresh")
    again = supply.profile(pre_script=None).cli("image", "pull", name)
    assert "passed over" in again.err
    assert supply.image_and_record_alone()


def test_a_build_that_is_cancelled_leaves_nothing(supply: Supply, recipe: Callable[..., Path]):
    configuration = str(recipe(f"{RECIPE}RUN echo so far && sleep 600\n"))
    job = supply.laptop.cli("image", "build", "-c", configuration, "--detach", "--json").json
    running = "until grep -q 'so far' builds/*-*/build.log; do sleep 0.1; done"
    supply.on_login(f'timeout 60 sh -c "{running}"; scancel {job["job_id"]}')
    supply.cluster.wait_until_idle()
    assert supply.names() == [] and supply.left_on_node() == ""
