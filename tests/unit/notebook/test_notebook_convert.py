"""Conversion: what becomes of the project's own notebook, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from support.kernel import colab_notebook

from dl4mic_hpc import notebook, resources
from dl4mic_hpc.errors import NotebookError
from dl4mic_hpc.notebook import dl4mic_forms

DEMO = resources.data("configs", "notebooks", "pixel_segmentation", "Pixel_segmentation.ipynb").read_bytes()
FIELD = 'x = 1 #@param {type:"number"}'


def converted(original: bytes = DEMO, sections: tuple[str, ...] = ("1.1.", "2.")) -> notebook.Converted:
    return notebook.convert(original, name="demo", sections_to_remove=sections, provenance={"version": "9"})


def cells_of(result: notebook.Converted) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(result.notebook)["cells"]
    return [{**cell, "source": "".join(cell["source"])} for cell in cells]


def small(*sources: str, sections: tuple[str, ...] = ()) -> notebook.Converted:
    return converted(colab_notebook(*sources), sections)


# ---- The project's own notebook ----------------------------------------------------------------------------------------

FORMS = {
    "choose-the-data": [
        ("Data", "dropdown", "Example: stained colon tissue"),
        ("Training_source", "string", ""),
        ("Training_target", "string", ""),
        ("Normalise_each_picture", "boolean", False),
        ("Quality_control_share", "slider", 25),
        ("Random_seed", "integer", 42),
        ("Results_folder", "string", "/home/results"),
    ],
    "train-the-forest": [
        ("Model_name", "string", "my_forest"),
        ("Brightness", "boolean", True),
        ("Edges", "boolean", True),
        ("Texture", "boolean", True),
        ("Smallest_scale", "number", 1.0),
        ("Largest_scale", "number", 8),
        ("Labelled_pixels", "slider", 5.0),
        ("Trees", "integer", 50),
        ("Deepest_level", "raw dropdown", "15"),
    ],
    "check-the-quality": [
        ("QC_model_folder", "string", ""),
        ("Threshold", "slider", 0.5),
        ("Pictures_shown", "integer", 3),
        ("Save_figures", "boolean", True),
        ("Figure_format", "dropdown", "PNG and PDF"),
    ],
    "predict": [
        ("Prediction_folder", "string", ""),
        ("Prediction_results_folder", "string", "/home/results/prediction"),
        ("Prediction_model_folder", "string", ""),
        ("Output", "dropdown", "Mask and probability"),
        ("Prediction_threshold", "slider", 0.5),
        ("Smallest_object", "integer", 100),
    ],
}


def test_the_fields_of_the_demo() -> None:
    found = {
        form: [(field.name, field.kind, field.default) for field in fields]
        for form, fields in converted().fields.items()
    }
    assert found == FORMS


def test_what_was_done_to_the_demo() -> None:
    done = [(change.kind, change.cell) for change in converted().changes]
    assert done == [
        ("section", 5), ("title", 8), ("title", 10), ("section", 11), ("form", 14), ("form", 16), ("form", 18), ("form", 20),
    ]  # fmt: skip


def test_the_demo_s_code_is_left_alone() -> None:
    """Every kept cell's source is the original's, a form's below its magic; every @param is accounted for."""
    original = ["".join(cell["source"]) for cell in json.loads(DEMO)["cells"]]
    kept, tokens = set(), 0
    for cell in cells_of(converted()):
        about = cell["metadata"]["dl4mic_hpc"]
        if "made" in about:
            continue
        body = cell["source"]
        if "form" in about:
            first, body = body.split("\n", 1)
            assert first == f"%%dl4mic_form {about['form']}"
            assert cell["id"] == about["form"]
            assert cell["metadata"]["jupyter"]["source_hidden"] is True
            tokens += body.count("#@param")
        assert body == original[about["source_cell"]]
        if cell["cell_type"] == "code":
            compile(body, cell["id"], "exec")
        kept.add(about["source_cell"])
    assert set(range(len(original))) - kept == {4, 5, 10, 11}
    assert tokens == sum(len(fields) for fields in FORMS.values()) == "".join(original).count("#@param")


