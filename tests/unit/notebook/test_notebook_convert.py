"""Conversion: what becomes of the project's own notebook, and what is refused."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import nbformat
import pytest
from support.kernel import colab_notebook

from dl4mic_hpc import __version__, notebook, resources
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
        ("section", 5), ("form", 8), ("form", 10), ("section", 11), ("form", 14), ("form", 16), ("form", 18), ("form", 20),
    ]  # fmt: skip


def test_the_demo_s_code_is_left_alone() -> None:
    """Every kept cell's source is the original's, a form's below its magic; every @param is accounted for."""
    original = ["".join(cell["source"]) for cell in json.loads(DEMO)["cells"]]
    kept, tokens = set(), 0
    for cell in cells_of(converted()):
        about = cell["metadata"]["dl4mic_hpc"]
        if "made" in about:
            assert "source_cell" not in about
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
    assert result["metadata"]["language_info"]["name"] == "python"
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
    assert (again.notebook, again.changes, again.runtime) == (once.notebook, (), True)
    assert again.report.warnings == ()
    assert list(again.fields) == list(once.fields)


def test_a_notebook_of_another_version_stays_and_says_so() -> None:
    once = converted().notebook.replace(f'"converter": "{__version__}"'.encode(), b'"converter": "0.0.1"')
    again = notebook.convert(once, name="demo")
    assert again.notebook == once
    (warning,) = again.report.warnings
    assert "converted by dl4mic-hpc 0.0.1" in warning.text


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


def test_every_cell_says_where_it_comes_from() -> None:
    result = small("# T", "a = 1", "# 1. A", "# 1.1. B", "b = 1", "# 2. C", FIELD, sections=("1.1",))
    own = [
        cell["metadata"]["dl4mic_hpc"]
        for cell in cells_of(result)
        if "made" not in cell["metadata"]["dl4mic_hpc"]
    ]
    assert own == [
        {"source_cell": 0}, {"source_cell": 1, "section": "", "form": "t"}, {"source_cell": 2}, {"source_cell": 5},
        {"source_cell": 6, "section": "2", "form": "c"},
    ]  # fmt: skip


# ---- Cells -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "hidden"),
    [
        (FIELD, True),
        (FIELD + "\ny = 1 #@param [1, 2", False),
        ("#@title T\npass #@param {}", False),
        ('#@title T {display-mode: "both"}\n' + FIELD, False),
    ],
)
def test_code_is_folded_away_unless_something_in_it_is_not_understood(source: str, hidden: bool) -> None:
    cell = cells_of(notebook.convert(colab_notebook(FIELD.replace("x", "z"), source), name="x"))[-1]
    assert cell["metadata"].get("jupyter", {}).get("source_hidden", False) is hidden


def test_a_form_is_not_shown_in_a_small_window() -> None:
    original = json.loads(colab_notebook(FIELD))
    original["cells"][0]["metadata"].update(scrolled=True, mine=1)
    cell = cells_of(notebook.convert(json.dumps(original).encode(), name="x"))[-1]
    assert "scrolled" not in cell["metadata"] and cell["metadata"]["mine"] == 1


def test_where_there_is_a_form_all_that_colab_shows_as_one_waits_for_its_button() -> None:
    """Run All draws every step and computes none: most need what a form above them sets."""
    load = "#@title Load\n#@markdown all *of* it\npass"
    result = small("# 1. Begin", load, "#@title Load\n" + FIELD, "folded = 1", "%%bash\n#@title B\nls", "")
    sources = [cell["source"] for cell in cells_of(result) if cell["cell_type"] == "code"][1:]
    assert sources == [
        f"%%dl4mic_form load-2\n{load}",
        f"%%dl4mic_form load\n#@title Load\n{FIELD}",
        "%%dl4mic_form begin\nfolded = 1",
        "%%bash\n#@title B\nls",
        "",
    ]
    assert list(result.fields) == ["load"]


def test_without_any_form_code_shows_its_title() -> None:
    result = small(
        "#@title Load\n#@markdown all *of* it\npass", '#@title ## Both {display-mode:"both"}\npass'
    )
    shown = [cell["source"] for cell in cells_of(result) if cell["cell_type"] == "markdown"]
    assert shown[0].startswith("**Start here")
    assert shown[1:] == ["**Load**\n\nall *of* it", "## Both"]


