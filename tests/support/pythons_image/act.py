"""What a person does with a notebook, done in a Python of those images: `python act.py` prints the answers as JSON.

Beside this file lie desk.py, the folder `home` (the converted notebook and its run-time files) and plan.json:
    parameters, failing: parameter files for a run without a browser
    form: the id of the form that is filled in; filled: its values, typed into the widgets
    names: an expression whose value is wanted in the end

Python 3.7 syntax only.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

from desk import Desk
from jupyter_client.manager import KernelManager

HERE = Path(__file__).absolute().parent
HOME = HERE / "home"
PACKAGES = ("IPython", "ipykernel", "ipywidgets", "nbclient")


def imported():
    """The names of all run-time modules, once each of them has been compiled and imported."""
    for path in sorted((HOME / "dl4mic_forms").rglob("*.py")):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compile(path.read_text(encoding="utf-8"), str(path), "exec", dont_inherit=True)
    sys.path.insert(0, str(HOME))
    package = importlib.import_module("dl4mic_forms")
    names = [module.name for module in pkgutil.walk_packages(package.__path__, "dl4mic_forms.")]
    return [importlib.import_module(name).__name__ for name in names]


def without_a_browser(parameters):
    (HOME / "parameters.json").write_text(json.dumps(parameters), encoding="utf-8")
    command = [sys.executable, "-m", "dl4mic_forms", "notebook.ipynb", "--parameters", "parameters.json"]
    done = subprocess.run(command, cwd=str(HOME), capture_output=True)
    values = HOME / "values.json"
    executed = json.loads((HOME / "results" / "notebook.executed.ipynb").read_text(encoding="utf-8"))
    return {
        "code": done.returncode,
        "out": done.stdout.decode().replace("\r\n", "\n"),  # old kernels give programs a terminal
        "err": done.stderr.decode(),
        "values": json.loads(values.read_text(encoding="utf-8")) if values.is_file() else None,
        "outputs": [cell["outputs"] for cell in executed["cells"] if cell["cell_type"] == "code"],
    }


def at_the_screen(form, filled, names):
    """Every widget is filled in and Run is pressed, in a kernel with warnings of the forms' own code as errors."""
    cells = json.loads((HOME / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(HOME), stdout=sys.stderr)  # standard output is for the answers
    try:
        desk = Desk(manager, ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"])
        drawn = desk.run_all()
        if drawn[-1].status != "ok":
            sys.exit(drawn[-1].text)
        for name, value in filled.items():
            widget = desk.widget(form, name)
            chosen = widget["_model_name"] == "DropdownModel"
            if chosen:
                value = list(widget["_options_labels"]).index(value)
            desk.fill(form, name, key="index" if chosen else "value", value=value)
        pressed = desk.press(form)
        answer = {
            "drawn": "".join(outcome.text for outcome in drawn),
            "printed": pressed.text,
            "errors": pressed.errors,
            "status": desk.status(form),
            "names": desk.value(names),
        }
        desk.close()
        return answer
    finally:
        manager.shutdown_kernel(now=True)


def main():
    plan = json.loads((HERE / "plan.json").read_text(encoding="utf-8"))
    versions = {name: importlib.import_module(name).__version__ for name in PACKAGES}
    answers = {
        "python": list(sys.version_info[:2]),
        "versions": versions,
        "online": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "imported": imported(),
        "done": without_a_browser(plan["parameters"]),
        "failed": without_a_browser(plan["failing"]),
        "screen": at_the_screen(plan["form"], plan["filled"], plan["names"]),
    }
    assert find_spec("dl4mic_hpc") is None
    json.dump(answers, sys.stdout)


main()
