"""A SIF put into a registry, with the facts about it, so that `apptainer pull oras://…` gets the SIF.

Apptainer pulls nothing but an artifact of exactly one layer (internal/pkg/client/oras/oras.go in its source), so the
facts are an artifact of their own. It names the SIF's as its subject, by which registries that list referrers find it
(https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers), and has a tag for people.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

import requests
from dxf import DXFBase

from dl4mic_hpc.errors import Dl4micError, ImageError, RecipeError, RegistryError
from dl4mic_hpc.sources import credentials, manifests
from dl4mic_hpc.sources.reference import Reference
from dl4mic_hpc.sources.registry import Access
from dl4mic_hpc.sources.repository import Repository, registry_of
from dl4mic_hpc.sources.web import UnansweredError

FACTS_TAG = ".facts"
"""What the facts' tag has after the SIF's."""

MANIFEST, INDEX = manifests.KINDS[:2][::-1]
FACTS = "application/vnd.dl4mic-hpc.image-facts.v1"
TITLE = "org.opencontainers.image.title"
PATIENCE = (30.0, 900.0)
"""Seconds for a connection, and for a registry to take in what it was sent: it hashes gigabytes before it answers."""

_EMPTY = b"{}"
_SIF_CONFIG = "application/vnd.sylabs.sif.config.v1+json"
_EMPTY_CONFIG = "application/vnd.oci.empty.v1+json"
_CHUNK = 4 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A file about the image."""

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """digest: of the SIF's manifest, which pins it; facts_digest: of the facts'. size: of the SIF, in bytes."""

    reference: Reference
    digest: str
    facts_digest: str
    sif_digest: str
    size: int


def push(
    sif: Path,
    target: Reference,
    *,
    facts: tuple[Fact, ...],
    annotations: Mapping[str, str],
    access: Access,
    progress: Callable[[int], None] = lambda size: None,
) -> Pushed:
    """Puts the file `sif` there under the tag of `target`, which appears when all the rest is there.

    progress: is told of bytes that were sent. User and password are those of `docker login`, `podman login`.
    ImageError if the registry does not take it.
    """
    host, path = access.where(target)
    with _talk(target), _Target(host, path, insecure=host in access.insecure, name=str(target)) as there:
        with sif.open("rb") as file:
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        size = sif.stat().st_size
        with sif.open("rb") as file:
            layer = there.upload(
                file,
                digest=digest,
                size=size,
                media_type=manifests.SIF_LAYERS[0],
                name=sif.name,
                sent=progress,
            )
        image = _manifest(there.upload_bytes(_EMPTY, _SIF_CONFIG), [layer], annotations)
        subject = {"mediaType": MANIFEST, "digest": manifests.digest_of(image), "size": len(image)}
        about = _manifest(
            there.upload_bytes(_EMPTY, _EMPTY_CONFIG),
            [there.upload_bytes(one.content, one.media_type, name=one.name) for one in facts],
            annotations,
            artifactType=FACTS,
            subject=subject,
        )
        knows_subjects = there.put(f"{target.tag}{FACTS_TAG}", about)
        if not knows_subjects:
            there.list_referrer(manifests.digest_of(image), about, annotations)
        there.put(target.tag, image)
        there.check(target.tag, image)
    return Pushed(
        reference=target,
        digest=manifests.digest_of(image),
        facts_digest=manifests.digest_of(about),
        sif_digest=digest,
        size=size,
    )


def facts_of(target: Reference, *, access: Access) -> dict[str, bytes]:
    """The files that were published with the image, by their names. ImageError if there are none."""
    tag = replace(target, tag=f"{target.tag}{FACTS_TAG}")
    host, path = access.where(tag)
    with _talk(tag), Repository(host, path, insecure=host in access.insecure, name=str(tag)) as there:
        document = manifests.read(there.document(f"manifests/{tag.tag}"), str(tag))
        found = {}
        for entry in document["layers"]:
            data = manifests.verified(entry["digest"], there.document(f"blobs/{entry['digest']}"), str(tag))
            found[entry["annotations"][TITLE]] = data
    return found


def _manifest(config: object, layers: list[Any], annotations: Mapping[str, str], **more: object) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        **more,
        "config": config,
        "layers": layers,
        "annotations": dict(sorted(annotations.items())),
    }
    return json.dumps(document, indent=1, ensure_ascii=False).encode()


@contextlib.contextmanager
def _talk(target: Reference) -> Iterator[None]:
    """What fails inside, as a failure of the image."""
    try:
        yield
    except RegistryError:
        raise
    except UnansweredError as error:
        raise RegistryError(
            f"{target.registry} did not take {target}: {error.why}",
            hint=error.hint,
            reason="busy" if error.busy else "silent",
        ) from error
    except RecipeError as error:
        raise ImageError(error.message, hint=error.hint) from error


