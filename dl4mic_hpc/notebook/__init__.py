"""A Colab notebook in, a JupyterLab notebook out. Pure: bytes in, bytes out, no network and no process.

Inside the notebook's image only dl4mic_forms/ is there, which is laid beside the notebook.
"""

from __future__ import annotations

from dl4mic_hpc.notebook.convert import Converted, FormField, convert, runtime_files
from dl4mic_hpc.notebook.passes import Change

__all__ = ["Change", "Converted", "FormField", "convert", "runtime_files"]
