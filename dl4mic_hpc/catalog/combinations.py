"""What of a configuration's versions cannot go together, or does not do what was meant."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dl4mic_hpc.catalog import platforms
from dl4mic_hpc.catalog.configuration import Facts
from dl4mic_hpc.catalog.platforms import parts, plain

Told = tuple[bool, str, str]
"""Whether it is a mistake (else a warning), the key, and a sentence."""

_FORMS = {
    "ubuntu_version": (r"\d\d\.\d\d", "such as 22.04"),
    "python_version": (r"3\.\d+", "in two parts, such as 3.10"),
    "cuda_version": (r"\d+\.\d+\.\d+", "in three parts, such as 11.8.0"),
    "cudnn_version": (r"\d+\.\d+\.\d+\.\d+", "in four parts, such as 8.6.0.163"),
}


def of_the_image(facts: Facts) -> Iterator[Told]:
    """For configurations that DL4MicEverywhere's recipes are built with. A version that is written wrong ends it."""
    wrong = list(_forms(facts))
    yield from wrong
    if wrong:
        return
    yield from _python(facts.ubuntu_version, parts(facts.python_version))
    if facts.cuda_version:
        yield from _cuda(facts.ubuntu_version, facts.cuda_version)
        yield from _cudnn(facts.ubuntu_version, facts.cuda_version, facts.cudnn_version)
    elif facts.cudnn_version:
        yield (
            False,
            "cudnn_version",
            "without a cuda_version it is not used: the image computes on the processor",
        )


def _forms(facts: Facts) -> Iterator[Told]:
    required = ["ubuntu_version", "python_version", *(["cudnn_version"] if facts.cuda_version else [])]
    for key, (form, meant) in _FORMS.items():
        value = getattr(facts, key)
        if not value and key in required:
            yield (
                True,
                key,
                "is empty; DL4MicEverywhere's recipe needs it (or put a Dockerfile beside this file)",
            )
        elif value and not re.fullmatch(form, value):
            yield True, key, f"'{value}' has another form than the recipe needs; write it {meant}"


def _python(ubuntu: str, python: platforms.Version) -> Iterator[Told]:
    known = platforms.PYTHONS.get(ubuntu)
    if known is None:
        yield False, "ubuntu_version", f"nothing is known of Ubuntu {ubuntu} here"
        return
    oldest, newest = known
    if not oldest <= python <= newest:
        yield (
            True,
            "python_version",
            f"there is no Python {plain(python)} for Ubuntu {ubuntu}; there are {plain(oldest)} to {plain(newest)}",
        )
    elif python > platforms.NEWEST_FOR_PIP.get(ubuntu, newest):
        yield (
            True,
            "python_version",
            f"the recipe begins with Ubuntu {ubuntu}'s pip, which does not run on Python {plain(python)}; "
            f"the newest it runs on is {plain(platforms.NEWEST_FOR_PIP[ubuntu])}",
        )
    elif python == platforms.EXTERNALLY_MANAGED.get(ubuntu):
        yield (
            True,
            "python_version",
            f"Ubuntu {ubuntu} lets the recipe's pip install nothing into its own Python {plain(python)}",
        )
    if python < (3, 7):
        yield (
            False,
            "python_version",
            f"forms need Python 3.7; on {plain(python)} a notebook with forms is refused",
        )


def _cuda(ubuntu: str, cuda: str) -> Iterator[Told]:
    base = f"nvidia/cuda:{cuda}-devel-ubuntu{ubuntu}"
    newest = platforms.newest_release(cuda)
    if cuda not in platforms.CUDA:
        if parts(cuda) < platforms.FIRST_OPEN_CUDA:
            there = f"; of this series there is {newest}" if newest else ""
            yield True, "cuda_version", f"NVIDIA has no image {base}{there}"
        else:
            yield False, "cuda_version", f"nothing is known of CUDA {cuda} here; {base} has to exist"
    elif ubuntu not in platforms.CUDA[cuda]:
        there = ", ".join(platforms.CUDA[cuda])
        yield True, "cuda_version", f"NVIDIA has no image {base}; CUDA {cuda} is there for Ubuntu {there}"
    elif newest != cuda:
        yield (
            False,
            "cuda_version",
            f"{newest} has replaced {cuda}, and NVIDIA deletes replaced images: {base} may be gone",
        )


def _cudnn(ubuntu: str, cuda: str, cudnn: str) -> Iterator[Told]:
    release, series = cudnn.rpartition(".")[0], cuda.rpartition(".")[0]
    if not cudnn.startswith("8."):
        yield (
            True,
            "cudnn_version",
            f"the recipe installs libcudnn8, which cuDNN {cudnn} is not; choose an 8.x",
        )
    elif ubuntu == "24.04" or (ubuntu == "22.04" and parts(series) < (11, 7)):
        yield True, "cudnn_version", f"NVIDIA has no cuDNN 8 for CUDA {series} on Ubuntu {ubuntu}"
    elif release not in platforms.CUDNN:
        yield (
            False,
            "cudnn_version",
            f"nothing is known of cuDNN {cudnn} here; libcudnn8={cudnn}-1+cuda{series} has to exist",
        )
    elif series not in platforms.CUDNN[release]:
        fitting = [one for one, cudas in platforms.CUDNN.items() if series in cudas]
        yield (
            True,
            "cudnn_version",
            f"there is no libcudnn8={cudnn}-1+cuda{series}: cuDNN {release} was made for CUDA "
            f"{' and '.join(platforms.CUDNN[release])}"
            + (f"; for {series} there is {fitting[0]} to {fitting[-1]}" if fitting else ""),
        )
