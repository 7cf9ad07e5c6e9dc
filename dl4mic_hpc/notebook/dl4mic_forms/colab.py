"""What notebooks written for Google Colab expect to be there. Python 3.7 syntax only.

`import google.colab` finds a stand-in, unless there is a real one, and beside any other package of google's; the
magics that only Colab has, and two that need what a cluster has not, do something sensible.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, Iterator

from .colab_modules import contents
from .plain import say


def install(shell: Any) -> None:
    """Makes google.colab importable and the magics known in this kernel; a second call does nothing."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.append(_Finder(contents()))
    shell.register_magic_function(_tensorflow_version, "line", "tensorflow_version")
    shell.register_magic_function(_in_shell(shell), "line_cell", "shell")
    load = shell.extension_manager.load_extension

    def load_extension(name: str) -> Any:
        if name == "tensorboard":
            return shell.register_magic_function(_tensorboard, "line", "tensorboard")
        if name == "memory_profiler" and find_spec(name) is None:
            say(
                "memory_profiler is not installed here: %memit says how much memory this notebook has used at most."
            )
            return shell.register_magic_function(_memit(shell), "line_cell", "memit")
        return None if name == "google.colab.data_table" else load(name)

    shell.extension_manager.load_extension = load_extension


class _Finder(MetaPathFinder, Loader):
    """Finds google.colab for the notebook and its own programs, not for installed libraries.

    Libraries look for google.colab in order to learn where they run (plotly, tensorboard): this is not Colab.
    """

    def __init__(self, modules: dict[str, dict[str, Any]]) -> None:
        self._modules = modules

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """See importlib: asked last, so that whatever is installed goes first."""
        if fullname not in self._modules or _asked_by_library(sys._getframe(1)):
            return None
        spec = ModuleSpec(fullname, self, origin=__file__, is_package=fullname in ("google", "google.colab"))
        if fullname == "google":
            spec.submodule_search_locations = _Installed()
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """An ordinary module."""

    def exec_module(self, module: ModuleType) -> None:
        """Fills the module; google.colab brings all that is in it, as Colab's does."""
        module.__dict__.update(self._modules[module.__name__])
        if module.__name__ == "google.colab":
            for name in self._modules:
                if name.startswith("google.colab."):
                    __import__(name)


class _Installed(list):  # type: ignore[type-arg]
    """Where other packages of google's lie, also such as are installed later on."""

    def __iter__(self) -> Iterator[str]:
        return (str(folder) for folder in (Path(entry, "google") for entry in sys.path) if folder.is_dir())


def _asked_by_library(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_globals.get("__name__", "").startswith("importlib"):
        frame = frame.f_back
    return frame is not None and bool(re.search(r"[/\\](site|dist)-packages[/\\]", frame.f_code.co_filename))


def _tensorflow_version(line: str) -> None:
    """Colab's choice of TensorFlow; here the image has one."""
    wanted = re.search(r"\d", line)
    found = next(
        (
            match.group(1)
            for entry in sys.path
            for file in (Path(entry).glob("tensorflow*.dist-info") if Path(entry).is_dir() else ())
            for match in [re.fullmatch(r"tensorflow(?:_cpu|_gpu|_intel)?-([\d.]+.*)\.dist-info", file.name)]
            if match is not None
        ),
        "",
    )
    if wanted and not found.startswith(wanted.group()):
        there = f"is {found}" if found else "is not there"
        say(
            f"TensorFlow {line.strip()} was asked for; in this image it {there}, which cannot be changed here."
        )


def _tensorboard(line: str) -> None:
    """TensorBoard needs a network port of its own between browser and compute node."""
    say(
        "TensorBoard is not shown inside a notebook on a cluster. When the results are on your computer, run there:\n"
        f"  tensorboard {line.strip()}"
    )


def _in_shell(shell: Any) -> Any:
    def run(line: str, cell: str | None = None) -> None:
        """Runs a line, or a whole cell, in the shell."""
        shell.system(line if cell is None else cell)

    return run


def _memit(shell: Any) -> Any:
    def memit(line: str, cell: str | None = None) -> None:
        """Runs a statement, and says how much memory this notebook has used at most."""
        resource: Any = import_module("resource")  # notebooks run on Linux; other systems have no such module
        statement = re.sub(r"^\s*(?:-[rti]\s*\S+\s+|-[co]\s+)*", "", line)
        shell.ex(f"{statement}\n{cell or ''}")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts in KiB
        say(f"peak memory: {peak:.2f} MiB")

    return memit
