"""What is wrong with a requirements file, and whether its frameworks fit Python, CUDA and cuDNN of the image."""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from dl4mic_hpc.catalog import platforms
from dl4mic_hpc.catalog.combinations import Told
from dl4mic_hpc.catalog.configuration import Facts
from dl4mic_hpc.catalog.frameworks import lines, release_of, tensorflow_in
from dl4mic_hpc.catalog.platforms import Framework, parts, plain

KEY = "requirements_url"


def of_the_requirements(text: str, facts: Facts) -> Iterator[Told]:
    """Told under `requirements_url`, with the line in the requirements file."""
    seen: dict[str, tuple[int, Requirement]] = {}
    for number, line in lines(text):
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


def _framework(name: str, one: Requirement, facts: Facts) -> Iterator[tuple[bool, str]]:
    if name == "tensorflow":
        release = release_of(one)
        built = platforms.row(platforms.TENSORFLOW, release) if release else None
        if built:
            yield from _wheels("TensorFlow", release, built, facts)
            if facts.cuda_version and "and-cuda" not in one.extras:
                for _, sentence in tensorflow_in(facts, release, built):
                    yield False, sentence
    elif name == "torch":
        release = release_of(one)
        built = platforms.row(platforms.PYTORCH, release) if release else None
        if built:
            yield from _wheels("PyTorch", release, built, facts)
            if facts.cuda_version and built.cuda < platforms.FIRST_CUDA_FOR_AMPERE:
                yield (
                    False,
                    f"PyTorch {plain(release)} brings CUDA {plain(built.cuda)}, which knows GPUs up to T4, V100 and "
                    "RTX 20 only, not A100, H100 or newer",
                )


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
