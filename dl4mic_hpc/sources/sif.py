"""What a SIF says about the Docker image that it was made from.

A SIF begins with a header and a table of descriptors, little-endian and unpadded
(https://github.com/apptainer/sif/blob/main/pkg/sif/sif.go); among what they describe is the Docker configuration, if
Apptainer took the image from a registry or an archive, and the definition that it was built by.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.sources import manifests

_MAGIC = slice(32, 42)
# Launch script, magic, version; architecture; UUID, two times, free descriptors; all descriptors, their place; the rest.
_HEADER = struct.Struct("<45x3s40xqq24x")
# Kind, whether used; three ids; place, size; padded size, two times, owner; name; what the kind adds.
_DESCRIPTOR = struct.Struct("<i?12xqq40x128s384x")
_MOST_DESCRIPTORS = 4096
_DEFINITION = 0x4001
_CONFIG_NAMES = (b"oci-config.json", b"oci-config")
_ARCHITECTURES = (
    *("", "386", "amd64", "arm", "arm64", "ppc64", "ppc64le"),
    *("mips", "mipsle", "mips64", "mips64le", "s390x"),
)
_SECTION = re.compile(rb"^\s*%(?!help\b)[a-z]", re.M | re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sif:
    """config: JSON, the inner `config` of Docker's document: Apptainer keeps no ONBUILD, SHELL and HEALTHCHECK.

    architecture: in Go's words, "" if the file does not say.
    """

    config: bytes
    architecture: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Descriptor:
    kind: int
    name: bytes
    offset: int
    size: int


def is_sif(start: bytes) -> bool:
    """Whether a file that begins with these bytes (42 or more) is a SIF."""
    return start[_MAGIC] == b"SIF_MAGIC\0"


def read(path: Path) -> Sif:
    """RecipeError if the file is no SIF or cannot say what its Docker image was; OSError as the system has it."""
    with path.open("rb") as file:
        start = file.read(_HEADER.size)
        if len(start) < _HEADER.size or not is_sif(start):
            raise RecipeError(
                f"{path} is no SIF file", hint="name its kind: oci-archive:FILE, docker-archive:FILE"
            )
        architecture, total, table = _HEADER.unpack(start)
        described = list(_descriptors(file, path, table=table, total=total))
        definition = next((one for one in described if one.kind == _DEFINITION), None)
        if definition and _SECTION.search(_content(file, path, definition)):
            raise RecipeError(
                f"{path} was built by a definition that adds to its Docker image, and does not say what came of it",
                hint="give the image as an archive: `skopeo copy docker://IMAGE oci-archive:FILE`",
            )
        config = next((one for one in described if one.name in _CONFIG_NAMES), None)
        if config is None:
            raise RecipeError(
                f"{path} was not made from a Docker image: it has no Docker configuration",
                hint="give the image as an archive: `skopeo copy docker://IMAGE oci-archive:FILE`",
            )
        return Sif(config=_content(file, path, config), architecture=_architecture(architecture))


def _architecture(code: bytes) -> str:
    number = code.rstrip(b"\0")
    known = number.isdigit() and int(number) < len(_ARCHITECTURES)
    return _ARCHITECTURES[int(number)] if known else ""


def _descriptors(file: BinaryIO, path: Path, *, table: int, total: int) -> Iterator[_Descriptor]:
    if not (0 <= total <= _MOST_DESCRIPTORS and table >= _HEADER.size):
        raise _damaged(path)
    file.seek(table)
    for _ in range(total):
        row = file.read(_DESCRIPTOR.size)
        if len(row) < _DESCRIPTOR.size:
            raise _damaged(path)
        kind, used, offset, size, name = _DESCRIPTOR.unpack(row)
        if used:
            yield _Descriptor(kind=kind, name=name.partition(b"\0")[0], offset=offset, size=size)


def _content(file: BinaryIO, path: Path, described: _Descriptor) -> bytes:
    if described.offset < 0 or not 0 <= described.size <= manifests.LARGEST:
        raise _damaged(path)
    file.seek(described.offset)
    content = file.read(described.size)
    if len(content) < described.size:
        raise _damaged(path)
    return content


def _damaged(path: Path) -> RecipeError:
    return RecipeError(f"the SIF file {path} is damaged", hint="write it anew")
