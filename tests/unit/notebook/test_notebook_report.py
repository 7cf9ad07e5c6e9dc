"""What a notebook needs that a compute node may not have, and how it is reported."""

from __future__ import annotations

import json

import pytest
from support.kernel import colab_notebook

from dl4mic_hpc import notebook
from dl4mic_hpc.notebook import findings
from dl4mic_hpc.notebook.report import Report


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("x\n!git clone -b r https://e.x/a.git; cd a", [(2, "clone", "https://e.x/a.git")]),
        ("!git clone git@e.x:a/b", [(1, "clone", "git@e.x:a/b")]),
        ("os.system('git clone https://e.x/a')", [(1, "clone", "https://e.x/a")]),
        ("!wget -q https://e.x/data.zip -O d", [(1, "download", "https://e.x/data.zip")]),
        ("!curl $url -o d", [(1, "download", "")]),
        ("%%bash\nwget https://e.x/d", [(2, "download", "https://e.x/d")]),
        ("wget.download(\n  'https://e.x/best.h5?raw=true',\n  path)", [(1, "weights", "https://e.x/best.h5?raw=true")]),
        ("urllib.request.urlretrieve(url, 'd')", [(1, "download", "")]),
        ("r = requests.get('https://e.x/d')", [(1, "download", "https://e.x/d")]),
        ("t = pd.read_csv('https://e.x/v.csv', dtype=str)", [(1, "table", "https://e.x/v.csv")]),
        ("model = StarDist2D.from_pretrained('2D_demo')", [(1, "weights", "")]),
        ("m = VGG(weights='imagenet')", [(1, "weights", "")]),
        ("t = pd.read_csv('results.csv')", []),
        ("# wget.download('https://e.x/d')\nprint('wget.download(x)')", []),
        ("!ls wget\n!echo curl", []),
        ("repository = 'https://e.x'", []),
    ],
)  # fmt: skip
def test_calls_that_need_the_internet(source: str, found: list[tuple[int, str, str]]) -> None:
    assert [(one.line, one.kind, one.address) for one in findings.network(source, 1)] == found


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("x\nopen('/content/a')\n!ls /content", [2, 3]),
        ("%cd /content/x", [1]),
        ("a = 'content/gdrive/b'", [1]),
        ("'https://e.x/content/1' # /content", []),
        ("s = 'in /content.'", []),
    ],
)
def test_lines_that_name_content(source: str, lines: list[int]) -> None:
    assert [use.line for use in findings.content(source, 1)] == lines


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("from google.colab import drive", "google.colab"),
        ("drive.mount('/x')", "Google Drive"),
        ("p = '/x/gdrive/MyDrive'", "Google Drive"),
        ("files.download('a')", "files of the browser"),
        ("cv2_imshow(a)", "cv2_imshow"),
        ("%tensorflow_version 1.x", "%tensorflow_version"),
    ],
)
def test_lines_that_use_what_only_colab_has(line: str, what: str) -> None:
    assert [(use.line, use.what) for use in findings.colab(f"x\n{line}", 1)] == [(2, what)]
    assert list(findings.colab(f"x\n# {line}", 1)) == []


@pytest.mark.parametrize(
    ("imports", "line", "becomes"),
    [
        ("import pandas as pd", "v = pd.read_csv('https://e.x/v.csv', dtype=str)", "v = R('https://e.x/v.csv', dtype=str)"),
        ("import numpy, pandas", 'v = pandas.read_csv( "http://e.x/v")', 'v = R( "http://e.x/v")'),
        ("from pandas import read_csv as r", "v = r('https://e.x/v')", "v = R('https://e.x/v')"),
        ("import pandas as pd", "v = pd.read_csv(\n  'https://e.x/v')", "v = R(\n  'https://e.x/v')"),
        ("import pandas as pd", "a = pd.read_csv('a.csv')", None),
        ("import pandas as pd", "a = pd.read_csv(url)", None),
        ("import polars as pd", "a = pd.read_csv('https://e.x/v')", None),
        ("import pandas as pd", "s = \"pd.read_csv('https://e.x/v')\" # pd.read_csv('https://e.x/v')", None),
        ("import pandas as pd", "a = my.pd.read_csv('https://e.x/v')", None),
    ],
)  # fmt: skip
def test_tables_from_an_address_are_read_with_a_time_limit(
    imports: str, line: str, becomes: str | None
) -> None:
    readers = findings.pandas_readers([imports, line])
    source, found = findings.bound_tables(line, readers, "R")
    assert source == (becomes or line)
    assert len(found) == (becomes is not None)


