from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from dl4mic_hpc import profile as profiles
from dl4mic_hpc.errors import UsageError
from dl4mic_hpc.slurm.job import GpuRequest, Resources, check_bind_path

PROFILE = profiles.parse(
    "host: login\nwork_dir: /scratch/me\npartition: [gpu, a100]\naccount: lab\nqos: normal\ntime: 8:00:00\n",
    name="uni",
)


@pytest.mark.parametrize(
    ("text", "count", "kind"),
    [
        ("0", 0, None),
        ("2", 2, None),
        ("a100", 1, "a100"),
        ("a100:2", 2, "a100"),
        ("1g.10gb:1", 1, "1g.10gb"),
        ("1g.10gb", 1, "1g.10gb"),
    ],
)
def test_gpu_requests(text: str, count: int, kind: str | None):
    assert GpuRequest.parse(text) == GpuRequest(count=count, type=kind)


@pytest.mark.parametrize("text", ["", "a100:", "a100:0", ":2", "two words", "-1", "a100:2;id", "gpu:a100:2"])
def test_what_is_no_gpu_request_is_refused(text: str):
    with pytest.raises(ValueError, match="GPU request"):
        GpuRequest.parse(text)


@pytest.mark.parametrize(
    ("style", "option"),
    [("gres", "--gres=gpu:a100:2"), ("gpus", "--gpus=a100:2"), ("gpus-per-node", "--gpus-per-node=a100:2")],
)
def test_the_three_ways_to_ask_for_gpus(style: str, option: str):
    assert GpuRequest.parse("a100:2").option(style) == option


def test_no_gpu_is_no_option_at_all():
    assert GpuRequest.parse("0").option("gres") is None


def test_the_command_line_wins_over_the_profile_and_empty_values_are_left_out():
    options = Resources.of(PROFILE, gpus="v100:1", time="30", partition=("debug",)).options()
    assert options == (
        "--nodes=1", "--ntasks=1", "--cpus-per-task=4", "--mem=32G", "--time=30",
        "--partition=debug", "--account=lab", "--qos=normal", "--gres=gpu:v100:1",
    )  # fmt: skip


def test_a_build_asks_for_no_gpu():
    assert not any("gpu:" in option for option in Resources.of_build(PROFILE).options())


def test_unquoted_times_are_text_not_base_60():
    assert PROFILE.time == "8:00:00"


@pytest.mark.parametrize("path", ["/data/a:b", "/data/a,b"])
def test_what_apptainer_cannot_bind_is_refused(path: str):
    with pytest.raises(UsageError, match="cannot bind"):
        check_bind_path(PurePosixPath(path), what="the data folder")
