from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.images import Documents, write_sif, write_tar

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.steps import BaseImage
from dl4mic_hpc.sources.archives import archive, base

DEFINITION, JSON = 0x4001, 0x4006
PULLED = (DEFINITION, b"", b"bootstrap: docker\nfrom: ubuntu:22.04\n\n")
CONFIG = (JSON, b"oci-config.json", b'{"Cmd": ["a"], "Env": ["PATH=/bin"]}')
LABELS = {"org.opencontainers.image.ref.name": "docker.io/library/ubuntu:22.04"}


def layout(held: Documents, first: str, folder: str = "") -> dict[str, bytes]:
    """The members of an OCI layout that begins with this index, the blobs before what names them."""
    blobs = {f"{folder}blobs/{digest.replace(':', '/')}": data for digest, data in held.content.items()}
    return blobs | {f"{folder}oci-layout": b"{}", f"{folder}index.json": held.content[first]}


def docker_save(*configs: Any) -> dict[str, bytes]:
    files = {f"{number}.json": json.dumps(config).encode() for number, config in enumerate(configs)}
    says = [{"Config": name, "RepoTags": [f"x:{name}"], "Layers": []} for name in files]
    return {**files, "manifest.json": json.dumps(says).encode()}


def read(text: str, platform: str = "linux/amd64") -> BaseImage:
    return base(archive(text), reference="ubuntu:22.04", platform=platform)


def refuse(text: str, platform: str = "linux/amd64") -> str:
    with pytest.raises(RecipeError) as refused:
        read(text, platform)
    return f"{refused.value}\n{refused.value.hint}"


def command(image: BaseImage) -> tuple[str, ...] | None:
    assert image.config is not None
    return image.config.command


@pytest.mark.parametrize("kind", ["oci-archive:", ""])
@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
@pytest.mark.parametrize("folder", ["", "./"])
def test_an_oci_archive(tmp_path: Path, kind: str, mode: str, folder: str) -> None:
    held = Documents()
    inner = held.image(Cmd=["a"])
    path = write_tar(tmp_path / "x.tar", layout(held, held.index(("", inner), **LABELS), folder), mode)
    image = read(f"{kind}{path}")
    assert (image.reference, image.agent, image.file, image.digest) == (
        "ubuntu:22.04",
        "oci-archive",
        str(path),
        inner,
    )
    assert command(image) == ("a",)


def test_an_oci_archive_for_several_platforms(tmp_path: Path) -> None:
    held = Documents()
    amd, arm = held.image("linux/amd64"), held.image("linux/arm64")
    inner = held.index(("linux/amd64", amd), ("linux/arm64", arm))
    nested = write_tar(tmp_path / "nested.tar", layout(held, held.index(("", inner))))
    flat = write_tar(tmp_path / "flat.tar", layout(held, inner))
    for path in (nested, flat):
        assert read(str(path)).digest == amd
        assert read(str(path), "linux/arm64").digest == arm
        assert "not offered for linux/s390x" in refuse(str(path), "linux/s390x")


@pytest.mark.parametrize("kind", ["docker-archive:", ""])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_docker_archive(tmp_path: Path, kind: str, mode: str) -> None:
    config = {"os": "linux", "architecture": "amd64", "config": {"Cmd": ["a"]}}
    path = write_tar(tmp_path / "x.tar", docker_save(config), mode)
    image = read(f"{kind}{path}")
    assert (image.agent, image.file, image.digest, command(image)) == (
        "docker-archive",
        str(path),
        "",
        ("a",),
    )
    assert "is for linux/amd64, not for linux/arm64" in refuse(f"{kind}{path}", "linux/arm64")


def test_an_archive_with_several_images(tmp_path: Path) -> None:
    held = Documents()
    names = [held._entry("", held.image(), {"org.opencontainers.image.ref.name": name}) for name in "ab"]
    oci = write_tar(tmp_path / "oci.tar", layout(held, held.add({"manifests": names})))
    docker = write_tar(tmp_path / "docker.tar", docker_save({}, {}))
    assert "holds 2 images (a, b)" in refuse(str(oci))
    assert "holds 2 images" in refuse(str(docker))


@pytest.mark.parametrize("kind", ["sif:", ""])
@pytest.mark.parametrize("name", [b"oci-config.json", b"oci-config"])
def test_a_sif(tmp_path: Path, kind: str, name: bytes) -> None:
    path = write_sif(tmp_path / "x.sif", [PULLED, (JSON, b"other", b"{}"), (JSON, name, CONFIG[2])])
    image = read(f"{kind}{path}")
    assert (image.agent, image.file, image.digest, command(image)) == ("localimage", str(path), "", ("a",))


@pytest.mark.parametrize(
    ("objects", "says"),
    [
        ([PULLED], "was not made from a Docker image"),
        ([(DEFINITION, b"", PULLED[2] + b"%post\n  apt update\n"), CONFIG], "a definition that adds"),
        (
            [(DEFINITION, b"", b"Bootstrap: docker\nFrom: x\n  %Environment\n"), CONFIG],
            "a definition that adds",
        ),
        ([PULLED, (JSON, CONFIG[1], b"{")], "no JSON"),
    ],
)
def test_a_sif_that_cannot_say_what_its_docker_image_was(tmp_path: Path, objects: Any, says: str) -> None:
    assert says in refuse(str(write_sif(tmp_path / "x.sif", objects)))