# ---- The report of a whole notebook ------------------------------------------------------------------------------------

ORIGINAL = colab_notebook(
    "# 1. Prepare",
    "# 1.1. Install",
    "!pip install nothing",
    "# 1.2. Load",
    "import pandas as pd\n!pip install -q wget==3.2\nfrom google.colab import files\n"
    "v = pd.read_csv('https://e.x/v.csv')\n!wget https://e.x/d.zip -O /content/d.zip",
    "# 2. Train\nsee section 1.1 and [lost](#nowhere)\nOn your Google drive\n[x](https://colab.research.google.com)",
    'x = 1 #@param {type:"slider", min:0, max:5, step:1}\ny = 2 #@param {type:"integer"} \nz #@param {}\nexit()',
)


def report() -> Report:
    return notebook.convert(ORIGINAL, name="demo.ipynb", sections_to_remove=("1.1",)).report


def test_the_report_as_json() -> None:
    told = json.loads(json.dumps(report().as_json()))
    field = {
        "form": "train",
        "cell": 7,
        "kind": "slider",
        "options": [],
        "minimum": 0,
        "maximum": 5,
        "step": 1,
    }
    assert told.pop("fields") == [
        {**field, "line": 1, "name": "x", "default": 1},
        {**field, "line": 2, "name": "y", "kind": "integer", "default": 2, "minimum": None, "maximum": None, "step": None},
    ]  # fmt: skip
    (not_understood,) = told.pop("not_understood")
    assert (not_understood["cell"], not_understood["line"]) == (7, 3)
    assert {(change["kind"], change["cell"]) for change in told.pop("changes")} == {
        ("section", 2), ("install", 5), ("table", 5), ("form", 5), ("reference", 6), ("form", 7),
    }  # fmt: skip
    assert told == {
        "version": 1,
        "notebook": "demo.ipynb",
        "removed": [{"number": "1.1", "title": "Install", "cell": 2, "cells": 2}],
        "requirements": [{"cell": 5, "line": 2, "requirement": "wget==3.2"}],
        "network": [
            {"cell": 5, "line": 4, "kind": "table", "address": "https://e.x/v.csv"},
            {"cell": 5, "line": 5, "kind": "download", "address": "https://e.x/d.zip"},
        ],
        "clones": [],
        "content_uses": [{"cell": 5, "line": 5, "what": "/content"}],
        "colab_uses": [{"cell": 5, "line": 3, "what": "google.colab"}],
        "colab_texts": [{"cell": 6, "line": 3, "what": "Google drive"}],
        "references": [{"cell": 6, "line": 2, "section": "1.1"}],
        "warnings": [
            {"cell": 6, "line": 2, "text": "a link that leads nowhere: #nowhere"},
            {"cell": 7, "line": 4, "text": "ends the kernel, and every value with it"},
        ],
    }


def test_the_report_as_text() -> None:
    assert report().as_text().splitlines() == [
        "demo.ipynb: 2 form fields in 1 cell",
        "removed: section 1.1 'Install' (cells 2 to 3)",
        "installs left out: wget==3.2",
        "references to removed sections marked: 1",
        "Colab's own modules, served by a stand-in: cell 5",
        "/content, which is the session's working folder: cell 5",
        "texts that speak of Colab or Google Drive: cell 6",
        "needs the internet: cell 5, line 4: table https://e.x/v.csv",
        "needs the internet: cell 5, line 5: download https://e.x/d.zip",
        f"not understood: cell 7, line 3: {report().not_understood[0].text}",
        "look at: cell 6, line 2: a link that leads nowhere: #nowhere",
        "look at: cell 7, line 4: ends the kernel, and every value with it",
    ]


def test_a_converted_notebook_is_reported_as_it_is() -> None:
    once = notebook.convert(ORIGINAL, name="demo.ipynb", sections_to_remove=("1.1",))
    again = notebook.convert(once.notebook, name="demo.ipynb").report
    assert (again.changes, again.removed) == ((), ())
    assert [one.address for one in again.network] == [one.address for one in once.report.network]
    assert len(again.content_uses) == 1
    (use,) = again.content_uses
    source = "".join(json.loads(once.notebook)["cells"][use.cell - 1]["source"])
    assert "/content" in source.split("\n")[use.line - 1]
    assert [one.name for one in again.fields["train"]] == ["x", "y"]
    assert [one.line for one in again.fields["train"]] == [2, 3]
