"""Requests over HTTP: how long to wait, how often to ask again, whom to trust, and failures in plain words.

`requests` does the work. Nothing that it says reaches a message: its texts hold addresses, and those may hold
passwords.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_auth_from_url

from dl4mic_hpc.errors import RecipeError

if TYPE_CHECKING:
    from requests.auth import AuthBase

TIMEOUT = 30.0  # seconds without a byte
BACKOFF = 0.5  # seconds before the second repetition; each further one waits twice as long
LONGEST_WAIT = 20  # seconds that a server may ask us to wait before the next try

_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_REPEATED = (429, 500, 502, 503, 504)
_CHUNK = 1024 * 1024


class UnansweredError(Exception):
    """Nobody answered, or only that the server cannot answer now: nothing is known about what was asked.

    reached: whether there was a server at all. busy: it takes no more requests from here for now.
    """

    def __init__(self, why: str, *, hint: str, reached: bool, busy: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.hint = hint
        self.reached = reached
        self.busy = busy

    def refused(self, what: str) -> RecipeError:
        return RecipeError(f"{what}: {self.why}", hint=self.hint)


class _Patience(urllib3.Retry):
    """Repeats what may go better a second time, unless the server wants us to wait too long for that."""

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: urllib3.BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: urllib3.connectionpool.ConnectionPool | None = None,
        _stacktrace: object = None,
    ) -> _Patience:
        if response is not None and (self.get_retry_after(response) or 0) > LONGEST_WAIT:
            reason = urllib3.exceptions.ResponseError("the server asks for more patience")
            raise urllib3.exceptions.MaxRetryError(_pool, url or "", reason)  # type: ignore[arg-type]
        return super().increment(method, url, response, error, _pool, _stacktrace)  # type: ignore[arg-type]


class _Session(requests.Session):
    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """As requests has it; of a refusal nobody reads more than the head, so its connection is given up."""
        response = super().send(request, **kwargs)
        if response.status_code >= 400:
            response.close()
        return response

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """As requests has it, but never from a protected address to an unprotected one."""
        target = super().get_redirect_target(resp)
        allowed = ("https",) if urlsplit(resp.url).scheme == "https" else ("https", "http")
        if target and _scheme(resp.url, target) not in allowed:
            raise requests.exceptions.InvalidSchema("a redirect that is not followed", response=resp)
        return target


def _scheme(address: str, target: str) -> str:
    try:
        return urlsplit(urljoin(address, target)).scheme
    except ValueError:
        return ""


def session(auth: AuthBase | tuple[str, str] | None = None) -> requests.Session:
    """A session for one conversation. auth: user and password; without them none are sent, netrc's neither."""
    made = _Session()
    made.headers["User-Agent"] = "dl4mic-hpc"
    made.max_redirects = 10
    made.auth = auth or (lambda request: request)
    patience = _Patience(
        total=4,
        connect=1,
        read=2,
        status=3,
        status_forcelist=_REPEATED,
        backoff_factor=BACKOFF,
        raise_on_status=False,
    )
    for scheme in ("https://", "http://"):
        made.mount(scheme, HTTPAdapter(max_retries=patience))
    return made


def certificates() -> str | bool:
    """The file or folder of trusted certificates that the environment names, else requests' own."""
    for name in _CERTIFICATES:
        path = os.environ.get(name)
        if path and not Path(path).exists():
            raise RecipeError(
                f"the certificates {path} that {name} names are not there", hint=f"set {name} to their file"
            )
        if path:
            return path
    return True


def chunks(response: requests.Response, *, largest: int, what: str) -> Iterator[bytes]:
    """The bytes as they lie on the server, however it packs them. RecipeError if there are more than `largest`."""
    size = 0
    for chunk in response.raw.stream(_CHUNK, decode_content=False):
        size += len(chunk)
        if size > largest:
            raise RecipeError(
                f"{what} is larger than {largest // 1024**2} MiB",
                hint="fetch it yourself and give the file instead",
            )
        yield chunk


