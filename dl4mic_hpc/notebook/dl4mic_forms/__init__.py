"""The forms of the notebook that lies beside this folder.

The notebook's first code cell calls `start`. From then on a cell that begins with %%dl4mic_form shows the
`#@param` lines in it as a form; the code itself stays as its authors wrote it. Pressing Run puts the form's
values into the code and runs it. What was chosen is kept in results/dl4mic_settings.json and, for each run, in
results/dl4mic_runs/; what was printed in results/logs/.

Without a browser: `python -m dl4mic_forms NOTEBOOK` runs the same notebook from top to bottom. (It sets
DL4MIC_HEADLESS, which any other runner of notebooks may set too.)

Standard library, IPython and ipywidgets only; Python 3.7 or newer. This first file imports nothing, because the
parser of forms in this folder is also used where there is no IPython.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence


def start(notebook: str, fields: Mapping[str, Sequence[str]]) -> None:
    """Makes %%dl4mic_form, and what else the notebook had on Colab, known in this kernel.

    `fields` names the fields of every form, by the form's id.
    """
    from IPython import get_ipython

    from . import colab, offline, session

    colab.install(get_ipython())
    offline.install(get_ipython())
    session.start(notebook, fields)


def check_gpu() -> None:
    """Says in plain words which GPU this session has."""
    from . import gpu

    gpu.check_gpu()


def read_csv(address: str, *arguments: Any, **keywords: Any) -> Any:
    """pandas.read_csv that does not stop the notebook where its node reaches no network."""
    from . import offline

    return offline.read_csv(address, *arguments, **keywords)
