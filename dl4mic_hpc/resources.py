"""Finds what ships with the program (templates/, configs/) and where the user's own files lie."""

from __future__ import annotations

import os
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

_PACKAGED = files("dl4mic_hpc").joinpath("_data")
_CHECKOUT = Path(__file__).resolve().parent.parent


def data(*parts: str) -> Traversable:
    """A file or folder of templates/ or configs/: inside the wheel, or beside the package in a checkout."""
    root: Traversable = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
    return root.joinpath(*parts)


def home(kind: str) -> Path:
    """The user's folder for `kind`: "config" (profiles, known host keys), "state" (records, the sandbox)
    or "cache" (what was fetched and can be fetched again).

    `DL4MIC_HPC_HOME` names one folder for all of them. A checkout of the source keeps its own, so that two
    checkouts, and a checkout and the installed program, never meddle with each other; the installed program
    uses the platform's folders (https://platformdirs.readthedocs.io).
    """
    chosen = os.environ.get("DL4MIC_HPC_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute() / kind
    if not _PACKAGED.is_dir():
        return _CHECKOUT / ".dl4mic-hpc" / kind
    import platformdirs

    folder = {
        "config": platformdirs.user_config_path,
        "state": platformdirs.user_state_path,
        "cache": platformdirs.user_cache_path,
    }[kind]
    return folder("dl4mic-hpc", appauthor=False)
