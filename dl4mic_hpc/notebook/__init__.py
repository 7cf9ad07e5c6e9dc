"""A Colab notebook in, a JupyterLab notebook out. Pure: bytes in, bytes out, no network and no process.

Inside the notebook's image only dl4mic_forms/ is there, which is laid beside the notebook.
"""

from __future__ import annotations

from dl4mic_hpc.notebook.convert import Converted, convert, runtime_files, too_old
from dl4mic_hpc.notebook.report import Change, FormField, Report

__all__ = ["Change", "Converted", "FormField", "Report", "convert", "runtime_files", "too_old"]
