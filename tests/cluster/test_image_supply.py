"""Images of real registries and recipes: which one a launch takes, where from, and what it says when it cannot."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.cluster import Cluster
from support.sandbox_registry import SandboxRegistry
from support.supply import TINY, WORK, Supply

NAME = "docker.io/lab/supply:1"
OURS = "henriqueslab/dl4miceverywhere"
SLEEPS = f"""{TINY}\
RUN printf '#!/bin/sh\\nexec sleep 600\\n' > /usr/local/bin/jupyter-lab && chmod 755 /usr/local/bin/jupyter-lab && sleep 5
"""
"""What takes the place of JupyterLab: a session lasts, and nothing is installed."""
HELD = ["--hold"]
"""Of the profile's `sbatch_extra`: sessions wait, and their images are in use."""


@pytest.fixture
def name(registry: SandboxRegistry) -> str:
    registry.push("lab/supply", "1", first=b"one", second=b"two")
    return NAME


# ---- Which image -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_a_published_image_is_pulled(
    supply: Supply, registry: SandboxRegistry, recipe: Callable[..., Path], by: str
):
    digest = registry.push("lab/layers", "1", on_base=True, first=b"one", second=b"two" * 100_000)
    name = "docker.io/lab/layers:1" if by == "tag" else f"docker.io/lab/layers@{digest}"
    image = supply.laptop.cli("image", "pull", name, "--json").json["image"]
    assert supply.record(image)["source"] == {"kind": "registry", "reference": name, "digest": digest}
    said = supply.on_login(f"apptainer exec {image} sh -c 'cat /opt/first; wc -c < /opt/second'")
    assert said.split() == ["one300000"]
    # It has no JupyterLab. What counts: the session took the image that was there, and none was made for it.
    facts = supply.laptop.cli(
        "launch", "-c", str(recipe(TINY)), "-t", name, "-g", "0", "--detach", "--json"
    ).json
    assert facts["build_job_id"] is None
    supply.cluster.wait_until_idle()
    provenance = json.loads(supply.on_login(f"cat {facts['session_dir']}/provenance.json"))
    assert provenance["image"]["digest"] == digest
    assert "no JupyterLab" in supply.on_login(f"cat {facts['session_dir']}/exit.json")
    assert supply.image_and_record_alone()


@pytest.mark.parametrize(
    ("way", "published", "how", "reason"),
    [
        ("auto", True, f"docker://registry:5000/{OURS}", "is pulled: docker.io/henriqueslab"),
        ("auto", False, "image.def", "is built from its recipe: "),
        ("pull", True, f"docker://registry:5000/{OURS}", "is published"),
        ("build", True, "image.def", "is built from its recipe: that was asked for"),
    ],
)
def test_how_an_image_is_come_by(
    supply: Supply,
    registry: SandboxRegistry,
    recipe: Callable[..., Path],
    way: str,
    published: bool,
    how: str,
    reason: str,
):
    tag = "supply-z1" if published else "nowhere-z1"
    registry.push(OURS, "supply-z1", first=b"one")
    configuration = str(recipe(TINY, docker_hub_image=tag))
    held = supply.profile(sbatch_extra=HELD)
    done = held.cli("launch", "-c", configuration, "--image", way, "--detach", "--json")
    assert reason in done.err
    assert published or f"{OURS}:{tag}" in done.err
    assert done.json["build_job_id"] is not None
    assert f'"$part" {how}' in supply.on_login("cat builds/*/build.sh").replace("'", "")


def test_what_is_not_published_cannot_be_pulled(supply: Supply, recipe: Callable[..., Path]):
    configuration, before = str(recipe(TINY, docker_hub_image="nowhere-z1")), supply.builds()
    done = supply.laptop.cli("launch", "-c", configuration, "--image", "pull", "--detach", code=7)
    assert "nowhere-z1" in done.err and "hint: " in done.err
    assert supply.builds() == before


