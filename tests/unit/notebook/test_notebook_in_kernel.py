"""Converted notebooks in a real kernel: forms drawn, filled and run by widget messages, and without a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.kernel import colab_notebook, open_notebook

EVERY_KIND = """\
#@title Every kind
#@markdown ### Some **text**
text = "a" #@param {type:"string", placeholder:"type here"}
Data_path = "" #@param {type:"string"}
number = 5 #@param {type:"number"} # in pixels
count = 5 #@param {type:"integer"}
level = 5 #@param {type:"slider", min:0, max:10, step:1}
part = 0.5 #@param {type:"slider", min:0, max:1, step:0.25}
flag = False #@param {type:"boolean"}
day = "2024-02-29" #@param {type:"date"}
free = [1, count] #@param {type:"raw"}
one = "a" #@param ["a", "b"]
many = "a" #@param ["a", "b"] {allow-input: true}
size = 8 #@param [4, 8, None] {type:"raw"}
values = [text, Data_path, number, count, level, part, flag, day, free, one, many, size]
"""
AS_WRITTEN = ["a", "", 5, 5, 5, 0.5, False, "2024-02-29", [1, 5], "a", "a", 8]
TYPED: dict[str, Any] = {
    "text": 'it\'s "q" \\', "Data_path": "/home/data/ü", "number": 0.0001, "count": 7, "level": 9, "part": 0.75, "flag": True,
    "free": "count * 2", "one": "b", "many": "other", "size": "None",
}  # fmt: skip
AS_TYPED = [
    'it\'s "q" \\', "/home/data/ü", 0.0001, 7, 9, 0.75, True, "1999-12-31", 14, "b", "other", None,
]  # fmt: skip
BROWSER_DAY = {"year": 1999, "month": 11, "date": 31}  # as ipywidgets sends a date: months count from 0


def settings(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (home / "results" / "dl4mic_settings.json").read_text(encoding="utf-8")
    )
    return found


def test_a_form_from_drawing_to_load_previous(tmp_path: Path) -> None:
    with open_notebook(tmp_path, colab_notebook(EVERY_KIND)) as desk:
        assert all(outcome.status == "ok" for outcome in desk.run_all())
        assert not (tmp_path / "results").exists(), "drawing a form runs nothing"
        kinds = {name: desk.widget("every-kind", name)["_model_name"] for name in (*TYPED, "day")}
        assert kinds == {
            "text": "TextModel", "Data_path": "TextModel", "number": "FloatTextModel", "count": "IntTextModel",
            "level": "IntSliderModel", "part": "FloatSliderModel", "flag": "CheckboxModel", "day": "DatePickerModel",
            "free": "TextModel", "one": "DropdownModel", "many": "ComboboxModel", "size": "DropdownModel",
        }  # fmt: skip
        part = desk.widget("every-kind", "part")
        assert (part["min"], part["max"], part["step"], part["readout_format"]) == (0, 1, 0.25, ".2f")
        assert desk.widget("every-kind", "text")["placeholder"] == "type here"
        assert desk.widget("every-kind", "Data_path")["placeholder"] == "/home/data/…"
        assert desk.widget("every-kind", "one")["_options_labels"] == ["a", "b"]

        desk.press("every-kind")
        assert desk.value("values") == AS_WRITTEN

        choices = {"one": ("index", 1), "size": ("index", 2)}
        for name, value in TYPED.items():
            key, sent = choices.get(name, ("value", value))
            desk.fill("every-kind", name, key=key, value=sent)
        desk.fill("every-kind", "day", value=BROWSER_DAY)
        desk.press("every-kind")
        assert desk.value("values") == AS_TYPED
        assert desk.status("every-kind").startswith("done in ")
        stored = {name.partition(".")[2]: value for name, value in settings(tmp_path)["fields"].items()}
        assert stored == {**TYPED, "day": "1999-12-31"}

        desk.press("every-kind", "Reset")
        desk.press("every-kind")
        assert desk.value("values") == AS_WRITTEN

    # Another day, another kernel: what was stored comes back.
    with open_notebook(tmp_path, colab_notebook(EVERY_KIND)) as desk:
        (tmp_path / "results" / "dl4mic_settings.json").write_text(
            json.dumps(
                {"fields": {f"every-kind.{name}": value for name, value in stored.items()} | {"x.y": 1}}
            ),
            encoding="utf-8",
        )
        desk.run_all()
        desk.press("every-kind", "Load previous")
        assert desk.status("every-kind") == "values of the last run put in"
        desk.press("every-kind")
        assert desk.value("values") == AS_TYPED
        assert settings(tmp_path)["fields"]["x.y"] == 1


BINDINGS = """\
from __future__ import annotations
n = 3 #@param {type:"integer"}
import os.path as p, sys
for i in range(n): pass
def f(x: Undefined): return n * x
class C: size = n
a, (b, *c) = 1, (2, 3, 4)
with open(p.devnull) as handle: pass
try: 1/0
except ZeroDivisionError: caught = True
!echo from the shell {n}
lines = !echo one line
"""


def test_code_runs_as_if_typed_into_the_cell(tmp_path: Path) -> None:
    """Every name is bound at top level, shell lines work, errors are errors with the cell's own line numbers."""
    broken = "#@title Broken\nx = 1 #@param {type:\"integer\"}\nprint('before')\nraise KeyError('here')"
    timed = '%%time\n#@title Timed\nx = 1 #@param {type:"integer"}\ny = x'
    original = colab_notebook("#@title Bindings\n" + BINDINGS, broken, timed)
    with open_notebook(tmp_path, original) as desk:
        desk.run_all()
        desk.fill("bindings", "n", value=4)
        assert "from the shell 4" in desk.press("bindings").text
        names = "n, i, f(2), C.size, a, b, c, handle.closed, caught, p.sep == sys.modules['os'].sep, lines[0]"
        assert desk.value(names) == (4, 3, 8, 4, 1, 2, [3, 4], True, True, True, "one line")

        outcome = desk.press("broken")
        assert outcome.errors == ["KeyError"]
        assert "line 5" in outcome.text, "the magic is line 1 of the cell"
        assert desk.status("broken").startswith("failed after ")
        assert desk.status("broken").endswith("KeyError: 'here'")
        assert desk.value("x") == 1

        assert "Wall time" in desk.press("timed").text
        assert desk.value("y") == 1

        log = next((tmp_path / "results" / "logs").glob("broken_*.log")).read_text(encoding="utf-8")
        assert "x = 1\n\nbefore\n" in log
        assert "KeyError: 'here'\n\nfailed after" in log


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
        assert "is not JSON" in desk.status("one")
        desk.press("one")
        assert settings(tmp_path)["fields"] == {"one.x": "40 + 2"}
        assert damaged.with_suffix(".unreadable").read_text(encoding="utf-8") == "{"


