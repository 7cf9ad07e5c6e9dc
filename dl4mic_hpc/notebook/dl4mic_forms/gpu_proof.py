"""Does this session compute on its GPUs? Asked inside the image, beside JupyterLab's own start.

    python gpu_proof.py FOLDER --asked 1 [--framework torch] [--image ID] [--provenance FILE] [--simulated]

Two levels. The driver first: its library answers, and counts the GPUs that were asked for (`DRIVER_SECONDS`). Then
the framework, in a process of its own: it computes on every GPU (`FRAMEWORK_SECONDS`). After each the verdict is
written to FOLDER/verdict.json, one line that a reader sees whole or not at all; FOLDER/go then says that a notebook
without a browser may begin. What a framework has proven before lies in FOLDER/remembered and is not tried again.
Standard library and Python 3.7 syntax only.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Mapping, Sequence

DRIVER_SECONDS = 1.5
FRAMEWORK_SECONDS = 180.0
FRAMEWORKS = {"tensorflow": "TensorFlow", "torch": "PyTorch"}
VERDICT = "verdict.json"
NO_FRAMEWORK = "neither TensorFlow nor PyTorch is in the image, so only the driver was asked"
SIMULATED = "SIMULATED: not computed"

_NOTHING_VISIBLE = ("", "-1", "NoDevFiles")
_TAKEN = re.compile(
    r"busy or unavailable|DEVICE_UNAVAILABLE|out of memory|OUT_OF_MEMORY|ResourceExhausted", re.I
)
_OLD_DRIVER = re.compile(r"driver on your system is too old|driver version is insufficient", re.I)
_NO_CODE = re.compile(r"no kernel image is available|INVALID_PTX|UNSUPPORTED_PTX|no binary for GPU", re.I)
_LIBRARY = re.compile(r"Could not load dynamic library '([^']+)'")
_WITHOUT_NV = "Apptainer was started without --nv, or the node has no NVIDIA driver"
_ERRORS = {
    "CUDA_ERROR_NO_DEVICE": "the driver finds no GPU",
    "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH": "the driver's library and its kernel module are of different releases; "
    "the node has to be restarted by its administrators",
    "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE": "the image brings a driver library of its own, which this GPU does not take",
    "CUDA_ERROR_STUB_LIBRARY": "the image brings a stand-in for the driver's library, which is found first",
    "CUDA_ERROR_DEVICE_UNAVAILABLE": "another program has the GPU for itself",
}
"""Codes of the CUDA Driver API, in words."""


def judge(
    facts: Mapping[str, Any] | None, *, asked: int, image_cuda: str = "", simulated: bool = False
) -> tuple[str, str]:
    """Verdict and reason of the first level; facts as `gpu_driver.look` gives them, None where no answer came.

    "works": go on to the framework. "fewer": than asked for, go on too. "unproven": only the framework can tell.
    "cpu": no framework will find a GPU. "simulated": there is nothing to compute on.
    """
    if facts is None:
        return "unproven", f"the driver gave no answer within {DRIVER_SECONDS:g} s"
    visible = facts["visible"]
    named = None if visible is None else [word for word in visible.split(",") if word.strip()]
    if simulated:
        there = [word for word in named or () if word.isdigit() and int(word) in facts["devices"]]
        right = len(there) == asked
        return "simulated", SIMULATED + (
            "" if right else f"; of {_gpus(asked)} only {len(there)} can be seen"
        )
    if visible in _NOTHING_VISIBLE or (visible is None and not facts["devices"]):
        return "cpu", "no GPU is allocated to it"
    if not facts["devices"]:
        return "cpu", "the GPU's device files are not in the container: " + _WITHOUT_NV
    if facts["library"]:
        return "cpu", "the driver's library libcuda.so.1 is missing: " + _WITHOUT_NV
    count = len(facts["gpus"])
    if facts["error"] or not count:
        words = _ERRORS.get(facts["error"], "the driver finds no GPU")
        return "cpu", words + (" ({})".format(facts["error"]) if facts["error"] else "")
    if _version(facts["cuda"])[:1] < _version(image_cuda)[:1]:
        return "unproven", _old_driver(facts, f"the image has CUDA {image_cuda}")
    # CUDA shows one MIG slice per process, however many there are.
    if count < asked and not any(" MIG " in one["name"] for one in facts["gpus"]):
        return "fewer", f"the driver finds {count} of the {_gpus(asked)} that were asked for"
    return "works", ""


def judge_framework(answer: Mapping[str, Any] | None, said: str, facts: Mapping[str, Any]) -> tuple[str, str]:
    """Verdict and reason of the second level.

    answer: what `gpu_frameworks` prints, None where it never came; said: the framework's own words.
    """
    if answer is None:
        return "unproven", "it gave no answer: " + said.strip().splitlines()[-1][:300]
    count = len(facts.get("gpus") or ()) or 1
    if answer["computed"] >= count and not answer["reason"]:
        return "works", ""
    reason = answer["reason"] or "it computes on {} of {}".format(answer["computed"], _gpus(count))
    # Only where it found no GPU: what TensorFlow tries in vain beside a GPU that works is no reason.
    words = reason if answer["computed"] else reason + "\n" + said
    if _TAKEN.search(words):
        return "unproven", "the GPU was taken by another program, perhaps this notebook itself: " + reason
    if _OLD_DRIVER.search(words):
        reason = _old_driver(facts, "it needs CUDA {}".format(answer["cuda"] or "of a newer series"))
    elif _NO_CODE.search(words):
        reason = "it has no code for this GPU (its CUDA is {}): {}".format(answer["cuda"], reason)
    elif not answer["computed"] and _LIBRARY.search(said):
        reason = "it finds no GPU: {} cannot be loaded".format(
            ", ".join(dict.fromkeys(_LIBRARY.findall(said)))
        )
    return ("fewer" if answer["computed"] else "cpu"), reason


def sentence(found: Mapping[str, Any]) -> str:
    """A verdict in words, the same for terminal and notebook."""
    verdict, reason = found["verdict"], found["reason"]
    if verdict == "simulated":
        return f"{reason}. This is the practice cluster: everything runs on the CPU."
    if verdict == "cpu":
        return f"this session computes on the CPU: {reason}"
    if verdict == "fewer":
        return f"this session computes on fewer GPUs than it should: {reason}"
    if verdict == "unproven":
        now = "; it is being tried" if found["proving"] else ""
        return f"whether this session computes on its GPU is not known: {reason}{now}"
    where = ", ".join(found["gpus"])
    if found["level"] == "framework":
        again = ", as it did before on such a GPU with this driver" if found["remembered"] else ""
        return "{} computes on {}{}".format(found["framework"], where, again)
    now = "whether the notebook's software computes on it is being tried" if found["proving"] else reason
    return f"the driver answers for {where}; {now}"


def prove(
    folder: Path,
    *,
    asked: int,
    frameworks: Sequence[str] = (),
    image: str = "",
    provenance: Path | None = None,
    simulated: bool = False,
) -> dict[str, Any]:
    """Both levels; the last verdict. frameworks: those that have to compute, all that are installed if none is named."""
    facts = _ask_driver()
    verdict, reason = judge(
        facts, asked=asked, image_cuda=os.environ.get("CUDA_VERSION", ""), simulated=simulated
    )
    found = facts or {"gpus": [], "driver": "", "alone": False}
    result: dict[str, Any] = {
        "version": 1,
        "level": "driver",
        "verdict": verdict,
        "asked": asked,
        "gpus": [one["name"] for one in found["gpus"]],
        "driver": found["driver"],
        "framework": "",
        "reason": reason,
        "proving": False,
        "remembered": False,
        "key": _key(image, found),
    }
    if verdict in ("works", "fewer", "unproven"):
        known = _remembered(folder, result["key"])
        names = [name for name in frameworks or FRAMEWORKS if frameworks or find_spec(name) is not None]
        if verdict == "works" and known:
            result.update(level="framework", framework=known, remembered=True)
        elif names:
            result["proving"] = True
        elif verdict == "unproven":
            result["verdict"] = "cpu" if facts else "unproven"
        else:
            result["reason"] = reason or NO_FRAMEWORK
    _write(folder, result, provenance)
    if not (result["proving"] and found["alone"]):
        (folder / "go").touch()
    if result["proving"]:
        _write(folder, _with_frameworks(result, names, found, all_of_them=bool(frameworks)), provenance)
    return result


def _with_frameworks(
    result: dict[str, Any], names: Sequence[str], facts: Mapping[str, Any], *, all_of_them: bool
) -> dict[str, Any]:
    """The result with the frameworks' verdict: the worst of those that are named, the best of those that are there."""
    asked, end = [], time.monotonic() + FRAMEWORK_SECONDS
    for name in names:
        answer, said = _ask_framework(name, end - time.monotonic())
        verdict, reason = judge_framework(answer, said, facts)
        told = "{} {}".format(FRAMEWORKS[name], answer["version"] if answer else "").strip()
        asked.append((("works", "fewer", "unproven", "cpu").index(verdict), verdict, told, reason))
    _, verdict, told, reason = (max if all_of_them else min)(asked, key=lambda one: one[0])
    if verdict != "works":
        reason = f"{told}: {reason}"
    elif result["verdict"] == "fewer":
        verdict, reason = "fewer", result["reason"]
    worked = [one[2] for one in asked if one[1] == "works"]
    result.update(
        level="framework",
        verdict=verdict,
        reason=reason,
        proving=False,
        framework=", ".join(worked or [told]),
    )
    return result


