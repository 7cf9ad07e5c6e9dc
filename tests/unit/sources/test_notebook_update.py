"""`notebook update` against a server that plays the branches' heads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.web_server import Answer, Asked, WebServer

from dl4mic_hpc import catalog, resources
from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.sources import git, upstream

Run = Callable[..., Any]


def notebook(*fields: str, heading: str = "Train") -> bytes:
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": f"# **1. {heading}**"},
        {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": "\n".join(fields)},
    ]  # fmt: skip
    return json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": cells}).encode()


OLD = notebook('epochs = 10 #@param {type:"integer"}', 'name = "" #@param {type:"string"}')
NEW = notebook('epochs = 20 #@param {type:"integer"}', 'rate = 0.1 #@param {type:"number"}', heading="Learn")


def configuration(server: WebServer, **changes: str) -> dict[str, Any]:
    return {
        "config": {
            "dl4miceverywhere": {
                "notebook_url": f"{server.url}/n.ipynb",
                "requirements_url": f"{server.url}/r.txt",
                "notebook_version": "1.10",
                "python_version": "3.10",
                **changes,
            }
        }
    }


@dataclass
class Upstream:
    """What lies upstream, by its path."""

    server: WebServer
    files: dict[str, bytes] = field(default_factory=dict)

    def answer(self, asked: Asked) -> Answer:
        found = self.files.get(asked.path)
        return Answer(status=404) if found is None else Answer(body=found)

    def says(self, **changes: str) -> None:
        self.files["/c.yaml"] = yaml.safe_dump(configuration(self.server, **changes)).encode()


@pytest.fixture
def demo(server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    """A catalogue with one notebook, `demo`, that is as its upstream."""
    monkeypatch.setenv("DL4MIC_HPC_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(resources, "_CHECKOUT", tmp_path)
    found = Upstream(server, {"/n.ipynb": OLD, "/r.txt": b"numpy==1.0\n# a remark\nwget\n"})
    found.says()
    server.answer = found.answer
    values = configuration(server)
    values["config"]["dl4mic_hpc"] = {
        "task": "Denoising",
        "state": "works",
        "configuration_url": f"{server.url}/c.yaml",
        "notebook_sha256": hashlib.sha256(OLD).hexdigest(),
        "requirements_sha256": hashlib.sha256(found.files["/r.txt"]).hexdigest(),
    }
    path = tmp_path / "configs" / "notebooks" / "demo" / "configuration.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(values))
    return found


def told(run_cli: Run, *words: str) -> dict[str, Any]:
    done = run_cli("notebook", "update", *words, "--json")
    assert done.code == 0, done.err
    (answer,) = json.loads(done.out)["notebooks"]
    return dict(answer)


def test_the_answer_is_documented_key_by_key(demo: Upstream, run_cli: Run):
    page = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "json.md").read_text(
        encoding="utf-8"
    )
    said = json.loads(page.split("## notebook update")[1].split("```json")[1].split("```")[0])
    demo.says(notebook_version="1.11")
    answer = told(run_cli, "demo")
    assert list(answer) == list(said["notebooks"][0])
    assert list(answer["changes"][0]) == list(said["notebooks"][0]["changes"][0])


def fetched_once(demo: Upstream, tmp_path: Path) -> None:
    """The pinned files are in the cache, as after a launch."""
    upstream.files.obtain(
        catalog.load("demo"), cache=tmp_path / "home" / "cache", parts=("notebook", "requirements")
    )


def test_nothing_has_changed(demo: Upstream, run_cli: Run):
    answer = told(run_cli, "demo")
    assert (answer["state"], answer["changes"]) == ("current", [])


def test_every_kind_of_change_is_told_and_nothing_is_changed(demo: Upstream, run_cli: Run, tmp_path: Path):
    fetched_once(demo, tmp_path)
    demo.files |= {"/n.ipynb": NEW, "/r.txt": b"numpy==2.0\nwget\n"}
    demo.says(notebook_version="1.11", python_version="3.11")
    answer = told(run_cli, "DEMO")
    assert (answer["state"], answer["notebook_version"], answer["upstream_version"]) == (
        "changed",
        "1.10",
        "1.11",
    )
    texts = {f"{one['what']}: {one['text']}" for one in answer["changes"]}
    form = next(text for text in texts if "rate" in text).split("field: ")[1].split(".")[0]
    old = next(text for text in texts if ".name" in text).split("gone: ")[1].split(".")[0]
    assert texts == {
        "configuration: notebook_version: 1.10 is now 1.11",
        "configuration: python_version: 3.10 is now 3.11",
        "notebook: new section: 1. Learn",
        "notebook: section is gone: 1. Train",
        f"notebook: new field: {form}.epochs",
        f"notebook: new field: {form}.rate",
        f"notebook: field is gone: {old}.epochs",
        f"notebook: field is gone: {old}.name",
        "requirements: new requirement: numpy==2.0",
        "requirements: requirement is gone: numpy==1.0",
    }
    assert not catalog.load("demo").updated


def test_a_field_with_another_default(demo: Upstream, run_cli: Run, tmp_path: Path):
    fetched_once(demo, tmp_path)
    demo.files["/n.ipynb"] = OLD.replace(b"epochs = 10", b"epochs = 20")
    (change,) = told(run_cli, "demo")["changes"]
    assert change["text"].endswith(".epochs: default 10 is now 20")


def test_what_is_known_to_be_wrong_upstream_is_left_alone(demo: Upstream, run_cli: Run, tmp_path: Path):
    path = tmp_path / "configs" / "notebooks" / "demo" / "configuration.yaml"
    values = yaml.safe_load(path.read_text())
    values["config"]["dl4mic_hpc"]["corrected"] = {"requirements_url": "names another notebook's file"}
    path.write_text(yaml.safe_dump(values))
    demo.says(requirements_url=f"{demo.server.url}/of-another.txt")
    assert told(run_cli, "demo")["state"] == "current"


def test_applying_pins_what_is_there_now_and_reverting_goes_back(
    demo: Upstream, run_cli: Run, tmp_path: Path
):
    fetched_once(demo, tmp_path)
    demo.files["/n.ipynb"] = NEW
    demo.says(notebook_version="1.11", python_version="3.11")
    assert Path(told(run_cli, "demo", "--apply")["applied"]).is_file()
    spec = catalog.load("demo")
    assert (spec.updated, spec.version, spec.python_version, spec.task) == (True, "1.11", "3.11", "Denoising")
    assert spec.state == "untested"
    demo.server.answer = lambda _: Answer(status=500)
    local = upstream.files.obtain(spec, cache=tmp_path / "home" / "cache", parts=("notebook", "requirements"))
    assert local.read_notebook() == NEW
    demo.server.answer = demo.answer
    assert told(run_cli, "demo")["state"] == "current"
    assert told(run_cli, "demo", "--revert")["state"] == "reverted"
    assert catalog.load("demo").version == "1.10"
    assert told(run_cli, "demo", "--revert")["state"] == "as shipped"


def test_one_that_cannot_be_asked_ends_with_an_error_and_writes_nothing(demo: Upstream, run_cli: Run):
    del demo.files["/c.yaml"]
    done = run_cli("notebook", "update", "demo", "--apply")
    assert done.code == 8
    assert "does not exist" in done.err
    assert not catalog.updates("demo").exists()


def test_a_branch_on_github_is_pinned_to_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[str, str]] = []

    def commit(branch: Any, *, cache: Any) -> str:
        asked.append((branch.repository, branch.ref))
        return "c" * 40

    monkeypatch.setattr(git, "commit", commit)
    for path in ("master/a/n.ipynb", "refs/heads/master/a/n.ipynb"):
        address = f"https://raw.githubusercontent.com/lab/notebooks/{path}"
        assert upstream._commit(address, cache=tmp_path, say=print) == "c" * 40
    assert asked == [("https://github.com/lab/notebooks.git", "master")] * 2


def test_where_git_cannot_tell_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def commit(branch: Any, *, cache: Any) -> str:
        raise RecipeError("there is no git that works on this computer", hint="install git")

    monkeypatch.setattr(git, "commit", commit)
    said: list[str] = []
    address = "https://raw.githubusercontent.com/lab/notebooks/master/n.ipynb"
    assert upstream._commit(address, cache=tmp_path, say=said.append) == ""
    assert "pinned by its hash alone" in said[0]
