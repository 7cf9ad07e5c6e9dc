"""The forms of the notebook that lies beside this folder.

The notebook's first code cell calls `start`. From then on a cell that begins with %%dl4mic_form shows the
`#@param` lines in it as a form; the code itself stays as its authors wrote it. Pressing Run puts the form's
values into the code and runs it. What was chosen is kept in results/dl4mic_settings.json, what was printed in
results/logs/.

Without a browser: set DL4MIC_HEADLESS=1, and the same cells run at once with the values written in them, or
with those of the JSON file that DL4MIC_PARAMETERS names.

Standard library, IPython and ipywidgets only; Python 3.7 or newer.
"""

from __future__ import annotations

from typing import Mapping, Sequence


def start(notebook: str, fields: Mapping[str, Sequence[str]]) -> None:
    """Makes %%dl4mic_form known in this kernel. `fields` names the fields of every form, by the form's id."""
    from . import session

    session.start(notebook, fields)
