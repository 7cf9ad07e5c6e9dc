"""Which versions of Ubuntu, Python, CUDA, cuDNN, TensorFlow and PyTorch go together.

Sources, read in 2026:
    Ubuntu, Python     the description of ppa:deadsnakes/ppa, which DL4MicEverywhere's recipes install Python from
    Ubuntu's pip       https://github.com/deadsnakes/issues/issues/262 (Python 3.12), PEP 668 (Ubuntu 24.04)
    CUDA, Ubuntu       doc/supported-tags.md and doc/unsupported-tags.md of NVIDIA's container-images/cuda: the base
                       is nvidia/cuda:CUDA-devel-ubuntuUBUNTU. Of every x.y only the last x.y.z is kept up; six months
                       later the others are deleted (doc/support-policy.md)
    cuDNN 8, CUDA      the packages libcudnn8=CUDNN-1+cudaCUDA of developer.download.nvidia.com/compute/cuda/repos
    TensorFlow         https://www.tensorflow.org/install/source#gpu
    PyTorch            https://github.com/pytorch/pytorch/blob/main/RELEASE.md: the wheels on PyPI bring a CUDA of
                       their own
"""

from __future__ import annotations

from dataclasses import dataclass

Version = tuple[int, ...]

PYTHONS: dict[str, tuple[Version, Version]] = {
    "20.04": ((3, 5), (3, 13)),
    "22.04": ((3, 7), (3, 14)),
    "24.04": ((3, 7), (3, 14)),
}
"""The oldest and the newest Python of an Ubuntu: its own or deadsnakes'."""

NEWEST_FOR_PIP: dict[str, Version] = {"20.04": (3, 11), "22.04": (3, 11)}
"""The newest Python that an Ubuntu's own pip runs on; the recipes begin with that pip."""

EXTERNALLY_MANAGED: dict[str, Version] = {"24.04": (3, 12)}
"""The Python into which an Ubuntu lets no pip install."""

_FOCAL, _TO_JAMMY = ("18.04", "20.04"), ("18.04", "20.04", "22.04")
_JAMMY, _NOBLE, _NEWEST = ("20.04", "22.04"), ("20.04", "22.04", "24.04"), ("22.04", "24.04")

CUDA: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("11.0.3", "11.1.1", "11.2.2", "11.3.1", "11.4.3", "11.5.2", "11.6.1", "11.6.2"), _FOCAL),
    **dict.fromkeys(("11.7.1", "11.8.0", "12.0.0", "12.0.1"), _TO_JAMMY),
    "12.1.0": _TO_JAMMY,
    **dict.fromkeys(("12.1.1", "12.2.0", "12.2.2", "12.3.0", "12.3.1", "12.3.2", "12.4.0", "12.4.1"), _JAMMY),
    "12.5.0": _JAMMY,
    **dict.fromkeys(("12.5.1", "12.6.0", "12.6.1", "12.6.2", "12.6.3", "12.8.0", "12.8.1"), _NOBLE),
    **dict.fromkeys(("12.8.2", "12.9.0", "12.9.1"), _NOBLE),
    **dict.fromkeys(("13.0.0", "13.0.3", "13.1.2", "13.2.1"), _NEWEST),
}
"""The releases of CUDA that there is a base image of, and the Ubuntus that it is on."""

FIRST_OPEN_CUDA: Version = (12, 8)
"""Before this series no release will be added."""

