"""How `up` finds its place on the machine: a network that nobody uses, ports that are free, the engine it had."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_engine import FakeEngine

from dl4mic_hpc import sandbox
from dl4mic_hpc.errors import SandboxError
from dl4mic_hpc.sandbox import instance, starting
from dl4mic_hpc.sandbox.engine import Engine
from dl4mic_hpc.sandbox.instance import Record

RECORD = Record(engine="podman", subnet="10.1.2.0/24", ssh_port=2201, registry_port=2202)
ENGINE = Engine(kind="podman", prefix=("podman",))


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return FakeEngine(tmp_path)


@pytest.mark.posix
def test_a_network_that_is_there_stays(fake: FakeEngine) -> None:
    assert starting._network(instance.current(), ENGINE, "10.1.2.0/24") == "10.1.2.0/24"
    assert [call[:2] for call in fake.calls] == [["network", "inspect"]]


@pytest.mark.posix
def test_a_subnet_in_use_is_passed_over(fake: FakeEngine) -> None:
    here = instance.current()
    first, second, *_ = here.subnets()
    fake.answers("create", f"--subnet={first}", err="subnet is already used on the host", code=125)
    assert starting._network(here, ENGINE, "") == str(second)


@pytest.mark.posix
def test_a_network_that_went_is_made_with_the_same_addresses(fake: FakeEngine) -> None:
    fake.answers("network", "inspect", code=125)
    assert starting._network(instance.current(), ENGINE, "10.1.2.0/24") == "10.1.2.0/24"


@pytest.mark.posix
def test_no_network_at_all(fake: FakeEngine) -> None:
    fake.answers("create", err="netavark: command not found", code=125)
    with pytest.raises(SandboxError, match="podman cannot make a network: netavark: command not found"):
        starting._network(instance.current(), ENGINE, "")


def test_ports_stay_while_nobody_takes_them() -> None:
    here, said = instance.current(), list[str]()
    ports = instance.free_ports(2)
    record = replace(RECORD, ssh_port=ports[0], registry_port=ports[1])
    assert starting._with_free_ports(here, record, said.append) == record
    with socket.create_server(("127.0.0.1", ports[0])):
        moved = starting._with_free_ports(here, record, said.append)
    assert moved.ssh_port != record.ssh_port
    assert instance.load(here) == moved
    assert said == [
        f"another program has taken a port of the sandbox; SSH is on {moved.ssh_port} from now on"
    ]


def test_another_engine_only_after_down() -> None:
    instance.save(instance.current(), RECORD)
    with pytest.raises(SandboxError, match="this sandbox runs on podman, not on docker") as caught:
        sandbox.up(engine="docker", say=lambda sentence: None)
    assert "sandbox down" in caught.value.hint


def test_an_unknown_site_stops_before_anything_is_done() -> None:
    with pytest.raises(SandboxError, match="no practice site 'nowhere'"):
        sandbox.up(site="nowhere", say=lambda sentence: None)
    assert not instance.current().state.exists()
