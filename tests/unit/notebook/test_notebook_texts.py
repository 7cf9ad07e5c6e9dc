"""The converter's own words, and where they stand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.kernel import colab_notebook

from dl4mic_hpc import notebook

GUIDE = """\
# **How to use this notebook?**
---
Play the cells.
  - [**Video**](https://videos.example/1): on Colab
### Structure of a notebook
`+ Code` makes a cell.
### Table of contents and **Files**
Mount your drive, see section 2.
### Of our own
Stays."""


def cells(*sources: str, sections: tuple[str, ...] = (), python: str = "") -> list[dict[str, Any]]:
    result = notebook.convert(
        colab_notebook(*sources), name="demo", sections_to_remove=sections, python=python
    )
    found: list[dict[str, Any]] = json.loads(result.notebook)["cells"]
    return [{**cell, "source": "".join(cell["source"])} for cell in found]


def test_the_authors_guide_keeps_its_headings_and_gets_our_words() -> None:
    guide = next(cell["source"] for cell in cells("# T", GUIDE, "x = 1") if cell["id"] == "cell-1")
    assert [line for line in guide.split("\n") if line.startswith("#")] == [
        line for line in GUIDE.split("\n") if line.startswith("#")
    ]
    assert "Run All Cells" in guide and "/home/data" in guide and "https://videos.example/1" in guide
    assert guide.endswith("### Of our own\nStays.")
    for colab in ("Play the cells", "+ Code", "Mount your drive", "not needed"):
        assert colab not in guide


def test_a_notebook_without_a_guide_gets_one_under_its_title() -> None:
    assert [cell["id"] for cell in cells("# T", "x = 1")] == [
        "cell-0",
        "dl4mic-how-to",
        "dl4mic-start",
        "cell-1",
    ]
    assert [cell["id"] for cell in cells("x = 1")] == ["dl4mic-how-to", "dl4mic-start", "cell-0"]
    assert [cell["id"] for cell in cells("# T", GUIDE, "x = 1")] == [
        "cell-0",
        "dl4mic-start",
        "cell-1",
        "cell-2",
    ]


def test_before_getting_started_says_where_data_lies() -> None:
    found = cells("# T", "# 0. Before getting started\n## Data\nImages in one folder.", "# 1. A", "x = 1")
    sources = {cell["id"]: cell["source"] for cell in found}
    assert list(sources)[-4:] == ["cell-1", "dl4mic-data", "cell-2", "cell-3"]
    assert "Images in one folder." in sources["cell-1"]
    assert "/home/data" in sources["dl4mic-data"]


def test_our_own_check_stands_where_the_gpu_section_was() -> None:
    found = cells(
        "# T",
        "x = 1",
        "# 2. Session",
        "# 2.1. GPU access",
        "!nvidia-smi",
        "# 3. Train",
        "y = 1",
        sections=("2.",),
    )
    assert [cell["id"] for cell in found[-5:]] == [
        "cell-1",
        "dl4mic-gpu",
        "dl4mic-gpu-check",
        "cell-5",
        "cell-6",
    ]
    heading, check = found[-4:-2]
    assert heading["source"].startswith("# GPU of this session\n")
    assert check["source"].endswith("dl4mic_forms.check_gpu()")
    assert check["metadata"] == {"dl4mic_hpc": {"made": "gpu"}, "jupyter": {"source_hidden": True}}


def test_results_are_where_the_downloads_were() -> None:
    found = cells(
        "# T", "x = 1", "# 6.2. Download your model", "y", "# 6.3 Download your predictions", "z", "# 7 Log",
        sections=("6.2", "6.3"),
    )  # fmt: skip
    assert [cell["id"] for cell in found[-4:]] == ["cell-1", "dl4mic-results", "dl4mic-results-2", "cell-6"]
    assert "/home/results" in found[-2]["source"]


@pytest.mark.parametrize(
    ("heading", "sections"),
    [("# 2. Download example data", ("2.",)), ("# 2. Drive", ("2.",)), ("# 2. GPU", ())],
)
def test_nothing_stands_for_other_sections(heading: str, sections: tuple[str, ...]) -> None:
    made = [
        cell["id"]
        for cell in cells("# T", heading, "x = 1", sections=sections)
        if cell["id"].startswith("dl4mic")
    ]
    assert made == ["dl4mic-how-to", "dl4mic-start"]


def test_a_section_within_another_is_replaced_once() -> None:
    found = cells("# T", "# 2. A", "# 2.1. GPU", "x", "# 3. B", sections=("2.", "2.1"))
    assert [cell["id"] for cell in found if "gpu" in cell["id"]] == ["dl4mic-gpu", "dl4mic-gpu-check"]


def test_the_start_cell_says_what_is_missing() -> None:
    start = next(cell for cell in cells("x = 1") if cell["id"] == "dl4mic-start")
    with pytest.raises(ModuleNotFoundError, match="The folder dl4mic_forms is missing beside this notebook"):
        exec(start["source"], {})
