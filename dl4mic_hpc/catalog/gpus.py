"""Which GPUs, releases of CUDA and drivers go together.

Sources, read in 2026:
    GPU, capability    https://developer.nvidia.com/cuda-gpus and https://developer.nvidia.com/cuda-legacy-gpus
    capability, CUDA   "CUDA Toolkit, Driver, and Architecture Matrix",
                       https://docs.nvidia.com/datacenter/tesla/drivers/cuda-toolkit-driver-and-architecture-matrix.html,
                       with the minor releases of the CUDA compiler's own release notes (8.6: 11.1; 10.3 and 12.1: 12.9)
    code, capability   "Blackwell Compatibility Guide": code for X.y runs on X.z with z >= y; PTX on all that is newer,
                       after the driver has compiled it, if the software has any
    cuDNN              release notes: 8.0.2 is the first for Ampere; only from 9.0.0 on it runs on GPUs newer than itself
    CUDA, driver       "CUDA Compatibility", minor version compatibility:
                       https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
    MIG                "MIG User Guide", supported profiles
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal

from dl4mic_hpc.catalog import platforms
from dl4mic_hpc.catalog.frameworks import Named
from dl4mic_hpc.catalog.platforms import Version, plain
from dl4mic_hpc.errors import JobError

Capability = tuple[int, int]

_NAMES: dict[Capability, str] = {
    (3, 5): "k20 k20m k20x k40 k40m k40c",
    (3, 7): "k80",
    (5, 0): "m10 gtx_?750",
    (5, 2): "m4 m40 m60 gtx_?9[5678]0 gtx_?titan_?x",
    (6, 0): "p100 gp100",
    (6, 1): "p4 p6 p40 (?:gtx_?)?10[5678]0 titan_?xp",
    (7, 0): "v100 gv100 titan_?v",
    (7, 5): "t4 t4g t10 (?:gtx_?)?16[56]0 (?:rtx_?)?20[678]0 titan_?rtx rtx_?8000",
    (8, 0): "a100 a800 a30",
    (8, 6): "a2 a10 a10g a16 a40 (?:rtx_?)?30[5-9]0 (?:rtx_?)?a(?:2000|4000|4500|5000|5500|6000)",
    (8, 9): "l4 l20 l40 l40s (?:rtx_?)?40[5-9]0 rtx_?[456]000_?ada(?:_generation)? rtx_?ada_?[456]000",
    (9, 0): "h100 h200 h800 h20 gh200",
    (10, 0): "b100 b200 gb200",
    (10, 3): "b300 gb300",
    (12, 0): "(?:rtx_?)?50[5-9]0 (?:rtx_?)?pro_?[456]000(?:_blackwell)?",
    (12, 1): "gb10",
}
"""Names as sites write them, `_` for any separator. Bare "rtx6000" is missing: four generations have been called so."""

_VARIANT = r"(?:_?(?:pcie|sxm\d?|hbm\d\w?|nvl|ti|super|d|l|s|m|max_q|\d+_?gb?|server|workstation|edition|laptop|gpu))*"
_KNOWN = tuple(
    (re.compile(rf"(?:^|_){name}{_VARIANT}(?=_|$)"), capability)
    for capability, names in _NAMES.items()
    for name in names.split(" ")
)
_SLICE = re.compile(r"(?:^|_)\d+g[._](\d+)gb")
_SLICES: dict[Capability, tuple[int, ...]] = {
    (9, 0): (18, 35, 71, 141),
    (10, 0): (23, 45, 90, 180),
    (10, 3): (34, 67, 135, 269),
}
"""GB of the MIG slices that only an H200, B200 or B300 has. Others are an A100's, A30's or H100's."""

_SINCE: dict[Capability, tuple[Version, int | None]] = {
    (3, 5): ((5, 0), 11),
    (3, 7): ((6, 5), 11),
    (5, 0): ((6, 5), 12),
    (5, 2): ((6, 5), 12),
    (6, 0): ((8, 0), 12),
    (6, 1): ((8, 0), 12),
    (7, 0): ((9, 0), 12),
    (7, 5): ((10, 0), None),
    (8, 0): ((11, 0), None),
    (8, 6): ((11, 1), None),
    (8, 9): ((11, 8), None),
    (9, 0): ((11, 8), None),
    (10, 0): ((12, 8), None),
    (10, 3): ((12, 9), None),
    (12, 0): ((12, 8), None),
    (12, 1): ((12, 9), None),
}
"""The first release of CUDA that makes code for it, and the last series that still does; None: the newest does."""

_DRIVERS: dict[Version, Version] = {
    (9, 0): (384, 81),
    (10, 0): (410, 48),
    (10, 1): (418, 39),
    (10, 2): (440, 33),
    (11,): (450, 80, 2),
    (12,): (525, 60, 13),
    (13,): (580, 65, 6),
}
"""The oldest driver for a release of CUDA; from 11 on it is the same for the whole series."""