def test_a_tag_that_moves(supply: Supply, registry: SandboxRegistry, recipe: Callable[..., Path], name: str):
    image = supply.laptop.cli("image", "pull", name, "--json").json["image"]
    first = supply.record(image)["source"]["digest"]
    unmoved = supply.laptop.cli("image", "pull", name, "--refresh", "--json")
    assert (unmoved.json["state"], unmoved.json["job_id"]) == ("there", None)
    assert f"still stands for {first}" in unmoved.err

    second = registry.push("lab/supply", "1", first=b"three")
    assert supply.laptop.cli("image", "pull", name, "--json").json["state"] == "there"
    assert supply.record(image)["source"]["digest"] == first
    held = supply.profile(sbatch_extra=HELD)
    session = held.cli(
        "launch", "-c", str(recipe(TINY)), "-t", name, "--detach", "--json"
    ).json  # which waits, with the old image
    used = held.cli("image", "pull", name, "--refresh", code=2)
    assert f"in use by session {session['session']}" in used.err
    assert supply.record(image)["source"]["digest"] == first
    held.cli("stop", session["session"])
    assert held.cli("image", "pull", name, "--refresh", "--json").json["state"] == "made"
    assert supply.record(image)["source"]["digest"] == second
    assert supply.image_and_record_alone()


@contextlib.contextmanager
def counted(cluster: Cluster) -> Iterator[Callable[[], int]]:
    """How many commands sshd has run for the user so far."""
    cluster.inside("login", "sh", "-c", "echo 'echo . >> ~/commands' > ~/.ssh/rc", user="ada")
    try:
        yield lambda: int(cluster.inside("login", "sh", "-c", "wc -l < ~/commands", user="ada"))
    finally:
        cluster.inside("login", "sh", "-c", "rm ~/.ssh/rc ~/commands", user="ada")


def test_an_image_that_is_there_needs_no_registry(
    supply: Supply, registry: SandboxRegistry, recipe: Callable[..., Path], name: str
):
    supply.laptop.cli("image", "pull", name)
    held = supply.profile(sbatch_extra=HELD)
    configuration = str(recipe(TINY))
    launch = ("launch", "-c", configuration, "-t", name, "--detach", "--json")
    with counted(supply.cluster) as commands:
        assert held.cli(*launch).json["build_job_id"] is None
        first = commands()
        registry.stop()
        try:
            assert held.cli(*launch).json["build_job_id"] is None
            assert commands() == 2 * first
            made = supply.builds()
            silent = held.cli(
                "launch", "-c", configuration, "-t", "docker.io/lab/other:1", "--detach", code=7
            )
            assert "registry:5000" in silent.err and "hint: " in silent.err
            assert supply.builds() == made
        finally:
            registry.start()
    assert first == 2  # one asks and one submits


# ---- Images that others keep -----------------------------------------------------------------------------------------

GROUP = "/scratch/groups/lab"


@pytest.fixture
def group(supply: Supply, name: str) -> Iterator[str]:
    """An image that ben keeps for the lab; its place."""
    supply.laptop.cli("image", "pull", name)
    supply.on_login(
        f"mkdir -p {GROUP} && mv images/* {GROUP} && rmdir images && chown -R ben: {GROUP} && chmod 755 {GROUP}",
        user="root",
    )
    supply.on_login(f"chmod 755 $(dirname {GROUP})", user="root")
    yield supply.on_login(f"ls {GROUP}/*.sif").strip()
    supply.cluster.inside("login", "rm", "-rf", "/scratch/groups")


def test_an_image_of_the_group_is_used(supply: Supply, group: str, recipe: Callable[..., Path], name: str):
    before = supply.on_login(f"stat --format='%a %Y %n' {GROUP} {GROUP}/*")
    laptop = supply.profile(image_folders=[GROUP], trusted_owners=["ben"])
    facts = laptop.cli("launch", "-c", str(recipe(TINY)), "-t", name, "-g", "0", "--detach", "--json").json
    assert facts["build_job_id"] is None
    supply.cluster.wait_until_idle()
    assert f"image={group}" in supply.on_login(f"cat {facts['session_dir']}/job.sh")
    # It holds two files and no shell.
    assert "/bin/sh" in supply.on_login(f"cat {facts['session_dir']}/jupyter.log")
    assert supply.on_login(f"stat --format='%a %Y %n' {GROUP} {GROUP}/*") == before


