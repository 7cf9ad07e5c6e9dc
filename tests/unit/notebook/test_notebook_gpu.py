"""What a session says of its GPUs: driver and frameworks are programs here that answer as the real ones do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dl4mic_hpc.notebook.dl4mic_forms import gpu

pytestmark = pytest.mark.posix  # the driver's program is a script

A100 = "NVIDIA A100-SXM4-40GB, 40960 MiB, 535.161.08"
TORCH = "__version__ = '2.1'\nclass cuda:\n    is_available = lambda: {0} > 0\n    device_count = lambda: {0}"
TENSORFLOW = """\
import os
assert os.environ['TF_FORCE_GPU_ALLOW_GROWTH'] == 'true'
print('a log line')
__version__ = '2.9'
class config:
    list_physical_devices = lambda kind: [type('Device', (), {{'name': kind}})] * {0}
"""
TENSORFLOW_1 = "__version__ = '1.15'\nconfig = object()"
DEVICES = "class d: device_type = 'GPU'; name = '0'\nlist_local_devices = lambda: [d]"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a driver; `bin` is its only folder of programs, `lib` the one of packages."""
    for name in list(os.environ):
        if name.startswith(("SLURM_", "CUDA_", "DL4MIC_")):
            monkeypatch.delenv(name)
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    return tmp_path


def driver(machine: Path, *lines: str, code: int = 0) -> None:
    file = machine / "bin" / "nvidia-smi"
    said = "\n".join(f"echo '{line}'" for line in lines)
    file.write_text(f'#!/bin/sh\ncase "$1" in --query-gpu=name,memory.total,driver_version) ;; *) exit 9;; esac\n'
                    f"{said}\nexit {code}\n", encoding="utf-8")  # fmt: skip
    file.chmod(0o755)


def package(machine: Path, name: str, source: str) -> None:
    file = machine / "lib" / (name.replace(".", "/") + ".py")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source, encoding="utf-8")


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    gpu.check_gpu()
    return capsys.readouterr().out.splitlines()


def test_a_session_without_a_gpu(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    none = ["GPU: NONE. Everything works, but training takes many times as long.",
            "For a GPU, end this session and launch it again with -g 1."]  # fmt: skip
    assert said(capsys) == none
    driver(machine, "NVIDIA-SMI has failed", code=9)
    assert said(capsys) == none


@pytest.mark.parametrize("visible", ["", "-1", "NoDevFiles"])
def test_a_node_with_gpus_that_the_session_may_not_use(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, visible: str
) -> None:
    driver(machine, A100)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert said(capsys)[0].startswith("GPU: NONE")


def test_a_session_with_gpus(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    driver(machine, A100, A100)
    for name, value in {
        "SLURM_JOB_ID": "42", "SLURM_JOB_NODELIST": "gpu1", "CUDA_VISIBLE_DEVICES": "0,1",
        "SLURM_JOB_END_TIME": str(int(time.time()) + 2 * 3600 + 5 * 60 + 30),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    assert said(capsys) == [
        "Job 42 on gpu1",
        "Time left: 2 h 05 min",
        "GPU: NVIDIA A100-SXM4-40GB, 40960 MiB, driver 535.161.08",
        "GPU: NVIDIA A100-SXM4-40GB, 40960 MiB, driver 535.161.08",
        "Of this node's GPUs this session uses: 0,1",
        "Neither TensorFlow nor PyTorch is in this image, so whether they see the GPU was not asked.",
    ]


def test_simulated_gpus_say_so(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    driver(machine, A100)
    monkeypatch.setenv("DL4MIC_SIMULATED", "1")
    assert said(capsys) == [
        "GPU: SIMULATED. This is the practice cluster: nothing is computed on a GPU, training is slow."
    ]


@pytest.mark.parametrize(
    ("packages", "says"),
    [
        ({"torch": TORCH.format(1)}, "PyTorch 2.1 sees 1 GPU."),
        ({"torch": TORCH.format(0)}, "PyTorch 2.1 does NOT see the GPU: it may have been built for another CUDA"),
        ({"tensorflow.__init__": TENSORFLOW.format(2)}, "TensorFlow 2.9 sees 2 GPUs."),
        ({"tensorflow.__init__": TENSORFLOW_1, "tensorflow.python.client.device_lib": DEVICES},
         "TensorFlow 1.15 sees 1 GPU."),
        ({"torch": "raise ImportError('libcudnn.so.8: cannot open')"},
         "PyTorch cannot be loaded: ImportError: libcudnn.so.8: cannot open"),
    ],
)  # fmt: skip
def test_what_a_framework_sees(
    machine: Path, capsys: pytest.CaptureFixture[str], packages: dict[str, str], says: str
) -> None:
    driver(machine, A100)
    for name, source in packages.items():
        package(machine, name, source)
    assert said(capsys)[-1].startswith(says)
    assert not {"torch", "tensorflow"} & set(sys.modules), "asked in another process"


def test_nothing_is_waited_for_without_end_and_nothing_is_an_error(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    driver(machine, A100)
    package(machine, "torch", TORCH.format(1))
    real, limits = subprocess.run, []

    def late(*arguments: object, timeout: float, **keywords: object) -> object:
        limits.append(timeout)
        if len(limits) % 2:
            return real(*arguments, timeout=timeout, **keywords)  # type: ignore[call-overload]
        raise subprocess.TimeoutExpired("python", timeout)

    monkeypatch.setattr(subprocess, "run", late)
    assert said(capsys)[-1] == "PyTorch did not say within 120 s whether it sees the GPU."
    limits.append(0)
    assert said(capsys)[0].startswith("GPU: NONE")
    assert limits == [10, 120, 0, 10]
    monkeypatch.setattr(subprocess, "run", None)
    assert said(capsys) == ["The GPU could not be checked: 'NoneType' object is not callable"]
