"""Runs a converted notebook without a browser: python -m dl4mic_forms NOTEBOOK [--parameters FILE] [--sections TEXT].

Parameters and sections are checked as a whole before anything runs. Then cell after cell: what they print comes as
it is printed, and after each the executed notebook is written anew, so that a job that is ended by its time limit
has left everything up to there. nbclient and nbformat, which every JupyterLab brings; Python 3.7 syntax only.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, Sequence

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from traitlets.config import Config

from . import parameters
from .headless import CHECKED
from .parameters import Cell, ParameterError
from .runs import duration
from .settings import read_values

DONE, FAILED, WRONG = 0, 1, 2


class _Client(NotebookClient):
    """Hands on what a cell prints while it runs."""

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        if msg["msg_type"] == "stream":
            sys.stdout.write(msg["content"]["text"])
            sys.stdout.flush()
        return super().process_message(msg, cell, cell_index)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 done, 1 a cell failed, 2 wrong parameters or sections, and nothing was run."""
    options = _options(arguments)
    path = options.notebook.absolute()
    output = (options.output or path.parent / "results" / (path.stem + ".executed.ipynb")).absolute()
    try:
        notebook = nbformat.read(str(path), as_version=4)
        given = options.parameters.absolute() if options.parameters else None
        cells = parameters.read_cells(notebook)
        values = (
            read_values(given, notebook.metadata.get(parameters.KEY, {}).get("name", "")) if given else {}
        )
        chosen = parameters.choose(cells, options.sections)
        parameters.check(cells, chosen, values)
        output.parent.mkdir(parents=True, exist_ok=True)
    except ParameterError as error:
        print("\n".join(["nothing was run:", *error.problems]), file=sys.stderr)  # noqa: T201
        return WRONG
    except (OSError, ValueError, nbformat.reader.NotJSONError) as error:
        print(f"nothing was run: {error}", file=sys.stderr)  # noqa: T201
        return WRONG
    os.environ["DL4MIC_HEADLESS"] = CHECKED
    os.environ["DL4MIC_PARAMETERS"] = str(given or "")
    os.environ.pop("MPLBACKEND", None)  # the kernel's own puts the figures into the executed notebook
    return _run(notebook, chosen, path.parent, output)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m dl4mic_forms", description="Run a notebook without a browser."
    )
    parser.add_argument("notebook", type=Path, metavar="NOTEBOOK")
    parser.add_argument(
        "--parameters", type=Path, metavar="FILE", help="JSON: field names (or form.name) and values"
    )
    parser.add_argument(
        "--sections", default="", metavar="TEXT", help="such as 1-3,5,6.1; everything if left out"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: results/NAME.executed.ipynb")
    return parser.parse_args(arguments)


def _run(notebook: Any, chosen: Sequence[Cell], folder: Path, output: Path) -> int:
    signal.signal(signal.SIGTERM, _ended)
    started = time.monotonic()
    running: Cell | None = None
    # What programs print reaches the kernel's own output as well as the cell's; once is enough.
    with TemporaryFile() as words, TemporaryDirectory() as private:
        client = _Client(
            notebook,
            timeout=None,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
            config=_sockets(Path(private)),
        )
        try:
            with client.setup_kernel(stdout=words, stderr=words):
                for running in chosen:
                    print(f"---- {running}", flush=True)  # noqa: T201
                    try:
                        client.execute_cell(notebook.cells[running.number - 1], running.number - 1)
                    finally:
                        _write(notebook, output)
        except CellExecutionError as error:
            reason = _reason(notebook.cells[running.number - 1] if running else {}, error)
        except (
            RuntimeError
        ) as error:  # DeadKernelError is one; a kernel that does not start raises it as such
            words.seek(max(0, words.seek(0, os.SEEK_END) - 2000))
            print(words.read().decode(errors="replace"), file=sys.stderr)  # noqa: T201
            died = "the kernel died; it may have run out of memory"
            reason = died if isinstance(error, DeadKernelError) else f"the kernel does not start: {error}"
        else:
            took = duration(time.monotonic() - started)
            print(f"done: {len(chosen)} cells in {took}; {output}", flush=True)  # noqa: T201
            return DONE
    print(f"{running or 'start'}: {reason}", file=sys.stderr, flush=True)  # noqa: T201
    return FAILED


def _sockets(folder: Path) -> Config:
    """Ports of a shared node are everybody's: whoever connects to a kernel's hears what it says. Sockets are not."""
    if os.name != "posix":
        return Config()
    return Config(KernelManager={"transport": "ipc", "connection_file": str(folder / "kernel.json")})


def _reason(cell: Any, error: Exception) -> str:
    """The last line of the error, as Python would print it."""
    for result in cell.get("outputs", ()):
        if result["output_type"] == "error":
            name = "" if result["ename"] == "PlainError" else result["ename"] + ": "
            return name + " ".join(str(result["evalue"]).split())
    return str(error).strip().split("\n")[-1]


def _write(notebook: Any, path: Path) -> None:
    beside = path.with_name(path.name + ".new")
    nbformat.write(notebook, str(beside))
    beside.replace(path)


def _ended(number: int, frame: Any) -> None:
    """Slurm's time limit: leave by way of every `finally`, which writes what there is."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