def _ask_driver() -> dict[str, Any] | None:
    # Without site-packages it starts in half the time.
    code, out, _ = _run(["-I", "-S", str(Path(__file__).with_name("gpu_driver.py"))], DRIVER_SECONDS)
    return _last_object(out) if code == 0 else None


def _ask_framework(name: str, seconds: float) -> tuple[dict[str, Any] | None, str]:
    environment = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "TF_CPP_MIN_LOG_LEVEL": "0"}
    program = str(Path(__file__).with_name("gpu_frameworks.py"))
    code, out, said = _run([program, name], seconds, environment)
    if code is None:
        return None, f"it had to be ended after {FRAMEWORK_SECONDS:g} s"
    return _last_object(out), said.strip() or f"exit code {code}"


def _run(
    words: Sequence[str], seconds: float, environment: Mapping[str, str] | None = None
) -> tuple[int | None, str, str]:
    """A Python of its own: its exit code (None if it had to be ended), what it printed and what it complained of."""
    process = subprocess.Popen(
        [sys.executable, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ, **(environment or {})),
    )
    try:
        out, said = process.communicate(timeout=max(seconds, 0))
    except subprocess.TimeoutExpired:
        process.kill()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()
        # A process that hangs in the driver does not even end when it is killed.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
        return None, "", ""
    return process.returncode, out.decode("utf-8", "replace"), said.decode("utf-8", "replace")


