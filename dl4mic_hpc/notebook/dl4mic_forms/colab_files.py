"""Colab's files.upload and files.download on a cluster. Python 3.7 syntax only.

A running cell cannot wait for a click: the kernel hears of it only afterwards. So the first run of a cell that
asks for files shows a list of those that are there and ends; once some are chosen, the cell runs on with them.
"""

from __future__ import annotations

import filecmp
import linecache
import os
import shutil
import sys
from html import escape
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote

from IPython.display import HTML, display

from .folders import DATA, HOME, RESULTS
from .plain import PlainError, say

UPLOADS = (DATA / "upload", HOME / "upload")  # without a browser all files in them are taken
_SHOWN = 500  # files in the list, so that a folder of 100,000 tiles does not stop the browser


class Uploads:
    """The files chosen for every place in the notebook that asks for some."""

    def __init__(self) -> None:
        self._chosen: dict[Any, tuple[str, ...]] = {}

    def upload(self, target_dir: str = "") -> dict[str, bytes]:
        """The chosen files by name, with what is in them; as Colab does, they are put into the working folder."""
        copies = [_copied(file, Path(target_dir)) for file in self._files(sys._getframe(1))]
        return {str(copy): copy.read_bytes() for copy in copies}

    def upload_file(self, filename: str, target_dir: str = "") -> str:
        """The path of the one chosen file, which is called `filename` from then on."""
        files = self._files(sys._getframe(1))
        if len(files) != 1:
            raise PlainError(f"One file is needed here, for {filename}; {len(files)} are chosen.")
        target = Path(target_dir, filename)
        if files[0].absolute() != target.absolute():
            shutil.copyfile(str(files[0]), str(target))
        return str(target)

    def _files(self, asking: FrameType) -> list[Path]:
        if os.environ.get("DL4MIC_HEADLESS", "0") not in ("", "0"):
            files = [file for folder in UPLOADS for file in _files_in(folder)]
            if not files:
                raise PlainError("This cell asks for files: put them into the folder upload of your data.")
            return files
        code = asking.f_code.co_filename
        place = ("".join(linecache.getlines(code)) or code, asking.f_lineno)
        self._show(place)
        if not self._chosen.get(place):
            raise PlainError("Choose files in the list above, press “Use these”, then run this cell again.")
        return [Path(file) for file in self._chosen[place]]

    def _show(self, place: Any) -> None:
        import ipywidgets as widgets

        own = [file for file in _files_in(HOME) if file.suffix != ".ipynb"]
        files = own + [file for folder in (DATA, *UPLOADS) for file in _files_in(folder)]
        if not files:
            raise PlainError(
                "This cell asks for files, and there are none. Bring them from your computer with the up arrow above "
                "JupyterLab's list of files, then run this cell again."
            )
        earlier = [file for file in self._chosen.get(place, ()) if Path(file) in files[:_SHOWN]]
        self._chosen[place] = tuple(earlier)
        options = [(f"{file.relative_to(HOME)}  ({_size(file)})", str(file)) for file in files[:_SHOWN]]
        choice = widgets.SelectMultiple(
            options=options,
            value=earlier,
            rows=min(10, len(options)),
            layout={"width": "50em", "max_width": "100%"},
        )
        button, said = widgets.Button(description="Use these"), widgets.HTML()

        def use(_: Any) -> None:
            self._chosen[place] = tuple(choice.value)
            said.value = (
                f"{len(choice.value)} chosen: now run this cell again." if choice.value else "None is chosen."
            )

        button.on_click(use)
        display(widgets.VBox([choice, widgets.HBox([button, said])]))


def download(filename: str) -> None:
    """Offers a file as a link; one that lies elsewhere is copied among the results, which come home by themselves."""
    source = _there(filename)
    if RESULTS not in source.parents:
        RESULTS.mkdir(exist_ok=True)
        source = _copied(source, RESULTS)
    _link(source)


def view(filepath: str) -> None:
    """Shows a link to a file."""
    _link(_there(filepath))


def _there(name: str) -> Path:
    file = Path(name).absolute()
    if not file.is_file():
        raise FileNotFoundError(f"there is no such file: {file}")
    return file


def _link(file: Path) -> None:
    if HOME not in file.parents:
        say(str(file))
        return
    place = file.relative_to(HOME).as_posix()
    display(
        HTML(f'<a href="{quote(place)}" download="{escape(file.name)}" target="_blank">{escape(place)}</a>')
    )


def _files_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))


def _copied(source: Path, folder: Path) -> Path:
    """The file in `folder`; under a numbered name if another is called the same."""
    target, number = folder / source.name, 0
    while target.exists() and not filecmp.cmp(str(source), str(target), shallow=False):
        number += 1
        target = folder / f"{source.stem} ({number}){source.suffix}"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(source), str(target))
    return target


def _size(file: Path) -> str:
    size = float(file.stat().st_size)
    for unit in ("bytes", "KB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
