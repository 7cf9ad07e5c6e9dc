"""What the converter says in its own words: how to use the notebook, where data lies, and what took a section's place."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from nbformat import NotebookNode, v4

from dl4mic_hpc.notebook import sections
from dl4mic_hpc.notebook.dl4mic_forms.parameters import KEY

FORMS = "dl4mic_forms"

_HOW_TO = """\
**Start here:** choose *Run → Run All Cells* in the menu. Every step then shows its form and a **Run** button; nothing \
of it is computed until you press that. Go through the steps from top to bottom.

* Your data is under `/home/data`. Write results to `/home/results`: they are brought back to your computer.
* Where the text says Google Drive, read `/home/data` and `/home/results`. There is nothing to install, to connect \
or to upload, and the GPU comes with the session.
* **Load previous** puts in the values of your last run, **Reset** those that the notebook came with.
* The code is folded away, not gone: click the bar with the three dots above a form to see and edit it.
* After a restart of the kernel choose *Run All Cells* again.
* Closing the browser stops nothing: `dl4mic-hpc attach` opens the session again."""
_VIDEOS = "The authors' videos show the notebook on Google Colab; the sections are the same:"
_STRUCTURE = """\
**Text cells**, like this one, explain. **Code cells** do the work, each with a **Run** button below the values that \
there are to choose; its code is folded away, not gone: click the bar with the three dots above it to see and edit it. \
A code cell without a button is run with Shift and Enter."""
_CONTENTS = """\
Both are in the bar on the left. The **table of contents** jumps to a section. The **file browser** shows the \
session's folder, with your data in `data` and your results in `results`; a double click opens a file. What you \
save anywhere else in the session's folder stays on the cluster."""
_CHANGES = """\
This notebook is a copy of your own: what you edit is saved in the session's folder and changes nobody else's. \
Double click a text to edit it. A `#` in front of a line of code switches it off. Editing a line with `#@param` \
changes the form: run the cell again to see it."""
_BODIES = (
    (re.compile(r"how to use", re.I), _HOW_TO),
    (re.compile(r"structure of", re.I), _STRUCTURE),
    (re.compile(r"table of contents", re.I), _CONTENTS),
    (re.compile(r"making changes", re.I), _CHANGES),
)
_DATA = """\
**In this session** the data that you gave to `launch` lies under `/home/data`, and what you write to \
`/home/results` is brought back to your computer. Put folders of both into the forms, for example \
`/home/data/training/source`; each path field offers the folders that are there."""
_GPU = """\
{marks} GPU of this session

The cluster gives the GPU to the session when it starts; the cell below shows which one."""
_RESULTS = """\
{marks} Your results

Everything under `/home/results` is brought back to your computer when the session is stopped; \
`dl4mic-hpc results` brings what is there at any time."""
START = f"# Makes the forms below work; the folder {FORMS} beside this notebook belongs to it."
_START = """\
{head}
try:
    import {folder}
except ModuleNotFoundError as problem:
    if problem.name != "{folder}":
        raise
    raise ModuleNotFoundError(
        "The folder {folder} is missing beside this notebook, so its forms cannot be shown. "
        "Start the notebook again with `dl4mic-hpc launch`, which puts it there."
    ) from None
{folder}.start({name}, {fields})"""
_CHECK = f"""\
# Which GPU the node has for this session, and whether the notebook's software finds it.
{FORMS}.check_gpu()"""

_USE = re.compile(r"how to use (?:this|the) notebook\b", re.I)
_BEFORE = re.compile(r"before getting started\b", re.I)
_ABOUT_GPU = re.compile(r"\bGPU\b")
_ABOUT_RESULTS = re.compile(r"\bdownload\b.*\b(?:predictions?|results?|models?|images)\b", re.I)
_VIDEO = re.compile(r"\s*[-*].*\]\(https?://")


def markdown_cell(source: str, made: str) -> NotebookNode:
    """A text of the converter's own."""
    cell: NotebookNode = v4.new_markdown_cell(source, id=f"dl4mic-{made}", metadata={KEY: {"made": made}})
    return cell


def code_cell(source: str, made: str, *, name: str = "") -> NotebookNode:
    """Code of the converter's own, folded away; its id is dl4mic-`name`."""
    about = {KEY: {"made": made}, "jupyter": {"source_hidden": True}}
    cell: NotebookNode = v4.new_code_cell(source, id=f"dl4mic-{name or made}", metadata=about)
    return cell


def start_cell(name: str, fields: Mapping[str, Sequence[str]]) -> NotebookNode:
    """The cell that makes the forms work."""
    source = _START.format(
        head=START, folder=FORMS, name=json.dumps(name), fields=json.dumps(fields, indent=4)
    )
    return code_cell(source, "start")


def how_to_cell() -> NotebookNode:
    """How to use a notebook that does not say so itself."""
    return markdown_cell(_HOW_TO, "how-to")


def data_cell() -> NotebookNode:
    """Where data lies in a session."""
    return markdown_cell(_DATA, "data")


def own_how_to(cells: Sequence[NotebookNode]) -> list[NotebookNode]:
    """Puts our words under the headings of the authors' "How to use this notebook?", which is about Colab."""
    found = [
        cells[index]
        for index in sorted({each.cell for each in sections.headings(cells) if _USE.search(each.text)})
    ]
    for cell in found:
        lines: list[str] = []
        for heading, body in _parts(cell.source):
            told = [text for pattern, text in _BODIES if heading and pattern.search(heading)]
            videos = [line for line in body if _VIDEO.match(line)]
            ours = [told[0], *(["\n".join([_VIDEOS, "", *videos])] if videos else [])] if told else []
            lines += (
                [heading, "", "\n\n".join(ours), ""] if told else [*([heading] if heading else []), *body]
            )
        cell.source = "\n".join(lines).strip()
    return found


def after_before(cells: Sequence[NotebookNode]) -> int | None:
    """The end of "Before getting started", None where the notebook has no such section."""
    tree = list(sections.headings(cells))
    for position, heading in enumerate(tree):
        if _BEFORE.match(heading.text):
            after = (each.cell for each in tree[position + 1 :] if not each.within(heading))
            return next(after, len(cells))
    return None


def instead(cells: Sequence[NotebookNode], held: range, *, runtime: bool) -> list[NotebookNode]:
    """What stands where the section with these cells was: our own check of the GPU, or the way to the results."""
    tree = [each for each in sections.headings(cells) if each.cell in held]
    marks = "#" * tree[0].level
    if runtime and any(_ABOUT_GPU.search(each.text) for each in tree):
        return [markdown_cell(_GPU.format(marks=marks), "gpu"), code_cell(_CHECK, "gpu", name="gpu-check")]
    if any(_ABOUT_RESULTS.search(each.text) for each in tree):
        return [markdown_cell(_RESULTS.format(marks=marks), "results")]
    return []


def _parts(source: str) -> list[tuple[str, list[str]]]:
    """A text as (heading line, lines below it)."""
    parts: list[tuple[str, list[str]]] = [("", [])]
    for line in source.split("\n"):
        if re.match(r"\s{0,3}#{1,6}\s*\S", line):
            parts.append((line, []))
        else:
            parts[-1][1].append(line)
    return parts
