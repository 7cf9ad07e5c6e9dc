"""What is published: only what was built and passed its test, with the files that belong to it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from dl4mic_hpc.errors import Dl4micError, ImageError, UsageError
from dl4mic_hpc.images import publish
from dl4mic_hpc.images.publish import Evidence, Publication
from dl4mic_hpc.sources.reference import parse

PLACE = parse("registry.example/lab/images:a")
DEFINITION = b"Bootstrap: docker\nFrom: debian\n"
KEY = "0123456789abcdef"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image with everything that belongs to it."""
    (tmp_path / "a.sif").write_bytes(b"SIF")
    (tmp_path / "a.def").write_bytes(DEFINITION)
    manifest = {"key": KEY, "sha256": {"image.def": hashlib.sha256(DEFINITION).hexdigest()}}
    (tmp_path / "a.manifest.json").write_text(json.dumps(manifest))
    test = {
        "notebook": "care_2d", "title": "CARE (2D)", "key": KEY, "fits": True, "findings": [],
        "sha256": hashlib.sha256(b"SIF").hexdigest(),
    }  # fmt: skip
    (tmp_path / "a.test.json").write_text(json.dumps(test))
    return tmp_path / "a.sif"


def plan(image: Path, **more: str) -> Publication:
    evidence = Evidence.of(image, definition=None, manifest=None, test=None)
    return publish.plan(image, PLACE, evidence, **more)


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_what_belongs_together_is_published_together(image: Path) -> None:
    found = plan(image, licenses="BSD-3-Clause", revision="c0ffee", source="https://e.x/a")
    assert (found.image, found.target, found.key) == (image, PLACE, KEY)
    assert {one.name: one.content for one in found.facts} == {
        "image.def": DEFINITION,
        "manifest.json": image.with_name("a.manifest.json").read_bytes(),
        "test.json": image.with_name("a.test.json").read_bytes(),
    }
    said = dict(found.annotations)
    assert said.pop("org.opencontainers.image.created").endswith("Z")
    assert said.pop("io.github.dl4mic-hpc.program").startswith("dl4mic-hpc ")
    assert said == {
        "org.opencontainers.image.title": "CARE (2D)",
        "org.opencontainers.image.licenses": "BSD-3-Clause",
        "org.opencontainers.image.revision": "c0ffee",
        "org.opencontainers.image.source": "https://e.x/a",
        "io.github.dl4mic-hpc.notebook": "care_2d",
        "io.github.dl4mic-hpc.key": KEY,
    }


def test_an_annotation_that_is_not_known_is_left_out(image: Path) -> None:
    assert "org.opencontainers.image.licenses" not in plan(image).annotations


@pytest.mark.parametrize(
    ("file", "values", "words"),
    [
        ("a.test.json", {"sha256": "00"}, "the test of another image"),
        ("a.test.json", {"fits": False, "findings": [{"what": "forms", "verdict": "unfit", "detail": "old"}]}, "forms: old"),
        ("a.test.json", {"key": ""}, "another recipe .key none."),
        ("a.manifest.json", {"key": "f" * 16}, "another recipe"),
        ("a.manifest.json", {"sha256": {"image.def": "00"}}, "not the definition of"),
        ("a.manifest.json", {"sha256": {}}, "not the definition of"),
    ],
)  # fmt: skip
def test_what_does_not_belong_together_is_refused(
    image: Path, file: str, values: dict[str, Any], words: str
) -> None:
    change(image.with_name(file), **values)
    with pytest.raises(ImageError, match=words):
        plan(image)


@pytest.mark.parametrize("content", [None, "no JSON", "[]"])
def test_a_file_that_is_missing_or_another_is_named(image: Path, content: str | None) -> None:
    file = image.with_name("a.test.json")
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    with pytest.raises(UsageError, match=r"a\.test\.json"):
        plan(image)


def test_files_by_other_names(image: Path, tmp_path: Path) -> None:
    named = {}
    for option, suffix in (("definition", ".def"), ("manifest", ".manifest.json"), ("test", ".test.json")):
        named[option] = image.with_name(f"a{suffix}").rename(tmp_path / option)
    assert publish.plan(image, PLACE, Evidence.of(image, **named)).key == KEY


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("oras://ghcr.io/lab/images:care_2d-1", "ghcr.io/lab/images:care_2d-1"),
        ("oras://localhost:5000/a/b:1", "localhost:5000/a/b:1"),
    ],
)
def test_a_place_to_publish_to(text: str, place: str) -> None:
    assert str(publish.target(text)) == place


@pytest.mark.parametrize(
    "text",
    ["ghcr.io/lab/images:1", "docker://a/b:1", "oras://ghcr.io/lab/images", "oras://localhost:5000/a", "oras://a/b@sha256:0", "oras://a/B:1"],
)  # fmt: skip
def test_what_names_no_place_is_refused(text: str) -> None:
    with pytest.raises(Dl4micError) as problem:
        publish.target(text)
    assert problem.value.hint
