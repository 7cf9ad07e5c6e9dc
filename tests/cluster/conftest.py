"""The cluster that the tests run on: a sandbox of their own, with a home of its own, kept between runs.

It stays up after the tests, so that the next run starts at once; `make clean` ends it. Under CI it is ended.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest
from support.cluster import Cluster
from support.sandbox_registry import SandboxRegistry
from support.supply import BUILD, CLEAN, WORK, Supply

from dl4mic_hpc import profile as profiles
from dl4mic_hpc import sandbox as sandbox_room
from dl4mic_hpc.profile import ClusterProfile

ROOT = Path(__file__).resolve().parents[2]
HOME = Path(os.environ.get("DL4MIC_TEST_CLUSTER", ROOT / ".cache" / "test-cluster"))
CONFIGURATION = """\
config:
  dl4miceverywhere:
    notebook_url: Tiny.ipynb
    requirements_url: requirements.txt
    description: A recipe that takes seconds
"""


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running sandbox in which no job runs and no session lies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DL4MIC_HPC_HOME", str(HOME))
        status = sandbox_room.up(say=lambda text: print(f"sandbox: {text}"))
    (HOME / "user").mkdir(exist_ok=True)
    found = Cluster(home=HOME, engine=status.engine, instance=status.instance)
    for job in found.jobs():
        found.inside("login", "scancel", job)
    found.inside("login", "sh", "-c", "rm -rf /scratch/ada/dl4mic/sessions /scratch/ada/dl4mic/builds")
    shutil.rmtree(HOME / "state" / "sessions", ignore_errors=True)
    yield found
    if os.environ.get("CI"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DL4MIC_HPC_HOME", str(HOME))
            sandbox_room.down(purge=False, say=print)


@pytest.fixture
def at_cluster(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process uses the test cluster's home."""
    monkeypatch.setenv("DL4MIC_HPC_HOME", str(cluster.home))


@pytest.fixture(scope="session")
def sandbox_profile(cluster: Cluster) -> ClusterProfile:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DL4MIC_HPC_HOME", str(cluster.home))
        return profiles.load("sandbox")


@pytest.fixture(scope="session")
def image(cluster: Cluster, sandbox_profile: ClusterProfile) -> PurePosixPath:
    """The demo notebook's image on the test cluster, built by a launch if it is not there yet."""
    session = cluster.cli(
        "launch", "pixel_segmentation", "--until-ready", "--no-browser", "--json", timeout=1500
    ).json
    cluster.cli("stop", session["session"], "-o", str(cluster.home / "first"))
    found = cluster.inside("login", "sh", "-c", "ls /scratch/ada/dl4mic/images/*.sif").split()
    assert len(found) >= 1
    return PurePosixPath(found[0])


@pytest.fixture
def other_laptop(cluster: Cluster, tmp_path: Path) -> Cluster:
    """The same cluster from a computer that has the profile and the host keys, but no record of any session."""
    for folder in ("clusters", "known_hosts"):
        source, target = cluster.home / "config" / folder, tmp_path / "config" / folder
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    (tmp_path / "user").mkdir()
    return Cluster(home=tmp_path, engine=cluster.engine, instance=cluster.instance)


@pytest.fixture
def with_profile(other_laptop: Cluster) -> Callable[..., Cluster]:
    """A laptop whose profile `sandbox` says something else in some keys; None removes a key."""

    def make(**changes: object) -> Cluster:
        import yaml

        path = other_laptop.home / "config" / "clusters" / "sandbox.yaml"
        values = yaml.safe_load(path.read_text())
        values.update(changes)
        path.write_text(yaml.safe_dump({key: value for key, value in values.items() if value is not None}))
        return other_laptop

    return make


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Path]:
    """A configuration of one's own with this Dockerfile, these other facts, and a notebook of one cell."""

    def make(dockerfile: str, **facts: str) -> Path:
        folder = tmp_path / "tiny"
        folder.mkdir()
        (folder / "configuration.yaml").write_text(
            CONFIGURATION + "".join(f"    {key}: {value}\n" for key, value in facts.items())
        )
        (folder / "requirements.txt").write_text("")
        (folder / "Dockerfile").write_text(dockerfile)
        (folder / "Tiny.ipynb").write_text(
            '{"cells": [{"cell_type": "code", "id": "a", "source": "1 + 1", "metadata": {}, "outputs": [], '
            '"execution_count": null}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
        )
        return folder / "configuration.yaml"

    return make


@pytest.fixture(scope="session")
def registry(cluster: Cluster) -> SandboxRegistry:
    return SandboxRegistry(cluster=cluster)


@pytest.fixture
def supply(cluster: Cluster, with_profile: Callable[..., Cluster]) -> Iterator[Supply]:
    """A laptop and a work folder without any image."""

    def profile(**changes: object) -> Cluster:
        return with_profile(**{"work_dir": WORK, "build": BUILD, **changes})

    cluster.inside("login", "sh", "-c", f"mkdir -p {WORK} && {CLEAN}", user="ada")
    laptop = profile()
    if cluster.inside("login", "ls", f"{WORK}/cluster.json", check=False) != f"{WORK}/cluster.json\n":
        laptop.cli("cluster", "check", "sandbox")
    yield Supply(cluster=cluster, laptop=laptop, profile=profile)
    cluster.inside("login", "scancel", "--user=ada", "--full")
    cluster.wait_until_idle()
    cluster.inside("login", "sh", "-c", f"chmod -R u+rwX {WORK}; {CLEAN}")
