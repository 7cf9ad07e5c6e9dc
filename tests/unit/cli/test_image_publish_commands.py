"""`image matrix`, `image test`, `image publish`: what they print, write and end with."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dl4mic_hpc.images import matrix, publish, trial
from dl4mic_hpc.images.matrix import Matrix, Row
from dl4mic_hpc.images.trial import Finding, Trial
from dl4mic_hpc.sources.pushing import Pushed

ROOT = Path(__file__).resolve().parents[3]
SMALL = Row(notebook="small", key="0" * 16, tag="small-0", disk=3.5, fits=True, why_not="")
LARGE = Row(notebook="large", key="1" * 16, tag="large-1", disk=30.0, fits=False, why_not="needs about 30 GB")


def documented(title: str) -> Any:
    page = (ROOT / "docs" / "reference" / "json.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {title}$.*?```json\n(.*?)```", page, re.M | re.S)
    assert found
    return json.loads(found[1])


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items() if key != "packages"}
    return [shape(value[0])] if isinstance(value, list) and value and isinstance(value[0], dict) else None


def tried(verdict: str, image: Path) -> Trial:
    finding = Finding(what="forms", verdict=verdict, detail="as it is")  # type: ignore[arg-type]
    return Trial(
        notebook="pixel_segmentation",
        title="Pixels",
        image=image.name,
        size=3,
        sha256=hashlib.sha256(image.read_bytes()).hexdigest(),
        key="0123456789abcdef",
        tested="2026-01-01T00:00:00Z",
        program="dl4mic-hpc 1",
        apptainer="apptainer version 1.4.5",
        python="3.13.5",
        jupyterlab="4.6.6",
        findings=(finding,),
        packages={"numpy": "2"},
    )


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "a.sif").write_bytes(b"SIF")
    return tmp_path / "a.sif"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the matrix was asked for."""
    seen: dict[str, Any] = {}

    def compute(**words: Any) -> Matrix:
        seen.update(words)
        return Matrix(rows=(SMALL, LARGE) if words["since"] != "same" else (), untouched=("other",))

    monkeypatch.setattr(matrix, "compute", compute)
    return seen


def test_the_matrix_for_people_and_for_a_workflow(run_cli: Callable[..., Any], asked: dict[str, Any]) -> None:
    answer = run_cli("image", "matrix", "--since", "main", "--disk", "60")
    assert (answer.code, asked["since"], asked["disk"]) == (0, "main", 60.0)
    small, large = (
        next(line for line in answer.out.splitlines() if line.startswith(name)) for name in ("small", "large")
    )
    assert "3.5 GB" in small and "needs about 30 GB" in large
    told = json.loads(run_cli("image", "matrix", "--json").out)
    assert (asked["since"], asked["disk"]) == ("", 14.0)
    assert [row["notebook"] for row in told["include"]] == ["small"]
    assert [row["notebook"] for row in told["too_large"]] == ["large"]
    assert shape(told) == shape(documented("image matrix"))
    assert "No image is touched" in run_cli("image", "matrix", "--since", "same").out


@pytest.mark.parametrize(
    ("verdict", "code", "word"), [("ok", 0, "ok"), ("gpu", 0, "needs a GPU"), ("unfit", 7, "failed")]
)
def test_a_test_says_what_it_found_and_keeps_it(
    run_cli: Callable[..., Any],
    image: Path,
    monkeypatch: pytest.MonkeyPatch,
    verdict: str,
    code: int,
    word: str,
) -> None:
    monkeypatch.setattr(trial, "run", lambda file, spec, said: tried(verdict, file))
    answer = run_cli("image", "test", str(image), "pixel_segmentation")
    assert answer.code == code, answer.err
    assert answer.out.startswith(word) and "forms: as it is" in answer.out
    kept = json.loads(image.with_name("a.test.json").read_text())
    assert kept["fits"] is (code == 0)
    as_json = run_cli(
        "image", "test", str(image), "pixel_segmentation", "--json", "-o", str(image.with_name("b"))
    )
    assert json.loads(as_json.out) == kept == json.loads(image.with_name("b").read_text())
    assert shape(kept) == shape(documented("image test"))
    assert as_json.code == code


def test_an_image_is_published_with_what_lies_beside_it(
    run_cli: Callable[..., Any], image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    definition = b"Bootstrap: docker\n"
    image.with_name("a.def").write_bytes(definition)
    manifest = {"key": "0123456789abcdef", "sha256": {"image.def": hashlib.sha256(definition).hexdigest()}}
    image.with_name("a.manifest.json").write_text(json.dumps(manifest))
    image.with_name("a.test.json").write_text(json.dumps(tried("ok", image).as_json()))
    seen: list[Any] = []

    def push(plan: Any, *, access: Any, progress: Callable[[int], None]) -> Pushed:
        seen[:] = [plan, access]
        progress(3)
        return Pushed(
            reference=plan.target, digest="sha256:1", facts_digest="sha256:2", sif_digest="sha256:3", size=3
        )

    monkeypatch.setattr(publish, "push", push)
    words = (
        "image",
        "publish",
        str(image),
        "oras://localhost:5000/lab/a:1",
        "--insecure-registry",
        "localhost:5000",
    )
    answer = run_cli(*words)
    assert answer.code == 0, answer.err
    assert answer.out.splitlines() == ["oras://localhost:5000/lab/a:1", "sha256:1"]
    assert seen[1].insecure == {"localhost:5000"}
    assert seen[0].annotations["org.opencontainers.image.title"] == "Pixels"
    told = json.loads(run_cli(*words, "--json").out)
    assert shape(told) == shape(documented("image publish"))
    assert told["facts"] == "oras://localhost:5000/lab/a:1.facts"


@pytest.mark.parametrize(
    "words", [("test", "no.sif", "pixel_segmentation"), ("publish", "no.sif", "oras://a.b/c:1")]
)
def test_an_image_that_is_not_there_is_a_mistake_of_usage(
    run_cli: Callable[..., Any], words: tuple[str, ...]
) -> None:
    answer = run_cli("image", *words)
    assert answer.code == 2 and "no.sif" in answer.err and "image build" in answer.err
