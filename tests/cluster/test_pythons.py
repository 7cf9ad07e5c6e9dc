"""The run-time files on the oldest and the newest Python of Debian's archive, with ipywidgets 7 and 8, without a network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from pip._internal.models.index import PyPI
from support.kernel import colab_notebook
from support.pythons import World, act, image

from dl4mic_hpc import notebook
from dl4mic_hpc.sandbox import engine as engines
from dl4mic_hpc.sandbox import machine as machines

OLDEST, NEWEST = "bullseye", "sid"
OLD_KERNEL = ("ipython==7.34.0", "ipykernel==5.5.6", "nbclient==0.5.13")
WORLDS = {
    "oldest, ipywidgets 7": World(
        suite=OLDEST, environment="ipywidgets7", requirements=("ipywidgets==7.6.0", *OLD_KERNEL)
    ),
    "oldest, ipywidgets 8": World(
        suite=OLDEST, environment="ipywidgets8", requirements=("ipywidgets==8.0.0", "ipykernel", "nbclient")
    ),
    "newest, ipywidgets 7": World(
        suite=NEWEST, environment="ipywidgets7", requirements=("ipywidgets==7.8.5", "ipykernel", "nbclient")
    ),
    "newest, ipywidgets 8": World(
        suite=NEWEST, environment="ipywidgets8", requirements=("ipywidgets==8.1.9", "ipykernel", "nbclient")
    ),
}

FORM = """\
#@title Every kind of field
#@markdown ### Path to the images
Training_source = "" #@param {type:"string"}
learning_rate = 0.0004 #@param {type:"number"}
steps = 10 #@param {type:"integer"}
overlap = 20 #@param {type:"slider", min:0, max:90, step:10}
augment = False #@param {type:"boolean"}
recorded = "2020-01-31" #@param {type:"date"}
loss = "mae" #@param ["mae", "mse"]
factor = 8 #@param ["4", "8"] {type:"raw"}
weights = "none" #@param ["none", "nuclei"] {allow-input: true}
shape = (1, 2) #@param {type:"raw"}
import json
names = "Training_source learning_rate steps overlap augment recorded loss factor weights shape".split()
values = {name: globals()[name] for name in names}
with open("values.json", "w") as file: json.dump(values, file)
!echo "from the shell: {steps}"
"""
LAST = '#@title Last\nlimit = 50 #@param {type:"integer"}\nassert steps < limit, "too many"\n'
PLAN = {
    "parameters": {"Training_source": "dätä", "steps": 7, "augment": True, "loss": "mse", "shape": "[3, 4]"},
    "failing": {"Training_source": "dätä", "steps": 60, "overlap": 90},
    "form": "every-kind-of-field",
    "filled": {
        "Training_source": 'it\'s "mine"',
        "learning_rate": 2e-05,
        "steps": -7,
        "overlap": 40,
        "augment": True,
        "recorded": {"year": 2021, "month": 2, "date": 4},  # months are JavaScript's
        "loss": "mse",
        "factor": "4",
        "weights": "my own.h5",
        "shape": "[3, 4]",
    },
    "names": "values",
}
AS_WRITTEN = {
    "learning_rate": 0.0004, "overlap": 20, "recorded": "2020-01-31", "factor": 8, "weights": "none",
}  # fmt: skip
TYPED = {
    "Training_source": "it's \"mine\"", "learning_rate": 2e-05, "steps": -7, "overlap": 40, "augment": True,
    "recorded": "2021-03-04", "loss": "mse", "factor": 4, "weights": "my own.h5", "shape": [3, 4],
}  # fmt: skip


@pytest.fixture(scope="module")
def answers(pip_settings: dict[str, str]) -> Iterator[Mapping[str, Future[dict[str, Any]]]]:
    """What act.py says in each world, two of them under way at a time."""
    engine, machine = engines.find(), machines.look()
    index = pip_settings.get("index-url", PyPI.simple_url)
    original = colab_notebook("# **1. Train**", FORM, "# **2. Judge**", LAST)
    home = {
        **notebook.runtime_files(),
        "notebook.ipynb": notebook.convert(original, name="Kinds").notebook,
    }
    with ThreadPoolExecutor(2) as pool:

        def made(suite: str) -> tuple[engines.Engine, str]:
            there = tuple(world for world in WORLDS.values() if world.suite == suite)
            tag = image(engine, machine, there, index=index)
            return engines.probe(engine, tag), tag

        images = {suite: pool.submit(made, suite) for suite in (OLDEST, NEWEST)}

        def one(world: World) -> dict[str, Any]:
            probed, tag = images[world.suite].result()
            return act(probed, tag, world, home, PLAN)

        yield {name: pool.submit(one, world) for name, world in WORLDS.items()}


@pytest.fixture(params=WORLDS)
def answer(
    request: pytest.FixtureRequest, answers: Mapping[str, Future[dict[str, Any]]]
) -> tuple[World, dict[str, Any]]:
    return WORLDS[request.param], answers[request.param].result()


def test_every_module_is_imported(answer: tuple[World, dict[str, Any]]) -> None:
    """Compiled and imported with warnings as errors, in the Python and with the packages that are meant."""
    world, found = answer
    assert found["python"] == [3, 9] if world.suite == OLDEST else found["python"] >= [3, 14]
    assert "ipywidgets==" + found["versions"]["ipywidgets"] == world.requirements[0]
    assert found["online"] == ["lo"]
    files = {name.removesuffix(".py").replace("/", ".") for name in notebook.runtime_files()}
    modules = {name.removesuffix(".__init__") for name in files} - {"dl4mic_forms"}
    assert set(found["imported"]) == modules and len(modules) > 20


def test_a_notebook_runs_without_a_browser(answer: tuple[World, dict[str, Any]]) -> None:
    done = answer[1]["done"]
    assert (done["code"], done["err"]) == (0, "")
    assert done["values"] == AS_WRITTEN | PLAN["parameters"] | {"shape": [3, 4]}
    assert "from the shell: 7\n" in done["out"]
    assert "from the shell: 7" in json.dumps(done["outputs"])


def test_a_failing_cell_fails_the_run(answer: tuple[World, dict[str, Any]]) -> None:
    failed = answer[1]["failed"]
    assert (failed["code"], failed["values"]["steps"], failed["values"]["overlap"]) == (1, 60, 90)
    assert failed["err"].splitlines()[-1].endswith("(section 2, form last): AssertionError: too many")
    assert failed["outputs"][-1][-1]["ename"] == "AssertionError"


def test_run_is_pressed_in_the_form(answer: tuple[World, dict[str, Any]]) -> None:
    screen = answer[1]["screen"]
    assert (screen["drawn"], screen["errors"]) == ("", [])
    assert "from the shell: -7" in screen["printed"]
    assert screen["status"].startswith("done in ")
    assert screen["names"] == TYPED
