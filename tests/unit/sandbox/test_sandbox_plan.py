"""The plan: the same in, the same out; secrets in files only; configuration as Slurm, sshd and nft read it."""

from __future__ import annotations

import io
import re
import tarfile
from dataclasses import replace

import pytest
from support.shell import shellcheck

from dl4mic_hpc import profile
from dl4mic_hpc.sandbox import files, instance, keys, plan, site
from dl4mic_hpc.sandbox.files import Keys
from dl4mic_hpc.sandbox.instance import Record
from dl4mic_hpc.sandbox.machine import Machine
from dl4mic_hpc.sandbox.plan import Plan

RECORD = Record(engine="podman", subnet="10.1.2.0/24", ssh_port=2201, registry_port=2202)
SITE = site.load("default")


@pytest.fixture
def secrets() -> Keys:
    here = instance.current()
    return Keys(
        munge=keys.munge_key(here),
        hosts={name: keys.key_pair(here, f"host-{name}") for name in ("login", "gpu01", "gpu02")},
        users={"ada": keys.key_pair(here, "user-ada")},
    )


@pytest.fixture
def made(secrets: Keys) -> Plan:
    return make(secrets)


def make(secrets: Keys, *, record: Record = RECORD, image: str = "node:1") -> Plan:
    return plan.make(
        instance.current(), SITE, record, secrets, image=image, hosts={"mirror.example": "10.9.9.9"}
    )


def given(made: Plan, host: str) -> dict[str, files.File]:
    container = next(one for one in made.containers if one.host == host)
    return {file.path: file for file in container.files}


def text(made: Plan, host: str, path: str) -> str:
    return given(made, host)[path].content.decode()


def options(made: Plan, host: str) -> tuple[str, ...]:
    return next(one.options for one in made.containers if one.host == host)


def test_the_same_gives_the_same_and_a_change_shows(secrets: Keys) -> None:
    assert make(secrets) == make(secrets)
    prints = {
        make(secrets).fingerprint,
        make(secrets, image="node:2").fingerprint,
        make(secrets, record=replace(RECORD, ssh_port=9)).fingerprint,
    }
    assert len(prints) == 3


def test_hosts_have_plain_names_and_fixed_addresses(made: Plan) -> None:
    assert [one.host for one in made.containers] == ["registry", "ctl", "login", "gpu01", "gpu02"]
    here = instance.current()
    for one in made.containers:
        assert f"--hostname={one.host}" in one.options
        assert one.name == here.name(one.host)
        assert {"--add-host=gpu02:10.1.2.22", "--add-host=mirror.example:10.9.9.9"} <= set(one.options)
    assert "--ip=10.1.2.10" in options(made, "ctl")


def test_only_loopback_is_published(made: Plan) -> None:
    published = [word for one in made.containers for word in one.options if word.startswith("--publish")]
    assert published == ["--publish=127.0.0.1:2202:5000", "--publish=127.0.0.1:2201:22"]


def test_nodes_share_their_disks(made: Plan) -> None:
    volumes = {
        host: [word for word in options(made, host) if word.startswith("--volume")]
        for host in ("login", "gpu01", "gpu02")
    }
    assert volumes["login"] == volumes["gpu01"] == volumes["gpu02"]
    assert [word.rpartition(":")[2] for word in volumes["login"]] == ["/home", "/scratch", "/tiny"]
    tiny = next(volume for volume in made.volumes if volume.name.endswith("disk-tiny"))
    assert "--opt=o=nr_blocks=512,mode=1777" in tiny.options


def test_secrets_are_in_private_files_and_nowhere_else(made: Plan, secrets: Keys) -> None:
    assert given(made, "ctl")["/etc/munge/munge.key"].mode == 0o400
    assert given(made, "login")["/etc/ssh/ssh_host_ed25519_key"].mode == 0o600
    assert given(made, "ctl")["/etc/slurm/slurmdbd.conf"].mode == 0o600
    assert "/etc/munge/munge.key" not in given(made, "registry")
    every = [pair.private for pair in (*secrets.hosts.values(), *secrets.users.values())]
    words = " ".join(word for one in made.containers for word in one.options)
    assert not any(secret in words for secret in every)
    assert secrets.users["ada"].private.encode() not in b"".join(
        file.content for one in made.containers for file in one.files
    )


def test_the_archive_holds_the_files_with_their_modes(made: Plan) -> None:
    login = next(one for one in made.containers if one.host == "login")
    with tarfile.open(fileobj=io.BytesIO(files.pack(login.files))) as archive:
        modes = {entry.name: entry.mode for entry in archive}
    assert modes["etc/munge/munge.key"] == 0o400
    assert modes["etc/dl4mic/start"] == 0o755


