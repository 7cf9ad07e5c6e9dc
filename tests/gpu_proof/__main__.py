"""Runs both levels of the proof on this machine's GPUs, also where they must say no, and writes down what came.

    python -m gpu_proof PYTHON PAGE ANSWERS

PYTHON: one that has TensorFlow or PyTorch. PAGE: the reference page whose last section is written anew. ANSWERS: the
folder for what nvidia-smi says, which becomes a fixture of the unit tests. Fails on a machine without a GPU.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dl4mic_hpc.notebook.dl4mic_forms import gpu_driver, gpu_proof

SECTION = "## Proven on\n"
IMAGE = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run of the proof and what must come of it."""

    what: str
    verdict: str
    level: str
    asked: int
    reason: str = ""
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What came of it: the last verdict, seconds to the driver's and to the last one."""

    case: Case
    found: dict[str, Any]
    driver_seconds: float
    seconds: float

    @property
    def problem(self) -> str:
        """Why this is not what must have come; "" if it is."""
        case, found = self.case, self.found
        if (found["verdict"], found["level"]) != (case.verdict, case.level):
            return (
                f"{found['level']}: {found['verdict']} ({found['reason']}), not {case.level}: {case.verdict}"
            )
        if case.reason not in found["reason"]:
            return f"the reason is '{found['reason']}'"
        if self.driver_seconds >= 2.0:
            return f"the driver's verdict came after {self.driver_seconds:.1f} s"
        return ""


def nvidia_smi(*words: str) -> str:
    """Its answer; the end of the program where there is no GPU to be proven."""
    try:
        done = subprocess.run(["nvidia-smi", *words], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise SystemExit(f"error: there is no NVIDIA GPU on this machine: {problem}") from None
    if done.returncode or ("GPU 0" not in done.stdout and words == ("-L",)):
        raise SystemExit(
            f"error: there is no NVIDIA GPU on this machine: {done.stdout}{done.stderr}".rstrip()
        )
    return done.stdout


def run(python: str, case: Case, folder: Path) -> Ran:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CUDA_")}
    words = [python, gpu_proof.__file__, folder, "--asked", str(case.asked), "--image", IMAGE]
    begun = time.monotonic()
    with subprocess.Popen([str(word) for word in words], env=environment | case.environment) as process:
        while not (folder / "go").exists() and process.poll() is None:
            time.sleep(0.005)
        first = time.monotonic() - begun
    found = json.loads((folder / gpu_proof.VERDICT).read_text(encoding="utf-8"))
    return Ran(case=case, found=found, driver_seconds=first, seconds=time.monotonic() - begun)


def cases(count: int, broken: Path) -> list[Case]:
    """broken: a folder with a libcuda.so.1 that cannot be loaded, found before the driver's own."""
    return [
        Case(what="both levels", verdict="works", level="framework", asked=count),
        Case(what="one GPU of them", verdict="works", level="framework", asked=1,
             environment={"CUDA_VISIBLE_DEVICES": "0"}),
        Case(what="none allocated", verdict="cpu", level="driver", asked=1, reason="no GPU is allocated",
             environment={"CUDA_VISIBLE_DEVICES": ""}),
        Case(what="more asked for than there are", verdict="fewer", level="framework", asked=count + 1,
             reason=f"finds {count} of the {count + 1}"),
        Case(what="no driver library", verdict="cpu", level="driver", asked=count, reason="libcuda.so.1 is missing",
             environment={"LD_LIBRARY_PATH": str(broken)}),
        Case(what="an image with a CUDA of the future", verdict="works", level="framework", asked=count,
             environment={"CUDA_VERSION": "99.0.0"}),
    ]  # fmt: skip


def page_of(page: str, machine: str, ran: list[Ran]) -> str:
    """The page with its last section written anew."""
    rows = [
        f"| {one.case.what} | {one.found['level']}: {one.found['verdict']} | {one.driver_seconds:.2f} s "
        f"| {one.seconds:.1f} s | {one.found['reason'] or one.found['framework']} |"
        for one in ran
    ]
    head = "| Case | Verdict | Driver after | All after | Words |\n|---|---|---|---|---|\n"
    return page[: page.index(SECTION) + len(SECTION)] + f"\n{machine}\n\n{head}" + "\n".join(rows) + "\n"


def main(python: str, page: Path, answers: Path) -> None:
    listed = nvidia_smi("-L")
    count = len(re.findall(r"^GPU \d+:", listed, re.M))
    names = sorted(set(re.findall(r"^GPU \d+: (.+?) \(UUID", listed, re.M)))
    ran = []
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "broken").mkdir()
        (Path(name) / "broken" / "libcuda.so.1").touch()
        for number, case in enumerate(cases(count, Path(name) / "broken")):
            folder = Path(name) / str(number)
            folder.mkdir()
            ran.append(run(python, case, folder))
            print(f"{case.what}: {ran[-1].problem or 'as it must be'}", flush=True)
        left = nvidia_smi("--query-compute-apps=pid,process_name", "--format=csv,noheader")
    if "gpu_frameworks" in left:
        raise SystemExit(f"error: GPU memory stays taken: {left}")
    if any(one.problem for one in ran):
        raise SystemExit("error: the proof does not hold on this machine; nothing was written")
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    machine = (
        f"{count} x {', '.join(names)}, driver {gpu_driver.release()}, {ran[0].found['framework']}, {today}."
    )
    page.write_text(page_of(page.read_text(encoding="utf-8"), machine, ran), encoding="utf-8")
    nobody = re.sub(
        r"(?<=GPU-)[0-9a-f-]+|(?<=MIG-)[0-9a-f-]+", "00000000-0000-0000-0000-000000000000", listed
    )
    file = answers / (re.sub(r"[^a-z0-9]+", "-", names[0].lower()).strip("-") + ".txt")
    file.write_text(f"# A real machine: {machine}\n{nobody.rstrip()}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
