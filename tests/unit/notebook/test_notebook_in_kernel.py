"""Converted notebooks in a real kernel: a form's code runs as if it had been typed into the cell."""

from __future__ import annotations

import json
import re
from pathlib import Path

from support.kernel import colab_notebook, open_notebook

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
AWAITING = """\
#@title Awaiting
x = 1 #@param {type:"raw"}
import asyncio
async def double(y):
    await asyncio.sleep(0)
    return 2 * y
doubled = await double(x)
async with asyncio.Lock(): held = True
"""


def test_code_runs_as_if_typed_into_the_cell(tmp_path: Path) -> None:
    """Every name is bound at top level, shell lines and await work, errors are errors with the cell's own lines."""
    broken = "#@title Broken\nx = 1 #@param {type:\"integer\"}\nprint('before')\nraise KeyError('here')"
    timed = '%%time\n#@title Timed\nx = 1 #@param {type:"integer"}\ny = x'
    captured = '%%capture said\n#@title Captured\nx = 1 #@param {type:"integer"}\nprint("caught", x)'
    asking = "#@title Asking\nx = 1 #@param {type:\"integer\"}\ninput('sure?')"
    original = colab_notebook("#@title Bindings\n" + BINDINGS, broken, timed, captured, AWAITING, asking)
    with open_notebook(tmp_path, original) as desk:
        desk.run_all()
        desk.fill("bindings", "n", value=4)
        assert "from the shell 4" in desk.press("bindings").text
        names = "n, i, f(2), C.size, a, b, c, handle.closed, caught, p.sep == sys.modules['os'].sep, lines[0]"
        assert desk.value(names) == (4, 3, 8, 4, 1, 2, [3, 4], True, True, True, "one line")

        outcome = desk.press("broken")
        assert outcome.errors == ["KeyError"]
        plain = re.sub(r"\x1b\[[0-9;]*m", "", outcome.text)
        assert "----> 5 raise KeyError" in plain, "the magic is line 1 of the cell"
        assert desk.status("broken").startswith("failed after ")
        assert desk.status("broken").endswith("KeyError: 'here'")
        assert desk.value("x") == 1

        assert "Wall time" in desk.press("timed").text
        assert desk.value("y") == 1
        assert desk.press("captured").text == ""
        assert desk.value("said.stdout") == "caught 1\n"

        desk.fill("awaiting", "x", value="21")
        assert desk.press("awaiting").errors == []
        assert desk.value("doubled, held") == (42, True)
        assert desk.run("await asyncio.sleep(0)").status == "ok", "the kernel's own loop goes on"

        desk.press("asking")
        assert "the code asks a question, which a form cannot pass on" in desk.status("asking")

        log = next((tmp_path / "results" / "logs").glob("broken_*.log")).read_text(encoding="utf-8")
        assert "x = 1\n\nbefore\n" in log
        assert "KeyError: 'here'\n\nfailed after" in log


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
    records = [json.loads(path.read_text()) for path in (tmp_path / "results" / "dl4mic_runs").iterdir()]
    assert [record["state"] for record in records] == ["stopped"] * 3


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


PRINTING = """\
#@title Printing
lines = 10 #@param {type:"integer"}
import base64, logging, os, subprocess, sys
from IPython.display import display
print("printed"); print("to stderr", file=sys.stderr)
logging.getLogger("own").addHandler(logging.StreamHandler(sys.stderr)); logging.getLogger("own").error("by a logger")
!echo by a shell line
for percent in range(0, 101, 10): print(f"\\r{percent} %", end="", flush=True)
print()
subprocess.run([sys.executable, "-c", "import sys; print('by a program'); print('its error', file=sys.stderr)"])
os.write(1, b"by C\\n")
class Picture:
    def _repr_png_(self): return base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
display(Picture())
for number in range(lines): print("line", number)
(Picture(), os.write(1, b"C again\\n" * 8000))[0]
"""


def test_everything_that_a_run_shows_is_in_its_log(tmp_path: Path) -> None:
    """From Python, the shell, programs and C; of a progress bar its last state; pictures beside it."""
    with open_notebook(tmp_path, colab_notebook(PRINTING)) as desk:
        desk.run_all()
        outcome = desk.press("printing")
        assert "by a program" in outcome.text
        assert outcome.pictures == 1, "the other is the cell's value"
        logs = tmp_path / "results" / "logs"
        log = next(logs.glob("printing_*.log")).read_text(encoding="utf-8")
        for said in (
            "printed",
            "to stderr",
            "by a logger",
            "by a shell line",
            "by a program",
            "its error",
            "by C",
        ):
            assert f"{said}\n" in log
        assert log.count("C again\n") == 8000, "also what came at the very end"
        assert "\n100 %\n" in log
        assert " 90 %" not in log
        pictures = re.findall(r"\[picture: (.*)\]", log)
        assert len(pictures) == 2
        assert all((logs / name).read_bytes().startswith(b"\x89PNG") for name in pictures)
        # Nothing of the log stays behind in the streams of the next cell.
        assert desk.run("print('later')").text == "later\n"
        assert next(logs.glob("printing_*.log")).read_text(encoding="utf-8") == log


def test_a_browser_is_spared_ten_thousands_of_lines(tmp_path: Path) -> None:
    """The screen gets the first ones and the name of the log, which has all."""
    many = '#@title Many\nn = 20000 #@param {type:"integer"}\nfor i in range(n): print("line", i)'
    with open_notebook(tmp_path, colab_notebook(many)) as desk:
        desk.run_all()
        shown = desk.press("many").text.splitlines()
        (log,) = (tmp_path / "results" / "logs").glob("many_*.log")
        assert shown[0] == "line 0"
        assert 5000 <= len(shown) < 5100
        assert re.fullmatch(r"… 1\d,\d{3} more lines are in results/logs/" + log.name, shown[-1])
        assert "line 19999\n" in log.read_text(encoding="utf-8")
        assert desk.status("many").startswith("done in ")


def test_nothing_that_is_typed_is_overtaken_by_a_click_on_run(tmp_path: Path) -> None:
    """A browser holds changes of a field back while an earlier one is on its way, or the kernel is busy; not clicks."""
    held = (
        '#@title One\nx = "a" #@param {type:"string"}\nimport gc, ipywidgets\n'
        "def off():\n"
        "    runs = [b for b in gc.get_objects() if isinstance(b, ipywidgets.Button) and b.description == 'Run']\n"
        "    return [b.disabled for b in runs]\nduring = off()"
    )
    with open_notebook(
        tmp_path, colab_notebook(held, '#@title Two\ny = 1 #@param ["a"] {allow-input: true}')
    ) as desk:
        desk.run_all()
        assert desk.press("one").errors == []
        assert desk.value("during, off()") == ([True, True], [False, False])
        for form, name in (("one", "x"), ("two", "y")):
            assert desk.widget(form, name)["continuous_update"] is False
