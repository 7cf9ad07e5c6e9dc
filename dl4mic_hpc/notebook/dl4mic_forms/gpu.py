"""Says in plain words, in the notebook, which GPUs this session has and whether its software computes on them.

The session's job has a proof of its own running since its start (gpu_proof.py); here its words are read, and only
where there is none, outside a session, is it made. Python 3.7 syntax only.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any, Iterator

from . import gpu_proof
from .plain import say

PROOF = "DL4MIC_GPU_PROOF"
"""The folder of the session's proof; "none" in a session that asked for no GPU."""

_PAUSE = 0.2


def check_gpu() -> None:
    """Prints what there is; never an error, so that a notebook goes on without a GPU."""
    try:
        for line in _findings():
            say(line)
    except Exception as problem:
        say(f"The GPU could not be checked: {problem}")


def _findings() -> Iterator[str]:
    yield from _job()
    place = os.environ.get(PROOF, "")
    if place == "none":
        yield "GPU: NONE. Everything works, but training takes many times as long."
        yield "For a GPU, end this session and launch it again with -g 1."
        return
    if place:
        found = _read(Path(place))
        if found is None or found["proving"]:
            yield f"GPU: being tried out; this takes up to {gpu_proof.FRAMEWORK_SECONDS:.0f} s after the start …"
            found = _wait(Path(place))
    else:
        yield "GPU: being tried out …"
        with tempfile.TemporaryDirectory() as folder:
            found = gpu_proof.prove(Path(folder), asked=1)
    yield from _words(found)


def _words(found: dict[str, Any] | None) -> Iterator[str]:
    if found is None:
        yield "GPU: nothing is known; the proof that the session began has left no word."
        return
    told = gpu_proof.sentence(found)
    yield "GPU: " + told[0].upper() + told[1:] + ("" if told.endswith(".") else ".")
    if found["gpus"]:
        yield "Driver {}, {}".format(found["driver"] or "of unknown release", ", ".join(found["gpus"]))
    if found["verdict"] == "cpu":
        yield "Everything works, but training takes many times as long. End this session unless that is what you want."


def _job() -> Iterator[str]:
    job, node = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_JOB_NODELIST")
    if job:
        yield f"Job {job} on {node}" if node else f"Job {job}"
    end = os.environ.get("SLURM_JOB_END_TIME", "")
    if end.isdigit():
        minutes = max(0, int(end) - int(time.time())) // 60
        yield "Time left: {} h {:02d} min".format(*divmod(minutes, 60))


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / gpu_proof.VERDICT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _wait(folder: Path) -> dict[str, Any] | None:
    """The last verdict, or the first one where the last never comes."""
    end = time.monotonic() + gpu_proof.FRAMEWORK_SECONDS + gpu_proof.DRIVER_SECONDS
    while True:
        found = _read(folder)
        if (found is not None and not found["proving"]) or time.monotonic() >= end:
            return found
        time.sleep(_PAUSE)
