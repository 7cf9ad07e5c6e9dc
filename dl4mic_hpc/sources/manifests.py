"""From an image's first document to its configuration, the same way in a registry and in an archive.

Documents are an index (one entry per platform), a manifest (one image) and a configuration, each found by its
hash (https://github.com/opencontainers/image-spec). Docker's own kinds say the same under other names. What a
document is, is read from its content, because its kind need not be written in it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.sources import reference

KINDS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
LARGEST = 8 * 1024 * 1024  # bytes of a document; the specification lets a registry refuse more than 4 MiB

_CONFIGURATIONS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
SIF_LAYERS = ("application/vnd.sylabs.sif.layer.v1.sif", "appliciation/vnd.sylabs.sif.layer.tar")
"""The second one is what Singularity before 3.7 wrote, typing error and all."""

_DEPTH = 4
_DEFAULT_VARIANTS = {"arm64": 8, "arm": 7, "amd64": 1}

Document = Mapping[str, Any]


class Store(Protocol):
    """Where documents lie. `image` checks what it is given against the digest."""

    def manifest(self, digest: str) -> bytes: ...

    def blob(self, digest: str) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """digest: of the manifest of the one platform, never of an index. config: the configuration document, whole."""

    digest: str
    config: Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A piece of an image. size: bytes, as it is transferred."""

    digest: str
    size: int
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """An image with all that makes it up. kind: "sif" if its one layer is a SIF file."""

    digest: str
    kind: Literal["image", "sif"]
    manifest: bytes
    media_type: str
    config: Blob
    layers: tuple[Blob, ...]


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def matches(digest: str, data: bytes) -> bool:
    algorithm, _, value = digest.partition(":")
    return hashlib.new(algorithm, data).hexdigest() == value


def image(first: bytes, *, digest: str, platform: str, store: Store, name: str) -> Image:
    """The image for `platform` that begins with the document `first`.

    digest: of `first`. name: for messages. RecipeError if there is none for the platform, or if a document is
    damaged, too old (Docker's schema 1) or belongs to something that is no image.
    """
    digest, data = _manifest(first, digest=digest, platform=platform, store=store, name=name)
    config = _config(read(data, name), store, name)
    check_platform(config, platform, name)
    return Image(digest=digest, config=config)


def package(first: bytes, *, digest: str, platform: str, store: Store, name: str) -> Package:
    """The same with its layers, and also of a SIF that Apptainer has pushed (`oras://`), which has no platform."""
    digest, data = _manifest(first, digest=digest, platform=platform, store=store, name=name)
    document = read(data, name)
    sif = any(
        isinstance(entry, dict) and entry.get("mediaType") in SIF_LAYERS
        for entry in document.get("layers") or ()
    )
    if not sif:
        check_platform(_config(document, store, name), platform, name)
    layers = tuple(_blob(entry, name) for entry in _list(document.get("layers"), name))
    if sif and len(layers) != 1:
        raise _unusable(name, "it holds more than one SIF")
    return Package(
        digest=digest,
        kind="sif" if sif else "image",
        manifest=data,
        media_type=str(document.get("mediaType") or KINDS[1]),
        config=_blob(document.get("config"), name),
        layers=layers,
    )


def _manifest(first: bytes, *, digest: str, platform: str, store: Store, name: str) -> tuple[str, bytes]:
    """The manifest of the platform's image, with its digest."""
    data = first
    for _ in range(_DEPTH):
        document = read(data, name)
        if "manifests" in document and {"config", "layers"} & document.keys():
            raise _unusable(name, "one document says that it is an index and that it is a manifest")
        if "manifests" not in document:
            return digest, data
        digest = _digest(choose(document, platform, name), name)
        data = verified(digest, store.manifest(digest), name)
    raise _unusable(name, "its indexes lead to ever more indexes")


