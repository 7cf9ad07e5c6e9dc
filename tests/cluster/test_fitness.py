"""What a real cluster says it can do for images: as it is, and with one thing taken away at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.cluster import Cluster

WORK = "/scratch/ada/fitness"
BUILD = {"partition": "a100", "cpus": 2, "mem": "4G"}
"""gpu01 is the only node of the partition a100."""


@pytest.fixture
def laptop(cluster: Cluster, with_profile: Callable[..., Cluster]) -> Iterator[Cluster]:
    """A profile with a work folder in which nothing is remembered, whose builds run on gpu01."""
    yield with_profile(work_dir=WORK, build=BUILD)
    cluster.inside("login", "rm", "-rf", WORK)


def checked(
    laptop: Cluster, *options: str, code: int = 0
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What `cluster check` says of images, and its checks by their words."""
    said = laptop.cli("cluster", "check", "sandbox", "--json", *options, code=code).json
    return said["fitness"], {one["check"]: one for one in said["checks"]}


@contextlib.contextmanager
def changed(cluster: Cluster, change: str, undo: str, *, node: str = "gpu01") -> Iterator[None]:
    cluster.inside(node, "sh", "-ec", change)
    try:
        yield
    finally:
        cluster.inside(node, "sh", "-ec", undo)


def nothing_is_left(cluster: Cluster) -> None:
    assert not cluster.inside("login", "squeue", "--noheader", "--format=%j")
    assert not cluster.inside("login", "find", f"{WORK}/builds", "-name", "probe-*")


def test_the_cluster_as_it_is(cluster: Cluster, laptop: Cluster):
    found, checks = checked(laptop)
    assert {one["verdict"] for one in checks.values()} == {"ok"}
    assert (found["remembered"], found["internet"], found["pulls"]) == (False, "nodes", "node")
    assert (found["platform"], found["build_options"]) == ("linux/amd64", ["--fakeroot"])
    login, node = found["login"], found["node"]
    assert (login["node"], node["node"]) == ("login", "gpu01")
    for place in (login, node):
        assert place["version"].startswith("apptainer version 1.")
        assert place["user_namespaces"] and place["newuidmap"] and place["fuse"] and not place["suid"]
        assert place["subuids"] == place["subgids"] == 65536
        assert {"mksquashfs", "squashfuse_ll", "fakeroot"} <= set(place["programs"])
        assert "--mksquashfs-args" in place["flags"]["build"] and "--nv" in place["flags"]["exec"]
        assert place["reached"] == {"registry:5000": True}
        assert place["cpus"] >= 1 and place["memory"] > 2**28 and place["shared_memory"] and place["kernel"]
        tmp = next(one for one in place["folders"] if one["name"] == "/tmp")
        assert tmp["writable"] and tmp["runs"] and tmp["kind"] and tmp["free"] > 0
        scratch = next(one for one in place["folders"] if one["name"] == "/scratch")
        assert not scratch["writable"]
    nothing_is_left(cluster)

    again, _ = checked(laptop)
    assert again == {**found, "remembered": True}
    assert "--fresh asks again" in laptop.cli("cluster", "check", "sandbox").err
    assert cluster.inside("login", "stat", "--format=%a", f"{WORK}/cluster.json").strip() == "600"
    anew, _ = checked(laptop, "--fresh")
    assert not anew["remembered"] and anew["looked"] >= found["looked"]


def test_what_is_damaged_or_of_another_apptainer_is_asked_anew(cluster: Cluster, laptop: Cluster):
    checked(laptop)
    for change in ("s/apptainer version 1/apptainer version 0/", "s/}$//"):
        cluster.inside("login", "sed", "-i", change, f"{WORK}/cluster.json")
        assert not checked(laptop)[0]["remembered"]


NO_RANGE = "cp /etc/subuid /root/subuid.kept; sed -i '/^ada:/d' /etc/subuid"
SMALL_RANGE = "cp /etc/subuid /root/subuid.kept; sed -i 's/^ada:.*/ada:100000:1000/' /etc/subuid"
RANGE_BACK = "cat /root/subuid.kept > /etc/subuid; rm /root/subuid.kept"
ID = "building recipes on gpu01"
START = "starting images on gpu01"


@pytest.mark.parametrize(
    ("change", "undo", "options", "check", "verdict", "says"),
    [
        (NO_RANGE, RANGE_BACK, ["--fakeroot"], ID, "ok", "with the program fakeroot"),
        (SMALL_RANGE, RANGE_BACK, ["--fakeroot", "--ignore-subuid"], ID, "ok", "with the program fakeroot"),
        (
            "chmod u-s /usr/bin/newuidmap",
            "chmod u+s /usr/bin/newuidmap",
            ["--fakeroot", "--ignore-subuid"],
            ID,
            "ok",
            "with the program fakeroot",
        ),
        (
            f"{NO_RANGE}; chmod 0 /usr/bin/fakeroot /usr/bin/fakeroot-sysv",
            f"{RANGE_BACK}; chmod 755 /usr/bin/fakeroot /usr/bin/fakeroot-sysv",
            ["--fakeroot"],
            ID,
            "warning",
            "with one user",
        ),
        (
            "chmod 0 /usr/bin/squashfuse /usr/bin/squashfuse_ll",
            "chmod 755 /usr/bin/squashfuse /usr/bin/squashfuse_ll",
            ["--fakeroot"],
            START,
            "warning",
            "unpacked at each start, which takes minutes (there is no squashfuse)",
        ),
        (
            "chmod 600 /dev/fuse",
            "chmod 666 /dev/fuse",
            ["--fakeroot"],
            START,
            "warning",
            "/dev/fuse cannot be used",
        ),
    ],
    ids=["no range", "small range", "newuidmap", "no fakeroot", "no squashfuse", "no fuse"],
)
def test_what_a_node_lacks_is_seen(
    cluster: Cluster,
    laptop: Cluster,
    change: str,
    undo: str,
    options: list[str],
    check: str,
    verdict: str,
    says: str,
):
    with changed(cluster, change, undo):
        found, checks = checked(laptop)
    assert found["build_options"] == options
    assert checks[check]["verdict"] == verdict and says in checks[check]["detail"]
    assert (checks[check]["hint"] is None) == (verdict == "ok")