def test_an_image_of_the_group_is_passed_over(
    supply: Supply, registry: SandboxRegistry, group: str, name: str
):
    """Each with the one thing that is wrong; the registry has it no longer, so that nothing is made in its stead."""
    registry.delete("lab/supply", supply.on_login(f"grep -o 'sha256:[0-9a-f]*' {GROUP}/*.json").strip())
    record = group.replace(".sif", ".json")
    for change, undo, trusted, why in (
        ("true", "true", [], "belongs to ben"),
        (f"chmod g+w {GROUP}/..", f"chmod g-w {GROUP}/..", ["ben"], "others can write to /scratch/groups"),
        (f"chmod o+w {group}", f"chmod o-w {group}", ["ben"], f"others can write to {group}"),
        (f"chown nobody {record}", f"chown ben {record}", ["ben"], f"{record} belongs to nobody"),
        (
            f"mv {record} {record}.not",
            f"mv {record}.not {record}",
            ["ben"],
            "its record is missing or damaged",
        ),
        (f"touch {group}", "true", ["ben"], "it was changed after its record was written"),
        (f"printf . >> {group}", "true", ["ben"], "bytes, and its record says"),
    ):
        supply.on_login(change, user="root")
        laptop = supply.profile(image_folders=[GROUP], trusted_owners=trusted)
        said = supply.refused(laptop, "pull", name)
        assert f"the image {group} is passed over: " in said and why in said, said
        supply.on_login(undo, user="root")
    assert supply.names() == []


# ---- Many at once ----------------------------------------------------------------------------------------------------


def test_eight_launches_at_once_share_one_build(supply: Supply, recipe: Callable[..., Path]):
    configuration = str(recipe(f"{SLEEPS}RUN echo {secrets.token_hex(4)}\n"))  # which nobody has built before
    launch = ("launch", "-c", configuration, "-g", "1", "--detach", "--json")
    processes = [supply.laptop.started(*launch) for _ in range(8)]
    ended = [process.communicate(timeout=200) for process in processes]
    facts: list[dict[str, Any]] = [json.loads(out) for out, _ in ended]
    [build] = {one["build_job_id"] for one in facts}
    jobs = {str(one["job_id"]) for one in facts}
    assert len(jobs) == len({one["session"] for one in facts}) == 8 and build is not None
    scripts = supply.on_login("cat sessions/*/job.sh")
    assert scripts.count(f"#SBATCH --dependency=afterok:{build}\n") == 8
    images = {line for line in scripts.splitlines() if line.startswith("image=")}
    supply.on_login(
        "timeout 120 sh -c 'until [ $(squeue --noheader --states=RUNNING --name=$0 | wc -l) = 4 ]; do sleep 0.2; done' "
        + ",".join(f"dl4mic-{one['session']}" for one in facts)
    )
    assert supply.image_and_record_alone()
    [image] = [name for name in supply.names() if name.endswith(".sif")]
    assert images == {f"image={WORK}/images/{image}"}
    assert supply.jobs_of(image) == [str(build)]
    states = dict(line.split() for line in supply.on_login("squeue --noheader --format='%i %T'").splitlines())
    assert {job: states[job] for job in jobs} == states
    assert sorted(states.values()) == ["PENDING"] * 4 + ["RUNNING"] * 4
    stops = [supply.laptop.started("stop", one["session"]) for one in facts]
    assert [(process.communicate(timeout=200), process.returncode)[1] for process in stops] == [0] * 8
    assert supply.cluster.jobs() == []
