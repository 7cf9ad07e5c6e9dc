"""The command line: Typer verbs, one file per group. The only place that catches errors and exits.

What a verb needs is imported inside it: `--help` must not wait for SSH, Jinja2 or pydantic to load.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from dl4mic_hpc import __version__
from dl4mic_hpc.cli import cluster, console, image, launch, notebook, recipe, sandbox, session
from dl4mic_hpc.errors import Dl4micError

app = typer.Typer(
    name="dl4mic-hpc",
    help="Deep-learning microscopy notebooks on the GPUs of a Slurm cluster, from this computer.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="A first try, with no account anywhere: dl4mic-hpc sandbox up && dl4mic-hpc launch pixel_segmentation",
)
launch.register(app)
session.register(app)
app.add_typer(cluster.app, name="cluster")
app.add_typer(image.app, name="image")
app.add_typer(notebook.app, name="notebook")
app.add_typer(recipe.app, name="recipe")
app.add_typer(sandbox.app, name="sandbox")


def _version(wanted: bool) -> None:
    if wanted:
        console.answer(f"dl4mic-hpc {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where in the program an error arose.")] = False,
) -> None:
    # No docstring: it would take the place of the program's help. `main` itself looks for --debug.
    pass


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the program and exits with the code that errors.py documents."""
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        app(args=words, prog_name="dl4mic-hpc", standalone_mode=True)
    except Dl4micError as problem:
        if "--debug" in words:
            import traceback

            traceback.print_exc()
        console.error(problem)
        sys.exit(problem.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader went away (`| head`): not our error, and nothing more can be said on that stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(0)


def run() -> NoReturn:
    """The console script: `main`, without the interpreter taking itself apart (0.1 s of every command).

    Everything has been closed by then; what a background thread still does is of no use to anybody.
    """
    try:
        main()
    except SystemExit as ended:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(ended.code if isinstance(ended.code, int) else int(ended.code is not None))
