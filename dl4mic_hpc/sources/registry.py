"""Images in registries: a name's digest and configuration, without their layers.

python-dxf carries the conversation, from the first refusal to the token (https://distribution.github.io/distribution/
spec/auth/token/). It reads no manifest here: it would need every one to name its own kind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import requests
import urllib3
from dxf import DXF, DXFBase
from dxf.exceptions import DXFAuthInsecureError, DXFError, DXFUnauthorizedError

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.sources import credentials, manifests, reference, web
from dl4mic_hpc.sources.cache import Cache
from dl4mic_hpc.sources.manifests import Image
from dl4mic_hpc.sources.reference import HUB, Reference

_HUB_HOST = "registry-1.docker.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How registries are reached. mirrors: the HOST or HOST/FOLDER to ask in a registry's place.

    insecure: the hosts that speak plain HTTP; no password is sent to those.
    """

    insecure: frozenset[str] = frozenset()
    mirrors: Mapping[str, str] = field(default_factory=dict)

    def where(self, image: Reference) -> tuple[str, str]:
        """The host to ask and the repository there."""
        host, _, folder = self.mirrors.get(image.registry, image.registry).partition("/")
        path = f"{folder}/{image.repository}" if folder else image.repository
        return (_HUB_HOST if host == HUB else host), path


def resolve(image: Reference, platform: str, *, cache: Cache, access: Access) -> Image:
    """What `image` is for `platform` now, with the digest of that platform's own manifest.

    That digest pins the image: an index would also change with the images of other platforms. A reference with a
    digest that was asked before is answered from the cache. RecipeError if the registry says that there is no such
    image or that it is not for us; web.UnansweredError if it says nothing.
    """
    host, path = access.where(image)
    with _Repository(host, path, insecure=host in access.insecure, name=str(image)) as repository:
        store = _Cached(cache=cache, repository=repository)
        if image.digest:
            digest, first = image.digest, store.manifest(image.digest)
            manifests.verified(digest, first, str(image))
        else:
            first = repository.document(f"manifests/{image.tag}")
            digest = manifests.digest_of(first)
            cache.keep(digest, first)
        found = manifests.image(first, digest=digest, platform=platform, store=store, name=str(image))
    if not image.digest:
        cache.remember(str(image), digest)
    return found


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
    repository: _Repository

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


class _Repository(DXF):
    """python-dxf's conversation with one repository: with our own patience, limits and words for what fails."""

    def __init__(self, host: str, path: str, *, insecure: bool, name: str) -> None:
        super().__init__(
            host, path, _log_in, insecure=insecure, tlsverify=web.certificates(), timeout=web.TIMEOUT
        )
        self._name = name

    def __enter__(self) -> Self:
        self._sessions.insert(0, web.session())
        return self

    def document(self, path: str) -> bytes:
        """The manifest or blob at `path`, not larger than a document may be."""
        accept = {"Accept": ", ".join(manifests.KINDS)} if path.startswith("manifests/") else {}
        accept["Accept-Encoding"] = "identity"
        try:
            with self._get(path, accept) as response:
                return b"".join(
                    web.chunks(response, largest=manifests.LARGEST, what=f"a document of {self._name}")
                )
        except DXFAuthInsecureError as error:
            raise RecipeError(
                f"{self._host} asks for a password, and none is sent over plain HTTP",
                hint="reach the registry over https",
            ) from error
        except DXFUnauthorizedError as error:
            raise self._not_for_us() from error
        except requests.HTTPError as error:
            assert error.response is not None
            raise self._refused(error.response) from error
        except (requests.JSONDecodeError, DXFError, KeyError, TypeError, AttributeError) as error:
            raise self._not_understood() from error
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise web.failure(error, self._host) from error
        except ValueError as error:
            raise self._not_understood() from error

    def _get(self, path: str, headers: dict[str, str]) -> requests.Response:
        answer = self._request("get", path, headers=headers, stream=True)  # type: ignore[no-untyped-call]
        assert isinstance(answer, requests.Response)
        return answer

    def _refused(self, response: requests.Response) -> Exception:
        if response.status_code == 403:
            return self._not_for_us()
        if response.status_code == 404:
            return RecipeError(
                f"the registry {self._host} has no image {self._name}",
                hint="look for a typing error in its name and its tag",
            )
        return web.refusal(response, self._name)

    def _not_understood(self) -> RecipeError:
        """For python-dxf reads the registry's challenge and the token without looking at their form."""
        return RecipeError(
            f"{self._host} asks for a log-in of a kind that is not known here",
            hint="see whether it is a registry's address",
        )

    def _not_for_us(self) -> RecipeError:
        return RecipeError(
            f"the registry {self._host} does not give out {self._name}: it does not exist, or it is not for everybody",
            hint=f"look for a typing error in its name; if it is private, `docker login` or `podman login {self._host}`",
        )


def _log_in(repository: DXFBase, response: requests.Response) -> None:
    """Gets a token, for this person if they have logged in to the registry, else as anybody.

    A refusal by another host, to which the registry has sent us on, is none of the registry's: it gets nothing.
    """
    if response.history:
        return
    known = credentials.find(_registry_of(response.url))
    user, password = known or (None, None)
    repository.authenticate(user, password, response=response)


def _registry_of(address: str) -> str:
    host = re.sub(r"^https?://", "", address).partition("/")[0]
    return HUB if host == _HUB_HOST else host
