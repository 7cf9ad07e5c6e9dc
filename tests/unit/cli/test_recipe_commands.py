"""`recipe convert` and `recipe check` as somebody types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Writes a recipe into a folder of its own, in which the commands then run, beside a base's configuration."""
    folder = tmp_path / "demo"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "plain.json").write_text("{}")

    def write(text: str) -> Path:
        path = folder / "Dockerfile"
        path.write_text(text)
        return path

    return write


MAP = ("--base-map", "base.example/plain:1=json:plain.json")
GOOD = "FROM base.example/plain:1\nARG WHO=you\nCOPY a.txt /a.txt\nRUN echo $WHO\n"


def test_convert_writes_the_bundle_and_says_where(recipe: Callable[[str], Path], run_cli: Run) -> None:
    path = recipe(GOOD)
    path.with_name("a.txt").write_text("a")
    answer = run_cli("recipe", "convert", "Dockerfile", *MAP, "-o", "bundle")
    assert (answer.code, answer.out) == (0, "bundle\n"), answer.err
    assert sorted(one.name for one in Path("bundle").iterdir()) == [
        "build.sh",
        "ctx",
        "image.def",
        "manifest.json",
    ]
    assert "differs" in answer.err and "bundle/build.sh IMAGE.sif" in answer.err.replace("\\", "/")


def test_without_a_name_the_bundle_is_called_after_folder_and_key(
    recipe: Callable[[str], Path], run_cli: Run
) -> None:
    recipe("FROM base.example/plain:1\n")
    answer = run_cli("recipe", "convert", "Dockerfile", *MAP, "--json")
    told = json.loads(answer.out)
    assert told["bundle"] == f"demo-{told['key']}"
    assert json.loads(Path(told["bundle"], "manifest.json").read_text())["key"] == told["key"]


def test_a_build_argument_reaches_the_recipe(recipe: Callable[[str], Path], run_cli: Run) -> None:
    recipe("FROM base.example/plain:1\nARG WHO=you\nRUN echo hello\n")
    run_cli("recipe", "convert", "Dockerfile", *MAP, "--build-arg", "WHO=all of us", "-o", "bundle")
    assert "WHO=all of us" in Path("bundle", "image.def").read_text()


def test_check_writes_nothing(recipe: Callable[[str], Path], run_cli: Run) -> None:
    recipe("FROM base.example/plain:1\n")
    before = sorted(Path().iterdir())
    answer = run_cli("recipe", "check", "Dockerfile", *MAP)
    assert (answer.code, answer.out) == (0, "Dockerfile can be converted\n")
    assert sorted(Path().iterdir()) == before


def test_a_map_for_an_image_that_is_not_used_is_told(recipe: Callable[[str], Path], run_cli: Run) -> None:
    recipe("FROM base.example/plain:1\n")
    answer = run_cli(
        "recipe", "check", "Dockerfile", *MAP, "--base-map", "base.example/plan:1=json:plain.json"
    )
    assert answer.code == 0
    assert "--base-map base.example/plan:1 does nothing" in answer.err


def test_a_build_argument_that_nothing_names_is_told(recipe: Callable[[str], Path], run_cli: Run) -> None:
    recipe("FROM base.example/plain:1\nARG WHO=you\n")
    answer = run_cli("recipe", "convert", "Dockerfile", *MAP, "--build-arg", "WHOM=x", "-o", "bundle")
    assert answer.code == 0 and Path("bundle/image.def").is_file()
    assert "no ARG for the build argument 'WHOM', which does nothing: perhaps you meant 'WHO'" in answer.err


def test_exact_leaves_the_adaptations_out(recipe: Callable[[str], Path], run_cli: Run) -> None:
    recipe("FROM base.example/plain:1\n")
    adapted = json.loads(run_cli("recipe", "check", "Dockerfile", *MAP, "--json").out)
    exact = json.loads(run_cli("recipe", "check", "Dockerfile", *MAP, "--exact", "--json").out)
    assert "bind-targets" in {one["name"] for one in adapted["deviations"]}
    assert "bind-targets" not in {one["name"] for one in exact["deviations"]}
    assert adapted["key"] != exact["key"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("Dockerfile", "--build-arg", "WHO"), 2, "--build-arg WHO is not of the form NAME=VALUE"),
        (("Dockerfile", "--base-map", "=x"), 2, "--base-map =x is not of the form"),
        (("Dockerfile", "--context", "nowhere"), 2, "there is no folder nowhere"),
        (("Dockerfile", "--target", "x"), 8, "no stage named 'x'"),
        (("Dockerfile", "--platform", "windows/amd64"), 8, "not for 'windows/amd64'"),
        (("nothing",), 8, "the recipe nothing cannot be read"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_written(
    recipe: Callable[[str], Path], run_cli: Run, words: tuple[str, ...], code: int, said: str
) -> None:
    recipe("FROM base.example/plain:1\nARG WHO=you\n")
    answer = run_cli("recipe", "convert", *words, *MAP, "-o", "bundle")
    assert answer.code == code and said in answer.err, answer.err
    assert "hint:" in answer.err and "Traceback" not in answer.err
    assert not Path("bundle").exists()


def test_a_refused_line_is_named(recipe: Callable[[str], Path], run_cli: Run) -> None:
    recipe("FROM base.example/plain:1\n\nRUN --mount=type=ssh git clone x\n")
    answer = run_cli("recipe", "check", "Dockerfile", *MAP)
    assert answer.code == 8
    assert "error: Dockerfile:3: " in answer.err


def test_nothing_but_a_bundle_is_replaced(recipe: Callable[[str], Path], run_cli: Run) -> None:
    recipe("FROM base.example/plain:1\n")
    Path("data").mkdir()
    Path("data", "months-of-work.tif").write_text("x")
    answer = run_cli("recipe", "convert", "Dockerfile", *MAP, "-o", "data")
    assert answer.code == 8 and "is no bundle" in answer.err
    assert Path("data", "months-of-work.tif").read_text() == "x"


def test_an_image_that_is_there_is_not_built_over(recipe: Callable[[str], Path], run_cli: Run) -> None:
    recipe("FROM base.example/plain:1\n")
    Path("image.sif").write_text("x")
    answer = run_cli("recipe", "convert", "Dockerfile", *MAP, "--build", "image.sif", "-o", "bundle")
    assert answer.code == 2 and "image.sif is there already" in answer.err
    assert not Path("bundle").exists()
