"""The sandbox itself: a real cluster that comes, stays as it is, heals, and goes without a trace."""

from __future__ import annotations

import base64
import json
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cluster import Cluster

from dl4mic_hpc import profile, sandbox
from dl4mic_hpc.sandbox import SandboxStatus

HOSTS = ["ctl", "gpu01", "gpu02", "login", "registry"]


def quiet(sentence: str) -> None:
    """Hears of the steps, and says nothing."""


def engine(kind: str, *words: str) -> list[str]:
    done = subprocess.run([kind, *words], capture_output=True, text=True, check=True, timeout=120)
    return sorted(done.stdout.split())


def everything(kind: str) -> dict[str, list[str]]:
    """All that the engine holds on this machine, of whichever sandbox."""
    return {
        "containers": engine(kind, "ps", "--all", "--no-trunc", "--format", "{{.ID}}"),
        "networks": engine(kind, "network", "ls", "--format", "{{.Name}}"),
        "volumes": engine(kind, "volume", "ls", "--format", "{{.Name}}"),
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home of its own, and with it an instance of its own, that is gone after the tests."""
    folder = tmp_path_factory.mktemp("sandbox") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DL4MIC_HPC_HOME", str(folder))
        yield folder
        sandbox.down(purge=False, say=quiet)


@pytest.fixture
def own(home: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A second sandbox beside the one of the other tests, up."""
    monkeypatch.setenv("DL4MIC_HPC_HOME", str(home))
    seen = sandbox.up(say=quiet)
    assert seen.engine
    return Cluster(home=home, engine=seen.engine, instance=seen.instance)


def containers(cluster: Cluster) -> list[str]:
    return engine(
        cluster.engine,
        "ps",
        "--no-trunc",
        "--filter",
        f"name=dl4mic-{cluster.instance}-",
        "--format",
        "{{.ID}}",
    )


# ---- Coming, staying, going ------------------------------------------------------------------------------------------


def test_up_says_what_it_does_and_ends_when_all_nodes_are_idle(own: Cluster) -> None:
    seen = sandbox.status()
    assert seen.state == "up"
    assert [(node.name, node.gpus, node.state) for node in seen.nodes] == [
        ("gpu01", "a100:2", "idle"),
        ("gpu02", "v100:2", "idle"),
    ]
    assert [(one.role, one.state) for one in seen.containers] == [(host, "running") for host in HOSTS]
    assert {image.name.partition(":")[0] for image in seen.images} == {
        "localhost/dl4mic-base",
        "localhost/dl4mic-node",
    }


def test_a_second_up_changes_nothing(own: Cluster) -> None:
    before, said = containers(own), list[str]()
    sandbox.up(say=said.append)
    assert (containers(own), said) == (before, [])


def test_no_key_is_left_in_a_temporary_folder(own: Cluster) -> None:
    """podman 4 keeps what `podman cp -` reads in /var/tmp, for ever."""
    munge = base64.b64decode((own.home / "state" / "sandbox" / "keys" / "munge").read_text())
    files = [path for folder in ("/tmp", "/var/tmp") for path in Path(folder).iterdir() if path.is_file()]
    assert [path for path in files if munge in path.read_bytes()] == []


def test_two_sandboxes_do_not_meet(own: Cluster, cluster: Cluster) -> None:
    addresses = [
        {one.inside(host, "hostname", "--ip-address").split()[0] for host in HOSTS} for one in (own, cluster)
    ]
    assert len(addresses[0] | addresses[1]) == 2 * len(HOSTS)
    ports = [
        json.loads((one.home / "state" / "sandbox" / "instance.json").read_text())["ssh_port"]
        for one in (own, cluster)
    ]
    assert ports[0] != ports[1]


def test_a_cluster_killed_from_outside_comes_back_with_its_disks(own: Cluster, cluster: Cluster) -> None:
    own.inside("login", "sh", "-c", "echo kept > /home/ada/kept && echo kept > /scratch/ada/kept", user="ada")
    job = own.inside(
        "login", "sbatch", "--parsable", "--wait", "--output=/dev/null", "--wrap=true", user="ada"
    ).strip()
    lost = own.inside(
        "login", "sbatch", "--parsable", "--output=/dev/null", "--wrap=sleep 3600", user="ada"
    ).strip()
    own.inside("login", "timeout", "60", "sh", "-c", "until squeue -h -t R | grep -q .; do sleep 0.2; done")
    before, other = containers(own), containers(cluster)
    pids = engine(own.engine, "inspect", "--format", "{{.State.Pid}}", *before)
    for pid in pids:
        os.kill(int(pid), signal.SIGKILL)
    assert sandbox.status().state == "partial"
    seen = sandbox.up(say=quiet)
    assert seen.state == "up"
    assert not set(containers(own)) & set(before)
    assert own.inside("login", "cat", "/home/ada/kept", "/scratch/ada/kept", user="ada") == "kept\nkept\n"
    assert "COMPLETED" in own.inside(
        "login", "sacct", "--jobs", job, "--noheader", "--format=state", user="ada"
    )
    own.wait_until_idle()
    assert lost not in own.jobs()
    assert containers(cluster) == other


def test_down_leaves_nothing_but_images(own: Cluster, cluster: Cluster) -> None:
    before = everything(own.engine)
    known = own.home / "config" / "known_hosts"
    known.write_text("other.site ssh-ed25519 AAAA\n" + known.read_text())
    records = own.home / "state" / "sessions"
    records.mkdir()
    (records / "one.json").write_text('{"cluster": "sandbox"}')
    (records / "two.json").write_text('{"cluster": "myuni"}')
    mine = f"dl4mic-{own.instance}-"
    ids = containers(own)
    gone = sandbox.down(purge=False, say=quiet)
    assert gone.containers == tuple(mine + host for host in HOSTS)
    after = everything(own.engine)
    assert after == {
        "containers": [name for name in before["containers"] if name not in ids],
        "networks": [name for name in before["networks"] if not name.startswith(mine)],
        "volumes": [name for name in before["volumes"] if not name.startswith(mine)],
    }
    assert containers(cluster)
    left = {str(path.relative_to(own.home)) for path in own.home.rglob("*") if path.is_file()}
    assert left == {"config/known_hosts", "state/sessions/two.json"}
    assert known.read_text() == "other.site ssh-ed25519 AAAA\n"
    assert {image.name for image in gone.images_left} >= {"localhost/dl4mic-base:trixie"}
    assert all(image.size > 10_000_000 for image in gone.images_left)
    assert sandbox.status().state == "absent"


def test_purging_beside_a_running_sandbox_leaves_its_images(
    own: Cluster, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = engine(cluster.engine, "inspect", "--format", "{{.Config.Image}}", *containers(cluster))
    gone = sandbox.down(purge=True, say=quiet)
    left = {image.name for image in gone.images_left}
    assert left >= {*used, "localhost/dl4mic-base:trixie"}
    monkeypatch.setenv("DL4MIC_HPC_HOME", str(cluster.home))
    said: list[str] = []
    assert sandbox.up(say=said.append).state == "up"
    assert said == []


# ---- What is in it ---------------------------------------------------------------------------------------------------


@pytest.fixture
def seen(at_cluster: None) -> SandboxStatus:
    return sandbox.status()


def test_the_profile_the_key_and_the_host_keys_fit(seen: SandboxStatus, cluster: Cluster) -> None:
    written = profile.load("sandbox")
    assert written.simulated
    assert written.port == seen.ssh_port
    assert seen.profile is not None and stat.S_IMODE(seen.profile.stat().st_mode) == 0o600
    key = written.identity_file
    assert key is not None and stat.S_IMODE(key.stat().st_mode) == 0o600
    options = {
        "IdentitiesOnly": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": cluster.home / "config" / "known_hosts",
        "GlobalKnownHostsFile": "/dev/null",
        "BatchMode": "yes",
    }
    words = [f"-o{name}={value}" for name, value in options.items()]
    login = ["ssh", "-F", "none", "-i", key, "-p", str(written.port), *words, "ada@127.0.0.1"]
    done = subprocess.run([*map(str, login), "hostname"], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("login\n", 0), done.stderr


def test_slurm_is_whole(cluster: Cluster) -> None:
    partitions = cluster.inside("login", "sinfo", "--noheader", "--format=%P %N", user="ada").splitlines()
    assert [line.split() for line in partitions] == [
        ["gpu*", "gpu[01-02]"],
        ["a100", "gpu01"],
        ["v100", "gpu02"],
    ]
    shown = (
        "sacctmgr",
        "--noheader",
        "--parsable2",
        "show",
        "association",
        "user=ada",
        "format=account,qos,defaultqos",
    )
    assert cluster.inside("login", *shown, user="ada").strip() == "lab|normal,short|normal"
    refused = cluster.inside("login", "sbatch", "--account=nobody", "--wrap=true", user="ada", check=False)
    assert "Invalid account" in refused


@pytest.mark.parametrize(("node", "gpu"), [("gpu01", "a100"), ("gpu02", "v100")])
def test_a_job_gets_a_simulated_gpu_and_takes_steps(cluster: Cluster, node: str, gpu: str) -> None:
    script = (
        f"job=$(sbatch --parsable --nodelist={node} --gres=gpu:{gpu}:1 --output=/dev/null --wrap='sleep 60')\n"
        "trap 'scancel $job' EXIT\n"
        'until [ "$(squeue --noheader --jobs=$job --format=%T)" = RUNNING ]; do :; done\n'
        "srun --quiet --overlap --jobid=$job sh -c 'hostname; echo $CUDA_VISIBLE_DEVICES; nvidia-smi -L'\n"
    )
    host, visible, *gpus = cluster.inside(
        "login", "timeout", "60", "bash", "-c", script, user="ada"
    ).splitlines()
    assert (host, visible) == (node, "0")
    assert len(gpus) == 1
    assert f"SIMULATED {gpu.upper()} (dl4mic-hpc sandbox)" in gpus[0]


def test_gpu02_takes_nothing_from_the_login_node_but_slurms(cluster: Cluster) -> None:
    """A server on any port of gpu02 is out of reach from login, and within reach from gpu01."""
    serve = (
        "import http.server, pathlib\n"
        "server = http.server.HTTPServer(('0.0.0.0', 0), http.server.SimpleHTTPRequestHandler)\n"
        "print(server.server_port, flush=True)\n"
        "server.serve_forever()\n"
    )
    name = f"dl4mic-{cluster.instance}-gpu02"
    with subprocess.Popen(
        [cluster.engine, "exec", "--interactive", name, "timeout", "60", "python3", "-c", serve],
        stdout=subprocess.PIPE,
    ) as server:
        assert server.stdout is not None
        port = server.stdout.readline().decode().strip()

        def from_(host: str, node: str, port: str) -> str:
            return cluster.inside(host, "nc", "-zv", "-w", "5", node, port, check=False)

        assert "refused" in from_("login", "gpu02", port)
        assert "refused" in from_("login", "gpu02", "22")
        assert "succeeded" in from_("login", "gpu02", "6818")
        assert "succeeded" in from_("gpu01", "gpu02", port)
        assert "succeeded" in from_("login", "gpu01", "22")
        server.terminate()


def test_disks_are_shared_and_the_tiny_one_is_soon_full(cluster: Cluster) -> None:
    for path in ("/home/ada", "/scratch/ada", "/tiny"):
        cluster.inside("login", "sh", "-c", f"echo here > {path}/shared", user="ada")
        for node in ("gpu01", "gpu02"):
            assert cluster.inside(node, "cat", f"{path}/shared", user="ada") == "here\n"
        cluster.inside("gpu02", "rm", f"{path}/shared", user="ada")
    full = "head --bytes=3000000 /dev/zero > /tiny/full; rm /tiny/full"
    assert "No space left on device" in cluster.inside("login", "sh", "-c", full, user="ada")


def test_people_are_kept_apart(cluster: Cluster) -> None:
    for path in ("/home/ada", "/scratch/ada", "/etc/munge/munge.key", "/etc/ssh/ssh_host_ed25519_key"):
        assert "Permission denied" in cluster.inside(
            "login", "sh", "-c", f"ls {path} && cat {path}", user="ben", check=False
        )
    assert "Permission denied" in cluster.inside(
        "ctl", "cat", "/etc/slurm/slurmdbd.conf", user="ben", check=False
    )


@pytest.mark.parametrize("node", ["gpu01", "gpu02"])
def test_an_ordinary_user_builds_and_runs_an_image_in_a_job(cluster: Cluster, node: str) -> None:
    script = (
        "set -e; cd $(mktemp -d); trap 'rm -rf $PWD' EXIT\n"
        "export APPTAINER_CACHEDIR=$PWD/cache APPTAINER_TMPDIR=$PWD\n"
        "printf 'Bootstrap: docker\\nFrom: registry:5000/library/debian:trixie-slim\\n%%post\\n  id -u > /built-by\\n' > a.def\n"
        "apptainer --quiet build --mksquashfs-args=-noD --no-https --fakeroot a.sif a.def > log 2>&1 || { cat log; exit 1; }\n"
        "apptainer --quiet exec --contain a.sif sh -c 'cat /built-by; id -un; . /etc/os-release; echo $VERSION_CODENAME'\n"
    )
    run = ("srun", "--quiet", f"--nodelist={node}", "bash", "-c", script)
    assert cluster.inside("login", *run, user="ada").split() == ["0", "ada", "trixie"]


def test_a_job_reaches_what_this_machine_reaches(cluster: Cluster) -> None:
    """Image builds run in jobs: names resolve there, and apt finds its mirror with the lent build environment."""
    script = (
        "set -e; cd $(mktemp -d); trap 'rm -rf $PWD' EXIT; mkdir -p lists/partial archives/partial sources.parts\n"
        "cp /scratch/site/apt.sources sources.parts/site.sources\n"
        "touch empty; [ ! -e /scratch/site/apt.conf ] || cp /scratch/site/apt.conf empty\n"
        "apt-get --config-file=empty -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=$PWD/sources.parts"
        " -o Dir::State::lists=$PWD/lists -o Dir::Cache=$PWD -o Debug::NoLocking=1 -o APT::Sandbox::User=ada update 2>&1\n"
    )
    said = cluster.inside("login", "srun", "--quiet", "--nodelist=gpu02", "bash", "-c", script, user="ada")
    assert "trixie InRelease" in said
    assert "Err:" not in said
