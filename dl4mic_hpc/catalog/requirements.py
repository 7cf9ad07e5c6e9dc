"""What is wrong with a requirements file, and whether its frameworks fit Python, CUDA and cuDNN of the image."""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from dl4mic_hpc.catalog import platforms
from dl4mic_hpc.catalog.combinations import Told
from dl4mic_hpc.catalog.configuration import Facts
from dl4mic_hpc.catalog.platforms import Framework, parts, plain

KEY = "requirements_url"


def of_the_requirements(text: str, facts: Facts) -> Iterator[Told]:
    """Told under `requirements_url`, with the line in the requirements file."""
    seen: dict[str, tuple[int, Requirement]] = {}
    for number, line in _lines(text):
        if line.startswith("-"):
            if re.match(r"(-r|-c|--requirement|--constraint)\b", line):
                yield (
                    True,
                    KEY,
                    f"line {number} of the requirements: '{line}' names a file that the image is not built with",
                )
            continue
        try:
            one = Requirement(line)
        except InvalidRequirement as problem:
            if "://" in line:
                continue
            reason = str(problem).splitlines()[0].lower()
            yield True, KEY, f"line {number} of the requirements: '{line}' is no requirement: {reason}"
            continue
        name = canonicalize_name(one.name)
        first, other = seen.setdefault(name, (number, one))
        if (other.specifier, other.marker) != (one.specifier, one.marker):
            yield (
                False,
                KEY,
                f"line {number} of the requirements: {name} is required on line {first} too, in other versions",
            )
        for told, sentence in _framework(name, one, facts):
            yield told, KEY, f"line {number} of the requirements: {sentence}"


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The logical lines without comments (https://pip.pypa.io/en/stable/reference/requirements-file-format/)."""
    whole, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        first = first if whole else number
        plain_line = re.sub(r"(^|\s)#.*$", "", line)
        whole += plain_line.rstrip("\\") if plain_line.endswith("\\") else plain_line
        if not plain_line.endswith("\\"):
            if whole.strip():
                yield first, re.split(r"\s--hash\b", whole.strip())[0]
            whole = ""


def _framework(name: str, one: Requirement, facts: Facts) -> Iterator[tuple[bool, str]]:
    if name == "tensorflow":
        release = _release(one)
        built = platforms.row(platforms.TENSORFLOW, release) if release else None
        if built:
            yield from _wheels("TensorFlow", release, built, facts)
            if facts.cuda_version and "and-cuda" not in one.extras:
                yield from _tensorflow(release, built, facts)
    elif name == "torch":
        release = _release(one)
        built = platforms.row(platforms.PYTORCH, release) if release else None
        if built:
            yield from _wheels("PyTorch", release, built, facts)
            if facts.cuda_version and built.cuda < platforms.FIRST_CUDA_FOR_AMPERE:
                yield (
                    False,
                    f"PyTorch {plain(release)} brings CUDA {plain(built.cuda)}, which knows GPUs up to T4, V100 and "
                    "RTX 20 only, not A100, H100 or newer",
                )


def _release(one: Requirement) -> platforms.Version:
    """The release that is asked for exactly, or at most; () if it is left open."""
    for operator in ("==", "<=", "~="):
        for specifier in one.specifier:
            if specifier.operator == operator:
                return Version(specifier.version.replace(".*", "")).release[:2]
    return ()


def _wheels(
    title: str, release: platforms.Version, built: Framework, facts: Facts
) -> Iterator[tuple[bool, str]]:
    if not re.fullmatch(r"3\.\d+", facts.python_version):
        return
    python = parts(facts.python_version)
    if not built.oldest <= python <= built.newest:
        yield (
            True,
            f"{title} {plain(release)} is there for Python {plain(built.oldest)} to {plain(built.newest)}, "
            f"not for {plain(python)}",
        )


def _tensorflow(release: platforms.Version, built: Framework, facts: Facts) -> Iterator[tuple[bool, str]]:
    if release < platforms.FIRST_TENSORFLOW_WITH_GPU:
        yield False, f"the package tensorflow {plain(release)} computes on the processor only"
        return
    if not re.fullmatch(r"[\d.]+", facts.cuda_version) or not re.fullmatch(r"[\d.]+", facts.cudnn_version):
        return
    cuda, cudnn = parts(facts.cuda_version)[:2], parts(facts.cudnn_version)[:2]
    wants = (
        f"TensorFlow {plain(release)} is built for CUDA {plain(built.cuda)} and cuDNN {plain(built.cudnn)}; the image "
        f"has {plain(cuda)} and {plain(cudnn)}"
    )
    if cuda[0] != built.cuda[0] or cudnn[0] != built.cudnn[0]:
        yield False, f"{wants}: it finds no GPU and computes on the processor"
    elif cuda < built.cuda or cudnn < built.cudnn:
        yield False, f"{wants}, which are older: it may find no GPU"
