"""TensorFlow and PyTorch as requirements name them: which release, and which CUDA it computes with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from dl4mic_hpc.catalog import platforms
from dl4mic_hpc.catalog.platforms import Framework, parts, plain

_MODULES = {
    "tensorflow": "tensorflow",
    "tensorflow-gpu": "tensorflow",
    "tensorflow-cpu": "tensorflow",
    "torch": "torch",
}
_TITLES = {"tensorflow": "TensorFlow", "torch": "PyTorch"}
_LINUX = {
    "sys_platform": "linux",
    "platform_system": "Linux",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
}
_WHEELS = re.compile(r"(?:download\.pytorch\.org/whl/|\+)cu(\d+)(\d)\b")
"""PyTorch's own index, or a local version, of the wheels for one CUDA: cu118 is 11.8."""


class Image(Protocol):
    """The versions of an image, as a configuration or a notebook of the catalogue has them; "" where left open."""

    @property
    def python_version(self) -> str: ...
    @property
    def cuda_version(self) -> str: ...
    @property
    def cudnn_version(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A framework that the requirements name. `module` is what Python imports.

    `release` is () where it is left open; `cuda` the CUDA that its code for GPUs is of, () where that is not known.
    `misfit`: why it will compute on the processor in this image; "" if nothing speaks for that.
    """

    module: str
    release: platforms.Version = ()
    cuda: platforms.Version = ()
    misfit: str = ""

    def __str__(self) -> str:
        return f"{_TITLES[self.module]} {plain(self.release)}".strip()


def named(requirements: str, image: Image) -> tuple[Named, ...]:
    """What the text of a requirements file names, each once. Lines that are no requirement are passed over."""
    found: dict[str, Named] = {}
    wheels = _WHEELS.search(requirements)
    for _, line in lines(requirements):
        try:
            one = Requirement(line)
        except InvalidRequirement:
            continue
        package = canonicalize_name(one.name)
        module = _MODULES.get(package)
        if module is None or module in found or not _for_linux(one, image):
            continue
        release = release_of(one)
        if module == "torch":
            row = platforms.row(platforms.PYTORCH, release) if release else None
            brings = (int(wheels[1]), int(wheels[2])) if wheels else row.cuda if row else ()
            found[module] = Named(module=module, release=release, cuda=brings)
        else:
            found[module] = _tensorflow(package, one, release, image)
    return tuple(found.values())


def used(requirements: str, catalogued: str, image: Image) -> tuple[Named, ...]:
    """The frameworks that a notebook computes with: those that the catalogue says, else all that it requires.

    catalogued: the catalogue's own words ("PyTorch 2.0, Lightning 2.0"). Requirements often name a second framework
    that the notebook never imports, or none, because another package brings it.
    """
    found = {one.module: one for one in named(requirements, image)}
    said = [module for module, title in _TITLES.items() if title.lower() in catalogued.lower()]
    return tuple(found.get(module, Named(module=module)) for module in said) or tuple(found.values())


def _tensorflow(package: str, one: Requirement, release: platforms.Version, image: Image) -> Named:
    row = platforms.row(platforms.TENSORFLOW, release) if release else None
    if package == "tensorflow-cpu":
        return Named(
            module="tensorflow",
            release=release,
            misfit="the package tensorflow-cpu computes on the processor only",
        )
    if row is None:
        return Named(module="tensorflow", release=release)
    if "and-cuda" in one.extras:
        return Named(module="tensorflow", release=release, cuda=row.cuda)
    lost = (sentence for sure, sentence in tensorflow_in(image, release, row, package) if sure)
    misfit = next(lost, "")
    has_code = package == "tensorflow-gpu" or release >= platforms.FIRST_TENSORFLOW_WITH_GPU
    return Named(module="tensorflow", release=release, cuda=row.cuda if has_code else (), misfit=misfit)


def tensorflow_in(
    image: Image, release: platforms.Version, built: Framework, package: str = "tensorflow"
) -> Iterator[tuple[bool, str]]:
    """Why TensorFlow may find no GPU in this image, and whether that is sure."""
    if package == "tensorflow" and release < platforms.FIRST_TENSORFLOW_WITH_GPU:
        yield True, f"the package tensorflow {plain(release)} computes on the processor only"
        return
    if not re.fullmatch(r"[\d.]+", image.cuda_version) or not re.fullmatch(r"[\d.]+", image.cudnn_version):
        return
    cuda, cudnn = parts(image.cuda_version)[:2], parts(image.cudnn_version)[:2]
    wants = (
        f"TensorFlow {plain(release)} is built for CUDA {plain(built.cuda)} and cuDNN {plain(built.cudnn)}; the image "
        f"has {plain(cuda)} and {plain(cudnn)}"
    )
    if cuda[0] != built.cuda[0] or cudnn[0] != built.cudnn[0]:
        yield True, f"{wants}: it finds no GPU and computes on the processor"
    elif cuda < built.cuda or cudnn < built.cudnn:
        yield False, f"{wants}, which are older: it may find no GPU"


def release_of(one: Requirement) -> platforms.Version:
    """The release that is asked for exactly, or at most; () if it is left open."""
    for operator in ("==", "<=", "~="):
        for specifier in one.specifier:
            if specifier.operator == operator:
                return Version(specifier.version.replace(".*", "")).release[:2]
    return ()


def lines(text: str) -> Iterator[tuple[int, str]]:
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


def _for_linux(one: Requirement, image: Image) -> bool:
    python = {"python_version": image.python_version} if image.python_version else {}
    return one.marker is None or one.marker.evaluate({**_LINUX, **python})