def test_pictures_are_not_sent_back_to_the_browser(tmp_path: Path) -> None:
    """JupyterLab tells the kernel what an output shows; an echo would bring every picture back once more."""
    with open_notebook(tmp_path, colab_notebook('x = 1 #@param {type:"raw"}')) as desk:
        desk.run_all()
        desk.fill("form", "x", value="2")
        picture = {"output_type": "display_data", "data": {"image/png": "AAAA"}, "metadata": {}}
        desk.fill("form", "OutputModel", key="outputs", value=[picture])
        assert desk.echoed == ["value"]


def test_a_cell_edited_beyond_understanding_says_so(tmp_path: Path) -> None:
    with open_notebook(tmp_path, colab_notebook('#@title One\nx = 1 #@param {type:"raw"}')) as desk:
        desk.run_all()
        outcome = desk.run('%%dl4mic_form one\nx = 1 #@param {type:"int"}')
        assert outcome.status == "error"
        assert "line 2: 'int' is no type of field" in outcome.text
        assert "Traceback" not in outcome.text


def test_without_its_files_the_notebook_says_what_is_missing(tmp_path: Path) -> None:
    with open_notebook(tmp_path, colab_notebook('x = 1 #@param {type:"raw"}')) as desk:
        (tmp_path / "dl4mic_forms" / "__init__.py").unlink()
        (tmp_path / "dl4mic_forms").rename(tmp_path / "elsewhere")
        (outcome,) = desk.run_all()
        assert "The folder dl4mic_forms is missing beside this notebook" in outcome.text


def test_the_stop_button_ends_a_run(tmp_path: Path) -> None:
    """The kernel's interrupt reaches code that a click runs, on whichever thread the click came."""
    endless = """#@title Endless
x = 1 #@param {type:"raw"}
import _thread, time
_thread.interrupt_main()
time.sleep(20)"""
    with open_notebook(tmp_path, colab_notebook(endless)) as desk:
        desk.run_all()
        second = desk.new_subshell()
        for subshell in (None, second, second):  # from the second on another thread takes the clicks
            assert desk.press("endless", subshell=subshell).errors == ["KeyboardInterrupt"]
            assert desk.status("endless").startswith("stopped after")


