"""Which images a change touches, told by their keys, and which are too large for a runner."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dl4mic_hpc import catalog, resources
from dl4mic_hpc.errors import UsageError
from dl4mic_hpc.images import matrix, room
from dl4mic_hpc.recipe.outside import Nothing
from dl4mic_hpc.sources import revisions

ROOT = Path(__file__).resolve().parents[3]
CONFIGURATION = """\
config:
  dl4miceverywhere:
    notebook_url: Tiny.ipynb
    requirements_url: requirements.txt
    description: One of two
    cuda_version: '{cuda}'
"""
RECIPE = "FROM base.example/a:1\nUSER root\nWORKDIR /home\nCOPY requirements.txt /r.txt\nRUN true\n"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a catalogue of two notebooks, which is the program's here; we stand in it."""
    for name in ("one", "two"):
        folder = tmp_path / "configs" / "notebooks" / name
        folder.mkdir(parents=True)
        (folder / "configuration.yaml").write_text(CONFIGURATION.format(cuda=""))
        (folder / "requirements.txt").write_text("numpy==1.26.4\n")
        (folder / "Dockerfile").write_text(RECIPE)
        (folder / "Tiny.ipynb").write_text("{}")
    for path in ("dl4mic_hpc/recipe/key.py", "dl4mic_hpc/catalog/recipes.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    data = resources.data
    monkeypatch.setattr(
        resources,
        "data",
        lambda *parts: tmp_path.joinpath(*parts) if parts[:1] == ("configs",) else data(*parts),
    )
    monkeypatch.chdir(tmp_path)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    git("init", "--quiet")
    commit()
    return tmp_path


def git(*words: str) -> None:
    person = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *person, *words], check=True)


def commit() -> None:
    git("add", "--all")
    git("commit", "--quiet", "--message", "a change")


def compute(since: str, disk: float = room.RUNNER) -> matrix.Matrix:
    return matrix.compute(since=since, disk=disk, cache=Path("cache"), outside=Nothing())


def of_one(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    def edit(checkout: Path) -> None:
        file = checkout / "configs" / "notebooks" / "one" / name
        file.write_text(change(file.read_text()))

    return edit


def converter(checkout: Path) -> None:
    """The revision before was written by another converter."""
    file = checkout / "dl4mic_hpc" / "recipe" / "key.py"
    now = file.read_text()
    file.write_text(now.replace("CONVERTER = ", "CONVERTER = 9"))
    commit()
    file.write_text(now)


def added(checkout: Path) -> None:
    shutil.copytree(checkout / "configs" / "notebooks" / "one", checkout / "configs" / "notebooks" / "three")


@pytest.mark.parametrize(
    ("change", "touched"),
    [
        (of_one("requirements.txt", lambda text: text + "scipy==1.11.0\n"), ["one"]),
        (of_one("Dockerfile", lambda text: text + "RUN false\n"), ["one"]),
        (of_one("Dockerfile", lambda text: f"# a remark\n{text}"), []),
        (of_one("Tiny.ipynb", lambda text: '{"cells": []}'), []),
        (of_one("configuration.yaml", lambda text: text.replace("One of two", "Another")), []),
        (added, ["three"]),
        (converter, ["one", "two"]),
    ],
    ids=["requirements", "recipe", "a remark", "notebook", "description", "a new one", "converter"],
)
def test_what_a_change_touches(checkout: Path, change: Callable[[Path], None], touched: list[str]) -> None:
    change(checkout)
    found = compute("HEAD")
    assert [row.notebook for row in found.rows] == touched
    assert set(found.untouched) == set(catalog.names()) - set(touched)


def test_other_standard_recipes_touch_what_has_no_recipe_of_its_own(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / "configs" / "notebooks" / "one" / "Dockerfile").unlink()
    pins = checkout / "dl4mic_hpc" / "catalog" / "recipes.py"
    pins.write_text(pins.read_text().replace("20bac", "11bac"))
    commit()
    monkeypatch.setattr(matrix.files, "obtain", lambda spec, **_: spec)
    monkeypatch.setattr(matrix, "key_of", lambda spec, *, outside: spec.id)
    assert [row.notebook for row in compute("HEAD").rows] == ["one"]
    pins.write_text((ROOT / "dl4mic_hpc" / "catalog" / "recipes.py").read_text())
    commit()
    assert compute("HEAD").rows == ()


@pytest.mark.parametrize("since", ["", "0" * 40])
def test_without_a_revision_all_are_touched_with_their_keys(checkout: Path, since: str) -> None:
    found = compute(since)
    assert [row.notebook for row in found.rows] == ["one", "two"]
    assert all(len(row.key) == 16 and row.tag == f"{row.notebook}-{row.key}" for row in found.rows)
    assert found.rows[0].key == found.rows[1].key  # the same recipe


def test_what_is_too_large_is_named_and_not_in_the_matrix_of_the_job(checkout: Path) -> None:
    configuration = checkout / "configs" / "notebooks" / "one" / "configuration.yaml"
    configuration.write_text(CONFIGURATION.format(cuda="11.8.0"))
    (configuration.parent / "requirements.txt").write_text("# the framework\nTorch==2.0.1\n")
    told = compute("").as_json()
    assert [row["notebook"] for row in told["include"]] == ["two"]
    (large,) = told["too_large"]
    assert large["notebook"] == "one" and not large["fits"]
    assert (
        f"there are {room.RUNNER:g}" in large["why_not"] and f"about {large['disk']:g} GB" in large["why_not"]
    )
    (fitting,) = told["include"]
    assert fitting["why_not"] == "" and 0 < fitting["disk"] < room.RUNNER < large["disk"]
    assert json.loads(json.dumps(told))["version"] == 1
    enough = compute("", disk=large["disk"])
    assert all(row.fits for row in enough.rows)


@pytest.mark.parametrize(
    ("cuda", "requirements", "larger_than"),
    [("", "", 0.0), ("", "tensorflow==2.15", 3.0), ("11.8.0", "", 14.0), ("11.8.0", "torch", 24.0)],
)
def test_the_estimate_grows_with_what_goes_in(cuda: str, requirements: str, larger_than: float) -> None:
    spec: Any = type("Spec", (), {"cuda_version": cuda})
    assert room.estimate(spec, requirements).needed > larger_than


@pytest.mark.parametrize("revision", ["no-such-branch", "--output=x", "HEAD:configs"])
def test_a_revision_that_is_none_is_refused(checkout: Path, revision: str) -> None:
    with pytest.raises(UsageError, match="no revision"), revisions.tree(revision):
        pass
    assert not (checkout / "x").exists()


def test_the_tree_of_a_revision_is_all_of_it_from_anywhere(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkout / "configs")
    with revisions.tree("HEAD") as tree:
        assert (tree / "configs" / "notebooks" / "two" / "Dockerfile").read_text() == RECIPE
    assert not tree.exists()
