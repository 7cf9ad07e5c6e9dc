"""The names of images, as Docker reads them (https://pkg.go.dev/github.com/distribution/reference)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dl4mic_hpc.errors import RecipeError

HUB = "docker.io"

_HOST = re.compile(r"(?:\[[0-9A-Fa-f:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]+)?")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+|/)[a-z0-9]+)*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An image by its full name. tag: "" exactly if there is a digest, which says more."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"


def parse(text: str) -> Reference:
    """`ubuntu` is docker.io/library/ubuntu:latest. RecipeError if `text` names no image."""
    rest, _, digest = text.partition("@")
    host, slash, path = rest.partition("/")
    if not slash or not _names_a_host(host):
        host, path = HUB, rest
    path, _, tag = path.partition(":")
    if host == f"index.{HUB}":
        host = HUB
    if host == HUB and "/" not in path:
        path = f"library/{path}"
    if not (_HOST.fullmatch(host) and _REPOSITORY.fullmatch(path)):
        raise _no_image(text)
    if (tag and not _TAG.fullmatch(tag)) or ("@" in text and not is_digest(digest)) or rest.endswith(":"):
        raise _no_image(text)
    return Reference(registry=host, repository=path, tag="" if digest else tag or "latest", digest=digest)


def is_digest(text: str) -> bool:
    """Whether `text` is a hash with its algorithm, of the kinds that registries use."""
    return _DIGEST.fullmatch(text) is not None


def without_tag(text: str) -> str:
    """The image as `text` names it, without its tag if it has a digest: Apptainer takes only one of the two."""
    name, at, digest = text.partition("@")
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}@{digest}" if at else text


def _names_a_host(part: str) -> bool:
    return part == "localhost" or "." in part or ":" in part or part != part.lower()


def _no_image(text: str) -> RecipeError:
    return RecipeError(
        f"'{text}' names no image",
        hint="write NAME, NAME:TAG or NAME@sha256:…, in small letters; before it the registry, unless it is Docker Hub",
    )
