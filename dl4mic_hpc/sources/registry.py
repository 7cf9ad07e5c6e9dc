"""Images in registries: a name's digest, configuration and layers, without fetching the layers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from dl4mic_hpc.errors import ImageError, RecipeError, RegistryError
from dl4mic_hpc.sources import manifests, reference
from dl4mic_hpc.sources.cache import Cache
from dl4mic_hpc.sources.manifests import Blob, Image
from dl4mic_hpc.sources.reference import HUB, Reference
from dl4mic_hpc.sources.repository import HUB_HOST, Repository
from dl4mic_hpc.sources.web import UnansweredError


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How registries are reached. mirrors: the HOST or HOST/FOLDER to ask in a registry's place.

    insecure: the hosts that speak plain HTTP; no password is sent to those. proxy: the address of a SOCKS proxy that
    all of the conversation goes through, "" for what this computer has. patience: seconds without a byte,
    `web.TIMEOUT` if None.
    """

    insecure: frozenset[str] = frozenset()
    mirrors: Mapping[str, str] = field(default_factory=dict)
    proxy: str = ""
    patience: float | None = None

    def where(self, image: Reference) -> tuple[str, str]:
        """The host to ask and the repository there."""
        host, _, folder = self.mirrors.get(image.registry, image.registry).partition("/")
        path = f"{folder}/{image.repository}" if folder else image.repository
        return (HUB_HOST if host == HUB else host), path

    def repository(self, image: Reference) -> Repository:
        """The conversation about `image`, to be entered."""
        host, path = self.where(image)
        return Repository(
            host,
            path,
            insecure=host in self.insecure,
            name=str(image),
            proxy=self.proxy,
            patience=self.patience,
        )


def resolve(image: Reference, platform: str, *, cache: Cache, access: Access) -> Image:
    """What `image` is for `platform` now, with the digest of that platform's own manifest.

    That digest pins the image: an index would also change with the images of other platforms. A reference with a
    digest that was asked before is answered from the cache. RecipeError if the registry says that there is no such
    image or that it is not for us; web.UnansweredError if it says nothing.
    """
    with _for_a_recipe(), access.repository(image) as repository:
        store, digest, first = _first(image, cache, repository)
        found = manifests.image(first, digest=digest, platform=platform, store=store, name=str(image))
    if not image.digest:
        cache.remember(str(image), digest)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An image for one platform as its registry has it now.

    reference: as it was asked for. host and path: where it was found, a mirror's if one was asked. digest: of the
    platform's manifest. kind: "sif" for what `apptainer push … oras://` makes, whose one layer is the SIF.
    """

    reference: Reference
    host: str
    path: str
    insecure: bool
    digest: str
    kind: Literal["image", "sif"]
    manifest: bytes
    media_type: str
    config: Blob
    layers: tuple[Blob, ...]
    by_login_node: bool = False

    @property
    def size(self) -> int:
        """Bytes of all layers as they are transferred, each counted once."""
        return sum(blob.size for blob in dict.fromkeys(self.layers))

    @property
    def address(self) -> str:
        """Exactly this image, as Apptainer's pull and build take it."""
        host = HUB if self.host == HUB_HOST else self.host
        return f"{'oras' if self.kind == 'sif' else 'docker'}://{host}/{self.path}@{self.digest}"


def look_up(image: Reference, platform: str, *, cache: Cache, access: Access) -> Found:
    """What `image` is for `platform` now; the registry is asked anew unless the reference has a digest.

    RegistryError with its `reason` if the registry does not say; ImageError if what it has is no image for us.
    """
    try:
        with access.repository(image) as repository:
            store, digest, first = _first(image, cache, repository)
            package = manifests.package(first, digest=digest, platform=platform, store=store, name=str(image))
    except UnansweredError as error:
        host, _ = access.where(image)
        raise RegistryError(
            f"{host} does not say what {image} is: {error.why}",
            hint=error.hint,
            reason="busy" if error.busy else "silent",
        ) from error
    except RecipeError as error:
        raise ImageError(error.message, hint=error.hint) from error
    host, path = access.where(image)
    return Found(
        reference=image,
        host=host,
        path=path,
        insecure=host in access.insecure,
        digest=package.digest,
        kind=package.kind,
        manifest=package.manifest,
        media_type=package.media_type,
        config=package.config,
        layers=package.layers,
    )


def _first(image: Reference, cache: Cache, repository: Repository) -> tuple[_Cached, str, bytes]:
    """Where documents come from, and the first one: the reference's digest and what has it."""
    store = _Cached(cache=cache, repository=repository)
    if image.digest:
        return store, image.digest, manifests.verified(image.digest, store.manifest(image.digest), str(image))
    first = repository.document(f"manifests/{image.tag}")
    digest = manifests.digest_of(first)
    cache.keep(digest, first)
    return store, digest, first


@contextlib.contextmanager
def _for_a_recipe() -> Iterator[None]:
    """A refusal inside is the recipe's mistake."""
    try:
        yield
    except RegistryError as error:
        raise RecipeError(error.message, hint=error.hint) from error


def remembered(image: Reference, platform: str, *, cache: Cache) -> Image | None:
    """What `image` was for `platform` when it was last asked, if all of it is still in the cache."""
    digest = image.digest or cache.recall(str(image))
    store = _OnlyCached(cache=cache)
    try:
        first = store.manifest(digest)
        return manifests.image(first, digest=digest, platform=platform, store=store, name=str(image))
    except KeyError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _OnlyCached:
    """Documents that were fetched before; KeyError for others."""

    cache: Cache

    def manifest(self, digest: str) -> bytes:
        path = self.cache.file(digest) if reference.is_digest(digest) else None
        if path is None:
            raise KeyError(digest)
        return path.read_bytes()

    blob = manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cached:
    """Documents from the cache, else from the repository, and then also in the cache if their hash is right."""

    cache: Cache
    repository: Repository

    def manifest(self, digest: str) -> bytes:
        return self._get(f"manifests/{digest}", digest)

    def blob(self, digest: str) -> bytes:
        return self._get(f"blobs/{digest}", digest)

    def _get(self, path: str, digest: str) -> bytes:
        if before := self.cache.file(digest):
            return before.read_bytes()
        data = self.repository.document(path)
        if manifests.matches(digest, data):
            self.cache.keep(digest, data)
        return data
