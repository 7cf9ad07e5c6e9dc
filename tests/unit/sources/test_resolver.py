from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.images import Documents, write_tar
from support.web_server import Answer, Asked, WebServer

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.steps import BaseImage, Url
from dl4mic_hpc.sources.resolver import Resolver


class Lab:
    """A registry with one image, and a way to ask for it; each `resolver` is a conversion of its own."""

    def __init__(self, server: WebServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.held = Documents()
        self.image = self.held.image(Cmd=["a"])
        self.name = f"{server.host}/lab/x"
        self.said: list[str] = []
        server.answer = self.answer

    def answer(self, asked: Asked) -> Answer:
        name = asked.path.rpartition("/")[2]
        return Answer(body=self.held.content[self.image if name in ("1", "latest") else name])

    def resolver(self, **base_map: str) -> Resolver:
        return Resolver(folder=self.folder, base_map=base_map, say=self.said.append)

    def base(self, tag: str = ":1") -> BaseImage:
        return self.resolver().base(self.name + tag, platform="linux/amd64")


@pytest.fixture
def lab(server: WebServer, tmp_path: Path) -> Lab:
    return Lab(server, tmp_path / "cache")


def test_an_image_of_a_registry(lab: Lab) -> None:
    image = lab.base()
    assert (image.reference, image.platform) == (f"{lab.name}:1", "linux/amd64")
    assert (image.digest, image.agent, image.file, image.unknown) == (lab.image, "docker", "", "")
    assert image.config is not None
    assert image.config.command == ("a",)


def test_a_tag_is_left_out_beside_a_digest(lab: Lab) -> None:
    assert lab.base(f":whatever@{lab.image}").reference == f"{lab.name}@{lab.image}"


def test_one_conversion_gets_one_answer(lab: Lab) -> None:
    resolver = lab.resolver()
    first = resolver.base(lab.name, platform="linux/amd64")
    lab.image = lab.held.image(Cmd=["newer"])
    second = resolver.base(f"{lab.name}:latest", platform="linux/amd64")
    assert (second.digest, second.config) == (first.digest, first.config)
    assert second.reference == f"{lab.name}:latest"
    assert lab.base(":latest").digest == lab.image


@pytest.mark.parametrize("fault", [429, 503, None])
def test_the_last_answer_counts_where_there_is_no_new_one(lab: Lab, fault: int | None) -> None:
    first = lab.base()
    if fault is None:
        lab.server.answer = lambda _: Answer(body=b"{", length=100)
    else:
        lab.server.answer = lambda _: Answer(status=fault, headers={"Retry-After": "999"})
    assert lab.base() == first
    assert len(lab.said) == 1
    assert f"{lab.name}:1 is taken as it was when it last did, {lab.image}" in lab.said[0]


def test_without_an_earlier_answer_a_registry_s_fault_ends_it(lab: Lab) -> None:
    lab.server.answer = lambda _: Answer(status=503)
    with pytest.raises(
        RecipeError, match=r"does not say what .*/lab/x:1 is: the server has a fault \(HTTP 503\)"
    ):
        lab.base()


def test_without_an_earlier_answer_and_without_network_the_image_is_unknown(lab: Lab) -> None:
    lab.server.answer = lambda _: Answer(body=b"{", length=100)
    image = lab.base()
    assert (image.config, image.digest, image.reference) == (None, "", f"{lab.name}:1")
    assert image.unknown == f"{lab.server.host} could not be reached: the connection broke"


def test_an_image_that_is_gone_is_not_remembered(lab: Lab) -> None:
    lab.base()
    lab.server.answer = lambda _: Answer(status=404)
    with pytest.raises(RecipeError, match="has no image"):
        lab.base()


@pytest.mark.parametrize(
    "name", ["ubuntu", "ubuntu:latest", "docker.io/library/ubuntu", "index.docker.io/ubuntu:latest"]
)
def test_a_file_in_an_image_s_place_by_any_of_its_names(lab: Lab, tmp_path: Path, name: str) -> None:
    held = Documents()
    inner = held.image(Cmd=["a"])
    blobs = {f"blobs/{digest.replace(':', '/')}": data for digest, data in held.content.items()}
    path = write_tar(tmp_path / "x.tar", blobs | {"index.json": held.content[held.index(("", inner))]})
    image = lab.resolver(**{name: f"oci-archive:{path}"}).base("library/ubuntu", platform="linux/amd64")
    assert (image.digest, image.file, image.reference) == (inner, str(path), "library/ubuntu")
    assert lab.server.asked == []


def test_a_file_for_a_digest_is_not_for_a_tag(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"Cmd": ["mine"]}))
    for name, expected in ((f"{lab.name}:9@{lab.image}", "mine"), (f"{lab.name}:1", "a")):
        base_map = {f"{lab.name}@{lab.image}": f"json:{path}"}
        image = lab.resolver(**base_map).base(name, platform="linux/amd64")
        assert image.config is not None
        assert image.config.command == (expected,)


def test_one_conversion_fetches_a_file_once(lab: Lab) -> None:
    url = Url(address=f"{lab.server.url}/{lab.image}", checksum="")
    resolver = lab.resolver()
    assert resolver.url(url) == resolver.url(url)
    assert len(lab.server.asked) == 1
    lab.resolver().url(url)
    assert len(lab.server.asked) == 2
