"""`notebook convert`: one notebook for JupyterLab, in a file."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dl4mic_hpc.cli import console
from dl4mic_hpc.errors import UsageError

if TYPE_CHECKING:
    from dl4mic_hpc.catalog import NotebookSpec
    from dl4mic_hpc.notebook import Converted


def register(app: typer.Typer) -> None:
    """Adds the verb to `notebook`."""
    app.command(
        epilog="Example: dl4mic-hpc notebook convert CARE_2D_ZeroCostDL4Mic.ipynb --remove '1.1 1.2 2'"
    )(convert)


def convert(
    notebook: Annotated[Path, typer.Argument(help="The notebook for Google Colab: an .ipynb file.")],
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            "-c",
            metavar="CONFIG",
            help="A configuration.yaml, or a name of the catalogue, that says which sections to remove.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT.ipynb",
            help="The file to write; - is standard output. Without it: NAME.jupyterlab.ipynb, here.",
        ),
    ] = None,
    remove: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS", help="Sections to remove, such as '1.1 2', instead of the configuration's."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Answer with the report as JSON on standard output.")
    ] = False,
) -> None:
    """Convert a Colab notebook to one for JupyterLab, with working forms, and say what was done to it.

    The files that make the forms work are laid beside it.
    """
    target = None if output == "-" else Path(output or f"{notebook.stem}.jupyterlab.ipynb")
    if target is None and as_json:
        raise UsageError(
            "-o - and --json both want standard output", hint="give -o a file, or leave --json out"
        )
    if target is not None and not target.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {target.parent}", hint="make it first, or correct -o")
    if target is not None and target.exists() and not force:
        raise UsageError(
            f"{target} is there already", hint="give another name with -o, or --force to overwrite it"
        )
    converted = _converted(notebook, _spec(config), remove)
    files = _write(target, converted)
    if as_json:
        report = converted.report.as_json()
        console.answer_json({**report, "output": str(target), "runtime_files": [str(path) for path in files]})
        return
    console.tell(converted.report.as_text())
    if target is None:
        console.tell("its forms need the files of dl4mic_forms beside it; -o FILE writes both")
        sys.stdout.write(converted.notebook.decode())
        sys.stdout.flush()
    else:
        console.answer(str(target))


def _spec(config: str | None) -> NotebookSpec | None:
    if config is None:
        return None
    from dl4mic_hpc import catalog

    path = Path(config)
    if path.is_file() or path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        return catalog.load_file(path)
    return catalog.load(config)


def _converted(path: Path, spec: NotebookSpec | None, remove: str | None) -> Converted:
    import hashlib

    from dl4mic_hpc import notebook

    try:
        original = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"the notebook {path} cannot be read: {error.strerror}", hint="correct the path"
        ) from error
    about = {"notebook": spec.id, "version": spec.version} if spec is not None else {}
    return notebook.convert(
        original,
        name=path.name,
        sections_to_remove=remove.split()
        if remove is not None
        else spec.sections_to_remove
        if spec is not None
        else (),
        provenance={**about, "sha256": hashlib.sha256(original).hexdigest()},
        python=spec.python_version if spec is not None else "",
    )


def _write(target: Path | None, converted: Converted) -> list[Path]:
    """Writes the run-time files, then the notebook, each of them whole or not at all; gives the run-time files."""
    from dl4mic_hpc import notebook

    if target is None:
        return []
    files = notebook.runtime_files() if converted.runtime else {}
    beside = {target.parent / name: content for name, content in files.items()}
    for path, content in [*beside.items(), (target, converted.notebook)]:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, content)
        except OSError as error:
            text = f"{path} cannot be written: {error.strerror}"
            raise UsageError(text, hint="give a file in a folder that you may write to with -o") from error
    return list(beside)


def _replace(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
