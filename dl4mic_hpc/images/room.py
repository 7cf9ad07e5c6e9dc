"""How much disk the build of an image takes, estimated before it is tried, and whether a runner has that much.

The figures are GB (10^9 bytes), rounded up. Where a source is given they are its own; the others are estimates, made so
that an image which is said to fit does fit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dl4mic_hpc.catalog import NotebookSpec

RUNNER = 14.0
"""What GitHub promises its hosted runners (docs.github.com, "GitHub-hosted runners reference", SSD); most have more."""

CUDA_BASE = (3.0, 7.4)
"""nvidia/cuda:11.8.0-devel-ubuntu20.04, compressed and unpacked (Docker Hub, and github.com/moby/moby/issues/46425)."""
PLAIN_BASE = (0.1, 0.3)
"""Debian or Ubuntu."""
CUDA_PACKAGES = 3.0
"""cuDNN (1.2 unpacked), compilers, ffmpeg, Python and Node.js, which DL4MicEverywhere's recipe adds."""
PLAIN_PACKAGES = 1.0
FRAMEWORKS = {"tensorflow": 2.0, "tensorflow-gpu": 2.0, "torch": 5.0, "jax": 1.5, "cellpose": 5.0}
"""Unpacked, with the libraries of NVIDIA that they bring: a wheel of torch 2 asks for 2.3 GB of those. Cellpose brings torch."""
OTHERS = 1.0
"""All other requirements of a notebook together."""
SQUASHED = 0.5
"""A SIF of its unpacked files: 0.3 to 0.5 is usual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What lies on the disk at once while Apptainer squashes: what was fetched, what was unpacked, and the SIF."""

    fetched: float
    unpacked: float
    image: float

    @property
    def needed(self) -> float:
        return round(self.fetched + self.unpacked + self.image, 1)

    def why_not(self, room: float) -> str:
        """A sentence that names what is too large, "" if it fits."""
        if self.needed <= room:
            return ""
        return (
            f"needs about {self.needed:g} GB of disk ({self.fetched:g} fetched, {self.unpacked:g} unpacked, "
            f"{self.image:g} for the image), and there are {room:g}"
        )


def estimate(spec: NotebookSpec, requirements: str) -> Room:
    """requirements: the text of the notebook's requirements, "" if it is not known."""
    packed, base = CUDA_BASE if spec.cuda_version else PLAIN_BASE
    added = CUDA_PACKAGES if spec.cuda_version else PLAIN_PACKAGES
    named = {re.split(r"[^\w.-]", line.strip(), maxsplit=1)[0].lower() for line in requirements.splitlines()}
    frameworks = sum(size for name, size in FRAMEWORKS.items() if name in named)
    unpacked = base + added + frameworks + OTHERS
    return Room(fetched=packed, unpacked=round(unpacked, 1), image=round(SQUASHED * unpacked, 1))