class _Target(Repository):
    """A repository that is written to."""

    def __init__(self, host: str, path: str, *, insecure: bool, name: str) -> None:
        super().__init__(host, path, insecure=insecure, name=name)
        self._timeout = PATIENCE  # type: ignore[assignment]  # requests takes a pair
        self._auth = _log_in

    def upload_bytes(self, content: bytes, media_type: str, *, name: str = "") -> dict[str, Any]:
        digest = manifests.digest_of(content)
        return self.upload(
            BytesIO(content), digest=digest, size=len(content), media_type=media_type, name=name
        )

    def upload(
        self,
        file: BinaryIO,
        *,
        digest: str,
        size: int,
        media_type: str,
        name: str = "",
        sent: Callable[[int], None] = lambda size: None,
    ) -> dict[str, Any]:
        """The blob's descriptor; what the registry has is not sent again."""
        with self._words():
            if not self._has(f"blobs/{digest}"):
                begun = self._ask("post", "blobs/uploads/")
                # Not by python-dxf's own upload, which takes every Location for a whole address: it may be a path.
                where = urlsplit(self._location(begun))
                query = urlencode([*parse_qsl(where.query), ("digest", digest)])
                self._send(
                    urlunsplit(where._replace(query=query)), _Reader(file, size, sent) if size else b""
                )
        title = {"annotations": {TITLE: name}} if name else {}
        return {"mediaType": media_type, "digest": digest, "size": size, **title}

    def put(self, tag: str, manifest: bytes, *, media_type: str = MANIFEST) -> bool:
        """Names a manifest; whether the registry keeps a list of what names it as its subject."""
        with self._words():
            answer = self._ask("put", f"manifests/{tag}", data=manifest, headers={"Content-Type": media_type})
        return "OCI-Subject" in answer.headers or b'"subject"' not in manifest

    def list_referrer(self, subject: str, manifest: bytes, annotations: Mapping[str, str]) -> None:
        """Enters `manifest` in the list that stands in for the registry's own ("Referrers Tag Schema")."""
        tag, digest = subject.replace(":", "-"), manifests.digest_of(manifest)
        try:
            listed = json.loads(self.document(f"manifests/{tag}"))["manifests"]
        except RegistryError as error:
            if error.reason != "absent":
                raise
            listed = []
        entry = {
            "mediaType": MANIFEST,
            "artifactType": FACTS,
            "digest": digest,
            "size": len(manifest),
            "annotations": dict(sorted(annotations.items())),
        }
        others = [one for one in listed if one["digest"] != digest]
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*others, entry]}
        self.put(tag, json.dumps(index, indent=1, ensure_ascii=False).encode(), media_type=INDEX)

    def check(self, tag: str, manifest: bytes) -> None:
        """ImageError if the tag stands for another manifest, as when two push to it at once."""
        if self.document(f"manifests/{tag}") != manifest:
            raise ImageError(
                f"{self._name} is another image than the one that was just pushed",
                hint="somebody else has pushed there at the same time; push again, or to another tag",
            )

    def _location(self, begun: requests.Response) -> str:
        if place := begun.headers.get("Location"):
            return str(place)
        raise ImageError(
            f"{self._host} does not say where to send the files of {self._name}",
            hint="see whether it is a registry's address",
        )

    def _send(self, place: str, data: Iterable[bytes] | bytes) -> None:
        """A blob to where the registry wants it. The log-in is the registry's: another server gets the blob alone."""
        address = urljoin(self._base_url, place)
        here, there = _server(self._base_url), _server(address)
        headers = {"Content-Type": "application/octet-stream"}
        if here == there:
            self._ask("put", place, data=data, headers=headers)
            return
        if there[0] != "https" and here[0] == "https":
            raise ImageError(
                f"{self._host} wants the files of {self._name} sent to {there[1]} over plain HTTP",
                hint="tell those who run the registry: the proxy in front of it hides from it that it is reached over https",
            )
        answer = self._sessions[0].put(
            address, data=data, headers=headers, verify=self._tlsverify, timeout=self._timeout
        )
        answer.raise_for_status()

    def _has(self, path: str) -> bool:
        try:
            self._ask("head", path)
        except requests.HTTPError as error:
            if error.response is None or error.response.status_code != 404:
                raise
            return False
        return True

    def _ask(self, method: str, path: str, **more: Any) -> requests.Response:
        answer = self._request(method, path, **more)  # type: ignore[no-untyped-call]
        assert isinstance(answer, requests.Response)
        return answer

    def _refused(self, response: requests.Response) -> Exception:
        if response.request.method in ("GET", "HEAD") or response.status_code in (401, 403, 429):
            return super()._refused(response)
        if response.status_code == 413:
            return ImageError(
                f"the registry {self._host} takes no file as large as this one",
                hint="ask those who run it for its limit, or push to another registry",
            )
        return ImageError(
            f"the registry {self._host} did not take {self._name} (HTTP {response.status_code})",
            hint="look for a typing error in the name; some registries want the repository to be made first",
        )

    def _not_for_us(self) -> RegistryError:
        problem: Dl4micError = super()._not_for_us()
        return RegistryError(
            f"the registry {self._host} does not let you push {self._name}",
            hint=f"log in with an account that may: `docker login` or `podman login {self._host}`; {problem.hint}",
            reason="refused",
        )


def _log_in(repository: DXFBase, response: requests.Response) -> None:
    """As `repository` does it, but asks for writing from the start: some registries do not ask again for more."""
    if response.history:
        return
    user, password = credentials.find(registry_of(response.url)) or (None, None)
    repository.authenticate(user, password, actions=["pull", "push"], response=response)


def _server(address: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port of an address."""
    parts = urlsplit(address)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


class _Reader:
    """A file of known size that tells how much of it was read; requests sends what is iterated."""

    def __init__(self, file: BinaryIO, size: int, sent: Callable[[int], None]) -> None:
        self._file, self._size, self._sent = file, size, sent

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        while piece := self._file.read(_CHUNK):
            yield piece
            self._sent(len(piece))

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, place: int, whence: int = 0) -> int:
        return self._file.seek(place, whence)
