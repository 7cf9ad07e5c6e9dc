"""Lets TensorFlow or PyTorch compute on every GPU, and says why where it does not.

    python gpu_frameworks.py tensorflow|torch

prints one line of JSON, the last: version, CUDA, GPUs computed on, reason. A process of its own, so that no memory of
a GPU stays taken and a framework that crashes takes nothing with it. Its standard error has the framework's own words.
Standard library and Python 3.7 syntax only, but for the framework itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import re
import sys
from pathlib import Path
from typing import Any, Callable, Iterable

SIZE = 64
"""Rows of the matrices. Their numbers are whole and small: the product is exact, also in TF32."""

_LIBRARIES = {
    "11": (
        "libcudart.so.11.0",
        "libcublas.so.11",
        "libcufft.so.10",
        "libcusolver.so.11",
        "libcusparse.so.11",
    ),
    "12": ("libcudart.so.12", "libcublas.so.12", "libcufft.so.11", "libcusolver.so.11", "libcusparse.so.12"),
}
"""What TensorFlow opens by name (its third_party tsl/cuda/*_stub.cc), by CUDA's major version; cuDNN beside it."""


_KERNEL = re.compile(r"(?:sm|compute)_(\d+)(\d)([a-z]?)$")


def matrices() -> tuple[list[list[float]], list[list[float]]]:
    left = [[float((row * 7 + column * 3) % 11 - 5) for column in range(SIZE)] for row in range(SIZE)]
    right = [[float((row * 5 + column * 2) % 13 - 6) for column in range(SIZE)] for row in range(SIZE)]
    return left, right


def tensorflow() -> dict[str, Any]:
    """TensorFlow 1.x and 2.x."""
    import tensorflow as tf

    found = _found("TensorFlow", tf.__version__)
    built: dict[str, Any] = {}
    with contextlib.suppress(AttributeError):  # before 2.3
        built = dict(tf.sysconfig.get_build_info())
    found["cuda"] = str(built.get("cuda_version") or "")
    if not (built["is_cuda_build"] if "is_cuda_build" in built else tf.test.is_built_with_cuda()):
        found["reason"] = (
            "it was built without CUDA; install tensorflow[and-cuda] or a build with GPU support"
        )
        return found
    names = _tensorflow_gpus(tf)
    if not names:
        missing = _not_there(found["cuda"], str(built.get("cudnn_version") or ""))
        found["reason"] = "it finds no GPU" + (f": {', '.join(missing)} cannot be loaded" if missing else "")
        return found
    left, right = matrices()
    kernels = list(built.get("cuda_compute_capabilities") or ())
    _compute(
        found,
        names,
        lambda name: _tensorflow_product(tf, name, left, right),
        kernels,
        lambda name: _capability(tf, name),
    )
    return found


def _capability(tf: Any, where: str) -> tuple[int, int] | None:
    gpu = tf.config.list_physical_devices("GPU")[int(where.split(":")[1])]
    found = tf.config.experimental.get_device_details(gpu).get("compute_capability")
    return (int(found[0]), int(found[1])) if found else None


def _tensorflow_gpus(tf: Any) -> list[str]:
    try:
        return [f"/GPU:{number}" for number, _ in enumerate(tf.config.list_physical_devices("GPU"))]
    except AttributeError:  # TensorFlow 1
        from tensorflow.python.client import device_lib

        return [one.name for one in device_lib.list_local_devices() if one.device_type == "GPU"]


def _tensorflow_product(tf: Any, where: str, left: Any, right: Any) -> Any:
    if hasattr(tf, "Session"):  # TensorFlow 1
        with tf.device(where):
            product = tf.matmul(tf.constant(left), tf.constant(right))
        options = tf.GPUOptions(allow_growth=True)
        with tf.Session(config=tf.ConfigProto(allow_soft_placement=False, gpu_options=options)) as session:
            return session.run(product).tolist()
    tf.config.set_soft_device_placement(False)
    with tf.device(where):
        product = tf.matmul(tf.constant(left), tf.constant(right))
    if "GPU" not in product.device.upper():
        raise RuntimeError(f"it computed on {product.device}")
    return product.numpy().tolist()


def _not_there(cuda: str, cudnn: str) -> list[str]:
    """The libraries of CUDA and cuDNN that are neither on the loader's path nor among pip's packages."""
    names = list(_LIBRARIES.get(cuda.split(".")[0], ()))
    if names and cudnn:
        names.append("libcudnn.so.{}".format(cudnn.split(".")[0]))
    return [name for name in names if not _loads(name) and not _from_pip(name)]


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _from_pip(name: str) -> bool:
    return any(True for folder in sys.path for _ in Path(folder or ".").glob("nvidia/*/lib/" + name))


def torch() -> dict[str, Any]:
    """PyTorch."""
    import torch as pytorch

    found = _found("PyTorch", pytorch.__version__)
    found["cuda"] = str(pytorch.version.cuda or "")
    if getattr(pytorch.version, "hip", None):
        found["reason"] = "it was built for AMD's GPUs"
        return found
    if not found["cuda"]:
        found["reason"] = "it was built without CUDA"
        return found
    try:
        pytorch.cuda.init()
        count = pytorch.cuda.device_count()
    except Exception as problem:
        found["reason"] = _first_line(problem)
        return found
    if not count:
        found["reason"] = "it finds no GPU"
        return found
    left, right = matrices()
    kernels = list(getattr(pytorch.cuda, "get_arch_list", list)())

    def product(where: str) -> Any:
        a, b = (pytorch.tensor(rows, device=where) for rows in (left, right))
        return (a @ b).cpu().tolist()

    def capability(where: str) -> tuple[int, int]:
        major, minor = pytorch.cuda.get_device_capability(int(where.split(":")[1]))
        return major, minor

    _compute(found, [f"cuda:{number}" for number in range(count)], product, kernels, capability)
    return found


def has_code_for(capability: tuple[int, int], kernels: Iterable[str]) -> bool:
    """Whether a build for these runs there: sm_XY on the same X from Y on, compute_XY (PTX) on all from XY on.

    Source: https://docs.nvidia.com/cuda/blackwell-compatibility-guide/. sm_90a is for 9.0 alone.
    """
    for kernel in kernels:
        said = _KERNEL.match(kernel)
        if not said:
            continue
        built = (int(said.group(1)), int(said.group(2)))
        if said.group(3):
            runs = built == capability
        elif kernel.startswith("compute"):
            runs = built <= capability
        else:
            runs = built[0] == capability[0] and built[1] <= capability[1]
        if runs:
            return True
    return False


def _found(name: str, version: Any) -> dict[str, Any]:
    return {"name": name, "version": str(version), "cuda": "", "computed": 0, "reason": ""}


def _compute(
    found: dict[str, Any],
    where: list[str],
    product: Callable[[str], Any],
    kernels: list[str],
    capability: Callable[[str], tuple[int, int] | None],
) -> None:
    """Counts the GPUs whose product is that of plain Python; the first one that fails says why."""
    left, right = matrices()
    columns = list(zip(*right))
    expected = [[sum(a * b for a, b in zip(row, column)) for column in columns] for row in left]
    for name in where:
        try:
            if product(name) != expected:
                found["reason"] = (
                    f"{name} computes wrongly: a product of two matrices is not what it should be"
                )
                return
        except Exception as problem:
            found["reason"] = _no_code(found["cuda"], kernels, capability, name) or _first_line(problem)
            return
        found["computed"] += 1


def _no_code(
    cuda: str, kernels: list[str], capability: Callable[[str], tuple[int, int] | None], where: str
) -> str:
    """That it was built for other GPUs than this one; "" if it was built for it, or nothing is known of that."""
    try:
        this = capability(where) if kernels else None
    except Exception:
        this = None
    if this is None or has_code_for(this, kernels):
        return ""
    known = [(int(each.group(1)), int(each.group(2))) for each in map(_KERNEL.match, kernels) if each]
    newer = "newer than" if known and this > max(known) else "another than"
    return (
        f"the GPU (compute capability {this[0]}.{this[1]}) is {newer} those that its CUDA {cuda} has code for: "
        + ", ".join(kernels)
    )


def _first_line(problem: BaseException) -> str:
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(problem).__name__


def main(name: str) -> None:
    """A framework that cannot even be imported is an answer too."""
    try:
        answer = {"tensorflow": tensorflow, "torch": torch}[name]()
    except Exception as problem:
        answer = _found({"tensorflow": "TensorFlow", "torch": "PyTorch"}[name], "")
        answer["reason"] = "it cannot be loaded: " + _first_line(problem)
    print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    # This file's folder comes first there, and its neighbours are not meant to be anybody's modules.
    del sys.path[0]
    main(sys.argv[1])
