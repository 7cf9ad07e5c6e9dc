"""The notebooks on offer, and the mistakes that a configuration.yaml can have."""

from __future__ import annotations

from pathlib import Path

import pytest

from dl4mic_hpc import catalog
from dl4mic_hpc.errors import NotebookError, UsageError

GOOD = """\
authors: [somebody]
name: Deconvolution
config:
  other_tool: {a: 1}
  dl4miceverywhere:
    notebook_url: Deconvolution.ipynb
    requirements_url: needs.txt
    sections_to_remove: 1.1. 2
    notebook_version: 1.10
    description: 3
    ubuntu_version: 22.04
    python_version: 3.10
    cuda_version: 11.8.0
    cudnn_version: 8.6.0.163
    docker_hub_image: deconvolution-z1.10-d2.1.0
    dl4miceverywhere_version: 2.1.0
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "My Deconvolution"
    place.mkdir()
    for name, text in (("Deconvolution.ipynb", "{}"), ("needs.txt", "numpy"), ("Dockerfile", "FROM a")):
        (place / name).write_text(text, encoding="utf-8")
    (place / "configuration.yaml").write_text(GOOD, encoding="utf-8")
    return place


def load(folder: Path, old: str = "", new: str = "") -> catalog.NotebookSpec:
    file = folder / "configuration.yaml"
    assert old in GOOD
    file.write_text(GOOD.replace(old, new, 1) if old else GOOD, encoding="utf-8")
    return catalog.load_file(file)


def test_a_configuration(folder: Path) -> None:
    spec = load(folder)
    assert (spec.id, spec.title, spec.version, spec.description) == (
        "my_deconvolution",
        "Deconvolution",
        "1.10",
        "3",
    )
    assert spec.sections_to_remove == ("1.1.", "2")
    assert spec.docker_hub_image == "deconvolution-z1.10-d2.1.0"
    assert spec.notebook_file == "Deconvolution.ipynb"
    assert spec.read_notebook() == b"{}"
    assert spec.build_args() == {
        "UBUNTU_VERSION": "22.04",
        "CUDA_VERSION": "11.8.0",
        "CUDNN_VERSION": "8.6.0.163",
        "PYTHON_VERSION": "3.10",
        "GPU_FLAG": "1",
        "PATH_TO_NOTEBOOK": "Deconvolution.ipynb",
        "PATH_TO_REQUIREMENTS": "requirements.txt",
        "SECTIONS_TO_REMOVE": "1.1. 2",
        "NOTEBOOK_NAME": "Deconvolution.ipynb",
    }
    with spec.recipe_context() as context:
        assert (context / "requirements.txt").read_text(encoding="utf-8") == "numpy"
        assert (context / "Dockerfile").is_file()


def test_what_is_left_open(folder: Path) -> None:
    """Without CUDA there is no GPU in the image, and an argument without a value is not given."""
    spec = load(
        folder,
        "    cuda_version: 11.8.0\n    cudnn_version: 8.6.0.163\n",
        "    cuda_version:\n    cudnn_version: ''\n",
    )
    given = spec.build_args()
    assert given["GPU_FLAG"] == "0"
    assert not {"CUDA_VERSION", "CUDNN_VERSION"} & set(given)
    assert load(folder, "name: Deconvolution\n").title == "my_deconvolution"
    assert load(folder, "sections_to_remove: 1.1. 2", "sections_to_remove:").sections_to_remove == ()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("notebook_url:", "notebook_ulr:", ":6: unknown key '{KEY}.notebook_ulr' (perhaps you meant 'notebook_url')"),
        ("notebook_url: Deconvolution.ipynb\n    ", "", ":5: key '{KEY}.notebook_url' is missing"),
        ("requirements_url: needs.txt", "requirements_url:", ":7: key '{KEY}.requirements_url'"),
        ("Deconvolution.ipynb", "https://a.org/b", ":6: key '{KEY}.notebook_url': 'https://a.org/b' is an address"),
        ("needs.txt", "../needs.txt", ":7: key '{KEY}.requirements_url': '../needs.txt' is a path"),
        ("1.1. 2", "1.1. two", ":8: key '{KEY}.sections_to_remove': 'two' is no section number"),
        ("python_version: 3.10", "python_version: [3.10]", ":12: key '{KEY}.python_version'"),
        ("  dl4miceverywhere:", "  dl4miceverywere:", ":3: key 'config.dl4miceverywhere' is missing"),
        ("config:", "konfig:", ":1: key 'config' is missing"),
        ("authors: [somebody]", "authors: [somebody", ":2: this is not YAML"),
        ("authors: [somebody]", "\tauthors: 1", ":1: this is not YAML"),
        (GOOD, "", ":1: a list of `key: value` lines is expected"),
        (GOOD, "- a\n", ":1: a list of `key: value` lines is expected"),
        ("Deconvolution.ipynb", "Missing.ipynb", ": not there beside the configuration: Missing.ipynb"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line_and_key(folder: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(NotebookError) as caught:
        load(folder, old, new)
    assert "configuration.yaml" + says.replace("{KEY}", "config.dl4miceverywhere") in caught.value.message
    assert "docs/reference/notebooks.md" in caught.value.hint
    assert caught.value.exit_code == 8


def test_all_mistakes_are_told_at_once(folder: Path) -> None:
    with pytest.raises(NotebookError) as caught:
        load(
            folder,
            "needs.txt\n    sections_to_remove: 1.1. 2",
            "a/b\n    sections_to_remove: x\n    colour: red",
        )
    assert caught.value.message.startswith("3 mistakes:")


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        catalog.load_file(tmp_path / "configuration.yaml")
    (tmp_path / "configuration.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(NotebookError, match="is no text file"):
        catalog.load_file(tmp_path / "configuration.yaml")


@pytest.mark.parametrize("name", catalog.names())
def test_every_notebook_of_the_catalogue_loads(name: str) -> None:
    spec = catalog.load(name)
    assert spec.id == name
    assert spec.title != name
    assert spec.version
    assert spec.description
    assert spec.notebook.is_file()
    assert spec.requirements.is_file()


def test_an_unknown_notebook() -> None:
    with pytest.raises(UsageError) as caught:
        catalog.load("pixel_segmentatoin")
    assert caught.value.message == "there is no notebook 'pixel_segmentatoin'"
    assert "perhaps you meant 'pixel_segmentation'" in caught.value.hint
    with pytest.raises(UsageError):
        catalog.load("../notebooks/pixel_segmentation")
