"""The folders that forms offer, and what is said of a chosen one."""

from __future__ import annotations

from pathlib import Path

import pytest

from dl4mic_hpc.notebook.dl4mic_forms import folders
from dl4mic_hpc.notebook.dl4mic_forms.forms import parse


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(folders, "DATA", tmp_path / "data")
    monkeypatch.setattr(folders, "RESULTS", tmp_path / "results")
    for folder in (
        "data/b/c/d/e",
        "data/a",
        "data/.hidden",
        "results/model",
        "results/logs",
        "results/dl4mic_runs",
    ):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def test_folders_to_choose_from(home: Path) -> None:
    data, results = folders.known(fresh=True)
    assert [str(Path(path).relative_to(home)) for path in data] == [
        "data", "data/a", "data/b", "data/b/c", "data/b/c/d",
    ]  # fmt: skip
    assert [Path(path).name for path in results] == ["results", "model"]


def test_looking_is_bounded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        (home / "data" / "a" / f"n{number:02}").mkdir()
    monkeypatch.setattr(folders, "FOLDERS", 5)
    assert len(folders.known(fresh=True)[0]) == 5
    monkeypatch.setattr(folders, "ENTRIES", 8)
    assert folders.describe(str(home / "data" / "a"))[1] == "more than 8 folders"
    monkeypatch.setattr(folders, "SECONDS", -1.0)
    assert folders.known(fresh=True) == ([], [])
    assert folders.describe(str(home / "data" / "a"))[1] == "empty or too slow to look at"


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).touch()


def test_what_a_folder_holds(home: Path) -> None:
    chosen = home / "data" / "a"
    assert folders.describe(str(chosen)) == (False, "empty")
    fill(chosen, "1.tif", ".DS_Store")
    assert folders.describe(str(chosen)) == (False, "1 file, .tif")
    fill(chosen, "2.TIF")
    assert folders.describe(str(chosen)) == (False, "2 files, all .tif")
    fill(chosen, "notes.txt")
    (chosen / "more").mkdir()
    assert folders.describe(f"{chosen}/../a/") == (False, "3 files, 2 of them .tif, 1 folder")
    (chosen / "2.TIF").write_bytes(bytes(1500))
    assert folders.describe(str(chosen / "2.TIF")) == (False, "a file of 2 KB")


def test_what_deserves_a_warning(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    outside = f", outside {home}/data and {home}/results: it does not come to your computer"
    assert folders.describe("") == (False, "")
    assert folders.describe("data/a") == (False, "empty")
    assert folders.describe("data/none") == (True, "does not exist")
    assert folders.describe(str(home)) == (True, "2 folders" + outside)
    assert folders.describe(f"{home}/data2") == (True, "does not exist" + outside)
    assert folders.describe("data\0")[0] is True


@pytest.mark.parametrize(
    ("line", "place", "results"),
    [
        ('Training_source = "" #@param {type:"string"}', True, False),
        ('Source_QC_folder = "x" #@param {type:"string"}', True, False),
        ('imDir2 = "" #@param {type:"string"}', True, False),
        ('Result_folder = "" #@param {type:"string"}', True, True),
        ('QC_model_folder = "" #@param {type:"string"}', True, True),
        ('csv_file_path = "/content" #@param {type:"string"}', True, True),
        ('Training_source = "a/b" #@param {type:"string"}', True, False),
        ('Normalisation_source = "contrast" #@param {type:"string"}', False, False),
        ('data_source = "https://x.org/y" #@param {type:"string"}', False, False),
        ('folder_name = "" #@param {type:"string"}', False, False),
        ('fileID = "" #@param {type:"string"}', False, False),
        ('number_of_files = 3 #@param {type:"number"}', False, False),
    ],
)
def test_a_field_that_asks_for_a_place(line: str, place: bool, results: bool) -> None:
    (field,) = parse(line).fields
    assert (folders.is_place(field), folders.for_results(field)) == (place, results)
