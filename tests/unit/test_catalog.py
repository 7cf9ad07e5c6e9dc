"""The notebooks on offer, and the mistakes that a configuration.yaml can have."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from dl4mic_hpc import catalog
from dl4mic_hpc.catalog import addresses, configuration
from dl4mic_hpc.errors import NotebookError, UsageError

ROOT = Path(__file__).resolve().parents[2]

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
        ("Deconvolution.ipynb", "ftp://a.org/b", ":6: key '{KEY}.notebook_url': 'ftp://a.org/b' is no address of a file"),
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
    assert "configuration.yaml" in caught.value.hint
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
    with pytest.raises(NotebookError, match=r"configuration.yaml:1: this is no text in UTF-8"):
        catalog.load_file(tmp_path / "configuration.yaml")


# ---- Files elsewhere -------------------------------------------------------------------------------------------------

RAW = "https://raw.githubusercontent.com/ada/lab"
COMMIT, HASH = "0123456789abcdef" * 2 + "01234567", "ab" * 32


def elsewhere(folder: Path, ours: str = "", *, notebook: str = f"{RAW}/main/a/My%20N.ipynb?x=1") -> Path:
    file = folder / "configuration.yaml"
    text = GOOD.replace("Deconvolution.ipynb", notebook, 1)
    file.write_text(f"{text}  dl4mic_hpc:\n{ours}" if ours else text, encoding="utf-8")
    return file


def test_an_address_is_taken_as_it_is(folder: Path) -> None:
    spec = catalog.load_file(elsewhere(folder))
    assert spec.notebook == catalog.Pinned(url=f"{RAW}/main/a/My%20N.ipynb?x=1", sha256="", name="My N.ipynb")
    assert spec.moving_url == {"notebook": f"{RAW}/main/a/My%20N.ipynb?x=1"}
    with pytest.raises(NotebookError, match="has not been fetched yet"):
        spec.read_notebook()


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://a.org/x/n.ipynb?raw=true#top", "n.ipynb"),
        ("https://a.org/m%C3%BCde.ipynb", "müde.ipynb"),
        ("https://a.org/..%2F..%5Cn.ipynb", ".._.._n.ipynb"),
        ("https://a.org/%2E%2E", "file"),
    ],
)
def test_a_file_elsewhere_cannot_choose_its_folder(address: str, name: str) -> None:
    assert addresses.file_name(address) == name


@pytest.mark.parametrize(
    "address",
    [
        f"{RAW}/main/n.ipynb",
        f"{RAW}/refs/heads/main/n.ipynb",
        "https://github.com/ada/lab/raw/main/n.ipynb",
        "https://github.com/ada/lab/raw/refs/heads/main/n.ipynb",
    ],
)
def test_a_revision_pins_the_address(folder: Path, address: str) -> None:
    ours = f"    revision: {COMMIT}\n    notebook_sha256: {HASH}\n    configuration_url: https://a.org/c\n"
    spec = catalog.load_file(elsewhere(folder, ours, notebook=address))
    assert spec.notebook == catalog.Pinned(url=f"{RAW}/{COMMIT}/n.ipynb", sha256=HASH, name="n.ipynb")
    assert spec.revision == COMMIT
    assert spec.moving_url == {"notebook": address, "configuration": "https://a.org/c"}


def test_requirements_may_be_of_another_revision(folder: Path) -> None:
    ours = f"    revision: {COMMIT}\n    requirements_revision: {COMMIT[::-1]}\n"
    file = elsewhere(folder, ours)
    file.write_text(file.read_text().replace("needs.txt", f"{RAW}/main/needs.txt"))
    spec = catalog.load_file(file)
    assert isinstance(spec.requirements, catalog.Pinned) and isinstance(spec.notebook, catalog.Pinned)
    assert (COMMIT in spec.notebook.url, COMMIT[::-1] in spec.requirements.url) == (True, True)


@pytest.mark.parametrize(
    ("notebook", "ours", "says"),
    [
        (
            "https://github.com/ada/lab/blob/main/n.ipynb",
            "",
            f"is a web page about the file; the file itself is {RAW}/main/n.ipynb",
        ),
        (
            "https://colab.research.google.com/github/ada/lab/blob/main/n.ipynb",
            "",
            f"the file itself is {RAW}/main/n.ipynb",
        ),
        ("file:///etc/passwd", "", "is no address of a file; it has to begin with https:// or http://"),
        ("..", "", "'..' is a path"),
        ("a\\b.ipynb", "", "is a path"),
        ("https://a.org/n.ipynb", f"    revision: {COMMIT}\n", "notebook_url is no address of raw.github"),
        (f"{RAW}/main/n.ipynb", "    revision: main\n", "'main' is no git commit"),
        (f"{RAW}/main/n.ipynb", "    notebook_sha256: 12\n", "'12' is no SHA-256"),
        (f"{RAW}/main/n.ipynb", "    state: good\n", "'good' is none of 'works', 'untested' or 'broken'"),
        (f"{RAW}/main/n.ipynb", "    dimensions: [4D]\n", "'4D' is none of '2D' or '3D'"),
        (f"{RAW}/main/n.ipynb", "    taks: x\n", "unknown key 'config.dl4mic_hpc.taks' (perhaps you meant 'task')"),
    ],
)  # fmt: skip
def test_mistakes_about_files_elsewhere(folder: Path, notebook: str, ours: str, says: str) -> None:
    with pytest.raises(NotebookError) as caught:
        catalog.load_file(elsewhere(folder, ours, notebook=notebook))
    assert says in caught.value.message


@pytest.mark.parametrize(("cuda", "recipe"), [("11.8.0", "Dockerfile.gpu"), ("", "Dockerfile")])
def test_without_a_dockerfile_the_recipe_is_dl4miceverywheres(folder: Path, cuda: str, recipe: str) -> None:
    (folder / "Dockerfile").unlink()
    (folder / "secret.txt").write_text("mine")
    spec = load(folder, "cuda_version: 11.8.0", f"cuda_version: '{cuda}'")
    assert isinstance(spec.recipe, catalog.Pinned)
    assert (spec.recipe.name, len(spec.recipe.sha256)) == (recipe, 64)
    assert spec.moving_url["recipe"].endswith(f"/main/{recipe}")
    here = folder / "fetched"
    here.write_text("FROM b")
    with dataclasses.replace(spec, recipe=here).recipe_context() as context:
        there = {path.name: path.read_text() for path in context.iterdir()}
    assert there == {"Dockerfile": "FROM b", "requirements.txt": "numpy"}


def test_null_leaves_a_key_open(folder: Path) -> None:
    assert load(folder, "sections_to_remove: 1.1. 2", "sections_to_remove: null").sections_to_remove == ()
    assert load(folder, "cuda_version: 11.8.0", "cuda_version: ~").build_args()["GPU_FLAG"] == "0"


# ---- The catalogue ---------------------------------------------------------------------------------------------------

SPECS = {name: catalog.load(name) for name in catalog.names()}


def test_the_catalogue_holds_dl4miceverywheres_notebooks_and_ours() -> None:
    assert len(SPECS) == 33
    assert len({spec.notebook_file for spec in SPECS.values()}) == 33


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_every_notebook_of_the_catalogue_is_described_and_pinned(spec: catalog.NotebookSpec) -> None:
    assert re.fullmatch(r"[a-z0-9_]+", spec.id)
    for told in (
        spec.title,
        spec.version,
        spec.description,
        spec.task,
        spec.framework,
        spec.input,
        spec.output,
    ):
        assert told
    assert spec.dimensions
    assert len(spec.description) <= 92
    assert spec.layout.startswith("data/")
    assert max(map(len, spec.layout.splitlines())) <= 66, "shown beside a label on 80 columns"
    assert spec.state_note or spec.state == "untested"
    assert all(paper.text and paper.address.startswith("http") for paper in spec.cite)
    for file in (spec.notebook, spec.requirements, spec.recipe):
        if isinstance(file, catalog.Pinned):
            assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
            assert re.search(r"/[0-9a-f]{40}/", file.url)
        else:
            assert file.is_file()


@pytest.mark.parametrize("name", sorted(SPECS))
def test_a_configuration_of_the_catalogue_is_short(name: str) -> None:
    file = ROOT / "configs" / "notebooks" / name / "configuration.yaml"
    assert len(file.read_text(encoding="utf-8").splitlines()) < 80


def test_what_is_corrected_is_said() -> None:
    corrected = {name: set(spec.corrected) for name, spec in SPECS.items() if spec.corrected}
    assert corrected == {
        "wgan": {"requirements_url"},
        "unet_2d_multilabel": {"notebook_version"},
        "detectron2_2d": {"notebook_version"},
        "diffusion_smlm": {"notebook_version"},
    }
    assert SPECS["wgan"].requirements.name == "WGAN_requirements_simple.txt"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("care_2d", "care_2d"),
        ("CARE_2D", "care_2d"),
        ("care-2d", "care_2d"),
        ("Care2D", "care_2d"),
        ("U-Net_2D_Multilabel_DL4Mic", "unet_2d_multilabel"),
        ("3D-RCAN_DL4Mic", "3d_rcan"),
        ("FRUNet-Exosomes", "frunet_exosomes"),
        ("bioimageio-pytorch", "bioimageio_pytorch"),
    ],
)
def test_names_are_found_as_people_and_upstream_write_them(typed: str, meant: str) -> None:
    assert catalog.find(typed) == meant


@pytest.mark.parametrize(
    "typed", ["pixel_segmentatoin", "../notebooks/pixel_segmentation", "pixel/segmentation", ""]
)
def test_an_unknown_notebook(typed: str) -> None:
    with pytest.raises(UsageError) as caught:
        catalog.load(typed)
    assert caught.value.message == f"there is no notebook '{typed}'"
    assert "`dl4mic-hpc notebook list` shows them all" in caught.value.hint


def test_the_nearest_name_is_told() -> None:
    with pytest.raises(UsageError) as caught:
        catalog.load("pixel_segmentatoin")
    assert "perhaps you meant 'pixel_segmentation'" in caught.value.hint


def test_the_users_own_pins_come_first() -> None:
    file = catalog.updates("care_2d")
    file.parent.mkdir(parents=True)
    shipped = (ROOT / "configs" / "notebooks" / "care_2d" / "configuration.yaml").read_text(encoding="utf-8")
    file.write_text(shipped.replace("notebook_version: 1.15.3", "notebook_version: 1.16.0"), encoding="utf-8")
    spec = catalog.load("CARE_2D")
    assert (spec.id, spec.version, spec.updated) == ("care_2d", "1.16.0", True)
    assert not SPECS["care_2d"].updated


def test_the_page_lists_the_catalogue() -> None:
    page = (ROOT / "docs" / "reference" / "catalogue.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", page, re.M)
    listed = [(name, *cells.split(" | ")) for name, cells in rows if cells.count(" | ") == 4]
    ordered = sorted(SPECS.values(), key=lambda spec: (spec.task, spec.id))
    assert listed == [
        (spec.id, spec.task, ", ".join(spec.dimensions), spec.framework, spec.version, spec.state)
        for spec in ordered
    ]


def test_the_page_has_every_key() -> None:
    page = (ROOT / "docs" / "reference" / "catalogue.md").read_text(encoding="utf-8")
    for model in (configuration.Facts, configuration.Ours):
        part = page.split(
            f"### config.{'dl4mic_hpc' if model is configuration.Ours else 'dl4miceverywhere'}"
        )[1]
        keys = re.findall(r"^\| (`.*?) \|", part.split("\n#")[0], re.M)
        assert sorted(re.findall(r"`(\w+)`", " ".join(keys))) == sorted(model.model_fields)
