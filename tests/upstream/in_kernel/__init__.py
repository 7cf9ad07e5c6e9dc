"""Runs inside a kernel, before a notebook: what the notebook does is written down instead of done.

Modules that are not Python's own are symbols: whatever is called, indexed or added up gives another symbol that
knows how it was made, so that a number typed into a form can be followed into the call of a library that is not
there. Shell lines, processes and fetches do nothing, and nothing outside the kernel's folder is written; clocks and
chance are the same in every kernel. `take` tells what a cell did: its calls, prints and files in order, the
exception it ended with, and the value of every name at the notebook's top level.

Modules of the notebook's front end are real. What a conversion leaves out or bounds on purpose is not written down:
shell lines that install or fetch, and restarts of the kernel.
"""

from __future__ import annotations

import builtins
import importlib
import pkgutil
import sys

from in_kernel import instead, record, symbols
from in_kernel.record import take

__all__ = ["install", "take"]

MAGICS = (
    "matplotlib",
    "load_ext",
    "reload_ext",
    "pip",
    "conda",
    "mamba",
    "tensorboard",
    "memit",
    "tensorflow_version",
)
SCRIPTS = ("bash", "sh", "script", "html", "javascript", "js", "shell")


def install() -> None:
    """Puts everything in place."""
    from IPython import get_ipython
    from IPython.utils.text import SList

    shell = record.shell = get_ipython()
    instead.no_processes()
    instead.no_network()
    instead.no_writes_elsewhere()
    instead.same_clock()
    _same_modules()
    sys.meta_path.insert(0, symbols.Finder())
    builtins.print = instead.printing(builtins.print)
    shell.system = shell.system_raw = shell.system_piped = instead.system
    shell.getoutput = lambda line, *_, **__: instead.system(line, depth=2) or SList([])
    for name in MAGICS:
        shell.register_magic_function(lambda line: None, "line", name)
    for name in SCRIPTS:
        shell.register_magic_function(lambda line, cell=None: None, "cell", name)
    shell.kernel.raw_input = shell.kernel.getpass = lambda prompt="", **_: "y"
    shell.user_ns["exit"] = shell.user_ns["quit"] = lambda *_: None
    record.begin(shell)


def _same_modules() -> None:
    """Notebooks look at what they have imported, so what forms import is there in both kernels."""
    import dl4mic_forms

    for module in pkgutil.iter_modules(dl4mic_forms.__path__):
        if module.name != "__main__":
            importlib.import_module(f"dl4mic_forms.{module.name}")
