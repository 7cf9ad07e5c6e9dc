"""What `status` and `down` say: from the engine's answers to values and their documented JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.fake_engine import FakeEngine

from dl4mic_hpc import sandbox
from dl4mic_hpc.sandbox import instance, keys, report
from dl4mic_hpc.sandbox.instance import Record

RECORD = Record(engine="podman", subnet="10.1.2.0/24", ssh_port=2201, registry_port=2202)
HOSTS = ("ctl", "gpu01", "gpu02", "login", "registry")

pytestmark = pytest.mark.posix


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return FakeEngine(tmp_path)


def running(fake: FakeEngine) -> None:
    """The engine and Slurm's controller say that all is well."""
    here = instance.current()
    instance.save(here, RECORD)
    instance.write_private(here.profile_file, "")
    names = [here.name(host) for host in HOSTS]
    fake.answers("container", "ls", out="\n".join(names) + "\n")
    fake.answers(
        "inspect", "--format={{.Name}} {{.State.Status}}", out="".join(f"/{name} running\n" for name in names)
    )
    fake.answers(
        "exec", "sinfo", out="gpu01|gpu:a100:2(S:0-1)|idle\ngpu01|gpu:a100:2|idle\ngpu02|(null)|mixed\n"
    )


def test_nothing_there(fake: FakeEngine) -> None:
    assert sandbox.status().as_json() == {
        "version": 1,
        "instance": instance.current().id,
        "state": "absent",
        "engine": "podman",
        "containers": [],
        "nodes": [],
        "ssh_port": None,
        "profile": None,
        "images": [],
    }


def test_no_engine_is_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert sandbox.status().state == "absent"
    assert sandbox.status().engine is None


def test_up(fake: FakeEngine) -> None:
    running(fake)
    seen = sandbox.status()
    assert seen.state == "up"
    assert [(node.name, node.gpus, node.state) for node in seen.nodes] == [
        ("gpu01", "a100:2", "idle"),
        ("gpu02", "", "mixed"),
    ]
    assert [one.role for one in seen.containers] == list(HOSTS)
    assert seen.ssh_port == 2201
    assert json.loads(json.dumps(seen.as_json()))["profile"] == str(instance.current().profile_file)


def test_a_container_without_processes_is_dead_whatever_the_engine_says(fake: FakeEngine) -> None:
    fake.answers("exec", instance.current().name("gpu02"), "/bin/true", code=255)
    running(fake)
    seen = sandbox.status()
    assert seen.state == "partial"
    assert {one.role: one.state for one in seen.containers}["gpu02"] == "dead"


def test_a_node_that_takes_no_jobs_is_not_up(fake: FakeEngine) -> None:
    fake.answers("exec", "sinfo", out="gpu01|(null)|idle\ngpu02|(null)|down*\n")
    running(fake)
    assert sandbox.status().state == "partial"


def test_a_controller_that_does_not_answer_is_not_up(fake: FakeEngine) -> None:
    fake.answers("exec", "sinfo", err="Unable to contact slurm controller", code=1)
    running(fake)
    assert sandbox.status().state == "partial"
    assert sandbox.status().nodes == ()


def test_down_forgets_what_is_its_own(fake: FakeEngine) -> None:
    running(fake)
    here = instance.current()
    host = keys.key_pair(here, "host-login").public
    instance.write_private(here.known_hosts, f"other.site ssh-ed25519 AAAA\n[127.0.0.1]:2201 {host} mine\n")
    records = here.state / "sessions"
    instance.write_private(records / "one.json", '{"cluster": "sandbox"}')
    instance.write_private(records / "two.json", '{"cluster": "myuni"}')
    instance.write_private(records / "bad.json", "{")
    gone = sandbox.down(purge=False, say=lambda sentence: None)
    assert set(gone.files) == {here.known_hosts, records / "one.json", here.profile_file, here.folder}
    assert here.known_hosts.read_text() == "other.site ssh-ed25519 AAAA\n"
    assert sorted(path.name for path in here.state.rglob("*")) == ["bad.json", "sessions", "two.json"]
    assert gone.containers == tuple(here.name(host) for host in HOSTS)
    assert gone.as_json()["version"] == 1
    verbs = [call[0] for call in fake.calls]
    assert verbs.index("stop") < verbs.index("rm")


def test_down_where_nothing_is(fake: FakeEngine) -> None:
    gone = sandbox.down(purge=True, say=lambda sentence: None)
    assert (gone.containers, gone.networks, gone.volumes, gone.files) == ((), (), (), ())
    assert not instance.current().state.exists()


def test_purge_leaves_what_another_sandbox_uses(fake: FakeEngine) -> None:
    fake.answers(
        "images", out="localhost/dl4mic-base:trixie\nlocalhost/dl4mic-node:1\nlocalhost/dl4mic-node:2\n"
    )
    fake.answers("image", "inspect", out="10\n20\n30\n")
    fake.answers("rmi", "localhost/dl4mic-node:2", err="image is in use by a container", code=2)
    gone = sandbox.down(purge=True, say=lambda sentence: None)
    assert [one.name for one in gone.images_removed] == ["localhost/dl4mic-node:1"]
    assert ["rmi", "localhost/dl4mic-base:trixie"] not in fake.calls


TAKES_JOBS = dict.fromkeys(("idle", "mixed", "mixed-", "planned", "completing"), True)
TAKES_NONE = dict.fromkeys(("idle*", "down", "down*", "drained", "unknown"), False)


@pytest.mark.parametrize(("state", "ready"), [*TAKES_JOBS.items(), *TAKES_NONE.items()])
def test_which_states_take_jobs(state: str, ready: bool) -> None:
    """A node that backfill has plans for must not be taken for a broken one: its jobs would be ended."""
    assert report.NodeStatus(name="gpu01", gpus="", state=state).ready is ready
