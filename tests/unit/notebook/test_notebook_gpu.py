"""The proof of the GPUs inside the image: a driver's library in C and frameworks in Python that answer as real ones do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support import nvidia

from dl4mic_hpc.notebook.dl4mic_forms import gpu, gpu_driver, gpu_frameworks, gpu_proof

pytestmark = pytest.mark.posix

A100 = {"name": "NVIDIA A100-SXM4-40GB", "capability": "8.0", "memory": 40536}
FACTS: dict[str, Any] = {
    "devices": [0], "visible": "0", "driver": "535.161.08", "library": "", "error": "", "cuda": "12.2", "alone": False,
    "gpus": [A100],
}  # fmt: skip
LIBRARY_PATHS = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Where Linux and macOS look for libraries."""
MISSING = "libcuda.so.1: cannot open shared object file: No such file or directory"
MIG = A100 | {"name": "NVIDIA A100-SXM4-40GB MIG 1g.5gb"}


# ---- The driver's verdict --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "asked", "verdict", "reason"),
    [
        (FACTS, 1, "works", ""),
        (FACTS | {"visible": None}, 1, "works", ""),
        (None, 1, "unproven", "the driver gave no answer within 1.5 s"),
        (FACTS | {"visible": ""}, 1, "cpu", "no GPU is allocated to it"),
        (FACTS | {"visible": "NoDevFiles"}, 1, "cpu", "no GPU is allocated to it"),
        (FACTS | {"visible": None, "devices": []}, 1, "cpu", "no GPU is allocated to it"),
        (FACTS | {"devices": [], "library": MISSING}, 1, "cpu", "the GPU's device files are not in the container: Apptainer was "
         "started without --nv, or the node has no NVIDIA driver"),
        (FACTS | {"library": MISSING, "gpus": []}, 1, "cpu", "the driver's library libcuda.so.1 is missing: Apptainer was "
         "started without --nv, or the node has no NVIDIA driver"),
        (FACTS | {"error": "CUDA_ERROR_NO_DEVICE", "gpus": []}, 1, "cpu", "the driver finds no GPU (CUDA_ERROR_NO_DEVICE)"),
        (FACTS | {"error": "CUDA_ERROR_UNKNOWN", "gpus": []}, 1, "cpu", "the driver finds no GPU (CUDA_ERROR_UNKNOWN)"),
        (FACTS | {"error": "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "gpus": []}, 1, "cpu", "the driver's library and its kernel "
         "module are of different releases; the node has to be restarted by its administrators "
         "(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH)"),
        (FACTS | {"gpus": []}, 1, "cpu", "the driver finds no GPU"),
        (FACTS, 2, "fewer", "the driver finds 1 of the 2 GPUs that were asked for"),
        (FACTS | {"gpus": [MIG], "visible": "MIG-a,MIG-b"}, 2, "works", ""),
        (FACTS | {"gpus": [A100, A100]}, 1, "works", ""),
    ],
)  # fmt: skip
def test_what_the_drivers_answer_means(facts: Any, asked: int, verdict: str, reason: str) -> None:
    assert gpu_proof.judge(facts, asked=asked) == (verdict, reason)


def test_a_driver_that_is_older_than_the_images_cuda_leaves_it_to_the_framework() -> None:
    old = FACTS | {"driver": "470.82.01", "cuda": "11.4"}
    assert gpu_proof.judge(old, asked=1, image_cuda="12.2.0") == (
        "unproven",
        "the node's driver 470.82.01 knows CUDA up to 11.4, and the image has CUDA 12.2.0",
    )
    assert gpu_proof.judge(old, asked=1, image_cuda="11.8.0") == ("works", "")


@pytest.mark.parametrize(
    ("devices", "visible", "asked", "reason"),
    [
        ([0, 1], "0,1", 2, "SIMULATED: not computed"),
        ([1], "1", 1, "SIMULATED: not computed"),
        ([], "1", 1, "SIMULATED: not computed; of 1 GPU only 0 can be seen"),
        ([0], None, 1, "SIMULATED: not computed; of 1 GPU only 0 can be seen"),
    ],
)
def test_simulated_gpus_end_the_proof_at_what_is_visible(
    devices: list[int], visible: str | None, asked: int, reason: str
) -> None:
    facts = FACTS | {"devices": devices, "visible": visible, "library": MISSING}
    assert gpu_proof.judge(facts, asked=asked, simulated=True) == ("simulated", reason)