def test_fields_that_are_switched_off_are_noted() -> None:
    (note,) = [
        change for change in small('#y = 1 #@param {type:"raw"}\n' + FIELD).changes if change.kind == "note"
    ]
    assert note.text == "field y is commented out and stays so"


def test_a_field_that_is_not_understood_stays_code_and_is_reported() -> None:
    result = small("# A", f"{FIELD}\nf(1) #@param {{type:'number'}}")
    assert [one.name for one in result.fields["a"]] == ["x"]
    assert [(one.cell, one.line) for one in result.report.not_understood] == [(2, 2)]
    assert cells_of(result)[-1]["source"].endswith("f(1) #@param {type:'number'}")


def test_shown_code_stays_shown() -> None:
    original = json.loads(colab_notebook('#@title T {display-mode: "code"}\n' + FIELD))
    original["cells"][0]["metadata"] = {}
    assert "jupyter" not in cells_of(converted(json.dumps(original).encode(), ()))[-1]["metadata"]


def test_installs_go_references_are_marked_and_tables_are_bounded() -> None:
    result = small(
        "# 1. A", "# 2. B\nsee section 1", "import pandas as pd\n!pip install x\nt = pd.read_csv('https://e.x/t')",
        sections=("1.",),
    )  # fmt: skip
    text, *_, code = cells_of(result)
    assert text["source"] == "# 2. B\nsee section 1 (not needed here)"
    assert code["source"].split("\n") == [
        "import pandas as pd", "# left out: !pip install x", "t = dl4mic_forms.read_csv('https://e.x/t')",
    ]  # fmt: skip


def test_what_only_colab_has_is_served_and_reported() -> None:
    source = "from google.colab import drive\ndrive.mount('/content/gdrive')\n%tensorflow_version 2.x"
    result = small(source)
    assert cells_of(result)[-1]["source"] == source
    assert {use.line for use in result.report.colab_uses} == {1, 2, 3}
    assert [use.line for use in result.report.content_uses] == [2]


# ---- Pythons that are too old ------------------------------------------------------------------------------------------


def test_a_notebook_for_an_old_python_goes_without_the_runtime_files() -> None:
    sources = (
        "# A",
        "!pip install x\nimport pandas as pd\nt = pd.read_csv('https://e.x/t')",
        "# 2. GPU\n",
        "x = 1",
    )
    result = notebook.convert(colab_notebook(*sources), name="demo", sections_to_remove=("2.",), python="3.6")
    assert [cell["id"] for cell in cells_of(result)] == ["cell-0", "cell-1"]
    assert "dl4mic_forms" not in result.notebook.decode()
    assert not result.runtime
    assert notebook.convert(colab_notebook(*sources), name="demo", python="3.10").runtime


def test_fields_need_a_python_that_can_show_them() -> None:
    with pytest.raises(NotebookError, match=r"needs? Python 3\.7 or newer; its configuration says 3\.6"):
        notebook.convert(colab_notebook(FIELD), name="demo", python="3.6")


def test_what_colab_had_is_not_there_on_an_old_python() -> None:
    (warning,) = notebook.convert(
        colab_notebook("import google.colab"), name="demo", python="3.6"
    ).report.warnings
    assert (warning.cell, warning.line) == (1, 1)
    assert "no stand-in on Python 3.6" in warning.text


# ---- What is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sources", "sections", "says"),
    [
        (("# 1. A",), ("2.",), "demo: there is no section 2 to remove; the numbered sections are: 1"),
        (("# 1. A", "# 1. B"), ("1.",), "demo: cell 2: section 1 exists 2 times"),
        (("# 1. A\n# 2. B",), ("2.",), "demo: cell 1: section 2 cannot be cut out"),
        (("# 1. A",), ("2.", "3."), "demo: 2 sections cannot be removed:"),
    ],
)
def test_sections_that_cannot_be_removed(
    sources: tuple[str, ...], sections: tuple[str, ...], says: str
) -> None:
    with pytest.raises(NotebookError) as caught:
        small(*sources, sections=sections)
    assert says in caught.value.message
    assert caught.value.hint