def _last_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _key(image: str, facts: Mapping[str, Any]) -> str:
    """The name of what is remembered of this image on such GPUs with this driver; "" where one of them is not known."""
    models = sorted({one["name"] for one in facts["gpus"]})
    if not (image and models and facts["driver"]):
        return ""
    there = hashlib.sha256("\0".join([*models, facts["driver"]]).encode()).hexdigest()
    return f"{image[:16]}-{there[:16]}"


def _remembered(folder: Path, key: str) -> str:
    """The framework that has computed there before, "" if none is known to have."""
    try:
        known = (
            json.loads((folder / "remembered" / (key + ".json")).read_text(encoding="utf-8")) if key else {}
        )
    except (OSError, ValueError):
        return ""
    right = isinstance(known, dict) and (known.get("verdict"), known.get("level")) == ("works", "framework")
    return str(known.get("framework") or "") if right else ""


def _write(folder: Path, result: Mapping[str, Any], provenance: Path | None) -> None:
    _replace(folder / VERDICT, json.dumps(result) + "\n")
    try:
        told = json.loads(provenance.read_text(encoding="utf-8")) if provenance else None
        if provenance and isinstance(told, dict):
            told["gpu"] = {
                key: value for key, value in result.items() if key not in ("version", "key", "proving")
            }
            _replace(provenance, json.dumps(told, indent=2) + "\n")
    except (OSError, ValueError) as problem:
        print(f"the GPU is not in the provenance: {problem}", file=sys.stderr)  # noqa: T201


def _replace(path: Path, text: str) -> None:
    beside = path.with_name("." + path.name + ".new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def _old_driver(facts: Mapping[str, Any], wants: str) -> str:
    return "the node's driver {} knows CUDA up to {}, and {}".format(
        facts.get("driver") or "(of unknown release)", facts.get("cuda") or "?", wants
    )


def _gpus(count: int) -> str:
    return "{} GPU{}".format(count, "" if count == 1 else "s")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Does this session compute on its GPUs?")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--asked", type=int, required=True)
    parser.add_argument("--framework", action="append", default=[], choices=sorted(FRAMEWORKS))
    parser.add_argument("--image", default="")
    parser.add_argument("--provenance", type=Path)
    parser.add_argument("--simulated", action="store_true")
    given = parser.parse_args(arguments)
    prove(
        given.folder,
        asked=given.asked,
        frameworks=given.framework,
        image=given.image,
        provenance=given.provenance,
        simulated=given.simulated,
    )


if __name__ == "__main__":
    # This file's folder comes first there, and its neighbours are not meant to be anybody's modules.
    del sys.path[0]
    main()
