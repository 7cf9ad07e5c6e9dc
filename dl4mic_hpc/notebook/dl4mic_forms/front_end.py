"""Can this JupyterLab show form widgets? Asked inside the image, beside JupyterLab's own start.

    python front_end.py FILE

writes one line to FILE: "fits", "unfit: why, and what mends it", or "unknown: why". Widgets need an extension of
JupyterLab's browser side, and one that was made for another JupyterLab is silently left out of the page: then the
forms are shown as text. JupyterLab's own check decides, the one of `jupyter labextension list` (3.0 to 4.x).
Standard library and Python 3.7 syntax only, but for JupyterLab itself.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any, Sequence

EXTENSION = "@jupyter-widgets/jupyterlab-manager"


def verdict() -> str:
    """The line for FILE; "unknown" where this JupyterLab cannot be asked."""
    try:
        from jupyter_core.paths import jupyter_path
        from jupyterlab import commands

        logger = logging.getLogger("front_end")
        options = commands.AppOptions(labextensions_path=jupyter_path("labextensions"), logger=logger)
        # The class behind `jupyter labextension list`; what it prints is meant for people.
        handler = commands._AppHandler(options)
        handler._ensure_disabled_info()
        found = handler._get_extension_compat()
        return judge(handler.info, found.get(EXTENSION))
    except Exception as error:
        return f"unknown: {type(error).__name__}: {error}"


def judge(info: Any, misfits: Sequence[Sequence[str]] | None) -> str:
    """The verdict on what JupyterLab says of itself.

    misfits: package, the version that JupyterLab has and the one that the extension was made for, for each that does
    not fit; None if there is no such extension.
    """
    lab = str(info["version"])
    if misfits is None:
        return (
            f"unfit: its JupyterLab {lab} has no front end for widgets; "
            "write ipywidgets into the requirements, and no second JupyterLab"
        )
    if info["disabled"].get(EXTENSION):
        return f"unfit: the front end for widgets ({EXTENSION}) is switched off in its JupyterLab {lab}"
    if not misfits:
        return "fits"
    known = {**info.get("extensions", {}), **info.get("federated_extensions", {})}
    package, has, wants = misfits[0]
    mend = "jupyterlab_widgets<3.0.17" if lab.startswith("3.") else "ipywidgets>=8.1"
    return (
        f"unfit: its front end for widgets ({EXTENSION} {known[EXTENSION]['version']}) does not fit its JupyterLab "
        f"{lab} ({package} is {has} there, made for {wants}); write {mend} into the requirements"
    )


def main(path: Path) -> None:
    """Writes the verdict so that a reader sees the whole line or no file."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(" ".join(verdict().split()) + "\n", encoding="utf-8")
    beside.replace(path)


if __name__ == "__main__":
    # This file's folder comes first there, and its neighbours are not meant to be anybody's modules.
    del sys.path[0]
    main(Path(sys.argv[1]))
