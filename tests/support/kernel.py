"""A real ipykernel that runs a converted notebook as JupyterLab would: cells, widget messages, clicks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jupyter_client.manager import KernelManager
from support.desk import SECONDS, Desk

from dl4mic_hpc import notebook

__all__ = ["SECONDS", "Desk", "colab_notebook", "converted_in", "open_notebook"]


def colab_notebook(*sources: str, **metadata: object) -> bytes:
    """A Colab notebook of code cells; a source that starts with "# " is Markdown."""
    cells: list[dict[str, object]] = []
    for source in sources:
        if source.startswith("# "):
            cells.append({"cell_type": "markdown", "metadata": {}, "source": source})
        else:
            code: dict[str, object] = {"outputs": [], "execution_count": None}
            code["metadata"] = {"cellView": "form", "id": "x"}
            cells.append({"cell_type": "code", "source": source.splitlines(True), **code})
    return json.dumps({"nbformat": 4, "nbformat_minor": 0, "metadata": metadata, "cells": cells}).encode()


def converted_in(home: Path, original: bytes) -> list[str]:
    """Puts the converted notebook and its runtime files into `home`; the sources of its code cells."""
    converted = notebook.convert(original, name="under test")
    for name, content in notebook.runtime_files().items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(content)
    (home / "notebook.ipynb").write_bytes(converted.notebook)
    return ["".join(c["source"]) for c in json.loads(converted.notebook)["cells"] if c["cell_type"] == "code"]


@contextmanager
def open_notebook(home: Path, original: bytes, **environment: str) -> Iterator[Desk]:
    """The converted notebook in `home`, its runtime files beside it, and a kernel started there."""
    cells = converted_in(home, original)
    manager = KernelManager(kernel_name="python3")
    private = {"IPYTHONDIR": str(home / ".ipython"), "DL4MIC_HEADLESS": "", "DL4MIC_PARAMETERS": ""}
    here = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    # With that variable ipykernel leaves what programs print to whoever started it.
    manager.start_kernel(cwd=str(home), env={**here, **private, **environment})
    try:
        desk = Desk(manager, cells)
        try:
            yield desk
        finally:
            desk.close()
    finally:
        manager.shutdown_kernel(now=True)
