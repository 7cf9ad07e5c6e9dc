"""A real kernel with the run-time files beside it, in which what Colab had and the network's bounds are installed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jupyter_client.manager import KernelManager
from support.kernel import Desk

RUNTIME = Path(__file__).parents[2] / "dl4mic_hpc" / "notebook" / "dl4mic_forms"

INSTALL = """\
from dl4mic_forms import colab, offline
for _ in range(2):
    colab.install(get_ipython()); offline.install(get_ipython())
"""


@contextmanager
def bare_kernel(home: Path, *, path: Sequence[Path] = (), **environment: str) -> Iterator[Desk]:
    """`path`: folders that Python finds modules in. Installs twice, as a start cell that is run again does."""
    shutil.copytree(RUNTIME, home / "dl4mic_forms", ignore=shutil.ignore_patterns("__pycache__"))
    private = {
        "IPYTHONDIR": str(home / ".ipython"),
        "DL4MIC_HEADLESS": "",
        "PYTHONPATH": os.pathsep.join(map(str, path)),
    }
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(home), env={**os.environ, **private, **environment})
    try:
        desk = Desk(manager, [])
        try:
            outcome = desk.run(INSTALL)
            assert outcome.status == "ok", outcome.text
            yield desk
        finally:
            desk.close()
    finally:
        manager.shutdown_kernel(now=True)
