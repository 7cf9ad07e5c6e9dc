"""The stand-in for nvidia-smi: the answers that programs ask for, and SIMULATED in all that people read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dl4mic_hpc.sandbox import files, site

pytestmark = pytest.mark.posix

NODE = site.Node(name="gpu01", gpus={"a100": 2})


def ask(folder: Path, *words: str, visible: str | None = None) -> subprocess.CompletedProcess[str]:
    program = folder / "nvidia-smi"
    program.write_bytes(files.render("start/nvidia-smi.j2", devices=NODE.devices))
    env = {"PATH": "/usr/bin:/bin"} | ({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    return subprocess.run(["sh", program, *words], capture_output=True, text=True, env=env)


def test_the_plain_table_says_what_it_is(tmp_path: Path) -> None:
    said = ask(tmp_path).stdout
    assert "NVIDIA-SMI SIMULATED (dl4mic-hpc sandbox" in said
    assert said.count("SIMULATED A100") == 2


def test_the_list(tmp_path: Path) -> None:
    uuid = NODE.devices[1].uuid
    last = ask(tmp_path, "-L").stdout.splitlines()[-1]
    assert last == f"GPU 1: SIMULATED A100 (dl4mic-hpc sandbox) (UUID: {uuid})"


def test_queries(tmp_path: Path) -> None:
    fields = "--query-gpu=index,name,uuid,memory.total,driver_version"
    name, uuid = "SIMULATED A100 (dl4mic-hpc sandbox)", NODE.devices[0].uuid
    with_units = ask(tmp_path, fields, "--format=csv,noheader").stdout.splitlines()[0]
    assert with_units == f"0, {name}, {uuid}, 40960 MiB, 0.0-simulated"
    without = ask(tmp_path, fields, "--format=csv,noheader,nounits").stdout.splitlines()[0]
    assert without == f"0, {name}, {uuid}, 40960, 0.0-simulated"
    header = ask(tmp_path, "--query-gpu=index,memory.total", "--format=csv").stdout.splitlines()[0]
    assert header == "index, memory.total [MiB]"


def test_a_job_sees_its_own_gpus(tmp_path: Path) -> None:
    query = ("--query-gpu=index", "--format=csv,noheader")
    assert ask(tmp_path, *query, visible="1").stdout == "1\n"
    assert ask(tmp_path, *query, visible="").stdout == ""
    assert ask(tmp_path, *query).stdout == "0\n1\n"


def test_what_it_does_not_know_it_says(tmp_path: Path) -> None:
    unknown = ask(tmp_path, "--query-gpu=fan.speed", "--format=csv")
    assert unknown.returncode == 2
    assert 'Field "fan.speed"' in unknown.stderr
    option = ask(tmp_path, "--reset")
    assert option.returncode == 6
    assert "SIMULATED" in option.stderr