# ---- The framework's verdict -----------------------------------------------------------------------------------------

TF_SAYS = """2026 tensorflow: Could not load dynamic library 'libcudnn.so.8'; dlerror: libcudnn.so.8: cannot open
2026 tensorflow: Could not load dynamic library 'libcublas.so.11'; dlerror: libcublas.so.11: cannot open
"""


@pytest.mark.parametrize(
    ("answer", "said", "verdict", "reason"),
    [
        ({"computed": 1}, TF_SAYS, "works", ""),
        ({"computed": 0, "reason": "it finds no GPU"}, TF_SAYS, "cpu",
         "it finds no GPU: libcudnn.so.8, libcublas.so.11 cannot be loaded"),
        ({"computed": 0, "reason": "it was built without CUDA"}, "", "cpu", "it was built without CUDA"),
        ({"computed": 0, "reason": "The NVIDIA driver on your system is too old (found version 11040)."}, "", "cpu",
         "the node's driver 535.161.08 knows CUDA up to 12.2, and it needs CUDA 13.0"),
        ({"computed": 0, "reason": "it finds no GPU"}, "CUDA driver version is insufficient for CUDA runtime version", "cpu",
         "the node's driver 535.161.08 knows CUDA up to 12.2, and it needs CUDA 13.0"),
        ({"computed": 0, "reason": "CUDA error: no kernel image is available for execution on the device"}, "", "cpu",
         "it has no code for this GPU (its CUDA is 13.0): CUDA error: no kernel image is available for execution on the device"),
        ({"computed": 0, "reason": "CUDA out of memory. Tried to allocate"}, "", "unproven",
         "the GPU was taken by another program, perhaps this notebook itself: CUDA out of memory. Tried to allocate"),
        ({"computed": 0, "reason": "all CUDA-capable devices are busy or unavailable"}, "", "unproven",
         "the GPU was taken by another program, perhaps this notebook itself: all CUDA-capable devices are busy or unavailable"),
        (None, "Segmentation fault", "unproven", "it gave no answer: Segmentation fault"),
    ],
)  # fmt: skip
def test_what_the_frameworks_answer_means(answer: Any, said: str, verdict: str, reason: str) -> None:
    answer = answer and {"name": "PyTorch", "version": "2.9", "cuda": "13.0", "reason": "", **answer}
    assert gpu_proof.judge_framework(answer, said, FACTS) == (verdict, reason)


def test_a_framework_that_computes_on_one_of_two_gpus() -> None:
    two = FACTS | {"gpus": [A100, A100]}
    answer = {"version": "2", "cuda": "12.1", "computed": 1, "reason": ""}
    assert gpu_proof.judge_framework(answer, TF_SAYS, two) == ("fewer", "it computes on 1 of 2 GPUs")


@pytest.mark.parametrize(
    ("capability", "kernels", "runs"),
    [
        ((8, 0), "sm_70 sm_80", True), ((8, 6), "sm_80", True), ((8, 0), "sm_86", False), ((9, 0), "sm_80 sm_86", False),
        ((9, 0), "sm_80 compute_80", True), ((7, 0), "compute_80", False), ((9, 0), "sm_90a", True), ((12, 0), "sm_120", True),
        ((10, 3), "sm_100", True), ((10, 3), "sm_100a", False), ((12, 0), "sm_90 sm_100", False), ((8, 0), "", False),
    ],
)  # fmt: skip
def test_for_which_gpus_a_build_has_code(capability: tuple[int, int], kernels: str, runs: bool) -> None:
    assert gpu_frameworks.has_code_for(capability, kernels.split()) is runs