def test_a_sif_for_another_processor(tmp_path: Path) -> None:
    path = write_sif(tmp_path / "x.sif", [CONFIG], architecture=b"04")
    assert "is for linux/arm64, not for linux/amd64" in refuse(str(path))
    assert command(read(str(path), "linux/arm64")) == ("a",)


@pytest.mark.parametrize("size", [64, 127, 4096, 4096 + 585, 32768, 32790])
def test_a_sif_that_breaks_off(tmp_path: Path, size: int) -> None:
    path = write_sif(tmp_path / "x.sif", [PULLED, CONFIG])
    path.write_bytes(path.read_bytes()[:size])
    assert str(path) in refuse(str(path))


@pytest.mark.parametrize("place", [88, 96])
@pytest.mark.parametrize("value", [b"\xff" * 8, b"\0" * 6 + b"\x7f\0", b"\0\x7f" + b"\0" * 6])
def test_a_sif_with_a_header_of_nonsense(tmp_path: Path, place: int, value: bytes) -> None:
    path = write_sif(tmp_path / "x.sif", [PULLED, CONFIG])
    data = path.read_bytes()
    path.write_bytes(data[:place] + value + data[place + 8 :])
    assert str(path) in refuse(str(path))


@pytest.mark.parametrize(
    "document", [{"config": {"Cmd": ["a"]}}, {"Cmd": ["a"]}, [{"Config": {"Cmd": ["a"]}}]]
)
@pytest.mark.parametrize("kind", ["json:", ""])
def test_a_configuration_alone_leaves_the_image_where_it_is(tmp_path: Path, document: Any, kind: str) -> None:
    path = tmp_path / "config"
    path.write_text(json.dumps(document))
    image = read(f"{kind}{path}")
    assert (image.agent, image.file, image.reference, command(image)) == (
        "docker",
        "",
        "ubuntu:22.04",
        ("a",),
    )


def a_missing_blob(held: Documents) -> dict[str, bytes]:
    members = layout(held, held.index(("", held.image())))
    return {
        name: data for name, data in members.items() if not name.startswith("blobs/") or b"Env" not in data
    }


def another_blob(held: Documents) -> dict[str, bytes]:
    members = layout(held, held.index(("", held.image())))
    return {name: b"{}" if b"Env" in data else data for name, data in members.items()}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (a_missing_blob, "holds no blobs/sha256/"),
        (another_blob, "other content than its hash"),
        (lambda held: {"oci-layout": b""}, "holds no manifest.json"),
        (lambda held: {"manifest.json": b"{}"}, "cannot be read|holds 0 images"),
        (lambda held: {"manifest.json": b"[3]"}, "cannot be read"),
        (lambda held: {"manifest.json": b"[]"}, "holds 0 images"),
        (lambda held: {"manifest.json": b'[{"Config": 3}]'}, "holds 1 images"),
        (lambda held: {"manifest.json": b'[{"Config": "../x"}]'}, "holds no ../x"),
        (lambda held: {"index.json": b"[]"}, "another form"),
        (lambda held: {"index.json": b'{"manifests": 3}'}, "another form"),
        (lambda held: {"index.json": b'{"manifests": [{"annotations": 3}]}'}, "another form|by no hash"),
    ],
)
def test_an_archive_that_holds_no_image(
    tmp_path: Path, make: Callable[[Documents], dict[str, bytes]], says: str
) -> None:
    path = write_tar(tmp_path / "x.tar", make(Documents()))
    said = refuse(str(path))
    assert any(one in said for one in says.split("|")), said


def test_a_document_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dl4mic_hpc.sources.manifests.LARGEST", 10)
    path = write_tar(tmp_path / "x.tar", {"index.json": b" " * 11})
    assert "too large" in refuse(str(path))


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x1f\x8b\x08\0", b"PK\3\4"])
@pytest.mark.parametrize("kind", ["", "oci-archive:", "docker-archive:", "sif:", "json:"])
def test_a_file_of_another_kind(tmp_path: Path, content: bytes, kind: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    assert str(path) in refuse(f"{kind}{path}")


def test_an_archive_that_breaks_off(tmp_path: Path) -> None:
    held = Documents()
    path = write_tar(tmp_path / "x.tar.gz", layout(held, held.index(("", held.image()))), "w:gz")
    path.write_bytes(path.read_bytes()[:-40])
    assert "cannot be read" in refuse(str(path))


def test_no_such_file_or_kind(tmp_path: Path) -> None:
    assert "does not exist" in refuse("oci-archive:nowhere.tar")
    assert "does not exist" in refuse("nowhere.tar")
    assert "is a folder" in refuse(str(tmp_path))
    assert "perhaps you meant 'oci-archive'" in refuse("oci-archiv:nowhere.tar")
