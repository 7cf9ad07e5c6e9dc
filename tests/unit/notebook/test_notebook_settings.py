"""Settings and records of runs under results/: whole or not there, by notebook, nobody's values lost."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dl4mic_hpc.notebook.dl4mic_forms import settings
from dl4mic_hpc.notebook.dl4mic_forms.settings import (
    RunRecord,
    previous,
    read_values,
    save_values,
    write_json,
)


def test_two_notebooks_in_one_session_keep_apart(tmp_path: Path) -> None:
    save_values(tmp_path, "A", "train", {"n": 1, "gone": 2})
    save_values(tmp_path, "B", "train", {"n": 3})
    save_values(tmp_path, "A", "use", {"n": 4})
    save_values(tmp_path, "A", "train", {"n": 5})
    assert previous(tmp_path, "A", "train") == {"n": 5}
    assert previous(tmp_path, "B", "train") == {"n": 3}
    assert previous(tmp_path, "B", "use") == {}
    assert read_values(tmp_path / settings.SETTINGS, "A") == {"train.n": 5, "use.n": 4}


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(
            threads.map(lambda number: save_values(tmp_path, "A", f"form{number}", {"n": number}), range(24))
        )
    assert len(read_values(tmp_path / settings.SETTINGS, "A")) == 24
    assert [path.name for path in tmp_path.iterdir()] == [settings.SETTINGS], "no lock, no half file"


def test_a_lock_left_by_the_dead_does_not_hold_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "_PATIENCE", 0.0)
    (tmp_path / f"{settings.SETTINGS}.lock").touch()
    save_values(tmp_path, "A", "train", {"n": 1})
    assert previous(tmp_path, "A", "train") == {"n": 1}
    assert not (tmp_path / f"{settings.SETTINGS}.lock").exists()


def test_a_disk_that_refuses_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_values(tmp_path, "A", "train", {"n": 1})

    def full(number: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_values(tmp_path, "A", "train", {"n": 2})
    assert previous(tmp_path, "A", "train") == {"n": 1}
    assert [path.name for path in tmp_path.iterdir()] == [settings.SETTINGS]


@pytest.mark.parametrize("content", ["{", "[1]", '{"version": 9}', '{"notebooks": {"A": 1}}'])
def test_settings_that_cannot_be_read_are_kept(tmp_path: Path, content: str) -> None:
    path = tmp_path / settings.SETTINGS
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=settings.SETTINGS):
        previous(tmp_path, "A", "train")
    save_values(tmp_path, "A", "train", {"n": 1})
    assert previous(tmp_path, "A", "train") == {"n": 1}
    assert path.with_suffix(".unreadable").read_text(encoding="utf-8") == content


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"a": 1}, {"a": 1}),
        ({"version": 1, "notebook": "X", "fields": {"f.a": 1}}, {"f.a": 1}),
        ({"version": 2, "notebooks": {"A": {"fields": {"f.a": 1}}, "B": {"fields": {}}}}, {"f.a": 1}),
    ],
)
def test_every_kind_of_parameter_file(tmp_path: Path, content: object, expected: dict[str, Any]) -> None:
    path = tmp_path / "p.json"
    path.write_text("\ufeff" + json.dumps(content), encoding="utf-8")
    assert read_values(path, "A") == expected


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is not JSON"),
        ("[1]", "must hold names and values"),
        ('{"notebooks": {"B": {"fields": {}}, "C": {"fields": {}}}}', "holds values of B, C, not of A"),
    ],
)
def test_what_is_no_parameter_file(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=says):
        read_values(path, "A")


def test_the_record_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    records = [RunRecord(tmp_path, "A", "train", {"n": number}) for number in range(4)]
    paths = sorted((tmp_path / settings.RUNS).iterdir())
    assert len(paths) == 4, "runs of the same second have files of their own"
    assert {json.loads(path.read_text())["state"] for path in paths} == {"running"}
    for record, error in zip(records, (None, ValueError("bad"), KeyboardInterrupt(), None), strict=True):
        record.close(error)
    ended = {path.name: json.loads(path.read_text()) for path in paths}
    by_value = {each["fields"]["train.n"]: each for each in ended.values()}
    assert [by_value[number]["state"] for number in range(4)] == ["done", "failed", "stopped", "done"]
    assert by_value[1]["error"] == "ValueError: bad"
    assert (by_value[0]["job"], by_value[0]["notebook"]) == ("42", "A")
    assert read_values(paths[0], "A") == ended[paths[0].name]["fields"]


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    write_json(path, {"a": "ü"})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert path.read_text(encoding="utf-8") == '{\n  "a": "ü"\n}\n'
    assert list(tmp_path.iterdir()) == [path]
