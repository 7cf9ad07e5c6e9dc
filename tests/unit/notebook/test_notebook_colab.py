"""What notebooks written for Colab expect: google.colab beside other packages, its magics, files up and down."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.bare_kernel import RUNTIME, bare_kernel
from support.kernel import Desk

from dl4mic_hpc.notebook.dl4mic_forms import colab_files, pictures
from dl4mic_hpc.notebook.dl4mic_forms.plain import PlainError


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages: TensorFlow 2.9 by its name, and an extension of IPython's."""
    folder = tmp_path_factory.mktemp("installed")
    for name in ("tensorflow_cpu-2.9.1", "tensorflow_probability-1.0", "tensorflow_estimator-1.15"):
        (folder / f"{name}.dist-info").mkdir()
    (folder / "own_extension.py").write_text(
        "def load_ipython_extension(shell): shell.user_ns['loaded'] = True", encoding="utf-8"
    )
    return folder


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, installed: Path) -> Iterator[Desk]:
    with bare_kernel(tmp_path_factory.mktemp("home"), path=[installed], A_SECRET="hush") as found:
        yield found


def test_colab_is_found_when_it_is_asked_for_and_not_before(desk: Desk) -> None:
    """Notebooks ask `'google.colab' in sys.modules` in order to learn where they run."""
    desk.run("import sys\nbefore = 'google.colab' in sys.modules\nimport google.colab")
    assert desk.value("before") is False
    assert desk.value("sum(type(finder).__name__ == '_Finder' for finder in sys.meta_path)") == 1
    assert (
        "data is in /home/data"
        in desk.run("google.colab.drive.mount('/content/drive', force_remount=True)").text
    )


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("from google.colab import drive, files, output, auth, userdata, patches, runtime, widgets, data_table", ""),
        ("from google.colab import drive; drive.flush_and_unmount()", ""),
        ("from google.colab.patches import cv2_imshow; assert callable(cv2_imshow)", ""),
        ("from google.colab.output import eval_js, enable_custom_widget_manager; enable_custom_widget_manager()", ""),
        ("from google.colab import output\nwith output.use_tags('one'): print('in it')", "in it\n"),
        ("from google.colab import data_table; print(data_table.DataTable('a table', include_index=False))", "a table\n"),
        ("from google.colab import userdata; print(userdata.get('A_SECRET'))", "hush\n"),
        ("%load_ext google.colab.data_table", ""),
        ("%tensorflow_version 2.x", ""),
        ("%load_ext own_extension\nprint(loaded)", "True\n"),
    ],
)  # fmt: skip
def test_it_works(desk: Desk, cell: str, says: str) -> None:
    outcome = desk.run(cell)
    assert (outcome.status, outcome.text) == ("ok", says)


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("from google.colab import auth; auth.authenticate_user()", "Nobody is signed in to Google"),
        ("from google.colab import runtime; runtime.unassign()", "dl4mic-hpc stop"),
        ("%tensorflow_version 1.x", "TensorFlow 1.x was asked for; in this image it is 2.9.1"),
        ("%load_ext tensorboard\n%tensorboard --logdir runs", "tensorboard --logdir runs"),
        ("from google.colab import userdata\ntry: userdata.get('NONE')\nexcept userdata.SecretNotFoundError as e: print(e)",
         "The secret 'NONE' is not set"),
    ],
)  # fmt: skip
def test_it_says_what_is_otherwise_here(desk: Desk, cell: str, says: str) -> None:
    outcome = desk.run(cell)
    assert outcome.status == "ok"
    assert says in outcome.text


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("from google.colab import output; output.eval_js('1')", "JupyterLab cannot do"),
        ("from google.colab import userdata; userdata.get('NONE')", "getpass"),
        ("from google.colab import widgets; widgets.Grid", "google.colab.widgets has no 'Grid' on a cluster"),
        ("import google.colab.sheets", "No module named 'google.colab.sheets'"),
        ("%load_ext no_such_extension", "No module named 'no_such_extension'"),
    ],
)
def test_what_cannot_work_is_an_error(desk: Desk, cell: str, says: str) -> None:
    outcome = desk.run(cell)
    assert outcome.status == "error"
    assert says in outcome.text


@pytest.mark.posix
def test_magics_that_need_linux(desk: Desk) -> None:
    assert desk.run("%%shell\nfor n in 1 2; do echo $n; done").text.split() == ["1", "2"]
    assert desk.run("%shell echo 3").text.split() == ["3"]
    assert "%memit says" in desk.run("%load_ext memory_profiler").text
    assert desk.run("%memit -r 1 y = 40 + 2").text.startswith("peak memory: ")
    assert desk.value("y") == 42
    assert desk.run("%memit\n").text.startswith("peak memory: ")


# ---- Beside other packages of google's -------------------------------------------------------------------------------

