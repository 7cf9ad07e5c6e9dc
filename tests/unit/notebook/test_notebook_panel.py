"""The form on the screen, in a real kernel: drawn, filled by widget messages, run, stored and loaded again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.kernel import Desk, colab_notebook, open_notebook

EVERY_KIND = """\
#@title Every kind
#@markdown ### Some **text**
text = "a" #@param {type:"string", placeholder:"type here"}
Data_path = "x" #@param {type:"string"}
number = 5 #@param {type:"number"} # in pixels
rate = 1e-05 #@param {type:"number"}
count = 5 #@param {type:"integer"}
level = 5 #@param {type:"slider", min:0, max:10, step:1}
part = 0.5 #@param {type:"slider", min:0, max:1, step:0.25}
flag = False #@param {type:"boolean"}
day = "2024-02-29" #@param {type:"date"}
free = [1, count] #@param {type:"raw"}
one = "a" #@param ["a", "b"]
many = "a" #@param ["a", "b"] {allow-input: true}
size = 8 #@param [4, 8, None] {type:"raw"}
plain = 12 #@param
later = count * 2 #@param {type:"number"}
maybe = count > 1 #@param {type:"boolean"}
else_ = "c" #@param ["a", "b"]
named = text + "!" #@param {type:"string"}
values = [text, Data_path, number, rate, count, level, part, flag, day, free, one, many, size, plain, later, maybe, else_, named]
"""
AS_WRITTEN = [
    "a",
    "x",
    5,
    1e-05,
    5,
    5,
    0.5,
    False,
    "2024-02-29",
    [1, 5],
    "a",
    "a",
    8,
    12,
    10,
    True,
    "c",
    "a!",
]
TYPED: dict[str, Any] = {
    "text": 'it\'s "q" \\', "Data_path": "/home/data/ü", "number": 0.0001, "rate": 2e-08, "count": 7, "level": 9,
    "part": 0.75, "flag": True, "free": "count * 2", "one": "b", "many": "other", "size": "None", "plain": "[]",
    "later": "1e3", "maybe": False, "else_": "a", "named": "z",
}  # fmt: skip
AS_TYPED = [
    'it\'s "q" \\', "/home/data/ü", 0.0001, 2e-08, 7, 9, 0.75, True, "1999-12-31", 14, "b", "other", None, [], 1000,
    False, "a", "z",
]  # fmt: skip
BROWSER_DAY = {"year": 1999, "month": 11, "date": 31}  # as ipywidgets sends a date: months count from 0
KINDS = {
    "text": "TextModel", "Data_path": "ComboboxModel", "number": "FloatTextModel", "rate": "FloatTextModel",
    "count": "IntTextModel", "level": "IntSliderModel", "part": "FloatSliderModel", "flag": "CheckboxModel",
    "day": "DatePickerModel", "free": "TextModel", "one": "DropdownModel", "many": "ComboboxModel",
    "size": "DropdownModel", "plain": "TextModel", "later": "TextModel", "maybe": "DropdownModel",
    "else_": "DropdownModel", "named": "TextModel",
}  # fmt: skip


def stored(home: Path) -> dict[str, Any]:
    content = json.loads((home / "results" / "dl4mic_settings.json").read_text(encoding="utf-8"))
    fields: dict[str, Any] = content["notebooks"]["under test"]["fields"]
    return fields


def choose(desk: Desk, form: str, name: str, option: str) -> None:
    labels = desk.widget(form, name)["_options_labels"]
    desk.fill(form, name, key="index", value=labels.index(option))


def test_a_form_from_drawing_to_load_previous(tmp_path: Path) -> None:
    with open_notebook(tmp_path, colab_notebook(EVERY_KIND)) as desk:
        assert all(outcome.status == "ok" for outcome in desk.run_all())
        assert not (tmp_path / "results").exists(), "drawing a form runs nothing"
        assert {name: desk.widget("every-kind", name)["_model_name"] for name in KINDS} == KINDS
        part = desk.widget("every-kind", "part")
        assert (part["min"], part["max"], part["step"], part["readout_format"]) == (0, 1, 0.25, ".2f")
        assert desk.widget("every-kind", "text")["placeholder"] == "type here"
        assert desk.widget("every-kind", "later")["placeholder"] == "as written: count * 2"
        assert desk.widget("every-kind", "one")["_options_labels"] == ["a", "b"]
        assert desk.widget("every-kind", "maybe")["_options_labels"] == ["as written: count > 1", "yes", "no"]
        assert desk.widget("every-kind", "else_")["_options_labels"] == ["c", "a", "b"]

        desk.press("every-kind")
        assert desk.value("values") == AS_WRITTEN
        assert stored(tmp_path)["every-kind.later"] is None, "only the code knows"

        chosen = {"maybe": "no"}
        for name, value in TYPED.items():
            if KINDS[name] == "DropdownModel":
                choose(desk, "every-kind", name, chosen.get(name, value))
            else:
                desk.fill("every-kind", name, value=value)
        desk.fill("every-kind", "day", value=BROWSER_DAY)
        desk.press("every-kind")
        assert desk.status("every-kind").startswith("done in ")
        assert desk.value("values") == AS_TYPED
        kept = {name.partition(".")[2]: value for name, value in stored(tmp_path).items()}
        assert kept == {**TYPED, "day": "1999-12-31", "later": 1000.0}

        desk.press("every-kind", "Reset")
        desk.press("every-kind")
        assert desk.value("values") == AS_WRITTEN

    # Another day, another kernel: what was stored comes back, by the first version of the file, too.
    for content in (
        {
            "version": 2,
            "notebooks": {"under test": {"fields": {f"every-kind.{n}": v for n, v in kept.items()}}},
        },
        {"version": 1, "notebook": "under test", "fields": {f"every-kind.{n}": v for n, v in kept.items()}},
    ):
        with open_notebook(tmp_path, colab_notebook(EVERY_KIND)) as desk:
            (tmp_path / "results" / "dl4mic_settings.json").write_text(json.dumps(content), encoding="utf-8")
            desk.run_all()
            desk.press("every-kind", "Load previous")
            assert desk.status("every-kind") == "values of the last run put in"
            desk.press("every-kind")
            assert desk.value("values") == AS_TYPED


def test_settings_of_another_version_of_the_notebook(tmp_path: Path) -> None:
    """A field that is gone, and one that no longer takes its value, are named; the others come back."""
    before = {"one.n": "7", "one.gone": 1, "one.c": "z", "one.flag": "true", "two.x": 5}
    cell = '#@title One\nn = 1 #@param {type:"integer"}\nc = "a" #@param ["a"]\nflag = False #@param {type:"boolean"}'
    with open_notebook(tmp_path, colab_notebook(cell)) as desk:
        (tmp_path / "results").mkdir()
        content = {
            "version": 2,
            "notebooks": {"under test": {"fields": before}, "other": {"fields": {"one.n": 8}}},
        }
        (tmp_path / "results" / "dl4mic_settings.json").write_text(json.dumps(content), encoding="utf-8")
        desk.run_all()
        desk.press("one", "Load previous")
        said = desk.status("one")
        assert "the fields cannot take them: c" in said
        assert "no longer in this notebook: gone" in said
        desk.press("one")
        assert desk.value("n, c, flag") == (7, "a", True)


def test_the_person_at_the_form(tmp_path: Path) -> None:
    """What was typed survives drawing the form again; what cannot run, or be stored, is said in the status line."""
    original = colab_notebook(
        '#@title One\nx = 1 #@param {type:"raw"}\nimport sys; print("out"); print("err", file=sys.stderr)'
    )
    with open_notebook(tmp_path, original) as desk:
        desk.run_all()
        desk.press("one", "Load previous")
        assert desk.status("one") == "this form has not been run before"
        desk.fill("one", "x", value="1; 2")
        desk.press("one")
        assert "must be one Python expression" in desk.status("one")
        assert not (tmp_path / "results").exists()
        desk.fill("one", "x", value="40 + 2")
        desk.run_all()
        assert desk.widget("one", "x")["value"] == "40 + 2"

        (tmp_path / "results").write_text("a file where the folder belongs", encoding="utf-8")
        outcome = desk.press("one")
        assert sorted(outcome.text.split()) == ["err", "out"]
        assert "the settings could not be kept" in desk.status("one")
        assert desk.value("x") == 42

        (tmp_path / "results").unlink()
        (tmp_path / "results").mkdir()
        damaged = tmp_path / "results" / "dl4mic_settings.json"
        damaged.write_text("{", encoding="utf-8")
        desk.press("one", "Load previous")
        assert "cannot be read" in desk.status("one")
        desk.press("one")
        assert stored(tmp_path) == {"one.x": "40 + 2"}
        assert damaged.with_suffix(".unreadable").read_text(encoding="utf-8") == "{"
        (record,) = [
            json.loads(path.read_text()) for path in (tmp_path / "results" / "dl4mic_runs").iterdir()
        ]
        assert (record["state"], record["form"], record["fields"]) == ("done", "one", {"one.x": "40 + 2"})

        desk.run(
            '%%dl4mic_form one\nx = 1 #@param {type:"raw"}\ny = #@param {type:"raw"}\nz = 3 #@param {type:"raw"}'
        )
        assert desk.notes("one") == ["line 3: 'y' has no value"], "a line that is no field is named"
        assert desk.widget("one", "z")["value"] == "3"


PLACES = """\
#@title Places
#@markdown ### Path to training images:
Training_source = "" #@param {type:"string"}
#@markdown ### Where to save
Result_folder = "" #@param {type:"string"}
ran = globals().get("ran", 0) + 1
import os
os.makedirs(Result_folder or "results/made", exist_ok=True)
"""


def test_paths_are_offered_counted_and_asked_for(tmp_path: Path) -> None:
    for folder in ("data/train/images", "results/model", "results/logs"):
        (tmp_path / folder).mkdir(parents=True)
    for number in range(3):
        (tmp_path / "data/train/images" / f"{number}.tif").touch()
    deleting = (
        PLACES.replace("Places", "Deleting")
        + "import shutil\nshutil.rmtree(Result_folder, ignore_errors=True)"
    )
    with open_notebook(tmp_path, colab_notebook(PLACES, deleting)) as desk:
        desk.run_all()
        data = [str(tmp_path / each) for each in ("data", "data/train", "data/train/images")]
        results = [str(tmp_path / each) for each in ("results", "results/model")]
        source = desk.widget("places", "Training_source")
        assert source["options"] == data + results
        assert desk.widget("places", "Result_folder")["options"] == results + data
        assert source["placeholder"] == f"{tmp_path}/data/…"
        assert source["value"] == "", "until it is touched the notebook's own value stands"

        desk.press("places")
        assert desk.status("places").startswith(
            "nothing was run: fill in Training_source, Result_folder; to run it"
        )
        assert desk.value("'ran' in globals()") is False
        desk.fill("places", "Training_source", value=data[2])
        assert desk.notes("places") == ["3 files, all .tif"]
        desk.press("places")
        assert "fill in Result_folder;" in desk.status("places"), "another state: asked again"
        desk.press("places")
        assert desk.status("places").startswith("done in ")
        assert desk.value("ran") == 1
        assert str(tmp_path / "results/made") in desk.widget("deleting", "Result_folder")["options"]

        for _ in range(2):
            desk.press("deleting")
            assert desk.status("deleting") == "nothing was run: fill in Training_source, Result_folder"
        assert desk.value("ran") == 1

        desk.fill("places", "Result_folder", value="/nowhere")
        assert "does not exist" in desk.notes("places")[1]
        (tmp_path / "data/train/images/3.tif").touch()
        desk.press("places", "refresh")
        assert desk.notes("places")[0] == "4 files, all .tif"


def test_run_auto_runs_again_on_every_change_once_it_has_run(tmp_path: Path) -> None:
    cell = '#@title Auto {run: "auto"}\nk = 3 #@param {type:"slider", min:0, max:10}\nseen = globals().get("seen", []) + [k]'
    with open_notebook(tmp_path, colab_notebook(cell)) as desk:
        desk.run_all()
        desk.fill("auto", "k", value=4)
        assert desk.value("'seen' in globals()") is False
        desk.press("auto")
        desk.fill("auto", "k", value=5)
        desk.fill("auto", "k", value=6)
        assert desk.value("seen") == [4, 5, 6]
        desk.press("auto", "Reset")
        assert desk.value("seen") == [4, 5, 6], "a button that fills fields does not run the cell"


def test_pictures_are_not_sent_back_to_the_browser(tmp_path: Path) -> None:
    """JupyterLab tells the kernel what an output shows; an echo would bring every picture back once more."""
    with open_notebook(tmp_path, colab_notebook('x = 1 #@param {type:"raw"}')) as desk:
        desk.run_all()
        desk.fill("form", "x", value="2")
        picture = {"output_type": "display_data", "data": {"image/png": "AAAA"}, "metadata": {}}
        desk.fill("form", "OutputModel", key="outputs", value=[picture])
        assert desk.echoed == ["value"]
