"""Asks the GPU's driver itself what there is: no framework, no CUDA toolkit, no context on a GPU.

    python gpu_driver.py

prints one line of JSON. A process of its own, because a broken driver may crash or never answer. The calls are those
of the CUDA Driver API (https://docs.nvidia.com/cuda/cuda-driver-api/) and of NVML
(https://docs.nvidia.com/deploy/nvml-api/). Standard library and Python 3.7 syntax only.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
from pathlib import Path
from typing import Any

_COMPUTE_MODE, _MAJOR, _MINOR = 20, 75, 76
"""CUdevice_attribute."""
_ONE_PROCESS = (1, 3)
"""CUcomputemode: exclusive (an old one) and exclusive process; 2 is prohibited."""


def look() -> dict[str, Any]:
    """What the driver says.

    `devices`: numbers of the device files. `visible`: CUDA_VISIBLE_DEVICES, None where it is not set. `library`: why
    libcuda cannot be loaded, "" if it can. `error`: CUDA's name of what failed. `cuda`: the newest CUDA that the
    driver knows. `alone`: a GPU that only one process may use at a time. Memory in MiB.
    """
    found: dict[str, Any] = {
        "devices": sorted(
            int(one.name[6:]) for one in Path("/dev").iterdir() if re.match(r"nvidia\d+$", one.name)
        ),
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "driver": release(),
        "library": "",
        "error": "",
        "cuda": "",
        "alone": False,
        "gpus": [],
    }
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as problem:
        found["library"] = " ".join(str(problem).split())
        return found
    _ask(cuda, found)
    return found


def _ask(cuda: Any, found: dict[str, Any]) -> None:
    number = ctypes.c_int()
    if cuda.cuDriverGetVersion(ctypes.byref(number)) == 0:
        found["cuda"] = f"{number.value // 1000}.{number.value % 1000 // 10}"
    status = cuda.cuInit(0)
    if status == 0:
        status = cuda.cuDeviceGetCount(ctypes.byref(number))
    if status:
        found["error"] = _name(cuda, status)
        return
    for ordinal in range(number.value):
        device, text, size = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_size_t()
        status = (
            cuda.cuDeviceGet(ctypes.byref(device), ordinal)
            or cuda.cuDeviceGetName(text, len(text), device)
            or cuda.cuDeviceTotalMem_v2(ctypes.byref(size), device)
        )
        if status:
            found["error"] = _name(cuda, status)
            return
        major, minor, mode = (_attribute(cuda, which, device) for which in (_MAJOR, _MINOR, _COMPUTE_MODE))
        found["alone"] = found["alone"] or mode in _ONE_PROCESS
        found["gpus"].append({
            "name": text.value.decode("utf-8", "replace"),
            "capability": f"{major}.{minor}",
            "memory": size.value // 1024**2,
        })  # fmt: skip


def _attribute(cuda: Any, which: int, device: Any) -> int:
    value = ctypes.c_int()
    return int(value.value) if cuda.cuDeviceGetAttribute(ctypes.byref(value), which, device) == 0 else -1


def _name(cuda: Any, status: int) -> str:
    text = ctypes.c_char_p()
    if cuda.cuGetErrorName(status, ctypes.byref(text)) == 0 and text.value:
        return text.value.decode("ascii", "replace")
    return f"CUDA error {status}"


def release(proc: str = "/proc/driver/nvidia/version") -> str:
    """The driver's release, such as "535.161.08"; "" without one. The kernel module's word, else NVML's."""
    try:
        said = re.search(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s", Path(proc).read_text(encoding="utf-8"))
    except OSError:
        said = None
    if said:
        return said.group(1)
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        text = ctypes.create_string_buffer(80)
        if nvml.nvmlInit_v2() == 0 and nvml.nvmlSystemGetDriverVersion(text, len(text)) == 0:
            return text.value.decode("ascii", "replace")
    except (OSError, AttributeError):
        pass
    return ""


if __name__ == "__main__":
    print(json.dumps(look()))  # noqa: T201