def test_the_demo_is_a_jupyterlab_notebook() -> None:
    result = json.loads(converted().notebook)
    nbformat.validate(result)
    assert result["metadata"]["kernelspec"]["name"] == "python3"
    assert result["metadata"]["dl4mic_hpc"]["version"] == "9"
    assert "colab" not in json.dumps(result)
    cells = cells_of(converted())
    assert [cell["id"] for cell in cells[:3]] == ["cell-0", "dl4mic-how-to", "dl4mic-start"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert all(cell.get("outputs", []) == [] for cell in cells)
    for form, fields in FORMS.items():
        assert f'"{form}"' in cells[2]["source"]
        assert all(f'"{name}"' in cells[2]["source"] for name, _, _ in fields)


# ---- Stability ---------------------------------------------------------------------------------------------------------


def test_the_same_bytes_every_time_and_no_second_conversion() -> None:
    once = converted()
    assert converted().notebook == once.notebook
    again = notebook.convert(once.notebook, name="demo", sections_to_remove=("3.",))
    assert (again.notebook, again.changes, again.fields) == (once.notebook, (), once.fields)


def test_a_form_s_id_does_not_depend_on_its_place() -> None:
    forms = small(
        "# 1. Über Dañta / paths", FIELD, "#@title Train\n" + FIELD, "#@title 2. Train!\n" + FIELD
    ).fields
    assert list(forms) == ["uber-danta-paths", "train", "train-2"]
    assert list(small("pass", "#@title Train\n" + FIELD).fields) == ["train"]
    assert list(small(FIELD, "#@title Cell 0\n" + FIELD).fields) == ["form", "cell-0-2"]


def test_metadata_and_attachments_stay() -> None:
    original = json.loads(
        colab_notebook("# A ![x](attachment:x.png)", FIELD, other={"a": 1}, colab={}, accelerator="GPU")
    )
    original["cells"][0]["attachments"] = {"x.png": {"image/png": "AAAA"}}
    original["cells"][1]["metadata"]["tags"] = ["keep"]
    original["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "old"}]
    result = json.loads(converted(json.dumps(original).encode(), ()).notebook)
    assert set(result["metadata"]) == {"other", "kernelspec", "language_info", "dl4mic_hpc"}
    assert result["cells"][0]["attachments"] == {"x.png": {"image/png": "AAAA"}}
    form = result["cells"][3]
    assert form["metadata"]["tags"] == ["keep"]
    assert form["outputs"] == []


# ---- Cells -------------------------------------------------------------------------------------------------------------


def test_code_without_fields_shows_its_title() -> None:
    result = small(
        "#@title Load\n#@markdown all *of* it\npass", '#@title ## Both {display-mode:"both"}\npass', FIELD
    )
    shown = [cell["source"] for cell in cells_of(result) if cell["cell_type"] == "markdown"]
    assert shown[0].startswith("**Start here")
    assert shown[1:] == ["**Load**\n\nall *of* it", "## Both"]


def test_a_notebook_without_fields_gets_no_forms() -> None:
    result = small("# A", "print(1)")
    assert [cell["id"] for cell in cells_of(result)] == ["cell-0", "cell-1"]
    assert result.fields == {}


def test_fields_that_are_switched_off_are_noted() -> None:
    (note,) = [
        change for change in small('#y = 1 #@param {type:"raw"}\n' + FIELD).changes if change.kind == "note"
    ]
    assert note.text == "field y is commented out and stays so"


def test_shown_code_stays_shown() -> None:
    original = json.loads(colab_notebook('#@title T {display-mode: "code"}\n' + FIELD))
    original["cells"][0]["metadata"] = {}
    assert "jupyter" not in cells_of(converted(json.dumps(original).encode(), ()))[-1]["metadata"]


# ---- What is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sources", "sections", "says"),
    [
        (("# A", "pass\nx = 1 #@param"), (), "demo: cell 2, line 2: 'x' has no type"),
        (("%%bash\nx=1 #@param {}",), (), "demo: cell 1, line 1: no form is understood under %%bash"),
        (("import os\nfrom google.colab import files",), (), "cell 1, line 2: uses google.colab"),
        (("open('/content/x')",), (), "cell 1, line 1: names a folder that exists on Colab only"),
        (("!pip -q install x",), (), "cell 1, line 1: installs software"),
        (("if 1:\n  %pip install x",), (), "cell 1, line 2: installs software"),
        (("# 1. A",), ("2.",), "demo: there is no section 2 to remove"),
        (("# 1. A", "# 1. B"), ("1.",), "demo: cell 2: section 1 exists 2 times"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted(sources: tuple[str, ...], sections: tuple[str, ...], says: str) -> None:
    with pytest.raises(NotebookError) as caught:
        small(*sources, sections=sections)
    assert says in caught.value.message
    assert caught.value.hint


def test_everything_wrong_is_told_at_once() -> None:
    with pytest.raises(NotebookError) as caught:
        small("# 1. A", "x = 1 #@param", "from google.colab import drive\ny = 2 #@param", sections=("4.",))
    first, *others = caught.value.message.splitlines()
    assert first == "demo: 4 things cannot be converted:"
    assert len(others) == 4


def test_a_removed_section_may_hold_anything() -> None:
    assert small("# 1. A", "!pip install x", "# 2. B", FIELD, sections=("1.",)).fields


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not a Jupyter notebook"),
        (b"\xff\xfe", "is not a Jupyter notebook"),
        (b"[]", "is not a Jupyter notebook"),
        (b'{"cells": []}', "is not a Jupyter notebook"),
        (b'{"nbformat": 4, "metadata": 5, "cells": []}', "is not a Jupyter notebook"),
        (b'{"nbformat": 3, "worksheets": []}', "is a notebook of format 3, not 4"),
        (b'{"nbformat": 5, "cells": []}', "is a notebook of format 5, not 4"),
        (b'{"nbformat": 4, "cells": []}', "is a notebook without cells"),
        (b'{"nbformat": 4, "cells": [{"cell_type": "code"}]}', "cell 1 is no cell"),
        (b'{"nbformat": 4, "cells": [5]}', "cell 1 is no cell"),
        (
            b'{"nbformat": 4, "cells": [1], "metadata": {"kernelspec": {"language": "R"}}}',
            "is a notebook for R, not Python",
        ),
        (
            b'{"nbformat": 4, "cells": [{"cell_type": "markdown", "source": "a", "attachments": 5}]}',
            "is not a valid notebook",
        ),
    ],
)
def test_what_is_no_notebook(content: bytes, says: str) -> None:
    with pytest.raises(NotebookError) as caught:
        converted(content, ())
    assert says in caught.value.message
    assert caught.value.exit_code == 8


def test_a_byte_order_mark_is_no_harm() -> None:
    assert converted(b"\xef\xbb\xbf" + DEMO).notebook == converted().notebook


def test_a_converted_notebook_that_was_edited_is_refused_where_it_is_wrong() -> None:
    edited = small(FIELD).notebook.replace(b'{type:\\"number\\"}', b'{type:\\"int\\"}')
    with pytest.raises(NotebookError, match="cell 3, line 2: 'int' is no type"):
        converted(edited, ())


# ---- What is laid beside it ----------------------------------------------------------------------------------------------


def test_the_runtime_files_are_the_whole_folder() -> None:
    there = sorted(path.name for path in Path(dl4mic_forms.__file__).parent.glob("*.py"))
    assert sorted(notebook.runtime_files()) == [f"dl4mic_forms/{name}" for name in there]