def test_a_set_user_id_installation_is_seen(cluster: Cluster, laptop: Cluster):
    starter = "$(apptainer buildcfg | sed -n 's/^LIBEXECDIR=//p')/apptainer/bin/starter-suid"
    make = f'cp /usr/bin/true "{starter}" && chmod 4755 "{starter}"'
    with changed(cluster, make, f'rm "{starter}"'):
        found, checks = checked(laptop)
        assert found["node"]["suid"] and not found["login"]["suid"]
        assert checks[START]["detail"] == "bound by the kernel (set-user-ID installation)"
        conf = "/etc/apptainer/apptainer.conf"
        forbid = f"cp {conf} {conf}.kept; sed -i 's/^allow setuid = yes/allow setuid = no/' {conf}"
        with changed(cluster, forbid, f"mv {conf}.kept {conf}"):
            assert not checked(laptop, "--fresh")[0]["node"]["suid"]


def test_nodes_without_internet(cluster: Cluster, laptop: Cluster):
    registry = cluster.inside("gpu01", "getent", "hosts", "registry").split()[0]
    away = f"ip route add unreachable {registry}"
    back = f"ip route del unreachable {registry}"
    with changed(cluster, away, back):
        found, checks = checked(laptop)
        assert (found["internet"], found["pulls"]) == ("login", "node from login")
        assert found["node"]["reached"] == {"registry:5000": False}
        assert checks["fetching images"]["verdict"] == "warning"
        assert "by the login node" in checks["fetching images"]["detail"]
        with changed(cluster, away, back, node="login"):
            assert checked(laptop, "--fresh")[0]["internet"] == "laptop"
    assert checked(laptop)[0]["internet"] == "laptop"
    assert checked(laptop, "--fresh")[0]["internet"] == "nodes"


def test_without_curl_a_registry_is_reached_too(cluster: Cluster, laptop: Cluster):
    registry = cluster.inside("gpu01", "getent", "hosts", "registry").split()[0]
    with changed(cluster, "chmod 0 /usr/bin/curl", "chmod 755 /usr/bin/curl"):
        assert checked(laptop)[0]["node"]["reached"] == {"registry:5000": True}
        with changed(cluster, f"ip route add unreachable {registry}", f"ip route del unreachable {registry}"):
            assert checked(laptop, "--fresh")[0]["node"]["reached"] == {"registry:5000": False}


def test_a_node_without_apptainer_fails_the_check(cluster: Cluster, laptop: Cluster):
    with changed(cluster, "chmod 0 /usr/bin/apptainer", "chmod 755 /usr/bin/apptainer"):
        _, checks = checked(laptop, code=7)
    assert checks["Apptainer on gpu01"]["verdict"] == "failed"
    assert checks["Apptainer"]["verdict"] == "ok"


def test_a_full_partition_is_not_waited_for(
    cluster: Cluster, laptop: Cluster, at_cluster: None, monkeypatch: pytest.MonkeyPatch
):
    from dl4mic_hpc import profile as profiles
    from dl4mic_hpc import ssh
    from dl4mic_hpc.cli.ask import TerminalAsker
    from dl4mic_hpc.cli.console import Steps
    from dl4mic_hpc.images import fitness

    monkeypatch.setenv("DL4MIC_HPC_HOME", str(laptop.home))
    profile = profiles.load("sandbox")
    cluster.inside("login", "sbatch", "--exclusive", "--partition=a100", "--account=lab", "--job-name=other", "--chdir=/tmp",
                   "--time=10", "--wrap=sleep 600", user="ada")  # fmt: skip
    try:
        cluster.inside(
            "login", "timeout", "60", "sh", "-c",
            'until [ "$(squeue --noheader --format=%T)" = RUNNING ]; do sleep 0.1; done',
        )  # fmt: skip
        with ssh.connect(profile, ask=TerminalAsker()) as remote:
            found = fitness.look(remote, profile, Steps(quiet=True), patience=3)
            assert found.node is None
            assert "none has answered within 3 seconds (waiting: " in found.no_node
            assert found.login.node == "login" and found.internet == "nodes"
            jobs = cluster.inside("login", "squeue", "--noheader", "--format=%j").split()
            assert jobs == ["other"]
        _, checks = checked(laptop)
        assert checks["a compute node"]["verdict"] == "not checked"
    finally:
        cluster.inside("login", "scancel", "--name=other")
    cluster.wait_until_idle()
    nothing_is_left(cluster)
