"""Says in plain words which GPUs this session has, and whether TensorFlow or PyTorch sees them. Python 3.7 syntax only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from typing import Iterator

from .plain import say

_SMI = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
_SMI_SECONDS = 10
_FRAMEWORK_SECONDS = 120

# Each runs in a process of its own, so that no memory of the GPU stays taken, and ends with a line of JSON: version, GPUs.
_FRAMEWORKS = {
    "tensorflow": (
        "TensorFlow",
        "import json, tensorflow as tf\n"
        "try: found = [d.name for d in tf.config.list_physical_devices('GPU')]\n"
        "except AttributeError:\n"  # TensorFlow 1
        "    from tensorflow.python.client import device_lib\n"
        "    found = [d.name for d in device_lib.list_local_devices() if d.device_type == 'GPU']\n"
        "print(json.dumps([tf.__version__, len(found)]))",
    ),
    "torch": (
        "PyTorch",
        "import json, torch\n"
        "print(json.dumps([torch.__version__, torch.cuda.device_count() if torch.cuda.is_available() else 0]))",
    ),
}


def check_gpu() -> None:
    """Prints what there is; never an error, so that a notebook goes on without a GPU."""
    try:
        for line in _findings():
            say(line)
    except Exception as problem:
        say(f"The GPU could not be checked: {problem}")


def _findings() -> Iterator[str]:
    yield from _job()
    if os.environ.get("DL4MIC_SIMULATED", "0") not in ("", "0"):
        yield "GPU: SIMULATED. This is the practice cluster: nothing is computed on a GPU, training is slow."
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = _nvidia()
    if not gpus or visible in ("", "-1", "NoDevFiles"):
        yield "GPU: NONE. Everything works, but training takes many times as long."
        yield "For a GPU, end this session and launch it again with -g 1."
        return
    for gpu in gpus:
        yield f"GPU: {gpu}"
    if visible is not None:
        yield f"Of this node's GPUs this session uses: {visible}"
    present = [name for name in _FRAMEWORKS if find_spec(name) is not None]
    if not present:
        yield "Neither TensorFlow nor PyTorch is in this image, so whether they see the GPU was not asked."
    for name in present:
        yield _seen_by(name)


def _job() -> Iterator[str]:
    job, node = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_JOB_NODELIST")
    if job:
        yield f"Job {job} on {node}" if node else f"Job {job}"
    end = os.environ.get("SLURM_JOB_END_TIME", "")
    if end.isdigit():
        minutes = max(0, int(end) - int(time.time())) // 60
        yield "Time left: {} h {:02d} min".format(*divmod(minutes, 60))


def _nvidia() -> list[str]:
    """Name, memory and driver of every GPU; empty without a driver."""
    try:
        answer = subprocess.run(
            _SMI,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=_SMI_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    if answer.returncode:
        return []
    rows = [[part.strip() for part in line.split(",")] for line in answer.stdout.splitlines()]
    return ["{}, {}, driver {}".format(*row) for row in rows if len(row) == 3]


def _seen_by(module: str) -> str:
    name, program = _FRAMEWORKS[module]
    environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", TF_FORCE_GPU_ALLOW_GROWTH="true")
    try:
        answer = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            env=environment,
            timeout=_FRAMEWORK_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"{name} did not say within {_FRAMEWORK_SECONDS} s whether it sees the GPU."
    if answer.returncode:
        reason = (answer.stderr.strip().splitlines() or ["no reason given"])[-1]
        return f"{name} cannot be loaded: {reason}"
    version, count = json.loads(answer.stdout.splitlines()[-1])
    if not count:
        return f"{name} {version} does NOT see the GPU: it may have been built for another CUDA, and computes on the CPU."
    return f"{name} {version} sees {count} GPU{'s' if count > 1 else ''}."
