"""The description of a site: what ships is right, and every mistake is told with its line."""

from __future__ import annotations

import pytest

from dl4mic_hpc.errors import SandboxError
from dl4mic_hpc.sandbox import site

SMALL = """\
cluster: sandbox
nodes:
  - name: gpu01
    gpus: {a100: 2}
partitions:
  - {name: gpu, nodes: [gpu01], default: true, max_time: 1-00:00:00}
qos:
  - {name: normal}
accounts:
  - {name: lab, qos: [normal], default_qos: normal}
users:
  - {name: ada, accounts: [lab], login: true}
profile: {user: ada, partition: gpu}
"""


def wrong(text: str) -> str:
    with pytest.raises(SandboxError) as caught:
        site.parse(text, where="s.yaml")
    assert caught.value.exit_code == 10
    assert "s.yaml" in caught.value.hint
    return caught.value.message


@pytest.mark.parametrize("name", site.names())
def test_every_shipped_site_is_in_order(name: str) -> None:
    assert site.load(name).nodes


def test_the_default_site() -> None:
    default = site.load("default")
    gpus = {node.name: node.gpus for node in default.nodes}
    assert gpus == {"gpu01": {"a100": 2}, "gpu02": {"v100": 2}}
    assert [node.name for node in default.nodes if node.refuses_login_node] == ["gpu02"]
    assert {entry.name: entry.nodes for entry in default.partitions} == {
        "gpu": ("gpu01", "gpu02"),
        "a100": ("gpu01",),
        "v100": ("gpu02",),
    }
    assert default.profile_account.default_qos == "normal"
    assert [(user.name, user.login) for user in default.users] == [("ada", True), ("ben", False)]


def test_an_unknown_site_is_told_with_the_closest() -> None:
    with pytest.raises(SandboxError, match="no practice site 'defualt'") as caught:
        site.load("defualt")
    assert "'default'" in caught.value.hint


def test_a_name_is_no_path() -> None:
    with pytest.raises(SandboxError, match="no practice site"):
        site.load("../sites/default")


def test_devices_follow_the_types_in_order() -> None:
    node = site.Node(name="gpu01", gpus={"a100": 1, "v100": 2})
    assert [(device.index, device.type) for device in node.devices] == [(0, "a100"), (1, "v100"), (2, "v100")]
    assert len({device.uuid for device in node.devices}) == 3


def test_all_mistakes_at_once_with_lines() -> None:
    told = wrong(
        SMALL.replace("gpus: {a100: 2}", "gpuz: 2").replace("max_time: 1-00:00:00", "max_time: soon")
    )
    assert "s.yaml:4: unknown key 'nodes.0.gpuz'" in told
    assert "s.yaml:6: key 'partitions.0.max_time': 'soon' is no time limit" in told


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("nodes: [gpu01]", "nodes: [gpu1]", "there is no 'gpu1' (perhaps you meant 'gpu01')"),
        ("accounts: [lab]", "accounts: [lob]", "there is no 'lob' (perhaps you meant 'lab')"),
        ("default_qos: normal", "default_qos: short", "key 'accounts.default_qos': there is no 'short'"),
        ("name: gpu01", "name: login", "'login' is the name of another container"),
        ("default: true", "default: false", "exactly one partition must say default: true"),
        ("login: true", "login: false", "key 'profile.user': there is no 'ada'"),
    ],
)
def test_names_have_to_fit(old: str, new: str, expected: str) -> None:
    assert expected in wrong(SMALL.replace(old, new))


def test_a_name_twice() -> None:
    twice = SMALL.replace("users:\n", "users:\n  - {name: ada, accounts: [lab]}\n")
    assert "user 'ada' is there twice" in wrong(twice)


def test_what_is_no_yaml() -> None:
    assert "s.yaml:2: this is not YAML" in wrong("cluster: x\nnodes: [")