def test_slurm_conf(made: Plan) -> None:
    conf = text(made, "ctl", "/etc/slurm/slurm.conf")
    assert conf == text(made, "login", "/etc/slurm/slurm.conf")
    lines = conf.splitlines()
    assert "NodeName=gpu01 NodeAddr=10.1.2.21 CPUs=16 RealMemory=64000 Gres=gpu:a100:2 State=UNKNOWN" in lines
    assert "AccountingStorageEnforce=associations,limits,qos" in lines
    assert "SlurmctldParameters=enable_configless" in lines
    assert "SlurmdParameters=config_overrides" in lines
    partitions = [line for line in lines if line.startswith("PartitionName=")]
    assert [
        re.findall(r"PartitionName=(\S+) Nodes=(\S+) Default=(\S+) MaxTime=(\S+)", line)[0]
        for line in partitions
    ] == [
        ("gpu", "gpu01,gpu02", "YES", "1-00:00:00"),
        ("a100", "gpu01", "NO", "08:00:00"),
        ("v100", "gpu02", "NO", "08:00:00"),
    ]


def test_gres_conf_names_every_device(made: Plan) -> None:
    lines = text(made, "ctl", "/etc/slurm/gres.conf").split("\n")
    assert "NodeName=gpu02 Name=gpu Type=v100 File=/dev/nvidia1" in lines
    assert len([line for line in lines if line.startswith("NodeName")]) == 4


def test_only_the_node_that_says_so_refuses_the_login_node(made: Plan) -> None:
    assert "/etc/dl4mic/firewall.nft" not in given(made, "gpu01")
    rules = text(made, "gpu02", "/etc/dl4mic/firewall.nft")
    assert "ip saddr 10.1.2.11 tcp dport != 6818" in rules


def test_people_have_the_same_numbers_everywhere(made: Plan) -> None:
    for host in ("ctl", "login", "gpu01", "gpu02"):
        assert text(made, host, "/etc/dl4mic/users") == "ada 2001\nben 2002\n"
    assert text(made, "gpu01", "/etc/dl4mic/subids") == "ada:100000:65536\nben:165536:65536\n"
    assert "/etc/dl4mic/keys/ada.pub" in given(made, "login")
    assert "/etc/dl4mic/keys/ben.pub" not in given(made, "login")


def test_an_undefined_name_is_an_error() -> None:
    with pytest.raises(Exception, match="'site' is undefined"):
        files.render("slurm/gres.conf.j2")


def test_rendered_scripts_are_in_order(made: Plan) -> None:
    assert shellcheck(text(made, "ctl", "/etc/dl4mic/accounts.sh"), "--shell=bash") == ""
    assert shellcheck(text(made, "gpu01", "/usr/local/bin/nvidia-smi")) == ""


def test_the_profile_is_read_back(tmp_path: object) -> None:
    environment = {
        "ca_file": "/scratch/site/ca-certificates.crt",
        "proxies": {"http_proxy": "http://p.example:1"},
    }
    written = files.profile_text(SITE, RECORD, identity_file='C:\\keys\\"ada"', environment=environment)
    read = profile.parse(written, name="sandbox")
    assert (read.host, read.port, read.user) == ("127.0.0.1", 2201, "ada")
    assert str(read.identity_file) == 'C:\\keys\\"ada"'
    assert read.simulated
    assert (read.account, read.qos, read.partition) == ("lab", "normal", ("gpu",))
    assert str(read.work_dir) == "/scratch/ada/dl4mic"
    assert read.build.environment.proxies == {"http_proxy": "http://p.example:1"}
    assert read.registry_mirrors == {"docker.io": "registry:5000"}
    assert (
        profile.parse(
            files.profile_text(SITE, RECORD, identity_file="/k", environment={}), name="sandbox"
        ).build.environment.ca_file
        is None
    )


def test_the_build_environment_is_what_the_machine_has() -> None:
    whole = Machine(ca=b"PEM", pip="[global]\n", mirror="http://d.example/debian", apt="x\n")
    found = files.build_environment(whole)
    assert set(found) == {"ca_file", "pip_config", "apt_sources", "apt_options"}
    assert b"URIs: http://d.example/debian\nSuites: trixie\n" in found["apt_sources"].content
    assert [key for key, file in found.items() if file.mode == 0o600] == ["pip_config", "apt_options"]
    assert files.build_environment(Machine()) == {}