CUDNN: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("8.0.4", "8.0.5"), ("11.0", "11.1")),
    **dict.fromkeys(("8.1.0", "8.1.1"), ("11.2",)),
    **dict.fromkeys(("8.2.0", "8.2.1"), ("11.3",)),
    **dict.fromkeys(("8.2.2", "8.2.4"), ("11.4",)),
    **dict.fromkeys(("8.3.0", "8.3.1", "8.3.2", "8.3.3"), ("11.5",)),
    **dict.fromkeys(("8.4.0", "8.4.1"), ("11.6",)),
    "8.5.0": ("11.7",),
    **dict.fromkeys(("8.6.0", "8.7.0"), ("11.8",)),
    **dict.fromkeys(("8.8.0", "8.8.1"), ("11.8", "12.0")),
    **dict.fromkeys(("8.9.0", "8.9.1", "8.9.2", "8.9.3"), ("11.8", "12.1")),
    **dict.fromkeys(("8.9.4", "8.9.5", "8.9.6", "8.9.7"), ("11.8", "12.2")),
}
"""The releases of cuDNN 8 and the CUDAs that there is a package of each for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """A release, first and last Python of its wheels, and the CUDA and cuDNN it was built for (PyTorch: it brings)."""

    since: Version
    oldest: Version
    newest: Version
    cuda: Version
    cudnn: Version = ()


def _rows(*rows: tuple[Version, Version, Version, Version, Version]) -> tuple[Framework, ...]:
    return tuple(
        Framework(since=since, oldest=oldest, newest=newest, cuda=cuda, cudnn=cudnn)
        for since, oldest, newest, cuda, cudnn in rows
    )


TENSORFLOW = _rows(
    ((1, 11), (3, 4), (3, 6), (9, 0), (7,)),
    ((1, 13), (3, 5), (3, 7), (10, 0), (7, 4)),
    ((2, 1), (3, 5), (3, 7), (10, 1), (7, 6)),
    ((2, 2), (3, 5), (3, 8), (10, 1), (7, 6)),
    ((2, 4), (3, 6), (3, 8), (11, 0), (8, 0)),
    ((2, 5), (3, 6), (3, 9), (11, 2), (8, 1)),
    ((2, 7), (3, 7), (3, 9), (11, 2), (8, 1)),
    ((2, 8), (3, 7), (3, 10), (11, 2), (8, 1)),
    ((2, 12), (3, 8), (3, 11), (11, 8), (8, 6)),
    ((2, 14), (3, 9), (3, 11), (11, 8), (8, 7)),
    ((2, 15), (3, 9), (3, 11), (12, 2), (8, 9)),
    ((2, 16), (3, 9), (3, 12), (12, 3), (8, 9)),
    ((2, 18), (3, 9), (3, 12), (12, 5), (9, 3)),
    ((2, 20), (3, 9), (3, 13), (12, 5), (9, 3)),
)
"""Every row holds up to the next one's release."""

PYTORCH = _rows(
    ((1, 3), (3, 5), (3, 8), (10, 1), ()),
    ((1, 5), (3, 5), (3, 8), (10, 2), ()),
    ((1, 8), (3, 6), (3, 9), (10, 2), ()),
    ((1, 11), (3, 7), (3, 10), (10, 2), ()),
    ((1, 13), (3, 7), (3, 11), (11, 7), ()),
    ((2, 0), (3, 8), (3, 11), (11, 7), ()),
    ((2, 1), (3, 8), (3, 11), (12, 1), ()),
    ((2, 2), (3, 8), (3, 12), (12, 1), ()),
    ((2, 5), (3, 9), (3, 13), (12, 4), ()),
    ((2, 7), (3, 9), (3, 13), (12, 6), ()),
    ((2, 8), (3, 9), (3, 13), (12, 8), ()),
)

FIRST_CUDA_FOR_AMPERE: Version = (11, 0)
"""GPUs from the A100 on need it; older CUDAs end with T4, V100 and RTX 20."""

FIRST_TENSORFLOW_WITH_GPU: Version = (1, 15)
"""Before it the package `tensorflow` computes on the processor; `tensorflow-gpu` was another one."""


def row(table: tuple[Framework, ...], version: Version) -> Framework | None:
    """The row that holds for a release; None for one older than the table."""
    return next((one for one in reversed(table) if one.since <= version[:2]), None)


def newest_release(cuda: str) -> str | None:
    """The last known x.y.z of the same x.y."""
    series = cuda.rpartition(".")[0]
    same = [one for one in CUDA if one.rpartition(".")[0] == series]
    return max(same, key=parts) if same else None


def parts(version: str) -> Version:
    return tuple(int(part) for part in version.split("."))


def plain(version: Version) -> str:
    return ".".join(map(str, version))
