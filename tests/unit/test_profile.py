from __future__ import annotations

from pathlib import Path

import pytest

from dl4mic_hpc import profile as profiles
from dl4mic_hpc.errors import ProfileError, UsageError

WHOLE = """\
host: login.uni.edu
user: ada
port: 2222
identity_file: ~/.ssh/uni
work_dir: /scratch/ada/dl4mic
partition: [gpu, gpu-long]
account: lab
qos: normal
constraint: a100
time: 1-00:00:00
mem: 64G
cpus: 8
gpus: a100:1
gres_style: gpus
modules: apptainer/1.3
pre_script: |
  export A=1
  echo "$A"
sbatch_extra: [--reservation=course]
apptainer: /opt/apptainer/bin/apptainer
route: step
build:
  partition: cpu
  mem: 16G
  environment:
    ca_file: /etc/site/ca.crt
    proxies: {https_proxy: "http://proxy:3128"}
registry_mirrors: {docker.io: "mirror.uni.edu"}
"""


def test_a_whole_profile():
    profile = profiles.parse(WHOLE, name="uni")
    assert (profile.time, profile.gpus, profile.modules, profile.build.partition) == (
        "1-00:00:00",
        "a100:1",
        ("apptainer/1.3",),
        ("cpu",),
    )
    assert profile.pre_script == 'export A=1\necho "$A"\n'
    assert not profile.simulated


def test_all_mistakes_are_told_at_once_with_line_and_key():
    text = "host: login\nwork_dir: scratch\nparttion: gpu\nmem: 3Q\nbuild:\n  cpsu: 3\nsbatch_extra: [reservation]\n"
    with pytest.raises(ProfileError) as problem:
        profiles.parse(text, name="uni", path=Path("uni.yaml"))
    message = problem.value.message
    for part in (
        "uni.yaml:2: key 'work_dir'", "uni.yaml:3: unknown key 'parttion' (perhaps you meant 'partition')",
        "uni.yaml:4: key 'mem'", "uni.yaml:6: unknown key 'build.cpsu' (perhaps you meant 'cpus')",
        "uni.yaml:7: key 'sbatch_extra'",
    ):  # fmt: skip
        assert part in message
    assert problem.value.exit_code == 3


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("host: [\n", "uni.yaml:2: this is not YAML"),
        ("just words\n", "uni.yaml:1: a list of `key: value` lines is expected"),
        ("host: login\n", "key 'work_dir' is missing"),
        ('host: login\nwork_dir: /w\naccount: "a\\nb"\n', "control characters"),
        ("host: login\nwork_dir: /w\ntime: tomorrow\n", "key 'time'"),
        ("host: login\nwork_dir: /w\ngpus: 1.5\n", "key 'gpus'"),
    ],
)
def test_mistakes(text: str, part: str):
    with pytest.raises(ProfileError) as problem:
        profiles.parse(text, name="uni")
    assert part in problem.value.message


def test_only_the_sandbox_may_simulate_gpus():
    text = "host: 127.0.0.1\nwork_dir: /w\ngpus: simulated\n"
    assert profiles.parse(text, name="sandbox").simulated
    for name, host in (("uni", "127.0.0.1"), ("sandbox", "login.uni.edu")):
        with pytest.raises(ProfileError, match="only the sandbox's own profile"):
            profiles.parse(text.replace("127.0.0.1", host), name=name)


@pytest.mark.parametrize("name", ["unii", "../uni", "", "uni.yaml"])
def test_an_unknown_cluster_is_answered_with_the_nearest(name: str):
    profiles.folder().mkdir(parents=True)
    (profiles.folder() / "uni.yaml").write_text(WHOLE)
    assert profiles.load("uni").host == "login.uni.edu"
    with pytest.raises(UsageError) as problem:
        profiles.load(name)
    assert "uni" in problem.value.hint
