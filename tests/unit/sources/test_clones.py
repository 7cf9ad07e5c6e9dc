"""What a notebook clones is brought along, so that a node without internet finds it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.forge import Forge
from support.kernel import colab_notebook

from dl4mic_hpc import notebook
from dl4mic_hpc.notebook.report import Clone
from dl4mic_hpc.sessions import clones


def bring(tmp_path: Path, *wanted: Clone) -> tuple[dict[str, bytes], list[str]]:
    said: list[str] = []
    return clones.bring(wanted, cache=tmp_path / "cache", say=said.append), said


def wanted(forge: Forge, folder: str = "tool", branch: str = "", name: str = "x") -> Clone:
    return Clone(cell=1, repository=forge.url(name), branch=branch, folder=folder, removed=False)


def test_its_files_lie_where_the_clone_would(forge: Forge, tmp_path: Path) -> None:
    forge.commit({"tool.py": "one", "sub/data.txt": "two"})
    files, _ = bring(tmp_path, wanted(forge), wanted(forge))
    assert files == {"home/tool/tool.py": b"one", "home/tool/sub/data.txt": b"two"}


def test_the_branch_is_the_one_that_the_notebook_names(forge: Forge, tmp_path: Path) -> None:
    forge.commit({"tool.py": "old"})
    forge.run("branch", "release_1")
    forge.commit({"tool.py": "new"})
    assert bring(tmp_path, wanted(forge, branch="release_1"))[0] == {"home/tool/tool.py": b"old"}


def test_what_cannot_be_had_is_said_and_stops_nothing(forge: Forge, tmp_path: Path) -> None:
    forge.commit({"tool.py": "one"})
    files, said = bring(tmp_path, wanted(forge, "gone", name="gone"), wanted(forge))
    assert list(files) == ["home/tool/tool.py"]
    assert any(
        text.startswith("gone is not brought along, so the notebook needs the internet") for text in said
    )


def test_a_large_one_stays_away(forge: Forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clones, "MOST", 3)
    forge.commit({"tool.py": "four"})
    files, said = bring(tmp_path, wanted(forge))
    assert files == {}
    assert "has 0 MB" in said[-1]


@pytest.mark.parametrize("folder", ["../outside", "/tmp/outside"])
def test_nothing_is_put_outside_the_session(forge: Forge, tmp_path: Path, folder: str) -> None:
    forge.commit({"tool.py": "one"})
    assert bring(tmp_path, wanted(forge, folder))[0] == {}


def test_what_a_notebook_clones_is_found_also_in_a_removed_section() -> None:
    original = colab_notebook(
        "# 1. Install",
        "!git clone https://example.org/a/tool.git",
        "# 2. Load",
        "!git clone -b v2 --depth 1 https://example.org/a/other here; cd here\n# !git clone https://example.org/off\n"
        "x = '!git clone https://example.org/text'\n!git clone {address}",
    )
    report = notebook.convert(original, name="x", sections_to_remove=["1."]).report
    assert [(one.repository, one.branch, one.folder, one.removed) for one in report.clones] == [
        ("https://example.org/a/tool.git", "", "tool", True),
        ("https://example.org/a/other", "v2", "here", False),
    ]
