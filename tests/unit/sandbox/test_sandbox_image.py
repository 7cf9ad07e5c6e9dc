"""The images: tagged by what goes in, made only where there is a way and space; said in plain words where not."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from support.fake_engine import FakeEngine

from dl4mic_hpc.errors import SandboxError
from dl4mic_hpc.sandbox import image
from dl4mic_hpc.sandbox.engine import Engine
from dl4mic_hpc.sandbox.machine import Machine

ENGINE = Engine(kind="podman", prefix=("podman",))
MACHINE = Machine(
    ca=b"PEM", mirror="http://d.example/debian", proxies={"http_proxy": "http://me:secret@p.example"}
)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    made = FakeEngine(tmp_path)
    made.answers("info", out=str(tmp_path))
    return made


def ensure(machine: Machine = MACHINE) -> list[str]:
    said: list[str] = []
    image.ensure(ENGINE, machine, said.append)
    return said


def test_the_tag_follows_from_all_that_goes_in() -> None:
    tags = {
        image.node_image(MACHINE, "sha256:1").tag,
        image.node_image(MACHINE, "sha256:2").tag,
        image.node_image(Machine(ca=b"other"), "sha256:1").tag,
    }
    assert len(tags) == 3
    assert image.node_image(MACHINE, "sha256:1") == image.node_image(MACHINE, "sha256:1")


def test_the_mirror_is_no_part_of_it() -> None:
    assert image.node_image(MACHINE, "b") == image.node_image(Machine(ca=b"PEM"), "b")


@pytest.mark.posix
def test_what_is_there_is_not_made_again(fake: FakeEngine) -> None:
    fake.answers("inspect", out="sha256:1\n")
    assert ensure() == []
    assert {call[0] for call in fake.calls} == {"image"}


@pytest.mark.posix
def test_a_base_that_can_be_pulled_is_pulled(fake: FakeEngine) -> None:
    base = ["image", "inspect", "--format", "{{.Id}}", image.BASE]
    fake.answers(*base, code=1)
    with pytest.raises(SandboxError):  # this engine goes on saying that there is none
        ensure()
    assert ["tag", "docker.io/library/debian:trixie-slim", image.BASE] in fake.calls


@pytest.mark.posix
def test_no_base_and_no_debootstrap(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.answers("inspect", code=1)
    fake.answers("pull", err="no such host", code=125)
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    with pytest.raises(SandboxError, match=r"cannot be pulled \(no such host\), and debootstrap") as caught:
        ensure()
    assert "apt-get install debootstrap" in caught.value.hint


@pytest.mark.posix
def test_no_base_and_no_mirror(fake: FakeEngine) -> None:
    (fake.folder / "debootstrap").symlink_to("/bin/true")
    fake.answers("inspect", code=1)
    fake.answers("pull", err="no such host", code=125)
    with pytest.raises(SandboxError, match="apt on this machine names no Debian mirror"):
        ensure(Machine())


@pytest.mark.posix
def test_no_space(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.answers("inspect", code=1)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(1, 1, 1_500_000_000))
    with pytest.raises(SandboxError, match=r"has 1\.5 GB free, and the sandbox needs 6 GB"):
        ensure()
    assert "pull" not in [call[0] for call in fake.calls]


@pytest.mark.posix
def test_a_build_is_told_proxies_by_name_alone(fake: FakeEngine) -> None:
    node = image.node_image(MACHINE, "sha256:1").tag
    fake.answers("inspect", image.BASE, out="sha256:1\n")
    fake.answers("inspect", node, code=1)
    assert ensure() == ["building the nodes' image: Slurm, Apptainer, sshd, a registry (a minute or two) …"]
    build = next(call for call in fake.calls if call[0] == "build")
    assert "--build-arg=http_proxy" in build
    assert f"--tag={node}" in build
    assert "secret" not in " ".join(build)


@pytest.mark.posix
def test_a_build_that_fails_shows_its_end(fake: FakeEngine) -> None:
    fake.answers("inspect", image.BASE, out="sha256:1\n")
    fake.answers("inspect", code=1)
    fake.answers("build", err="E: Unable to locate package slurmd\n", code=100)
    with pytest.raises(SandboxError, match="cannot be built: E: Unable to locate package slurmd"):
        ensure()


@pytest.mark.posix
def test_sizes(fake: FakeEngine) -> None:
    fake.answers(
        "images", out="localhost/dl4mic-node:1\nother:2\ndl4mic-base:trixie\nlocalhost/dl4mic-nodes:1\n"
    )
    fake.answers("inspect", out="10\n20\n")
    assert image.sizes(ENGINE) == [("localhost/dl4mic-base:trixie", 10), ("localhost/dl4mic-node:1", 20)]
