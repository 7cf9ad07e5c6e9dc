"""The engine: which one is taken, what it needs on this machine, and plain words where it does not work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.fake_engine import FakeEngine

from dl4mic_hpc.errors import SandboxError
from dl4mic_hpc.sandbox import engine as engines
from dl4mic_hpc.sandbox.engine import Engine

pytestmark = pytest.mark.posix

AS_ROOT = "os.geteuid"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder in which programs are found."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(AS_ROOT, lambda: 0)
    return tmp_path


def refused(wanted: str | None = None) -> SandboxError:
    with pytest.raises(SandboxError) as caught:
        engines.find(wanted)
    return caught.value


def test_podman_comes_first(path: Path) -> None:
    FakeEngine(path, "docker")
    assert engines.find().kind == "docker"
    FakeEngine(path, "podman")
    assert engines.find().kind == "podman"
    assert engines.find("docker").kind == "docker"


def test_docker_counts_only_if_its_daemon_answers(path: Path) -> None:
    FakeEngine(path, "docker").answers("version", err="Cannot connect", code=1)
    error = refused()
    assert "podman is not installed; docker is installed, but its daemon does not answer" in error.message


def test_without_any_the_hint_says_how_to_get_one(path: Path) -> None:
    error = refused()
    assert "podman is not installed; docker is not installed" in error.message
    assert "apt-get install podman" in error.hint


def test_an_unknown_engine(path: Path) -> None:
    assert "'lxc' is no container engine" in refused("lxc").message


def test_podman_needs_root(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeEngine(path, "podman")
    monkeypatch.setattr(AS_ROOT, lambda: 1000)
    assert "needs it as root" in refused().message
    sudo = FakeEngine(path, "sudo")
    assert engines.find().prefix[:2] == ("sudo", "-n")
    sudo.answers("true", code=1)
    assert "needs it as root" in refused().message


def test_a_call_that_fails_is_told_in_the_engines_own_words(path: Path) -> None:
    FakeEngine(path).answers("create", err="first\nno space left on device\n", code=125)
    with pytest.raises(SandboxError, match="podman create failed: first\nno space left on device"):
        Engine(kind="podman", prefix=("podman",)).run("create", "x")


def test_a_call_that_hangs_is_ended(path: Path) -> None:
    slow = path / "podman"
    slow.write_text(f"#!/bin/sh\nexec {os.environ.get('SLEEP', '/bin/sleep')} 60\n")
    slow.chmod(0o700)
    with pytest.raises(SandboxError, match="podman ps did not answer within 0 s"):
        Engine(kind="podman", prefix=("podman",)).call("ps", timeout=0.2)


def test_probing_stops_at_the_first_options_that_work(path: Path) -> None:
    fake = FakeEngine(path)
    probed = engines.probe(Engine(kind="podman", prefix=("podman",)), "node:1")
    assert (probed.runtime, probed.ulimits) == (None, ())
    assert len(fake.calls) == 1


def test_probing_lowers_limits_then_changes_the_runtime(path: Path) -> None:
    fake = FakeEngine(path)
    FakeEngine(path, "runc")
    fake.answers("--runtime", "nofile=1024:1024")
    fake.answers("run", err="error setting rlimit type 7", code=126)
    probed = engines.probe(Engine(kind="podman", prefix=("podman",)), "node:1")
    assert probed.runtime == "runc"
    assert probed.ulimits == ("nofile=1024:1024", "nproc=1024:1024")
    assert probed.argv("ps") == ["podman", "--runtime", "runc", "ps"]


def test_probing_in_vain_tells_the_first_reason(path: Path) -> None:
    FakeEngine(path).answers("run", err="no cgroups here", code=126)
    with pytest.raises(
        SandboxError, match="cannot start a privileged container here: no cgroups here"
    ) as caught:
        engines.probe(Engine(kind="podman", prefix=("podman",)), "node:1")
    assert "run --rm --privileged" in caught.value.hint


def test_user_namespaces_are_tried_as_an_ordinary_user(path: Path) -> None:
    fake = FakeEngine(path)
    engines.probe_namespaces(Engine(kind="podman", prefix=("podman",)), "node:1")
    assert {"--entrypoint=setpriv", "--reuid=65534", "unshare", "mount"} <= set(fake.calls[0])
    fake.answers("run", err="unshare: write failed /proc/self/uid_map: Operation not permitted", code=1)
    with pytest.raises(SandboxError, match="ordinary users cannot make user namespaces here"):
        engines.probe_namespaces(Engine(kind="podman", prefix=("podman",)), "node:1")


def test_docker_takes_its_own_words() -> None:
    docker = Engine(kind="docker", prefix=("docker",), runtime="runc", ulimits=("nofile=1:1",))
    assert docker.argv("ps") == ["docker", "ps"]
    assert docker.create_options() == ["--privileged", "--runtime", "runc", "--ulimit", "nofile=1:1"]
    assert docker.network_options() == []
    assert docker.build_options() == ["--network", "host"]