BESIDE = f"""\
import sys
sys.path[:0] = [{str(RUNTIME.parent)!r}, *sys.argv[1:]]
from IPython.core.interactiveshell import InteractiveShell
from dl4mic_forms import colab
colab.install(InteractiveShell.instance())
"""


def _beside(code: str, *path: Path) -> str:
    run = subprocess.run(
        [sys.executable, "-c", BESIDE + code, *map(str, path)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize("regular", [True, False], ids=["regular package", "namespace package"])
def test_installed_packages_of_google_stay_as_they_are(tmp_path: Path, regular: bool) -> None:
    (tmp_path / "google" / "auth").mkdir(parents=True)
    (tmp_path / "google" / "auth" / "__init__.py").write_text("real = True", encoding="utf-8")
    if regular:
        (tmp_path / "google" / "__init__.py").touch()
    code = "from google.colab import drive; import google.auth; print(google.auth.real, google.__file__)"
    expected = f"True {tmp_path / 'google' / '__init__.py' if regular else None}"
    assert _beside(code, tmp_path).strip() == expected


def test_a_package_of_google_that_comes_later_is_found(tmp_path: Path) -> None:
    code = f"""\
import google.colab, importlib, pathlib
folder = pathlib.Path({str(tmp_path)!r}, "google", "late")
folder.mkdir(parents=True)
(folder / "__init__.py").write_text("real = True")
importlib.invalidate_caches()
import google.late
print(google.late.real)
"""
    assert _beside(code, tmp_path).strip() == "True"


def test_the_real_colab_goes_first(tmp_path: Path) -> None:
    (tmp_path / "google" / "colab").mkdir(parents=True)
    (tmp_path / "google" / "colab" / "__init__.py").write_text("real = True", encoding="utf-8")
    assert _beside("import google.colab; print(google.colab.real)", tmp_path).strip() == "True"


def test_installed_libraries_are_not_told_that_this_is_colab(tmp_path: Path) -> None:
    """plotly and TensorBoard, say, draw otherwise where they find google.colab."""
    library = tmp_path / "site-packages"
    library.mkdir()
    (library / "asking.py").write_text(
        "import importlib.util\n"
        "try: import google.colab; answer = 'Colab'\n"
        "except ImportError: answer = 'not Colab'\n"
        "try: found = importlib.util.find_spec('google.colab') is not None\n"
        "except ImportError: found = False\n",
        encoding="utf-8",
    )
    code = "import asking; print(asking.answer, asking.found)\nimport google.colab"
    assert _beside(code, library).strip() == "not Colab False"


# ---- Files -----------------------------------------------------------------------------------------------------------

ASK = "from google.colab import files\nuploaded = files.upload()"


def test_files_are_chosen_in_a_list_and_the_cell_runs_again(tmp_path: Path) -> None:
    with bare_kernel(tmp_path) as desk:
        outcome = desk.run(ASK)
        assert outcome.errors == ["PlainError"]
        assert "there are none" in outcome.text
        assert "Traceback" not in outcome.text

        (tmp_path / "data" / "upload").mkdir(parents=True)
        (tmp_path / "data" / "a.csv").write_text("a", encoding="utf-8")
        (tmp_path / "data" / "upload" / "b.csv").write_text("b", encoding="utf-8")
        (tmp_path / "c.csv").write_text("c", encoding="utf-8")
        (tmp_path / "Notebook.ipynb").touch()
        outcome = _ask(desk, ASK)
        assert "Choose files" in outcome.text
        shown = desk.widget("asking", "SelectMultipleModel")["_options_labels"]
        places = [label.split("  ")[0].replace("\\", "/") for label in shown]
        assert places == ["c.csv", "data/a.csv", "data/upload/b.csv"]

        desk.press("asking", "Use these")
        assert _said(desk) == "None is chosen."
        desk.fill("asking", "SelectMultipleModel", key="index", value=[1, 2])
        desk.press("asking", "Use these")
        assert _said(desk) == "2 chosen: now run this cell again."
        assert _ask(desk, ASK).status == "ok"
        assert desk.value("uploaded") == {"a.csv": b"a", "b.csv": b"b"}
        assert (tmp_path / "a.csv").read_text(encoding="utf-8") == "a", (
            "Colab puts them into the working folder"
        )
        assert desk.widget("asking", "SelectMultipleModel")["index"], "the choice is seen, and may be changed"

        assert desk.run(ASK + "  # another cell").errors == ["PlainError"]
        one = "from google.colab import files\nname = files.upload_file('weights.h5')"
        _ask(desk, one)
        desk.fill("asking", "SelectMultipleModel", key="index", value=[0])
        desk.press("asking", "Use these")
        assert desk.run(one).status == "ok"
        assert (tmp_path / "weights.h5").read_text(encoding="utf-8") == "a"


def _ask(desk: Desk, cell: str) -> Any:
    before = set(desk.models)
    outcome = desk.run(cell)
    desk._of_form["asking"] = [model for model in desk.models if model not in before]
    return outcome


def _said(desk: Desk) -> str:
    return str(desk.widget("asking", "HTMLModel")["value"])


def test_without_a_browser_the_files_in_the_folder_upload_are_taken(tmp_path: Path) -> None:
    with bare_kernel(tmp_path, DL4MIC_HEADLESS="1") as desk:
        assert "put them into the folder upload" in desk.run(ASK).text
        for folder in (tmp_path / "data" / "upload", tmp_path / "upload"):
            folder.mkdir(parents=True)
            (folder / "a.csv").write_text(str(folder.parent == tmp_path), encoding="utf-8")
        assert desk.run(ASK).status == "ok"
        assert desk.value("uploaded") == {"a.csv": b"False", "a (1).csv": b"True"}, (
            "no file goes over another"
        )


def test_a_download_is_a_link_to_a_file_that_comes_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    results = tmp_path / "results"
    monkeypatch.setattr(colab_files, "HOME", tmp_path)
    monkeypatch.setattr(colab_files, "RESULTS", results)
    monkeypatch.setattr(colab_files, "display", lambda html: shown.append(html.data))
    for text in ("one", "two", "two"):
        (tmp_path / "my model.zip").write_text(text, encoding="utf-8")
        colab_files.download(str(tmp_path / "my model.zip"))
    assert sorted(path.name for path in results.iterdir()) == ["my model (1).zip", "my model.zip"]
    assert 'href="results/my%20model.zip"' in shown[0]
    colab_files.download(str(results / "my model.zip"))
    assert len(list(results.iterdir())) == 2
    colab_files.view(str(tmp_path / "my model.zip"))
    assert 'href="my%20model.zip"' in shown[-1]
    for call in (colab_files.download, colab_files.view):
        with pytest.raises(FileNotFoundError, match="no such file"):
            call(str(tmp_path / "nothing.zip"))


def test_one_file_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DL4MIC_HEADLESS", "1")
    monkeypatch.setattr(colab_files, "UPLOADS", (tmp_path,))
    for name in "ab":
        (tmp_path / name).touch()
    with pytest.raises(PlainError, match="One file is needed here"):
        colab_files.Uploads().upload_file("weights.h5")


# ---- Pictures --------------------------------------------------------------------------------------------------------


class Array:
    """As much of a numpy array as a picture is asked for."""

    def __init__(self, values: list[float], *shape: int) -> None:
        self.values, self.shape, self.ndim = values, shape, len(shape)

    def clip(self, low: float, high: float) -> Array:
        return Array([min(max(value, low), high) for value in self.values], *self.shape)

    def astype(self, kind: str) -> Array:
        assert kind == "uint8"
        return Array([int(value) for value in self.values], *self.shape)

    def __getitem__(self, index: tuple[slice, slice, int | list[int]]) -> Array:
        *_, channel = index
        height, width, depth = self.shape
        chosen = [channel] if isinstance(channel, int) else channel
        values = [self.values[at * depth + one] for at in range(height * width) for one in chosen]
        return Array(values, *((height, width) if isinstance(channel, int) else (height, width, len(chosen))))

    def tobytes(self) -> bytes:
        return bytes(map(int, self.values))


@pytest.mark.parametrize(
    ("array", "colours", "pixels"),
    [
        (Array([0, 300, -5, 7], 2, 2), 0, [[0, 255], [0, 7]]),
        (Array([1, 2], 1, 2, 1), 0, [[1, 2]]),
        (Array([1, 2, 3, 4, 5, 6], 1, 2, 3), 2, [[3, 2, 1, 6, 5, 4]]),
        (Array([1, 2, 3, 9], 1, 1, 4), 6, [[3, 2, 1, 9]]),
    ],
    ids=["grey", "grey with a channel", "blue green red", "blue green red alpha"],
)
def test_pictures_are_shown(
    monkeypatch: pytest.MonkeyPatch, array: Array, colours: int, pixels: list[list[int]]
) -> None:
    shown: list[bytes] = []
    monkeypatch.setattr(pictures, "display", lambda image: shown.append(image.data))
    pictures.show(array)
    chunks, rest = {}, shown[0][8:]
    assert shown[0][:8] == b"\x89PNG\r\n\x1a\n"
    while rest:
        (length,) = struct.unpack(">I", rest[:4])
        name, data, rest, checksum = (
            rest[4:8],
            rest[8 : 8 + length],
            rest[12 + length :],
            rest[8 + length : 12 + length],
        )
        assert struct.unpack(">I", checksum)[0] == zlib.crc32(name + data)
        chunks[name] = data
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    height, width = array.shape[:2]
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (width, height, 8, colours, 0, 0, 0)
    assert zlib.decompress(chunks[b"IDAT"]) == b"".join(b"\0" + bytes(row) for row in pixels)
