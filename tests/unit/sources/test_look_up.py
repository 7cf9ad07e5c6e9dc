"""What an image in a registry is, with its layers, and every way of not being told."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from support.images import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    SIF_CONFIG,
    SIF_LAYER,
    Documents,
    digest_of,
)
from support.registry import Registry
from support.web_server import Answer, Asked, WebServer

from dl4mic_hpc.errors import ImageError, RegistryError
from dl4mic_hpc.sources import registry
from dl4mic_hpc.sources.cache import Cache
from dl4mic_hpc.sources.reference import Reference, parse
from dl4mic_hpc.sources.registry import Access, Found

LAYERS = (b"first layer", b"second, longer layer")


@pytest.fixture
def held(server: WebServer) -> Registry:
    return Registry(server)


def look_up(held: Registry, cache: Cache, name: str = "lab/x:1", **access: object) -> Found:
    image = parse(f"{held.server.host}/{name}")
    return registry.look_up(image, "linux/amd64", cache=cache, access=Access(**access))  # type: ignore[arg-type]


def refusal(held: Registry, cache: Cache, name: str = "lab/x:1", **access: object) -> RegistryError:
    with pytest.raises(RegistryError) as refused:
        look_up(held, cache, name, **access)
    return refused.value


def sif(documents: Documents, *content: bytes) -> str:
    return documents.manifest(
        config=documents.add({}), config_kind=SIF_CONFIG, layers=content, layer_kind=SIF_LAYER
    )


@pytest.mark.parametrize(("kind", "index"), [(OCI_MANIFEST, OCI_INDEX), (DOCKER_MANIFEST, DOCKER_LIST)])
def test_an_image_with_its_layers(held: Registry, cache: Cache, kind: str, index: str) -> None:
    documents = held.held
    digest = documents.manifest(kind, config=documents.config(Cmd=["a"]), layers=LAYERS)
    other = documents.image("linux/arm64")
    held.push(documents.index(("linux/arm64", other), ("linux/amd64", digest), kind=index))
    found = look_up(held, cache)
    assert (found.kind, found.digest, found.media_type) == ("image", digest, kind)
    assert digest_of(found.manifest) == digest
    assert [(one.digest, one.size) for one in found.layers] == [(digest_of(one), len(one)) for one in LAYERS]
    assert found.size == sum(map(len, LAYERS))
    assert json.loads(documents.content[found.config.digest])["config"]["Cmd"] == ["a"]
    assert found.address == f"docker://{held.server.host}/lab/x@{digest}"


def test_a_layer_that_is_there_twice_is_counted_once(held: Registry, cache: Cache) -> None:
    held.push(held.held.manifest(layers=(LAYERS[0], LAYERS[0], LAYERS[1])))
    found = look_up(held, cache)
    assert len(found.layers) == 3
    assert found.size == sum(map(len, LAYERS))


def test_a_sif_that_was_pushed_has_no_platform(held: Registry, cache: Cache) -> None:
    digest = held.push(sif(held.held, b"SIF"))
    found = look_up(held, cache)
    assert (found.kind, found.size) == ("sif", 3)
    assert found.address == f"oras://{held.server.host}/lab/x@{digest}"
    assert [asked.path for asked in held.server.asked] == ["/v2/lab/x/manifests/1"]


def test_the_address_is_the_mirror_s(held: Registry, cache: Cache) -> None:
    digest = held.push(held.held.manifest(layers=LAYERS), "latest")
    mirrors = {"docker.io": f"{held.server.host}/lab"}
    access = Access(mirrors=mirrors)
    found = registry.look_up(
        Reference(registry="docker.io", repository="x", tag="latest"),
        "linux/amd64",
        cache=cache,
        access=access,
    )
    assert found.address == f"docker://{held.server.host}/lab/x@{digest}"
    assert str(found.reference) == "docker.io/x:latest"


def test_docker_hub_s_address_has_its_usual_name() -> None:
    found = Found(
        reference=parse("ubuntu"),
        host=registry.HUB_HOST,
        path="library/ubuntu",
        insecure=False,
        digest="sha256:0",
        kind="image",
        manifest=b"",
        media_type="",
        config=registry.Blob(digest="", size=0, media_type=""),
        layers=(),
    )
    assert found.address == "docker://docker.io/library/ubuntu@sha256:0"


def test_no_such_image(held: Registry, cache: Cache) -> None:
    assert refusal(held, cache).reason == "absent"
    assert refusal(held, cache, f"lab/x@{digest_of(b'gone')}").reason == "absent"


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("known", [True, False])
def test_an_image_for_others(held: Registry, cache: Cache, status: int, known: bool) -> None:
    if known:
        file = Path.home() / ".docker/config.json"
        file.parent.mkdir()
        packed = base64.b64encode(b"ada:s3cret").decode()
        file.write_text(json.dumps({"auths": {held.server.host: {"auth": packed}}}))
    held.token = "t0ken"
    answer = held.answer
    held.server.answer = lambda asked: Answer(status=status) if asked.path == "/token" else answer(asked)
    refused = refusal(held, cache)
    assert refused.reason == "refused"
    assert "s3cret" not in f"{refused.message}{refused.hint}"


def test_docker_hub_answers_strangers_about_what_is_not_there_as_about_what_is_private(
    held: Registry, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dl4mic_hpc.sources.repository.HUB_HOST", held.server.host)
    held.token = "t0ken"
    answer = held.answer

    def hub(asked: Asked) -> Answer:
        """Everybody gets a token, which does not open everything."""
        stranger = asked.path != "/token" and "authorization" in asked.headers
        return Answer(status=401) if stranger else answer(asked)

    held.server.answer = hub
    refused = refusal(held, cache)
    assert refused.reason == "absent"
    assert "does not exist, or it is not for everybody" in refused.message


def test_too_many_requests(held: Registry, cache: Cache) -> None:
    held.server.answer = lambda _: Answer(status=429, headers={"Retry-After": "3600"})
    refused = refusal(held, cache)
    assert refused.reason == "busy"
    assert "wait 3600 s" in refused.message
    assert "log in" in refused.hint


@pytest.mark.parametrize("status", [500, 503])
def test_a_registry_with_a_fault(held: Registry, cache: Cache, status: int) -> None:
    held.server.answer = lambda _: Answer(status=status)
    assert refusal(held, cache).reason == "silent"


def test_a_registry_that_is_not_there(cache: Cache) -> None:
    with pytest.raises(RegistryError, match="Connection refused") as silent:
        registry.look_up(parse("127.0.0.1:9/lab/x"), "linux/amd64", cache=cache, access=Access())
    assert silent.value.reason == "silent"


@pytest.mark.parametrize(
    "layers",
    [
        None,
        {},
        [3],
        [{"digest": "x", "size": 1}],
        [{"digest": digest_of(b""), "size": -1}],
        [{"digest": digest_of(b"")}],
    ],
)
def test_a_manifest_without_proper_layers(held: Registry, cache: Cache, layers: object) -> None:
    documents = held.held
    config = {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": documents.config(),
        "size": 9,
    }
    held.push(documents.add({"schemaVersion": 2, "config": config, "layers": layers}))
    with pytest.raises(ImageError, match="cannot be read") as unusable:
        look_up(held, cache)
    assert not isinstance(unusable.value, RegistryError)


def test_two_sifs_are_none(held: Registry, cache: Cache) -> None:
    held.push(sif(held.held, b"SIF", b"another"))
    with pytest.raises(ImageError, match="more than one SIF"):
        look_up(held, cache)


def test_another_platform(held: Registry, cache: Cache) -> None:
    held.push(held.held.image("linux/arm64"))
    with pytest.raises(ImageError, match="linux/arm64"):
        look_up(held, cache)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("offset", [0, 5, 70_000])
def test_a_blob_from_anywhere_on(held: Registry, cache: Cache, ranges: bool, offset: int) -> None:
    content = bytes(range(250)) * 400
    held.push(held.held.manifest(layers=(content,)))
    found = look_up(held, cache)
    held.ranges = ranges
    with Access().repository(found.reference) as repository:
        pieces = repository.blob(found.layers[0].digest, size=len(content), offset=offset)
        assert b"".join(pieces) == content[offset:]