# ---- A driver's library ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with libcuda and NVML for the loader."""
    folder = tmp_path_factory.mktemp("driver")
    nvidia.build(folder)
    return folder


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of this machine's GPUs and jobs is seen; packages may be put into `lib`."""
    for name in list(os.environ):
        if name.startswith(("SLURM_", "CUDA_", "DL4MIC_", "FAKE_")):
            monkeypatch.delenv(name)
    (tmp_path / "lib").mkdir()
    (tmp_path / "proof").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    monkeypatch.setattr(
        gpu_proof, "find_spec", lambda name: (tmp_path / "lib" / f"{name}.py").exists() or None
    )
    return tmp_path


def looked(driver: Path, **environment: str) -> Any:
    done = subprocess.run(
        [sys.executable, gpu_driver.__file__],
        env=os.environ | dict.fromkeys(LIBRARY_PATHS, str(driver)) | environment,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def test_the_drivers_library_is_asked(machine: Path, driver: Path) -> None:
    found = looked(driver, FAKE_COUNT="2", CUDA_VISIBLE_DEVICES="0,3")
    assert found["gpus"] == [A100, A100]
    assert (found["cuda"], found["visible"], found["library"], found["error"]) == ("12.2", "0,3", "", "")
    assert found["alone"] is False
    assert looked(driver, FAKE_MODE="3")["alone"] is True
    # The kernel module's own word comes first where this machine has one.
    assert found["driver"] == (gpu_driver.release() or "535.161.08")


def test_the_drivers_errors_are_named(machine: Path, driver: Path) -> None:
    assert looked(driver, FAKE_STATUS="999")["error"] == "CUDA_ERROR_UNKNOWN"
    assert looked(driver, FAKE_STATUS="77")["error"] == "CUDA error 77"
    assert "libcuda.so.1" in looked(machine)["library"]


@pytest.mark.parametrize(
    "text",
    [
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.161.08  Sat Feb 17 22:55:48 UTC 2024\nGCC version:\n",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  535.161.08  Release Build  (a@b)\n",
    ],
)
def test_the_release_of_the_kernel_module(tmp_path: Path, text: str) -> None:
    (tmp_path / "version").write_text(text)
    assert gpu_driver.release(str(tmp_path / "version")) == "535.161.08"


# ---- Frameworks ------------------------------------------------------------------------------------------------------

TORCH = """\
import os
__version__ = "2.1.0"
class version: cuda, hip = {cuda!r}, None
class Tensor:
    def __init__(self, rows): self.rows = rows
    def __matmul__(self, other):
        if {fails!r}: raise RuntimeError({fails!r})
        return Tensor([[sum(a * b for a, b in zip(r, c)) + {off} for c in zip(*other.rows)] for r in self.rows])
    def cpu(self): return self
    def tolist(self): return self.rows
def tensor(rows, device): return Tensor(rows)
class cuda:
    @staticmethod
    def init():
        if {init!r}: raise RuntimeError({init!r} + "\\nmore")
    device_count = staticmethod(lambda: {count})
    get_device_capability = staticmethod(lambda number: (9, 0))
    get_arch_list = staticmethod(lambda: {kernels!r})
"""
TENSORFLOW = """\
import os, sys
assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
print("a log line")
sys.stderr.write({said!r})
__version__ = "2.12.0"
class EagerTensor:
    def __init__(self, rows): self.rows, self.device = rows, "/job:localhost/device:{device}:0"
    def numpy(self): return self
    def tolist(self): return self.rows
constant = EagerTensor
def matmul(left, right):
    assert config.soft is False, "it would fall back to the processor"
    return EagerTensor([[sum(a * b for a, b in zip(r, c)) for c in zip(*right.rows)] for r in left.rows])
class device:
    def __init__(self, name): assert name.startswith("/GPU:")
    def __enter__(self): pass
    def __exit__(self, *problem): pass
class config:
    soft = True
    @staticmethod
    def set_soft_device_placement(on): config.soft = on
    list_physical_devices = staticmethod(lambda kind: [kind] * {count})
    class experimental:
        get_device_details = staticmethod(lambda gpu: {{"compute_capability": (8, 0)}})
class sysconfig:
    get_build_info = staticmethod(lambda: {{"is_cuda_build": {built}, "cuda_version": "99.0", "cudnn_version": "8"}})
"""
TENSORFLOW_1 = """\
__version__ = "1.15.0"
class config: pass
class test: is_built_with_cuda = staticmethod(lambda: True)
class sysconfig: pass
class device:
    def __init__(self, name): assert name == "/device:GPU:0"
    def __enter__(self): pass
    def __exit__(self, *problem): pass
constant = list
class Product:
    def __init__(self, rows): self.rows = rows
    def tolist(self): return self.rows
def matmul(left, right): return Product([[sum(a * b for a, b in zip(r, c)) for c in zip(*right)] for r in left])
def GPUOptions(allow_growth): assert allow_growth
def ConfigProto(allow_soft_placement, gpu_options): assert not allow_soft_placement
class Session:
    def __init__(self, config): pass
    def __enter__(self): return self
    def __exit__(self, *problem): pass
    def run(self, product): return product
"""
DEVICES = """\
class gpu: device_type, name = "GPU", "/device:GPU:0"
class cpu: device_type, name = "CPU", "/device:CPU:0"
list_local_devices = lambda: [cpu, gpu]
"""


def torch(**values: Any) -> str:
    usual = {"cuda": "12.1", "fails": "", "off": 0, "init": "", "count": 1, "kernels": ["sm_80", "sm_90"]}
    return TORCH.format(**usual | values)


def tensorflow(**values: Any) -> str:
    return TENSORFLOW.format(**{"count": 1, "built": True, "device": "GPU", "said": ""} | values)


def package(machine: Path, name: str, source: str) -> None:
    (machine / "lib" / f"{name}.py").write_text(source, encoding="utf-8")


def proven(machine: Path, driver: Path, monkeypatch: pytest.MonkeyPatch, **keywords: Any) -> dict[str, Any]:
    """The verdict of both levels, with a driver and one allocated GPU."""
    for name in LIBRARY_PATHS:
        monkeypatch.setenv(name, str(driver))
    seen = gpu_proof._ask_driver

    def with_device() -> dict[str, Any] | None:
        facts = seen()
        return facts and {**facts, "devices": [0], "visible": "0", "driver": "535.161.08"}

    monkeypatch.setattr(gpu_proof, "_ask_driver", with_device)
    result = gpu_proof.prove(machine / "proof", **{"asked": 1} | keywords)
    assert json.loads((machine / "proof" / gpu_proof.VERDICT).read_text()) == result
    return result


@pytest.mark.parametrize(
    ("name", "source", "verdict", "framework", "reason"),
    [
        ("torch", torch(), "works", "PyTorch 2.1.0", ""),
        ("torch", torch(cuda=None), "cpu", "PyTorch 2.1.0", "PyTorch 2.1.0: it was built without CUDA"),
        ("torch", torch(init="Found no NVIDIA driver"), "cpu", "PyTorch 2.1.0", "PyTorch 2.1.0: Found no NVIDIA driver"),
        ("torch", torch(count=0), "cpu", "PyTorch 2.1.0", "PyTorch 2.1.0: it finds no GPU"),
        ("torch", torch(off=1), "cpu", "PyTorch 2.1.0",
         "PyTorch 2.1.0: cuda:0 computes wrongly: a product of two matrices is not what it should be"),
        ("torch", torch(fails="no kernel", kernels=["sm_70", "sm_86"]), "cpu", "PyTorch 2.1.0",
         "PyTorch 2.1.0: the GPU (compute capability 9.0) is newer than those that its CUDA 12.1 has code for: sm_70, sm_86"),
        ("torch", torch(fails="no kernel", kernels=["sm_100"]), "cpu", "PyTorch 2.1.0",
         "PyTorch 2.1.0: the GPU (compute capability 9.0) is another than those that its CUDA 12.1 has code for: sm_100"),
        ("torch", "raise ImportError('libcudnn.so.8: cannot open')", "cpu", "PyTorch",
         "PyTorch: it cannot be loaded: libcudnn.so.8: cannot open"),
        ("torch", "import os; os._exit(3)", "unproven", "PyTorch", "PyTorch: it gave no answer: exit code 3"),
        ("tensorflow", tensorflow(), "works", "TensorFlow 2.12.0", ""),
        ("tensorflow", tensorflow(built=False), "cpu", "TensorFlow 2.12.0",
         "TensorFlow 2.12.0: it was built without CUDA; install tensorflow[and-cuda] or a build with GPU support"),
        ("tensorflow", tensorflow(count=0), "cpu", "TensorFlow 2.12.0", "TensorFlow 2.12.0: it finds no GPU"),
        ("tensorflow", tensorflow(count=0, said=TF_SAYS), "cpu", "TensorFlow 2.12.0",
         "TensorFlow 2.12.0: it finds no GPU: libcudnn.so.8, libcublas.so.11 cannot be loaded"),
        ("tensorflow", tensorflow(device="CPU"), "cpu", "TensorFlow 2.12.0",
         "TensorFlow 2.12.0: it computed on /job:localhost/device:CPU:0"),
    ],
)  # fmt: skip
def test_a_framework_computes_or_says_why_not(
    machine: Path, driver: Path, monkeypatch: pytest.MonkeyPatch, name: str, source: str, verdict: str, framework: str,
    reason: str,
) -> None:  # fmt: skip
    package(machine, name, source)
    found = proven(machine, driver, monkeypatch, frameworks=(name,))
    assert (found["verdict"], found["framework"], found["reason"]) == (verdict, framework, reason)
    assert (found["level"], found["proving"], found["gpus"]) == ("framework", False, [A100["name"]])
    assert not {"torch", "tensorflow"} & set(sys.modules), "asked in another process"


def test_tensorflow_1_has_other_words(machine: Path, driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = machine / "lib" / "tensorflow" / "python" / "client"
    folder.mkdir(parents=True)
    (machine / "lib" / "tensorflow" / "__init__.py").write_text(TENSORFLOW_1)
    (folder / "device_lib.py").write_text(DEVICES)
    found = proven(machine, driver, monkeypatch, frameworks=("tensorflow",))
    assert (found["verdict"], found["framework"], found["reason"]) == ("works", "TensorFlow 1.15.0", "")


def test_libraries_that_tensorflow_does_not_name_are_looked_for(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip = machine / "lib" / "nvidia" / "cublas" / "lib"
    pip.mkdir(parents=True)
    (pip / "libcublas.so.12").touch()
    monkeypatch.setattr(gpu_frameworks, "_loads", lambda name: name == "libcudart.so.12")
    assert gpu_frameworks._not_there("12.5.1", "9") == [
        "libcufft.so.11", "libcusolver.so.11", "libcusparse.so.12", "libcudnn.so.9",
    ]  # fmt: skip
    assert gpu_frameworks._not_there("10.1", "7") == []


def test_named_frameworks_must_all_compute_and_of_unnamed_ones_one_is_enough(
    machine: Path, driver: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(machine, "torch", torch())
    package(machine, "tensorflow", tensorflow(count=0))
    both = proven(machine, driver, monkeypatch, frameworks=("tensorflow", "torch"))
    assert (both["verdict"], both["reason"]) == ("cpu", "TensorFlow 2.12.0: it finds no GPU")
    one = gpu_proof.prove(machine / "proof", asked=1)
    assert (one["verdict"], one["framework"], one["reason"]) == ("works", "PyTorch 2.1.0", "")


def test_without_a_framework_the_drivers_word_is_the_last(
    machine: Path, driver: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = proven(machine, driver, monkeypatch)
    assert (found["verdict"], found["level"], found["proving"]) == ("works", "driver", False)
    assert found["reason"] == gpu_proof.NO_FRAMEWORK
    monkeypatch.setenv("CUDA_VERSION", "13.0.1")
    assert gpu_proof.prove(machine / "proof", asked=1)["verdict"] == "cpu"
    monkeypatch.delenv("CUDA_VERSION")
    fewer = gpu_proof.prove(machine / "proof", asked=2)
    assert (fewer["verdict"], fewer["level"]) == ("fewer", "driver")


def test_fewer_gpus_than_asked_for_stay_fewer(
    machine: Path, driver: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(machine, "torch", torch())
    found = proven(machine, driver, monkeypatch, asked=2)
    assert (found["verdict"], found["reason"]) == (
        "fewer",
        "the driver finds 1 of the 2 GPUs that were asked for",
    )


def test_the_drivers_verdict_comes_first_and_the_provenance_has_the_last(
    machine: Path, driver: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(machine, "torch", torch())
    provenance = machine / "provenance.json"
    provenance.write_text('{"version": 1, "gpus": "1"}')
    written: list[Any] = []
    real = gpu_proof._write

    def write(folder: Path, result: dict[str, Any], where: Path | None) -> None:
        real(folder, result, where)
        written.append((json.loads((folder / gpu_proof.VERDICT).read_text()), (folder / "go").exists()))

    monkeypatch.setattr(gpu_proof, "_write", write)
    found = proven(machine, driver, monkeypatch, provenance=provenance)
    assert [(each["level"], each["verdict"], each["proving"], go) for each, go in written] == [
        ("driver", "works", True, False), ("framework", "works", False, True),
    ]  # fmt: skip
    told = json.loads(provenance.read_text())
    assert told["gpus"] == "1"
    assert told["gpu"] == {
        key: value for key, value in found.items() if key not in ("version", "key", "proving")
    }


def test_on_a_gpu_for_one_process_a_notebook_without_a_browser_waits_for_the_framework(
    machine: Path, driver: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_MODE", "3")
    package(
        machine,
        "torch",
        "import pathlib; assert not pathlib.Path("
        + repr(str(machine / "proof" / "go"))
        + ").exists()\n"
        + torch(),
    )
    assert proven(machine, driver, monkeypatch)["verdict"] == "works"


def test_what_has_computed_before_is_not_tried_again(
    machine: Path, driver: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(machine, "torch", torch())
    image = "0123456789abcdef" * 4
    first = proven(machine, driver, monkeypatch, image=image)
    assert (first["remembered"], first["key"][:17]) == (False, "0123456789abcdef-")
    kept = machine / "proof" / "remembered"
    kept.mkdir()
    (kept / f"{first['key']}.json").write_text(json.dumps(first))
    package(machine, "torch", "raise ImportError('asked again')")
    again = gpu_proof.prove(machine / "proof", asked=1, image=image)
    assert (again["verdict"], again["remembered"], again["framework"]) == ("works", True, "PyTorch 2.1.0")
    other = gpu_proof.prove(machine / "proof", asked=1, image="f" * 64)
    assert (other["verdict"], other["remembered"]) == ("cpu", False)
    # What did not compute is tried anew.
    (kept / f"{first['key']}.json").write_text(json.dumps(first | {"verdict": "cpu"}))
    assert gpu_proof.prove(machine / "proof", asked=1, image=image)["verdict"] == "cpu"


@pytest.mark.parametrize("how", ["FAKE_HANG", "FAKE_CRASH"])
def test_a_driver_that_hangs_or_crashes_is_not_waited_for(
    machine: Path, driver: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv(how, "1")
    monkeypatch.setattr(gpu_proof, "DRIVER_SECONDS", 1.0)
    found = proven(machine, driver, monkeypatch)
    assert (found["verdict"], found["proving"]) == ("unproven", False)
    assert found["reason"] == "the driver gave no answer within 1 s"


def test_a_framework_that_hangs_is_ended(
    machine: Path, driver: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(machine, "torch", "import threading; threading.Event().wait()")
    monkeypatch.setattr(gpu_proof, "FRAMEWORK_SECONDS", 0.5)
    found = proven(machine, driver, monkeypatch)
    assert (found["verdict"], found["reason"]) == (
        "unproven",
        "PyTorch: it gave no answer: it had to be ended after 0.5 s",
    )


def test_as_a_program_it_leaves_a_verdict(machine: Path) -> None:
    subprocess.run(
        [sys.executable, gpu_proof.__file__, machine / "proof", "--asked", "1", "--framework", "torch"],
        check=True,
    )
    found = json.loads((machine / "proof" / gpu_proof.VERDICT).read_text())
    assert (found["verdict"], found["reason"]) == ("cpu", "no GPU is allocated to it")
    assert (machine / "proof" / "go").exists()


# ---- In the notebook -------------------------------------------------------------------------------------------------

WORKS = {
    "version": 1, "level": "framework", "verdict": "works", "asked": 1, "gpus": [A100["name"]], "driver": "535.161.08",
    "framework": "PyTorch 2.1.0", "reason": "", "proving": False, "remembered": False, "key": "",
}  # fmt: skip
DRIVER = "Driver 535.161.08, NVIDIA A100-SXM4-40GB"
SLOW = (
    "Everything works, but training takes many times as long. End this session unless that is what you want."
)


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    gpu.check_gpu()
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        ({}, ["GPU: PyTorch 2.1.0 computes on NVIDIA A100-SXM4-40GB.", DRIVER]),
        ({"remembered": True},
         ["GPU: PyTorch 2.1.0 computes on NVIDIA A100-SXM4-40GB, as it did before on such a GPU with this driver.", DRIVER]),
        ({"verdict": "cpu", "reason": "it finds no GPU"},
         ["GPU: This session computes on the CPU: it finds no GPU.", DRIVER, SLOW]),
        ({"verdict": "fewer", "reason": "1 of 2"},
         ["GPU: This session computes on fewer GPUs than it should: 1 of 2.", DRIVER]),
        ({"verdict": "unproven", "reason": "no answer"},
         ["GPU: Whether this session computes on its GPU is not known: no answer.", DRIVER]),
        ({"verdict": "simulated", "reason": gpu_proof.SIMULATED, "gpus": []},
         ["GPU: SIMULATED: not computed. This is the practice cluster: everything runs on the CPU."]),
        ({"level": "driver", "framework": "", "reason": gpu_proof.NO_FRAMEWORK},
         ["GPU: The driver answers for NVIDIA A100-SXM4-40GB; " + gpu_proof.NO_FRAMEWORK + ".", DRIVER]),
    ],
)  # fmt: skip
def test_the_notebook_reads_the_sessions_proof(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, found: dict[str, Any],
    lines: list[str],
) -> None:  # fmt: skip
    (machine / "proof" / gpu_proof.VERDICT).write_text(json.dumps(WORKS | found))
    monkeypatch.setenv(gpu.PROOF, str(machine / "proof"))
    monkeypatch.setattr(subprocess, "Popen", None)  # it asks nobody
    assert said(capsys) == lines


def test_the_notebook_waits_for_a_proof_that_goes_on(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = machine / "proof" / gpu_proof.VERDICT
    place.write_text(json.dumps(WORKS | {"level": "driver", "proving": True}))
    monkeypatch.setenv(gpu.PROOF, str(machine / "proof"))
    monkeypatch.setattr(time, "sleep", lambda seconds: place.write_text(json.dumps(WORKS)))
    assert said(capsys) == [
        "GPU: being tried out; this takes up to 180 s after the start …",
        "GPU: PyTorch 2.1.0 computes on NVIDIA A100-SXM4-40GB.", DRIVER,
    ]  # fmt: skip


def test_the_notebook_waits_for_no_proof_for_ever(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(gpu.PROOF, str(machine / "proof"))
    monkeypatch.setattr(gpu_proof, "FRAMEWORK_SECONDS", 0.0)
    monkeypatch.setattr(gpu_proof, "DRIVER_SECONDS", 0.0)
    assert said(capsys)[-1] == "GPU: nothing is known; the proof that the session began has left no word."


def test_a_session_without_a_gpu(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        gpu.PROOF: "none", "SLURM_JOB_ID": "42", "SLURM_JOB_NODELIST": "gpu1",
        "SLURM_JOB_END_TIME": str(int(time.time()) + 2 * 3600 + 5 * 60 + 30),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    assert said(capsys) == [
        "Job 42 on gpu1",
        "Time left: 2 h 05 min",
        "GPU: NONE. Everything works, but training takes many times as long.",
        "For a GPU, end this session and launch it again with -g 1.",
    ]


def test_outside_a_session_the_proof_is_made_there(
    machine: Path, driver: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    package(machine, "torch", torch())
    proven(machine, driver, monkeypatch)
    assert said(capsys)[:2] == [
        "GPU: being tried out …",
        "GPU: PyTorch 2.1.0 computes on NVIDIA A100-SXM4-40GB.",
    ]


def test_a_check_that_fails_stops_no_notebook(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_proof, "prove", None)
    assert said(capsys)[-1] == "The GPU could not be checked: 'NoneType' object is not callable"