def choose(index: Document, platform: str, name: str) -> Document:
    """The entry of an index for `platform`: of several variants the best that this platform can run.

    Attestations stand under the platform unknown/unknown and are never chosen. An entry without a platform is
    taken if it is the only one left; its configuration is looked at later.
    """
    entries = [_mapping(entry, name) for entry in _list(index.get("manifests"), name)]
    ranked = [(_rank(_mapping(entry.get("platform") or {}, name), platform), entry) for entry in entries]
    best = max((rank for rank, _ in ranked), default=-1)
    if best >= 0:
        return next(entry for rank, entry in ranked if rank == best)
    silent = [entry for entry in entries if not entry.get("platform")]
    if len(silent) == 1:
        return silent[0]
    offered = sorted({_spoken(_mapping(entry.get("platform") or {}, name)) for entry in entries} - {""})
    raise RecipeError(
        f"{name} is not offered for {platform}, only for {', '.join(offered) or 'no platform that it names'}",
        hint="choose another image or tag; clusters with x86 processors need linux/amd64",
    )


def check_platform(config: Document, platform: str, name: str) -> None:
    """RecipeError if the configuration says that the image is for another kind of computer."""
    if config.get("architecture") and _rank(config, platform) < 0:
        raise RecipeError(
            f"{name} is for {_spoken(config)}, not for {platform}",
            hint="choose another image or tag; clusters with x86 processors need linux/amd64",
        )


def verified(digest: str, data: bytes, name: str) -> bytes:
    if not matches(digest, data):
        raise RecipeError(
            f"{name}: the document {digest} has other content than its hash says",
            hint="try again; if it stays so, do not use this source: it is damaged or tampered with",
        )
    return data


def read(data: bytes, name: str) -> Document:
    try:
        return _mapping(json.loads(data), name)
    except (ValueError, RecursionError) as error:
        raise _unusable(name, "a document of it is no JSON") from error


def _config(manifest: Document, store: Store, name: str) -> Document:
    if "fsLayers" in manifest or manifest.get("schemaVersion") == 1:
        raise RecipeError(
            f"{name} is kept in Docker's schema 1, which no current program reads",
            hint="pull it with an old Docker and push it again, or choose another image",
        )
    entry = _mapping(manifest.get("config"), name)
    kind = entry.get("mediaType") or _CONFIGURATIONS[0]
    if kind not in _CONFIGURATIONS:
        raise RecipeError(f"{name} is no container image but {kind}", hint="choose an image")
    digest = _digest(entry, name)
    return read(verified(digest, store.blob(digest), name), name)


def _rank(offered: Document, platform: str) -> int:
    """How well what is offered suits: -1 not at all, else higher for a later variant of the processor."""
    system, _, rest = platform.partition("/")
    processor, _, variant = rest.partition("/")
    if (offered.get("os"), offered.get("architecture")) != (system, processor):
        return -1
    wanted, found = (_variant(processor, text) for text in (variant, offered.get("variant") or ""))
    return found if found <= wanted else -1


def _variant(processor: str, text: object) -> int:
    number = re.match(r"v(\d+)", str(text), re.ASCII)
    return int(number[1]) if number else _DEFAULT_VARIANTS.get(processor, 0)


def _spoken(platform: Document) -> str:
    parts = [str(platform.get(key) or "") for key in ("os", "architecture", "variant")]
    return "/".join(part for part in parts if part) if parts[:2] != ["unknown", "unknown"] else ""


def _blob(value: object, name: str) -> Blob:
    entry = _mapping(value, name)
    size = entry.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise _unusable(name, "a document of it does not say how large a part is")
    return Blob(digest=_digest(entry, name), size=size, media_type=str(entry.get("mediaType") or ""))


def _digest(entry: Document, name: str) -> str:
    digest = entry.get("digest")
    if not isinstance(digest, str) or not reference.is_digest(digest):
        raise _unusable(name, "a document of it names another by no hash that is known here")
    return digest


def _mapping(value: object, name: str) -> Document:
    if not isinstance(value, dict):
        raise _unusable(name, "a document of it has another form than the specification says")
    return value


def _list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise _unusable(name, "a document of it has another form than the specification says")
    return value


def _unusable(name: str, why: str) -> RecipeError:
    return RecipeError(f"{name} cannot be read: {why}", hint="choose another image, or write it anew")
