"""An instance: its names follow from its home, its record survives, its ports are its own."""

from __future__ import annotations

import json
import socket
import stat
from dataclasses import asdict, replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from dl4mic_hpc import resources
from dl4mic_hpc.sandbox import instance
from dl4mic_hpc.sandbox.instance import Record

RECORD = Record(
    engine="podman",
    subnet="10.1.2.0/24",
    ssh_port=2201,
    registry_port=2202,
    runtime="runc",
    ulimits=("nofile=1:1",),
    pushed="sha256:1",
)


def test_two_homes_are_two_instances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DL4MIC_HPC_HOME", str(tmp_path / "one"))
    one = instance.current()
    monkeypatch.setenv("DL4MIC_HPC_HOME", str(tmp_path / "two"))
    two = instance.current()
    assert one.id != two.id
    assert one.network != two.network
    assert next(one.subnets()) != next(two.subnets())
    assert one.name("login") == f"dl4mic-{one.id}-login"
    assert len(one.id) == 6


def test_the_home_alone_makes_the_instance() -> None:
    assert instance.current() == instance.current()
    assert instance.current().config == resources.home("config")


def test_subnets_are_private_different_and_always_the_same() -> None:
    subnets = list(instance.current().subnets())
    assert len(set(subnets)) == len(subnets) == 16
    assert all(subnet.prefixlen == 24 and subnet.subnet_of(IPv4Network("10.0.0.0/8")) for subnet in subnets)
    assert subnets == list(instance.current().subnets())


def test_addresses_are_fixed_by_name() -> None:
    assert RECORD.addresses(["gpu01", "gpu02"]) == {
        "ctl": "10.1.2.10",
        "login": "10.1.2.11",
        "registry": "10.1.2.12",
        "gpu01": "10.1.2.21",
        "gpu02": "10.1.2.22",
    }


def test_the_record_survives() -> None:
    here = instance.current()
    instance.save(here, RECORD)
    assert instance.load(here) == RECORD
    instance.save(here, replace(RECORD, ssh_port=7))
    assert instance.load(here) == replace(RECORD, ssh_port=7)


def test_a_record_of_another_release_keeps_what_is_known() -> None:
    here = instance.current()
    values = {"version": 1, "colour": "blue", **asdict(RECORD)}
    instance.write_private(here.record_file, json.dumps(values))
    assert instance.load(here) == RECORD


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"version": 99}', '{"version": 1, "engine": "podman"}', "{"]
)
def test_a_record_that_cannot_be_understood_counts_as_none(text: str) -> None:
    here = instance.current()
    instance.write_private(here.record_file, text)
    assert instance.load(here) is None


@pytest.mark.posix
def test_private_files_are_private_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    instance.write_private(path, "one\n")
    instance.write_private(path, "two\n")
    assert path.read_text() == "two\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_free_ports() -> None:
    ports = instance.free_ports(2)
    assert len(set(ports)) == 2
    assert all(map(instance.port_is_free, ports))
    with socket.create_server(("127.0.0.1", ports[0])):
        assert not instance.port_is_free(ports[0])
