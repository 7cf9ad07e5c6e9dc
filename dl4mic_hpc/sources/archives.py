"""Images in files on this computer: what they say about themselves, without unpacking them.

The forms are those that `skopeo copy`, `podman save` and `docker save` write, and Apptainer builds from: an OCI layout
in a tar (https://github.com/opencontainers/image-spec/blob/main/image-layout.md), Docker's own archive, and a SIF.
"""

from __future__ import annotations

import contextlib
import json
import lzma
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from dl4mic_hpc.errors import RecipeError, perhaps_you_meant
from dl4mic_hpc.recipe.base import config_from_docker
from dl4mic_hpc.recipe.steps import BaseImage
from dl4mic_hpc.sources import manifests, sif
from dl4mic_hpc.sources.shells import has_shell

KINDS = ("oci-archive", "docker-archive", "sif", "json")

_AGENTS = {"sif": "localimage", "json": "docker"}  # where Apptainer has another word for it
_REFERENCE_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A file, and what it is: one of KINDS."""

    kind: str
    path: Path


def archive(text: str) -> Archive:
    """What `KIND:FILE` names; without a kind the file is looked into. RecipeError if there is no such file."""
    kind, colon, file = text.partition(":")
    if not colon or kind not in KINDS:
        if colon and len(kind) > 1 and not Path(text).exists():
            raise RecipeError(
                f"'{text}': there is no kind '{kind}' of image", hint=perhaps_you_meant(kind, KINDS)
            )
        kind, file = "", text
    path = Path(file)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        hint = "name a file: `skopeo copy SOURCE oci-archive:FILE` or `podman save --format oci-archive` writes one"
        raise RecipeError(f"the image file {file} {what}", hint=hint)
    with _reading(path):
        return Archive(kind=kind or _kind_of(path), path=path)


def base(source: Archive, *, reference: str, platform: str) -> BaseImage:
    """The image in the file, under the name that the recipe gives it.

    Only an OCI archive says which manifest it holds: the digest of the others is "". With `json` the file is only the
    configuration and the image is still to be had under its name. RecipeError if the file holds no image, several, or
    one for another platform.
    """
    with _reading(source.path):
        found = _READERS[source.kind](source.path, platform)
    return BaseImage(
        reference=reference,
        platform=platform,
        digest=found.digest,
        agent=_AGENTS.get(source.kind, source.kind),
        file="" if source.kind == "json" else str(source.path),
        config=config_from_docker(found.config),
        shell=found.shell,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What a file says of its image. shell: as in `BaseImage`."""

    digest: str = ""
    config: object
    shell: bool | None = None


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, tarfile.TarError, zlib.error, lzma.LZMAError) as error:
        raise _unreadable(path, error) from error


def _kind_of(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(64)
    if sif.is_sif(start):
        return "sif"
    if start.lstrip()[:1] in (b"{", b"["):
        return "json"
    with _Members(path) as members:
        return "oci-archive" if "index.json" in members.names else "docker-archive"


class _Members:
    """The members of a tar, packed in whatever way, by their clean names; `manifests.Store` for an OCI layout."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tar = tarfile.open(path)  # noqa: SIM115 - closed by __exit__
        self.names = {member.name.removeprefix("./"): member for member in self._tar if member.isfile()}

    def __enter__(self) -> _Members:
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()

    def read(self, name: str) -> bytes:
        member = self.names.get(name)
        file = self._tar.extractfile(member) if member else None
        if member is None or file is None:
            raise RecipeError(f"{self.path} holds no {name}", hint="write the archive anew")
        if member.size > manifests.LARGEST:
            raise RecipeError(
                f"{self.path}: {name} is too large to be what its name says", hint="write the archive anew"
            )
        return file.read()

    def open(self, name: str) -> IO[bytes] | None:
        member = self.names.get(name)
        return self._tar.extractfile(member) if member else None

    def manifest(self, digest: str) -> bytes:
        return self.read(_blob(digest))

    blob = manifest


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _oci_archive(path: Path, platform: str) -> _Found:
    with _Members(path) as members:
        first = members.read("index.json")
        names = _names_in(manifests.read(first, str(path)))
        if len(names) > 1:
            raise _several(path, names)
        found = manifests.image(
            first, digest=manifests.digest_of(first), platform=platform, store=members, name=str(path)
        )
        layers = manifests.read(members.manifest(found.digest), str(path)).get("layers")
        digests = [str(layer.get("digest")) for layer in layers] if isinstance(layers, list) else []
        shell = has_shell(members.open(_blob(digest)) for digest in digests)
    return _Found(digest=found.digest, config=found.config, shell=shell)


def _names_in(index: Mapping[str, Any]) -> list[str]:
    """The names of the images in a layout: one image may stand there once for each platform."""
    found = set()
    entries = index.get("manifests")
    for entry in entries if isinstance(entries, list) else ():
        notes = entry.get("annotations") if isinstance(entry, dict) else None
        found.add(str(notes.get(_REFERENCE_NAME, "")) if isinstance(notes, dict) else "")
    return sorted(found)


def _docker_archive(path: Path, platform: str) -> _Found:
    with _Members(path) as members:
        try:
            images = json.loads(members.read("manifest.json"))
            names = [image["Config"] for image in images]
        except (ValueError, KeyError, TypeError) as error:
            raise _unreadable(path, error) from error
        if len(names) != 1 or not isinstance(names[0], str):
            raise _several(path, [str(image.get("RepoTags")) for image in images])
        config = manifests.read(members.read(names[0]), str(path))
        layers = images[0].get("Layers")
        shell = has_shell(members.open(str(name)) for name in layers) if isinstance(layers, list) else None
    manifests.check_platform(config, platform, str(path))
    return _Found(config=config, shell=shell)


def _sif(path: Path, platform: str) -> _Found:
    image = sif.read(path)
    manifests.check_platform({"os": "linux", "architecture": image.architecture}, platform, str(path))
    return _Found(config=manifests.read(image.config, str(path)))


def _json(path: Path, platform: str) -> _Found:
    del platform
    try:
        return _Found(config=json.loads(path.read_bytes()))
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, error) from error


_READERS = {"oci-archive": _oci_archive, "docker-archive": _docker_archive, "sif": _sif, "json": _json}


def _several(path: Path, names: list[str]) -> RecipeError:
    return RecipeError(
        f"{path} holds {len(names)} images ({', '.join(names)}), and Apptainer takes archives of one",
        hint="write each image to a file of its own",
    )


def _unreadable(path: Path, error: Exception) -> RecipeError:
    why = (
        error.strerror
        if isinstance(error, OSError) and error.strerror
        else "it is damaged or of another kind"
    )
    return RecipeError(
        f"the image file {path} cannot be read: {why}",
        hint="write the file anew, or name its kind: oci-archive:FILE",
    )
