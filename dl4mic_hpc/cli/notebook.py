"""`notebook`: the catalogue."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from dl4mic_hpc.cli import choose, console
from dl4mic_hpc.errors import NotebookError, UsageError, perhaps_you_meant

if TYPE_CHECKING:
    from dl4mic_hpc.catalog import NotebookSpec
    from dl4mic_hpc.notebook import Converted

app = typer.Typer(help="The notebooks on offer.", no_args_is_help=True, rich_markup_mode=None)

JsonOption = Annotated[bool, typer.Option("--json", help="Answer as JSON on standard output.")]


class Dimensions(StrEnum):
    TWO = "2D"
    THREE = "3D"


class State(StrEnum):
    WORKS = "works"
    UNTESTED = "untested"
    BROKEN = "broken"


LIST_EXAMPLES = """\b
Examples:
  dl4mic-hpc notebook list
  dl4mic-hpc notebook list --task segmentation --dimensions 3D
  dl4mic-hpc notebook list --search nuclei
"""


@app.command("list", epilog=LIST_EXAMPLES)
def list_(
    task: Annotated[
        str | None, typer.Option("--task", metavar="TEXT", help="Only tasks whose name holds this.")
    ] = None,
    dimensions: Annotated[
        Dimensions | None,
        typer.Option(
            "--dimensions", case_sensitive=False, help="Only those for pictures (2D) or stacks (3D)."
        ),
    ] = None,
    framework: Annotated[
        str | None,
        typer.Option(
            "--framework", metavar="TEXT", help="Only those built on this, such as PyTorch or 'TensorFlow 2'."
        ),
    ] = None,
    state: Annotated[
        State | None, typer.Option("--state", case_sensitive=False, help="Only those in this state.")
    ] = None,
    search: Annotated[
        str | None,
        typer.Option("--search", metavar="TEXT", help="Only those whose description holds all these words."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the notebooks of the catalogue by task, with what each is for."""
    from dl4mic_hpc import catalog
    from dl4mic_hpc.cli import notebook_view

    everything = [catalog.load(name) for name in catalog.names()]
    tasks = sorted({spec.task for spec in everything})
    if task is not None and not any(_holds(each, task) for each in tasks):
        raise UsageError(f"no notebook has a task '{task}'", hint=perhaps_you_meant(task, tasks))
    found = [
        spec
        for spec in everything
        if _holds(spec.task, task)
        and _holds(" ".join(spec.dimensions), dimensions)
        and _holds(spec.framework, framework)
        and state in (None, spec.state)
        and all(_holds(notebook_view.searched(spec), word) for word in (search or "").split())
    ]
    if as_json:
        console.answer_json({"version": 1, "notebooks": [notebook_view.row(spec) for spec in found]})
    elif found:
        notebook_view.tell_list(found)
    else:
        console.tell("no notebook is like that; `dl4mic-hpc notebook list` shows all of them")


def _holds(text: str, part: str | None) -> bool:
    return part is None or part.casefold() in text.casefold()


@app.command(epilog="Example: dl4mic-hpc notebook show care_2d")
def show(
    name: Annotated[str, typer.Argument(help="A notebook of the catalogue.")], as_json: JsonOption = False
) -> None:
    """Show what a notebook is for, what goes in and comes out, what to cite, and the form fields it has."""
    from dl4mic_hpc.cli import notebook_view

    spec = choose.notebook(name, None)
    try:
        converted, missing = _converted(spec), None
    except NotebookError as problem:
        converted, missing = None, problem.message
    if as_json:
        console.answer_json(notebook_view.facts(spec, converted, missing))
    else:
        notebook_view.tell_notebook(spec, converted, missing)


def _converted(spec: NotebookSpec) -> Converted:
    from dl4mic_hpc import notebook, resources
    from dl4mic_hpc.sources import files

    local = files.obtain(spec, cache=resources.home("cache"), say=console.tell, parts=("notebook",))
    return notebook.convert(
        local.read_notebook(),
        name=spec.notebook_file,
        sections_to_remove=spec.sections_to_remove,
        python=spec.python_version,
    )


# The verbs that have files of their own.
from dl4mic_hpc.cli import notebook_check, notebook_convert, notebook_update  # noqa: E402

notebook_check.register(app)
notebook_convert.register(app)
notebook_update.register(app)