LONG = """\
#@title Long
x = 1 #@param {type:"raw"}
import threading, ipywidgets
seen, go_on = [], threading.Event()
get_ipython().events.register("post_execute", lambda: seen.append(threading.current_thread().name))
box = ipywidgets.IntText(description="box")
box.observe(lambda change: change["new"] == 2 and go_on.set(), "value")
assert go_on.wait(60)
meanwhile = list(seen)
"""


def test_what_the_browser_says_during_a_run_does_not_disturb_it(tmp_path: Path) -> None:
    """Matplotlib takes the end of an execution, announced by any thread, for the end of its figures."""
    with open_notebook(tmp_path, colab_notebook(LONG)) as desk:
        desk.run_all()
        subshell = desk.new_subshell()
        click = desk.press_and_go_on("long", until="box", subshell=subshell)
        desk.fill("box", "box", value=1, subshell=subshell)
        desk.fill("box", "box", value=2, subshell=subshell)
        assert desk.follow(click).errors == []
        assert desk.value("meanwhile") == []
        assert desk.value("len(seen)") > 0, "afterwards it is announced again"


# ---- Without a browser -------------------------------------------------------------------------------------------------

TWO = (
    '#@title One\na = 1 #@param {type:"number"}\nb = "x" #@param ["x", "y"]\nprint("one runs")',
    '#@title Two\na = 2 #@param {type:"number"}\nassert a < 10, "too big"\nprint("two runs")',
)


def headless(home: Path, parameters: object = None, *cells: str) -> tuple[list[Any], Any]:
    file = home / "parameters.json"
    file.write_text(json.dumps(parameters or {}), encoding="utf-8")
    original = colab_notebook(*(cells or TWO))
    with open_notebook(home, original, DL4MIC_HEADLESS="1", DL4MIC_PARAMETERS=str(file)) as desk:
        outcomes = desk.run_all()
        return outcomes, desk.value("(a, globals().get('b'))") if outcomes[-1].status == "ok" else None


def test_headless_runs_the_cells_as_they_are_written(tmp_path: Path) -> None:
    outcomes, values = headless(tmp_path)
    assert [outcome.text for outcome in outcomes[1:]] == ['a = 1\nb = "x"\none runs\n', "a = 2\ntwo runs\n"]
    assert values == (2, "x")


def test_headless_takes_parameters_by_name_and_by_form(tmp_path: Path) -> None:
    outcomes, values = headless(tmp_path, {"a": 5, "two.a": 0.5, "b": "y"})
    assert outcomes[1].text == "a = 5\nb = 'y'\none runs\n"
    assert values == (0.5, "y")
    assert settings(tmp_path)["fields"] == {"one.a": 5, "one.b": "y", "two.a": 0.5}
    log = next((tmp_path / "results" / "logs").glob("two_*.log")).read_text(encoding="utf-8")
    assert "a = 0.5\n\ntwo runs\n\ndone after" in log
    # The settings of a run are the parameters of the next.
    (tmp_path / "results" / "dl4mic_settings.json").rename(tmp_path / "stored.json")
    _, values = headless(tmp_path, json.loads((tmp_path / "stored.json").read_text(encoding="utf-8")))
    assert values == (0.5, "y")


@pytest.mark.parametrize(
    ("parameters", "failing", "says"),
    [
        ({"a": 50}, 2, "too big"),
        ({"a": "5"}, 1, "one: 'a' is a number, not '5'"),
        ({"b": "z"}, 1, "one: 'b' cannot be 'z'; choose one of: x, y"),
        ({"tow.a": 5}, 0, "sets 'tow.a', which no form of this notebook has; perhaps you meant 'two.a'"),
        ([1], 0, "must hold names and values"),
    ],
)
def test_headless_a_failing_cell_fails(tmp_path: Path, parameters: object, failing: int, says: str) -> None:
    outcomes, _ = headless(tmp_path, parameters)
    assert [outcome.status for outcome in outcomes] == ["ok"] * failing + ["error"]
    assert says in outcomes[-1].text
    assert ("Traceback" in outcomes[-1].text) == (failing == 2)


def test_headless_magics_and_shell_lines_work(tmp_path: Path) -> None:
    cell = '%%time\n#@title T\na = 1 #@param {type:"number"}\n!echo shell {a}'
    outcomes, _ = headless(tmp_path, {"a": 3}, cell)
    assert "shell 3" in outcomes[-1].text
    assert "Wall time" in outcomes[-1].text