def with_cell(**cell: object) -> bytes:
    return json.dumps({"nbformat": 4, "cells": [{"cell_type": "code", "source": "x", **cell}]}).encode()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not a Jupyter notebook"),
        (b"\xff\xfe", "it is no text in UTF-8"),
        (b'{"nbformat": 4,\n', "Jupyter notebook: .*, line 2"),
        (b"[]", "is not a Jupyter notebook"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"cells": []}', "it names no format"),
        (b'{"nbformat": 4, "metadata": 5, "cells": []}', "is not a Jupyter notebook"),
        (b'{"nbformat": 2}', "is a notebook of format 2, not 4"),
        (b'{"nbformat": 3, "worksheets": []}', "is a notebook of format 3, not 4"),
        (b'{"nbformat": 5, "cells": []}', "is a notebook of format 5, not 4"),
        (b'{"nbformat": "4", "cells": []}', "is a notebook of format '4', not 4"),
        (b'{"nbformat": 4, "cells": []}', "is a notebook without cells"),
        (with_cell(source=None), "cell 1 is no cell"),
        (with_cell(source=["a", 5]), "cell 1 is no cell"),
        (with_cell(cell_type="heading"), "cell 1 is no cell"),
        (with_cell(metadata=[]), "cell 1 is no cell"),
        (with_cell(metadata={"tags": 5}), "cell 1, metadata, tags is not valid"),
        (with_cell(source="a\n'\ud83d'"), r"cell 1, line 2 holds half a character \(.ud83d\)"),
        (with_cell(metadata={"a": "\ud83d"}), "half a character"),
        (b'{"nbformat": 4, "cells": [5]}', "cell 1 is no cell"),
        (b'{"nbformat": 4, "cells": [1], "metadata": {"kernelspec": {"language": "R"}}}', "is a notebook for R, not Python"),
        (with_cell(cell_type="markdown", attachments=5), "cell 1 is no cell"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_notebook(content: bytes, says: str) -> None:
    with pytest.raises(NotebookError, match=says) as caught:
        converted(content, ())
    assert caught.value.message.startswith("demo")
    assert caught.value.exit_code == 8


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + with_cell(),
        with_cell(source=["x"]),
        with_cell(id="twice", outputs=5, execution_count="never"),
        b'{"nbformat": 4, "metadata": {"kernelspec": 5, "dl4mic_hpc": 5}, "cells": [{"cell_type": "code", "source": "x"}]}',
    ],
)
def test_what_is_no_harm(content: bytes) -> None:
    result = converted(content, ())
    nbformat.validate(json.loads(result.notebook))
    assert cells_of(result)[-1]["source"] == "x"


def test_lines_of_windows_are_lines() -> None:
    source = "s = 'a \\\r\n!pip install a'\r\nx = 1 #@param {type:'number'}\r\n"
    result = converted(with_cell(source=source), ())
    assert [one.name for one in result.fields["form"]] == ["x"]
    assert cells_of(result)[-1]["source"] == "%%dl4mic_form form\n" + source.replace("\r", "")


def test_outputs_are_left_behind_before_anything_is_copied() -> None:
    """20 MB of outputs leave no trace in the memory that a conversion takes at most beyond reading them."""
    large = {"output_type": "stream", "name": "stdout", "text": "y" * 20_000_000}
    content = with_cell(outputs=[large])
    tracemalloc.start()
    try:
        json.loads(content.decode())
        reading = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        result = converted(content, ())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < reading + 5_000_000
    assert len(result.notebook) < 10_000


# ---- What is laid beside it ----------------------------------------------------------------------------------------------


def test_the_runtime_files_are_the_whole_folder() -> None:
    folder = Path(dl4mic_forms.__file__).parent
    there = sorted(path.relative_to(folder.parent).as_posix() for path in folder.rglob("*.py"))
    assert list(notebook.runtime_files()) == there
    assert notebook.runtime_files()["dl4mic_forms/forms.py"] == (folder / "forms.py").read_bytes()


def test_a_magic_of_the_whole_cell_comes_first_where_jupyterlab_looks_for_it() -> None:
    assert cells_of(small("#@title A\n%%capture\nprint(1)"))[-1]["source"] == "%%capture\n#@title A\nprint(1)"