Fit = Literal["runs", "compiles", "never"]


def capability(gpu: str) -> Capability | None:
    """The compute capability of a GPU by a site's name for it, or by the driver's; None for an unknown name.

    Of a bare MIG slice ("1g.10gb") that several models have, the least that it can be.
    """
    name = re.sub(r"[^a-z0-9.]+", "_", gpu.lower()).strip("_")
    name = re.sub(r"^(?:nvidia|tesla|geforce|quadro)_", "", re.sub(r"^nvidia_", "", name))
    for pattern, found in _KNOWN:
        if pattern.search(name):
            return found
    memory = _SLICE.search(name)
    if memory is None:
        return None
    return next((found for found, sizes in _SLICES.items() if int(memory[1]) in sizes), (8, 0))


def fit(gpu: Capability, cuda: Version) -> Fit:
    """Whether software that was built with this CUDA computes there.

    "compiles": if it brings PTX, after minutes in which the driver compiles that; else not at all.
    """
    since, last = _SINCE[gpu]
    if last is not None and cuda[0] > last:
        return "never"
    if cuda >= since or any(
        same[0] == gpu[0] and same[1] <= gpu[1] and cuda >= _SINCE[same][0] for same in _SINCE
    ):
        return "runs"
    # The cuDNN of these releases has no code for such GPUs, and none that could be compiled for them.
    newest = (12, 0) if gpu >= (10, 0) else platforms.FIRST_CUDA_FOR_AMPERE if gpu >= (8, 0) else (0,)
    return "never" if cuda < newest else "compiles"


def refusal(types: Iterable[str], frameworks: Iterable[Named]) -> JobError | None:
    """The error for software that computes on none of the GPUs that the session may get; None where one may do.

    types: as the site calls them; one that nobody knows anything of may do.
    """
    types = sorted(set(types))
    known = [(name, capability(name)) for name in types]
    for software in frameworks:
        fits = [(name, gpu, fit(gpu, software.cuda)) for name, gpu in known if gpu and software.cuda]
        if not types or len(fits) < len(types) or any(how != "never" for _, _, how in fits):
            continue
        gpu = fits[0][1]
        since, last = _SINCE[gpu]
        newer = last is None or software.cuda[0] <= last
        return JobError(
            f"{software} computes with CUDA {plain(software.cuda)}, which has no code for the GPU {', '.join(types)} "
            f"(compute capability {plain(gpu)}): "
            + (f"that needs CUDA {plain(since)} or newer" if newer else f"CUDA {last} was the last that had"),
            hint="give another GPU type with -g, such as "
            + (
                "v100 or t4"
                if newer and software.cuda < platforms.FIRST_CUDA_FOR_AMPERE
                else "a100"
                if newer
                else "a100 or t4"
            )
            + ", or another notebook version; -g 0 computes on the processor",
        )
    return None


def warnings(
    types: Iterable[str], frameworks: Iterable[Named], *, drivers: Iterable[tuple[str, str]] = ()
) -> Iterator[str]:
    """What may end on the processor, or take long: sentences for before the job waits in the queue.

    drivers: release and GPU, of each that was seen before. They may have been renewed since: no reason to refuse.
    """
    known = {name: gpu for name in sorted(set(types)) if (gpu := capability(name))}
    drivers = tuple(drivers)
    for software in frameworks:
        if software.misfit:
            yield software.misfit
        if not software.cuda:
            continue
        who = f"{software} (CUDA {plain(software.cuda)})"
        found: dict[Fit, list[str]] = {}
        for name, gpu in known.items():
            found.setdefault(fit(gpu, software.cuda), []).append(name)
        if "never" in found:
            yield f"{who} does not compute on {', '.join(found['never'])}; choose another type with -g"
        if "compiles" in found:
            yield (
                f"{who} is older than {', '.join(found['compiles'])}: "
                "it computes there only after minutes of compiling, or not at all"
            )
        needs = _oldest_driver(software.cuda)
        for name, gpu in known.items() if needs else ():
            newest = max(
                (driver for driver, model in drivers if capability(model) == gpu), key=_numbers, default=""
            )
            if newest and _numbers(newest) < needs:
                yield f"{who} needs the driver {plain(needs)} or newer; the one last seen with a GPU {name} was {newest}"


def _oldest_driver(cuda: Version) -> Version:
    """() where nothing is known."""
    return _DRIVERS.get(cuda[:1]) or _DRIVERS.get(cuda[:2]) or ()


def _numbers(text: str) -> Version:
    return tuple(int(part) for part in re.findall(r"\d+", text))
