"""Which empty paths keep a cell from running: rules read from the words of the form, one tiny form per rule."""

from __future__ import annotations

from typing import Any

import pytest

from dl4mic_hpc.notebook.dl4mic_forms.forms import parse
from dl4mic_hpc.notebook.dl4mic_forms.required import deletes, missing, never_empty

PATH = '{} = "" #@param {{type:"string"}}\n'
BOX = '{} = {} #@param {{type:"boolean"}}\n'
CHOICE = '{} = "{}" #@param ["Model_from_file", "Own_model", "Demo", "dsb-2018"]\n'


def text(line: str) -> str:
    return f"#@markdown {line}\n"


NOT = BOX.format("Use", True) + text("### If not, please give:")
INSTEAD = text("##### In case you have no pairs, instead of the one above give:") + BOX.format("Only", False)
CHOSEN = CHOICE.format("choice", "Demo") + text('### If you chose "Model_from_file", the path')


@pytest.mark.parametrize(
    ("source", "values", "expected"),
    [
        # A path is required, by its name or by the words above it; the name of a model becomes a folder.
        (PATH.format("Training_source") + PATH.format("Result_folder"), {}, ["Training_source", "Result_folder"]),
        (text("### Path to the model") + PATH.format("Prediction_model"), {}, ["Prediction_model"]),
        (PATH.format("model_name") + PATH.format("model_path"), {}, ["model_name", "model_path"]),
        (PATH.format("Training_source"), {"Training_source": " \t"}, ["Training_source"]),
        (PATH.format("Training_source"), {"Training_source": "/home/data"}, []),
        # These ask for no path.
        (PATH.format("Trained_model_name") + PATH.format("labels") + PATH.format("fileID"), {}, []),
        (text("### Path to the folder, or the URL") + PATH.format("bioimageio_model"), {}, []),
        ('Data_folder = where() #@param {type:"string"}', {}, []),
        # Words that leave it open.
        (text("### Test data (optional)") + PATH.format("Test_folder"), {}, []),
        (text("### If left blank, the latest one is used") + PATH.format("qc_model_path"), {}, []),
        (text("### If you have an image, copy its path here") + PATH.format("Image_path"), {}, []),
        # "If not" and "If yes" speak of the box above.
        (BOX.format("Use_current", True) + text("### If not, the path") + PATH.format("QC_folder"), {}, []),
        (BOX.format("Use", True) + text("Otherwise, the path") + PATH.format("a_path"), {"Use": False}, ["a_path"]),
        (BOX.format("Own", False) + text("### If yes, the path") + PATH.format("QC_folder"), {}, []),
        (BOX.format("Own", False) + text("### If yes, the path") + PATH.format("a_path"), {"Own": True}, ["a_path"]),
        # A deeper heading stays under the condition, the next of its level ends it.
        (NOT + text("#### Path") + PATH.format("a_path"), {}, []),
        (NOT + PATH.format("a_path") + text("### Then") + PATH.format("b_path"), {}, ["b_path"]),
        # A choice that is named; in words, too.
        (CHOSEN + PATH.format("a_path"), {}, []),
        (CHOSEN + PATH.format("a_path"), {"choice": "Model_from_file"}, ["a_path"]),
        (CHOICE.format("a", "Own_model") + text("### If using your own model") + PATH.format("a_path"), {}, ["a_path"]),
        # A path right after a box belongs to it.
        (BOX.format("Save_images", False) + PATH.format("Saving_path"), {}, []),
        (BOX.format("Save_images", True) + PATH.format("Saving_path"), {}, ["Saving_path"]),
        (text("### Saving (optional)") + BOX.format("Save_images", True) + PATH.format("a_path"), {}, ["a_path"]),
        # A box that puts other paths in the place of those above it.
        (PATH.format("a_path") + INSTEAD + PATH.format("b_path"), {}, ["a_path"]),
        (PATH.format("a_path") + INSTEAD + PATH.format("b_path"), {"Only": True}, ["b_path"]),
        # A box that switches the whole cell; a box and a path that share a word.
        (BOX.format("Use_pretrained_model", False) + CHOICE.format("choice", "Demo") + PATH.format("own_path"), {}, []),
        (BOX.format("Use_pretrained_model", False) + text("### If not, the path") + PATH.format("a_path"), {}, []),
        (BOX.format("Use_pretrained", True) + text("### If not, the path") + PATH.format("a_path"), {}, ["a_path"]),
        (BOX.format("Do_Denoising", False) + BOX.format("b", True) + PATH.format("Target_Denoising_folder"), {}, []),
    ],
)  # fmt: skip
def test_what_is_missing(source: str, values: dict[str, Any], expected: list[str]) -> None:
    assert missing(parse(source), values) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("shutil.rmtree(folder + '/Prediction')", True),
        ("os.remove(path)", True),
        ("Path(x).unlink()", True),
        ("!rm -rf $folder", True),
        ("print('the form')", False),
    ],
)
def test_code_that_deletes(code: str, expected: bool) -> None:
    assert deletes(code) is expected


def test_what_later_cells_delete_is_never_empty() -> None:
    assert [never_empty(name) for name in ("model_name", "Model_path", "QC_model_path", "Saving_path")] == [
        True, True, False, False,
    ]  # fmt: skip