def body(address: str, *, largest: int, what: str) -> Iterator[bytes]:
    """What lies at the address, piece by piece, by a GET; user and password of the address go to its host alone.

    RecipeError if it cannot be had for good or holds more than `largest` bytes, else UnansweredError. what: for the
    message.
    """
    try:
        user, password = get_auth_from_url(address)
        with (
            session((user, password) if user else None) as conversation,
            conversation.get(
                address,
                stream=True,
                timeout=TIMEOUT,
                verify=certificates(),
                headers={"Accept-Encoding": "identity"},
            ) as response,
        ):
            if not 200 <= response.status_code < 300:
                raise refusal(response, what)
            yield from chunks(response, largest=largest, what=what)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise failure(error, address) from error


def failure(error: Exception, address: str) -> Exception:
    """What a failure of requests or urllib3 means: RecipeError if it is final, else UnansweredError.

    address: the host or the whole address, for the message.
    """
    shown = redacted(address)
    causes = _causes(error)
    if isinstance(error, requests.RequestException) and error.response is not None:
        error.response.close()
    if any(isinstance(cause, requests.exceptions.SSLError | ssl.SSLError) for cause in causes):
        return RecipeError(
            f"{shown} does not prove who it is: {_last_words(causes)}",
            hint="if your network has certificates of its own, name their file in SSL_CERT_FILE",
        )
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return RecipeError(f"{shown} redirects from address to address", hint="ask for the last one")
    if isinstance(error, (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL)):
        return RecipeError(
            f"{shown} cannot be fetched: it is no address with https:// or http://, or it redirects to one without protection",
            hint="write the address where the file really is",
        )
    hint = "see whether this computer is online; behind a proxy, set https_proxy"
    return UnansweredError(_last_words(causes), hint=hint, reached=False)


def refusal(response: requests.Response, what: str) -> Exception:
    """What a status other than 2xx means: RecipeError if it is final, else UnansweredError. what: for the message."""
    status = response.status_code
    if status == 429:
        wait = response.headers.get("Retry-After", "")
        said = f"; it wants us to wait {wait} s" if wait.isdecimal() else ""
        return UnansweredError(
            f"the server takes no more requests from here for now (HTTP 429{said})",
            hint="wait, or log in there: more is allowed to those it knows",
            reached=True,
            busy=True,
        )
    if status >= 500:
        why = f"the server has a fault (HTTP {status})"
        return UnansweredError(why, hint="try again later", reached=True)
    if status in (401, 403, 407):
        return RecipeError(
            f"{what} is not for everybody (HTTP {status})", hint="log in there, or get it another way"
        )
    if status in (404, 410):
        return RecipeError(f"{what} does not exist (HTTP {status})", hint="look for a typing error in it")
    return RecipeError(f"{what} is refused (HTTP {status})", hint="look for a typing error in it")


def redacted(address: str) -> str:
    """The address without user name, password and query, which may be a secret too."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "the address"
    if not parts.scheme or not parts.netloc:
        return address
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _causes(error: BaseException) -> list[BaseException]:
    """The error and what it came from, the first cause last; the libraries hide it in several places."""
    found: list[BaseException] = []
    following: object = error
    while isinstance(following, BaseException) and following not in found:
        found.append(following)
        inner = [*following.args[:1], *following.args[1:2], getattr(following, "reason", None)]
        following = next(
            (one for one in inner if isinstance(one, BaseException)),
            following.__cause__ or following.__context__,
        )
    return found


def _last_words(causes: list[BaseException]) -> str:
    """The system's own words for what happened, or that nothing came in time."""
    for cause in reversed(causes):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        if isinstance(cause, TimeoutError | requests.Timeout | urllib3.exceptions.TimeoutError):
            return "no answer in time"
        if isinstance(cause, urllib3.exceptions.ProxyError):
            return "the proxy does not let it through"
        if isinstance(cause, OSError) and cause.strerror and not isinstance(cause, requests.RequestException):
            return str(cause.strerror)
    return "the connection broke"
