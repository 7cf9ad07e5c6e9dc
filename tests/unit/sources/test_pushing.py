"""An image put into a registry: what lies there then, who may, and what a registry's refusal is called."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest
from support.web_server import Answer, Asked, WebServer

from dl4mic_hpc.errors import ImageError, RegistryError
from dl4mic_hpc.sources import pushing
from dl4mic_hpc.sources.pushing import Fact, Pushed
from dl4mic_hpc.sources.reference import parse
from dl4mic_hpc.sources.registry import Access

SIF = b"a SIF, as far as a registry can tell" * 1000
FACTS = (
    Fact(name="image.def", media_type="text/plain", content=b"Bootstrap: docker\n"),
    Fact(name="test.json", media_type="application/json", content=b'{"fits": true}'),
)
PERSON = ("ada", "s3cret-w0rd")


class Shelf:
    """A registry with one repository, lab/images. referrers: it lists what names a manifest as its subject.

    location: how it says where an upload goes on.
    """

    def __init__(self, server: WebServer) -> None:
        self.server = server
        self.blobs: dict[str, bytes] = {}
        self.tags: dict[str, bytes] = {}
        self.kinds: dict[str, str] = {}
        self.referrers = True
        self.location = "/v2/lab/images/blobs/uploads/1?state=a%2Fb"
        self.refused: dict[str, int] = {}
        self.password = ""
        self.bearer = False
        self.scopes: list[str] = []
        server.answer = self.answer

    def answer(self, asked: Asked) -> Answer:
        place = asked.path.removeprefix("/v2/lab/images/")
        kind, _, name = place.partition("/")
        if asked.path == "/token":
            self.scopes += asked.query["scope"]
            return Answer(body=b'{"token": "t"}')
        if self.bearer and asked.headers.get("authorization") != "Bearer t":
            realm = (
                f'Bearer realm="{self.server.url}/token",service="here",scope="repository:lab/images:pull"'
            )
            return Answer(status=401, headers={"WWW-Authenticate": realm})
        if self.password and asked.headers.get("authorization") != self.password:
            return Answer(status=401, headers={"WWW-Authenticate": 'Basic realm="here"'})
        if refused := self.refused.get(f"{asked.method} {kind}"):
            return Answer(status=refused, headers={"WWW-Authenticate": 'Basic realm="here"'})
        if (asked.method, place) == ("POST", "blobs/uploads/"):
            return Answer(status=202, headers={"Location": self.location})
        if asked.method == "PUT" and kind == "blobs":
            (digest,) = asked.query["digest"]
            assert asked.query["state"] == ["a/b"]
            assert digest == f"sha256:{hashlib.sha256(asked.body).hexdigest()}"
            self.blobs[digest] = asked.body
            return Answer(status=201)
        if asked.method == "PUT":
            self.tags[name], self.kinds[name] = asked.body, asked.headers["content-type"]
            subject = json.loads(asked.body).get("subject")
            return Answer(
                status=201, headers={"OCI-Subject": subject["digest"]} if subject and self.referrers else {}
            )
        found = self.blobs if kind == "blobs" else self.tags
        return Answer(body=found[name]) if name in found else Answer(status=404)

    def push(self, tmp_path: Path, *, tag: str = "1", content: bytes = SIF) -> Pushed:
        sif = tmp_path / "image.sif"
        sif.write_bytes(content)
        return pushing.push(
            sif,
            parse(f"{self.server.host}/lab/images:{tag}"),
            facts=FACTS,
            annotations={"org.opencontainers.image.title": "A"},
            access=Access(insecure=frozenset([self.server.host] if self.server.scheme == "http" else [])),
        )


@pytest.fixture
def shelf(server: WebServer) -> Shelf:
    return Shelf(server)


def blob(shelf: Shelf, entry: dict[str, object]) -> bytes:
    content = shelf.blobs[str(entry["digest"])]
    assert entry["size"] == len(content)
    return content


@pytest.mark.parametrize("whole_address", [False, True])
def test_the_sif_lies_there_as_apptainer_pulls_it(shelf: Shelf, tmp_path: Path, whole_address: bool) -> None:
    if whole_address:
        shelf.location = shelf.server.url + shelf.location
    pushed = shelf.push(tmp_path)
    manifest = json.loads(shelf.tags["1"])
    (layer,) = manifest["layers"]
    assert layer["mediaType"] == "application/vnd.sylabs.sif.layer.v1.sif"
    assert layer["annotations"] == {"org.opencontainers.image.title": "image.sif"}
    assert blob(shelf, layer) == SIF and blob(shelf, manifest["config"]) == b"{}"
    assert manifest["annotations"] == {"org.opencontainers.image.title": "A"}
    assert shelf.kinds["1"] == manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert pushed.digest == f"sha256:{hashlib.sha256(shelf.tags['1']).hexdigest()}"
    assert (pushed.sif_digest, pushed.size) == (layer["digest"], len(SIF))


def test_the_facts_lie_beside_it_and_name_it(shelf: Shelf, tmp_path: Path) -> None:
    pushed = shelf.push(tmp_path)
    facts = json.loads(shelf.tags["1.facts"])
    assert facts["subject"] == {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": pushed.digest,
        "size": len(shelf.tags["1"]),
    }
    assert pushed.facts_digest == f"sha256:{hashlib.sha256(shelf.tags['1.facts']).hexdigest()}"
    assert set(shelf.tags) == {"1", "1.facts"}
    fetched = pushing.facts_of(parse(f"{shelf.server.host}/lab/images:1"), access=Access())
    assert fetched == {one.name: one.content for one in FACTS}


def test_the_tag_comes_last(shelf: Shelf, tmp_path: Path) -> None:
    shelf.push(tmp_path)
    written = [asked.path for asked in shelf.server.asked if asked.method == "PUT"]
    assert written[-1] == "/v2/lab/images/manifests/1"


def test_what_is_there_is_not_sent_again(shelf: Shelf, tmp_path: Path) -> None:
    shelf.push(tmp_path)
    before = len(shelf.server.asked)
    shelf.push(tmp_path, tag="2")
    assert {asked.method for asked in shelf.server.asked[before:] if "/blobs/" in asked.path} == {"HEAD"}


def test_a_registry_that_lists_no_referrers_gets_a_list(shelf: Shelf, tmp_path: Path) -> None:
    shelf.referrers = False
    pushed = shelf.push(tmp_path)
    name = pushed.digest.replace(":", "-")
    assert shelf.kinds[name] == "application/vnd.oci.image.index.v1+json"
    (entry,) = json.loads(shelf.tags[name])["manifests"]
    assert (entry["digest"], entry["size"]) == (pushed.facts_digest, len(shelf.tags["1.facts"]))
    shelf.push(tmp_path)
    assert len(json.loads(shelf.tags[name])["manifests"]) == 1


def test_an_empty_file_is_sent_too(shelf: Shelf, tmp_path: Path) -> None:
    shelf.push(tmp_path, content=b"")
    assert b"" in shelf.blobs.values()


def test_the_person_of_the_login_file_pushes(shelf: Shelf, tmp_path: Path) -> None:
    packed = base64.b64encode(":".join(PERSON).encode()).decode()
    shelf.password = f"Basic {packed}"
    file = Path.home() / ".docker" / "config.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"auths": {shelf.server.host: {"auth": packed}}}))
    assert shelf.push(tmp_path).digest
    assert "1" in shelf.tags


def test_a_registry_without_tls_gets_images_and_no_password(plain_server: WebServer, tmp_path: Path) -> None:
    shelf = Shelf(plain_server)
    assert shelf.push(tmp_path).digest and "1" in shelf.tags
    shelf.password = "Basic x"
    with pytest.raises(RegistryError, match="none is sent over plain HTTP"):
        shelf.push(tmp_path, tag="2")


def test_another_server_gets_the_file_without_the_log_in(
    shelf: Shelf, other_server: WebServer, tmp_path: Path
) -> None:
    other_server.answer = lambda asked: keep(shelf, asked)
    shelf.bearer = True
    shelf.location = f"{other_server.url}/bucket/1?state=a%2Fb"
    shelf.push(tmp_path)
    assert SIF in shelf.blobs.values()
    assert {asked.headers.get("authorization") for asked in other_server.asked} == {None}


def keep(shelf: Shelf, asked: Asked) -> Answer:
    (digest,) = asked.query["digest"]
    shelf.blobs[digest] = asked.body
    return Answer(status=201)


def test_nothing_goes_from_a_registry_with_tls_to_a_server_without(
    shelf: Shelf, plain_server: WebServer, tmp_path: Path
) -> None:
    shelf.location = f"{plain_server.url}/bucket/1"
    with pytest.raises(ImageError, match="plain HTTP") as problem:
        shelf.push(tmp_path)
    assert problem.value.hint
    assert plain_server.asked == []


def test_a_token_is_asked_for_that_may_write(shelf: Shelf, tmp_path: Path) -> None:
    shelf.bearer = True
    shelf.push(tmp_path)
    assert shelf.scopes == ["repository:lab/images:pull,push"]


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        ({"POST blobs": 401}, "does not let you push"),
        ({"POST blobs": 403}, "does not let you push"),
        ({"POST blobs": 404}, "did not take .*HTTP 404"),
        ({"PUT blobs": 413}, "takes no file as large"),
        ({"PUT manifests": 400}, "did not take .*HTTP 400"),
        ({"POST blobs": 429}, "takes no more requests"),
        ({"HEAD blobs": 500}, "has a fault"),
        ({"POST blobs": 202}, "does not say where to send"),
    ],
)  # fmt: skip
def test_refusals_are_told_in_words(
    shelf: Shelf, tmp_path: Path, refused: dict[str, int], words: str
) -> None:
    shelf.refused = refused
    with pytest.raises(ImageError) as problem:
        shelf.push(tmp_path)
    assert re.search(words, problem.value.message), problem.value.message
    assert problem.value.hint
    assert "1" not in shelf.tags


def test_a_tag_that_somebody_else_moved_meanwhile_is_noticed(shelf: Shelf, tmp_path: Path) -> None:
    honest = shelf.answer

    def moved(asked: Asked) -> Answer:
        answer = honest(asked)
        if asked.method == "PUT" and asked.path.endswith("manifests/1"):
            shelf.tags["1"] = shelf.tags["1.facts"]
        return answer

    shelf.server.answer = moved
    with pytest.raises(ImageError, match="another image than the one that was just pushed"):
        shelf.push(tmp_path)


def test_no_facts_are_said_to_be_missing(shelf: Shelf) -> None:
    with pytest.raises(RegistryError) as problem:
        pushing.facts_of(parse(f"{shelf.server.host}/lab/images:1"), access=Access())
    assert problem.value.reason == "absent"
