"""`notebook check`: everything that is wrong with a configuration, at once."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dl4mic_hpc.cli import console
from dl4mic_hpc.errors import NotebookError

if TYPE_CHECKING:
    from dl4mic_hpc.catalog import NotebookSpec
    from dl4mic_hpc.catalog.check import Finding, Read


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: dl4mic-hpc notebook check ./deconvolution/configuration.yaml")(check)


def check(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="A configuration.yaml, or the folder that it lies in.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON on standard output.")] = False,
) -> None:
    """Say everything that is wrong with a configuration: its keys, versions, requirements and sections.

    Ends with 8 if there is a mistake; a warning alone is no reason.
    """
    from dl4mic_hpc.catalog import CONFIGURATION
    from dl4mic_hpc.catalog import check as catalogue_check

    path = config / CONFIGURATION if config.is_dir() else config
    read = catalogue_check.read(path)
    findings = list(read.findings)
    unseen: list[str] = []
    if read.configuration is not None:
        of_files, unseen = _look_into_files(path, read)
        findings += of_files
    findings.sort(key=lambda one: (not one.mistake, one.line))
    mistakes = [one for one in findings if one.mistake]
    warnings = [one for one in findings if not one.mistake]
    if as_json:
        console.answer_json({
            "version": 1, "configuration": str(path), "mistakes": [one.as_json() for one in mistakes],
            "warnings": [one.as_json() for one in warnings], "not_checked": unseen,
        })  # fmt: skip
    else:
        _tell(path, findings, unseen)
    if mistakes:
        raise NotebookError(
            f"{path} has {_count(len(mistakes), 'mistake')}",
            hint="docs/reference/catalogue.md explains the keys, and which versions go together",
        )


def _look_into_files(path: Path, read: Read) -> tuple[list[Finding], list[str]]:
    """What requirements and notebook say, and which of them could not be had."""
    from dl4mic_hpc import catalog, resources
    from dl4mic_hpc.sources import files

    try:
        spec = catalog.load_file(path)
    except NotebookError as problem:
        return list(read.about([(True, "", _without(problem.message, str(path)))])), []
    found: list[Finding] = []
    unseen: list[str] = []
    for part in ("requirements", "notebook"):
        try:
            local = files.obtain(spec, cache=resources.home("cache"), say=console.tell, parts=(part,))
        except NotebookError as problem:
            unseen.append(f"{part}: {problem.message}")
            continue
        found += _requirements(local, read) if part == "requirements" else _notebook(local, read)
    return found, unseen


def _requirements(spec: NotebookSpec, read: Read) -> tuple[Finding, ...]:
    try:
        text = spec.read_requirements().decode("utf-8-sig")
    except UnicodeDecodeError:
        return read.about([(True, "requirements_url", "the requirements are no text in UTF-8")])
    return read.with_requirements(text)


def _notebook(spec: NotebookSpec, read: Read) -> list[Finding]:
    """Its conversion tells the sections that are not there, and what of its forms is not understood."""
    from dl4mic_hpc import notebook

    data = spec.read_notebook()
    found = list(read.with_notebook(data))
    try:
        converted = notebook.convert(
            data,
            name=spec.notebook_file,
            sections_to_remove=spec.sections_to_remove,
            python=spec.python_version,
        )
    except NotebookError as problem:
        key = "sections_to_remove" if "section" in problem.message else "notebook_url"
        return [*found, *read.about([(True, key, problem.message)])]
    for one in converted.report.not_understood:
        text = f"cell {one.cell}, line {one.line}: {one.text}"
        found += read.about([(False, "notebook_url", text)])
    return found


def _without(message: str, where: str) -> str:
    return message.removeprefix(where).lstrip(": ")


def _tell(path: Path, findings: list[Finding], unseen: list[str]) -> None:
    from dl4mic_hpc.cli.notebook_view import width

    for one in findings:
        place = ", ".join(part for part in (f"line {one.line}" if one.line else "", one.key) if part)
        text = f"{place}: {one.text}" if place else one.text
        _line("mistake" if one.mistake else "warning", text, width())
    for text in unseen:
        _line("not seen", text, width())
    if not findings:
        console.answer(f"{path}: nothing is wrong")


def _line(verdict: str, text: str, width: int) -> None:
    first, *more = textwrap.wrap(text, width - 10, break_long_words=False, break_on_hyphens=False)
    colour = {"mistake": "red", "warning": "yellow"}.get(verdict, "dim")
    console.answer(f"{console.coloured(f'{verdict:<8}', colour)}  {first}")
    for line in more:
        console.answer(f"{'':<10}{line}")


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
