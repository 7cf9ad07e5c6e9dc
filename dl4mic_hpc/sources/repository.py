"""The conversation with one repository of a registry: documents, blobs, and who is let in.

python-dxf carries it, from the first refusal to the token (https://distribution.github.io/distribution/spec/auth/token/).
It reads no manifest here: it would need every one to name its own kind.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Self

import requests
import urllib3
from dxf import DXF, DXFBase
from dxf.exceptions import DXFAuthInsecureError, DXFError, DXFUnauthorizedError

from dl4mic_hpc.errors import RecipeError, RegistryError
from dl4mic_hpc.sources import credentials, manifests, web
from dl4mic_hpc.sources.reference import HUB

HUB_HOST = "registry-1.docker.io"

_SOCKS_CODE = re.compile(r"\b0x0([1-8])\b")
_SOCKS = {
    "2": "the login node's SSH server forwards no connections",
    "4": "the login node does not know or reach it",
    "5": "nothing answers there",
}
"""What ssh/socks.py answers instead of a connection (RFC 1928, section 6)."""


class Repository(DXF):
    """python-dxf's conversation with one repository: with our own patience, limits and words for what fails.

    name: the image, for messages. proxy and patience: as `registry.Access` has them.
    """

    def __init__(
        self,
        host: str,
        path: str,
        *,
        insecure: bool,
        name: str,
        proxy: str = "",
        patience: float | None = None,
    ) -> None:
        super().__init__(
            host,
            path,
            _log_in,
            insecure=insecure,
            tlsverify=web.certificates(),
            timeout=patience or web.TIMEOUT,
        )
        self._name = name
        self._proxy = proxy

    def __enter__(self) -> Self:
        conversation = web.session()
        if self._proxy:
            conversation.trust_env = False  # requests lets the environment's proxies win over a session's
            conversation.proxies = {"http": self._proxy, "https": self._proxy}
        self._sessions.insert(0, conversation)
        return self

    def document(self, path: str) -> bytes:
        """The manifest or blob at `path`, not larger than a document may be.

        RegistryError if the registry refuses; RecipeError if there is no talking with it; web.UnansweredError if it
        says nothing for now.
        """
        with self._words(), self._asked("get", path, _accept(path)) as response:
            return b"".join(
                web.chunks(response, largest=manifests.LARGEST, what=f"a document of {self._name}")
            )

    def blob(self, digest: str, *, size: int, offset: int) -> Iterator[bytes]:
        """The blob from `offset` on, piece by piece, to be checked by who puts it together.

        Nothing more if the registry has sent all it has; errors as `document`.
        """
        headers = _accept("blobs/") | ({"Range": f"bytes={offset}-"} if offset else {})
        with self._words(), self._asked("get", f"blobs/{digest}", headers) as response:
            pieces = web.chunks(response, largest=size, what=f"a layer of {self._name}")
            skip = offset if response.status_code != 206 else 0  # a server may answer with all of it
            for piece in pieces:
                if skip < len(piece):
                    yield piece[skip:]
                skip = max(skip - len(piece), 0)

    def authorization(self, digest: str) -> str:
        """The value of the header Authorization that gets this manifest and its blobs now, "" if none is needed.

        By a HEAD: Docker Hub counts only GETs of manifests (https://docs.docker.com/docker-hub/usage/pulls/).
        """
        with self._words(), self._asked("head", f"manifests/{digest}", _accept("manifests/")):
            return str(self._headers.get("Authorization", ""))

    def _asked(self, method: str, path: str, headers: dict[str, str]) -> requests.Response:
        answer = self._request(method, path, headers=headers, stream=True)  # type: ignore[no-untyped-call]
        assert isinstance(answer, requests.Response)
        return answer

    @contextlib.contextmanager
    def _words(self) -> Iterator[None]:
        """What fails inside, in plain words."""
        try:
            yield
        except DXFAuthInsecureError as error:
            raise RegistryError(
                f"{self._host} asks for a password, and none is sent over plain HTTP",
                hint="reach the registry over https",
                reason="refused",
            ) from error
        except DXFUnauthorizedError as error:
            raise self._not_for_us() from error
        except requests.HTTPError as error:
            assert error.response is not None
            raise self._refused(error.response) from error
        except (requests.JSONDecodeError, DXFError, KeyError, TypeError, AttributeError) as error:
            raise self._not_understood() from error
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise self._failure(error) from error
        except ValueError as error:
            raise self._not_understood() from error

    def _failure(self, error: Exception) -> Exception:
        failure = web.failure(error, self._host)
        code = _SOCKS_CODE.search(str(error)) if self._proxy else None
        if code and isinstance(failure, web.UnansweredError):
            why = _SOCKS.get(code[1], "the login node lets no connection through")
            return web.UnansweredError(
                why, hint="ask those who run the cluster how images get there", reached=False
            )
        return failure

    def _refused(self, response: requests.Response) -> Exception:
        if response.status_code in (401, 403):
            return self._not_for_us()
        if response.status_code == 404:
            return RegistryError(
                f"the registry {self._host} has no image {self._name}",
                hint="look for a typing error in its name and its tag",
                reason="absent",
            )
        return web.refusal(response, self._name)

    def _not_understood(self) -> RecipeError:
        """For python-dxf reads the registry's challenge and the token without looking at their form."""
        return RecipeError(
            f"{self._host} asks for a log-in of a kind that is not known here",
            hint="see whether it is a registry's address",
        )

    def _not_for_us(self) -> RegistryError:
        """Docker Hub says to strangers of an image that is not there what it says of one that is private."""
        stranger = credentials.find(registry_of(self._host)) is None
        hint = f"look for a typing error in its name; if it is private, `docker login` or `podman login {self._host}`"
        return RegistryError(
            f"the registry {self._host} does not give out {self._name}: it does not exist, or it is not for everybody",
            hint=hint,
            reason="absent" if stranger and self._host == HUB_HOST else "refused",
        )


def _accept(path: str) -> dict[str, str]:
    """What may come back, as it is there."""
    kinds = {"Accept": ", ".join(manifests.KINDS)} if path.startswith("manifests/") else {}
    return {"Accept-Encoding": "identity"} | kinds


def registry_of(address: str) -> str:
    """The registry's name of a host or of an address there."""
    host = re.sub(r"^https?://", "", address).partition("/")[0]
    return HUB if host == HUB_HOST else host


def _log_in(repository: DXFBase, response: requests.Response) -> None:
    """Gets a token, for this person if they have logged in to the registry, else as anybody.

    A refusal by another host, to which the registry has sent us on, is none of the registry's: it gets nothing.
    """
    if response.history:
        return
    known = credentials.find(registry_of(response.url))
    user, password = known or (None, None)
    repository.authenticate(user, password, response=response)
