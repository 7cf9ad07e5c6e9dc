from __future__ import annotations

import json
from typing import Any

import pytest
from support.images import DOCKER_LIST, DOCKER_MANIFEST, Documents, digest_of

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.sources.manifests import Image, image


class Held(Documents):
    """The documents as `image` reads them."""

    def find(self, first: str, platform: str = "linux/amd64") -> Image:
        class Store:
            manifest = blob = staticmethod(self.content.__getitem__)

        return image(self.content[first], digest=first, platform=platform, store=Store(), name="x")


@pytest.mark.parametrize("kind", [None, DOCKER_MANIFEST, "application/vnd.oci.image.manifest.v1+json"])
def test_one_image_whether_its_manifest_names_its_kind_or_not(kind: str | None) -> None:
    held = Held()
    first = held.image(kind=kind, Cmd=["a"])
    found = held.find(first)
    assert found.digest == first
    assert found.config["config"]["Cmd"] == ["a"]


@pytest.mark.parametrize("kind", [None, DOCKER_LIST, "application/vnd.oci.image.index.v1+json"])
def test_an_index_leads_to_the_manifest_of_the_platform_and_that_one_s_digest(kind: str | None) -> None:
    held = Held()
    arm, amd = held.image("linux/arm64"), held.image("linux/amd64")
    attested = held.add({"schemaVersion": 2, "config": {}, "layers": ["in-toto"]})
    first = held.index(("unknown/unknown", attested), ("linux/arm64", arm), ("linux/amd64", amd), kind=kind)
    assert held.find(first).digest == amd
    assert held.find(first, "linux/arm64/v8").digest == arm


@pytest.mark.parametrize(
    ("offered", "wanted", "chosen"),
    [
        (["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"], "linux/arm", "linux/arm/v7"),
        (["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"], "linux/arm/v6", "linux/arm/v6"),
        (["linux/amd64", "linux/amd64/v3"], "linux/amd64", "linux/amd64"),
        (["linux/amd64", "linux/amd64/v3"], "linux/amd64/v2", "linux/amd64"),
        (["linux/amd64", "linux/amd64/v3"], "linux/amd64/v4", "linux/amd64/v3"),
        (["linux/arm64/v8"], "linux/arm64", "linux/arm64/v8"),
        (["windows/amd64", "linux/amd64"], "linux/amd64", "linux/amd64"),
        (["linux/arm64", ""], "linux/amd64", ""),
    ],
)
def test_the_best_variant_that_the_platform_can_run_is_chosen(
    offered: list[str], wanted: str, chosen: str
) -> None:
    held = Held()
    digests = {platform: held.image(platform or wanted) for platform in offered}
    assert held.find(held.index(*digests.items()), wanted).digest == digests[chosen]


def test_an_index_in_an_index() -> None:
    held = Held()
    inner = held.image()
    assert held.find(held.index(("", held.index(("linux/amd64", inner))))).digest == inner


def a_circle(held: Held) -> str:
    first = held.image()
    for _ in range(9):
        first = held.index(("", first))
    return first


def other_platforms(held: Held) -> str:
    return held.index(("linux/s390x", held.image()), ("unknown/unknown", held.image()))


def damaged(held: Held) -> str:
    inner = held.image()
    first = held.index(("linux/amd64", inner))
    held.content[inner] = held.content[held.image(Cmd=["other"])]
    return first


def damaged_config(held: Held) -> str:
    config = held.config()
    first = held.manifest(config=config)
    held.content[config] = b"{}"
    return first


def raw(data: bytes) -> Any:
    def put(held: Held) -> str:
        held.content[digest_of(data)] = data
        return digest_of(data)

    return put


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (other_platforms, "not offered for linux/amd64, only for linux/s390x$"),
        (lambda held: held.index(), "only for no platform"),
        (lambda held: held.image("linux/arm64"), "is for linux/arm64, not for linux/amd64"),
        (lambda held: held.index(("", held.image("linux/arm64"))), "is for linux/arm64"),
        (a_circle, "ever more indexes"),
        (damaged, "other content than its hash"),
        (damaged_config, "other content than its hash"),
        (
            lambda held: held.manifest(config_kind="application/vnd.cncf.helm.config.v1+json"),
            "no container image but .*helm",
        ),
        (lambda held: held.add({"schemaVersion": 1, "fsLayers": []}), "schema 1"),
        (
            lambda held: held.add({"manifests": [], "config": {}}),
            "says that it is an index and that it is a manifest",
        ),
        (lambda held: held.add({"config": {"digest": "sha256:../../x"}}), "no hash"),
        (lambda held: held.add({"config": {"digest": 3}}), "no hash"),
        (lambda held: held.add({"config": []}), "another form"),
        (lambda held: held.add({"manifests": {}}), "another form"),
        (lambda held: held.add({"manifests": [3]}), "another form"),
        (lambda held: held.add({"manifests": [{"platform": []}, {"platform": 3}]}), "another form"),
        (lambda held: held.add([]), "another form"),
        (raw(b"<html>"), "no JSON"),
        (raw(b"\xff"), "no JSON"),
        (raw(b"[" * 100_000), "no JSON"),
    ],
)
def test_what_gives_no_image_is_refused(make: Any, says: str) -> None:
    held = Held()
    first = make(held)
    with pytest.raises(RecipeError, match=says):
        held.find(first)


def test_a_configuration_without_a_platform_is_taken() -> None:
    held = Held()
    config = held.add({"config": {}})
    assert held.find(held.manifest(config=config)).config == json.loads(held.content[config])
