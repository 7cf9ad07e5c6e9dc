"""Whether a session computes on its GPUs, as its job has found out.

The finding out is done on the node (dl4mic_forms/gpu_proof.py); the job writes each verdict to gpu.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from dl4mic_hpc.notebook.dl4mic_forms import gpu_proof
from dl4mic_hpc.sessions.session import Session

_SHORT = {"cpu": "CPU ONLY", "fewer": "FEWER", "unproven": "not known", "simulated": "SIMULATED"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuProof:
    """A verdict of the job.

    `verdict`: works, cpu, fewer (than asked for), unproven, simulated. `level`: driver or framework, who has answered.
    `gpus`: the names that the driver gives. `reason`: why it is no better, "" where nothing is to be said. `proving`:
    the framework is still being tried. `remembered`: it has computed before, with this image on such GPUs.
    """

    verdict: str
    level: str
    asked: int = 0
    gpus: tuple[str, ...] = ()
    driver: str = ""
    framework: str = ""
    reason: str = ""
    proving: bool = False
    remembered: bool = False

    @property
    def is_bad(self) -> bool:
        """It computes on no GPU or not on all of them, as far as anybody can tell."""
        return self.verdict in ("cpu", "fewer") or (self.verdict == "unproven" and not self.proving)

    @property
    def sentence(self) -> str:
        """In the words that the notebook uses too."""
        return gpu_proof.sentence(asdict(self))

    @property
    def short(self) -> str:
        """For a column."""
        if self.proving:
            return "being tried"
        return _SHORT.get(self.verdict, "works" if self.level == "framework" else "driver works")

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "gpus": list(self.gpus)}


def parse(found: Mapping[str, Any] | None) -> GpuProof | None:
    """None where there is no verdict, or one that another version of the program wrote."""
    if found is None or found.get("version") != 1:
        return None
    try:
        known = {each.name: found[each.name] for each in fields(GpuProof)}
        return GpuProof(**{**known, "gpus": tuple(str(name) for name in found["gpus"])})
    except (KeyError, TypeError):
        return None


def column(session: Session, proof: GpuProof | None) -> str:
    """What `ps` shows: the GPUs asked for, and whether they compute."""
    if session.gpus == "0":
        return "0"
    if session.simulated:
        return f"{session.gpus} SIMULATED"
    return f"{session.gpus}: {proof.short}" if proof else session.gpus
