"""Published images: what a reference stands for now, asked where the answer is, and the log-in that its pull needs."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dl4mic_hpc import resources
from dl4mic_hpc.errors import ImageError, RecipeError, RegistryError
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.remote import Remote
from dl4mic_hpc.sources import credentials, reference
from dl4mic_hpc.sources.reference import Reference

if TYPE_CHECKING:
    from dl4mic_hpc.sources.registry import Access, Found

PLATFORM = "linux/amd64"

_PATIENCE = 10.0  # seconds for a registry to answer this computer, where the login node can be asked next

_KINDS: dict[str, Literal["registry", "oras", "library"]] = {
    "": "registry",
    "docker": "registry",
    "oras": "oras",
    "library": "library",
}
_LIBRARY = re.compile(r"(?:[\w.-]+(?::\d+)?/)?(?:[\w.-]+/){0,2}[\w.-]+(?::[\w.,-]+)?", re.ASCII)
_PERHAPS_PLAIN = re.compile(
    r"(?:.*\.)?local(?:host)?|127\..*|\[.*|10\..*|192\.168\..*|172\.(?:1[6-9]|2\d|3[01])\..*", re.I
)
"""Hosts that Apptainer's library for registries also asks in plain HTTP, without being told to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An image somewhere else. reference: its full name with the registry, without `kind`'s prefix.

    registry: an OCI image, which is converted on its way. oras: a SIF in an OCI registry. library: a SIF in a library
    server, of which nothing is known before the pull.
    """

    kind: Literal["registry", "oras", "library"]
    reference: str

    @property
    def address(self) -> str:
        """As Apptainer takes it, by no mirror."""
        return f"{'docker' if self.kind == 'registry' else self.kind}://{self.reference}"

    @property
    def key(self) -> str:
        """The image's key on the cluster: by the name alone, so that it needs neither network nor mirror."""
        name = self.reference if self.kind == "registry" else self.address
        return hashlib.sha256(f"published\0{name}".encode()).hexdigest()[:16]


def source(text: str) -> Source:
    """What `text` names: `NAME`, `docker://NAME`, `oras://NAME` or `library://NAME`. ImageError if nothing."""
    prefix, _, name = text.rpartition("://")
    kind = _KINDS.get(prefix)
    if kind is None:
        raise ImageError(
            f"'{text}' is no image that can be pulled",
            hint="write NAME:TAG of a registry, docker://NAME, oras://NAME or library://NAME",
        )
    if kind != "library":
        return Source(kind=kind, reference=str(_parse(name)))
    name = name.lstrip("/")
    if not _LIBRARY.fullmatch(name):
        raise ImageError(f"'{text}' names no image", hint="write library://USER/COLLECTION/NAME:TAG")
    return Source(kind=kind, reference=name)


def look_up(remote: Remote, profile: ClusterProfile, text: str, *, platform: str = PLATFORM) -> Found:
    """What the registry says that `text` is now: digest, size, layers. RegistryError (with its `reason`) if it does not.

    A registry for which the profile names a mirror is asked from the login node, since the mirror may be for that
    network only; every other one from here, and from the login node if it does not answer here.
    """
    from dl4mic_hpc.sources import registry
    from dl4mic_hpc.sources.cache import Cache

    wanted = source(text)
    if wanted.kind == "library":
        raise ImageError(
            f"what {wanted.address} is cannot be asked before it is pulled", hint="let a job pull it"
        )
    image, cache = _parse(wanted.reference), Cache(folder=resources.home("cache"))
    here = access(profile)
    silence = ""
    if image.registry not in profile.registry_mirrors:
        try:
            briefly = dataclasses.replace(here, patience=_PATIENCE)
            return _fitting(registry.look_up(image, platform, cache=cache, access=briefly), wanted)
        except RegistryError as error:
            if error.reason != "silent":
                raise
            silence = f"{error.message}; "
    try:
        with by_login_node(remote, here) as there:
            found = registry.look_up(image, platform, cache=cache, access=there)
    except RegistryError as error:
        if error.reason != "silent":
            raise
        why = f"{silence}asked from the login node of {remote.cluster}, {error.message}"
        raise RegistryError(why, hint=error.hint, reason="silent") from error
    return _fitting(dataclasses.replace(found, by_login_node=True), wanted)


def access(profile: ClusterProfile) -> Access:
    """How the profile says that registries are reached, from this computer."""
    from dl4mic_hpc.sources.registry import Access

    return Access(insecure=frozenset(profile.insecure_registries), mirrors=profile.registry_mirrors)


@contextmanager
def by_login_node(remote: Remote, access: Access) -> Iterator[Access]:
    """The same from the login node, as long as the context lasts."""
    with remote.proxy() as proxy:
        yield dataclasses.replace(access, proxy=proxy)


def login_file(profile: ClusterProfile, text: str) -> bytes | None:
    """User and password for the registry of `text`, a line each, if this person has logged in to it on this computer.

    None also where Apptainer might speak to it in plain HTTP: no password goes there.
    """
    from dl4mic_hpc.sources.repository import registry_of

    wanted = source(text)
    if wanted.kind == "library":
        return None
    there = access(profile)
    host, _ = there.where(_parse(wanted.reference))
    if host in there.insecure or _PERHAPS_PLAIN.fullmatch(re.sub(r":\d+$", "", host)):
        return None
    known = credentials.find(registry_of(host))
    if known is None or any(set("\n\r\0") & set(word) for word in known):
        return None
    return "".join(f"{word}\n" for word in known).encode()


def _parse(text: str) -> Reference:
    try:
        return reference.parse(text)
    except RecipeError as error:
        raise ImageError(error.message, hint=error.hint) from error


def _fitting(found: Found, wanted: Source) -> Found:
    """ImageError if a SIF was asked for and the registry has another kind of image under that name."""
    if wanted.kind == "oras" and found.kind != "sif":
        raise ImageError(
            f"{wanted.address} is no SIF but a container image", hint=f"write docker://{wanted.reference}"
        )
    return found
