"""What keeps a notebook working on a compute node without internet. Python 3.7 syntax only."""

from __future__ import annotations

import sys
from typing import Any

from . import fetching, network, weights
from .plain import say

VERSIONS = "Latest_Notebook_versions.csv"  # columns Notebook and Version, one row per notebook
RELEASE = "Latest_ZeroCostDL4Mic_Release.csv"  # the newest version is the only column's name


def install(shell: Any) -> None:
    """Bounds this kernel's waits for the network, and answers from what was brought; twice is as good as once."""
    network.bound_sockets()
    weights.install()
    fetching.install(shell)


def read_csv(address: Any, *arguments: Any, **keywords: Any) -> Any:
    """pandas.read_csv; where ZeroCostDL4Mic's table of newest versions cannot be had, the notebook's own version.

    The notebooks compare themselves with that table in the cell that also defines their functions. `Network` and
    `Notebook_version` are looked up where this is called, as those cells set them.
    """
    import pandas

    try:
        return pandas.read_csv(address, *arguments, **keywords)
    except Exception:  # no network, or a gateway's page instead of the table
        known = _names_of_caller()
        own_table = str(address).endswith((VERSIONS, RELEASE))
        if not own_table or not {"Network", "Notebook_version"} <= set(known):
            raise
    say("Without internet: whether there is a newer version of this notebook was not checked.")
    own = known["Notebook_version"]
    version = own[0] if isinstance(own, list) else own
    if str(address).endswith(RELEASE):
        return pandas.DataFrame(columns=[version])
    return pandas.DataFrame({"Notebook": [known["Network"]], "Version": [version]})


def _names_of_caller() -> dict[str, Any]:
    """The variables where this package was called from."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__package__") == __package__:
        frame = frame.f_back
    return dict(frame.f_globals, **frame.f_locals)
