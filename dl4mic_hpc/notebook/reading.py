"""The bytes of an .ipynb -> its cells, or a sentence about what is wrong with them, and back.

Outputs are left behind at once: they can be hundreds of megabytes, and nothing of them is kept.
"""

from __future__ import annotations

import json
import re
from typing import Any

import nbformat
from nbformat import NotebookNode, v4

from dl4mic_hpc.errors import NotebookError
from dl4mic_hpc.notebook.dl4mic_forms.parameters import KEY

_HINT = "give a Jupyter notebook (.ipynb) of format 4 with Python cells"
_OLD = "open it in JupyterLab and save it there, or run `jupyter nbconvert --to notebook FILE`: both write format 4"
_NEW = "save it as format 4 with the program that wrote it"


def read(data: bytes, name: str) -> NotebookNode:
    """The notebook without its outputs; NotebookError with the cell (from 1) for what is no notebook of Python."""
    try:
        raw = json.loads(data.decode("utf-8-sig"))
        return _notebook(raw, name)
    except (ValueError, RecursionError) as error:
        raise NotebookError(f"{name} is not a Jupyter notebook: {_reason(error)}", hint=_HINT) from error


def _notebook(raw: Any, name: str) -> NotebookNode:
    if not isinstance(raw, dict) or "nbformat" not in raw:
        raise NotebookError(f"{name} is not a Jupyter notebook: it names no format", hint=_HINT)
    version, cells, about = raw["nbformat"], raw.get("cells"), raw.get("metadata", {})
    if type(version) is not int or version != 4:
        older = isinstance(version, int) and version < 4
        raise NotebookError(
            f"{name} is a notebook of format {version!r}, not 4", hint=_OLD if older else _NEW
        )
    if not isinstance(about, dict):
        raise NotebookError(f"{name} is not a Jupyter notebook: its metadata are no mapping", hint=_HINT)
    language = _language(about)
    if language.casefold() not in ("python", "ipython", "python3", ""):
        raise NotebookError(f"{name} is a notebook for {language}, not Python", hint=_HINT)
    if not isinstance(cells, list) or not cells:
        raise NotebookError(f"{name} is a notebook without cells", hint=_HINT)
    work = NotebookNode(nbformat=4, nbformat_minor=5, metadata=nbformat.from_dict(about))
    work.cells = [_cell(cell, f"{name}: cell {number}") for number, cell in enumerate(cells, 1)]
    return work


def converted(work: NotebookNode) -> str | None:
    """The version of dl4mic-hpc that converted the notebook, None if it was not converted."""
    about = work.metadata.get(KEY)
    version = about.get("converter") if isinstance(about, dict) else None
    return version if isinstance(version, str) else None


def write(work: NotebookNode, name: str) -> bytes:
    """The notebook's bytes; the same notebook gives the same. NotebookError if it breaks the format."""
    try:
        nbformat.validate(work)
        text: str = v4.writes(work)
        return text.encode() + b"\n"
    except nbformat.ValidationError as error:
        what = str(error).splitlines()[0]
        raise NotebookError(f"{name}{_place(work, str(error))} is not valid: {what}", hint=_HINT) from error
    except (UnicodeEncodeError, RecursionError) as error:
        raise NotebookError(f"{name}: its metadata cannot be kept: {_reason(error)}", hint=_HINT) from error


def _place(work: NotebookNode, complaint: str) -> str:
    """Where the validator found the fault: ": cell 3, tags" in numbers of the original."""
    found = re.search(r"^On instance(.*):$", complaint, re.M)
    keys = re.findall(r"\['?([^\]']*)'?\]", found[1]) if found else []
    if keys[:1] == ["cells"] and len(keys) > 1:
        source = work.cells[int(keys[1])].metadata[KEY].get("source_cell", int(keys[1]))
        keys = [f"cell {source + 1}", *keys[2:]]
    return f": {', '.join(keys)}" if keys else ""


def _language(about: dict[str, Any]) -> str:
    for key, inside in (("kernelspec", "language"), ("language_info", "name")):
        found = about.get(key)
        if isinstance(found, dict) and isinstance(found.get(inside), str) and found[inside]:
            return str(found[inside])
    return ""


def _cell(raw: Any, where: str) -> NotebookNode:
    kind, source = (raw.get("cell_type"), raw.get("source")) if isinstance(raw, dict) else (None, None)
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if kind not in ("code", "markdown", "raw") or not isinstance(source, str):
        raise NotebookError(f"{where} is no cell of a notebook", hint=_HINT)
    source = source.replace("\r\n", "\n")
    metadata, attachments = raw.get("metadata", {}), raw.get("attachments")
    if not isinstance(metadata, dict) or not isinstance(attachments, dict | None):
        raise NotebookError(f"{where} is no cell of a notebook: its metadata are no mapping", hint=_HINT)
    for number, line in enumerate(source.split("\n"), 1):
        try:
            line.encode()
        except UnicodeEncodeError as error:
            text = f"{where}, line {number} holds half a character (\\u{ord(line[error.start]):04x}), which no file can hold"
            raise NotebookError(text, hint="delete it in the notebook and save it again") from error
    cell = NotebookNode(cell_type=kind, metadata=nbformat.from_dict(metadata), source=source)
    if attachments and kind != "code":
        cell.attachments = nbformat.from_dict(attachments)
    return cell


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}, line {error.lineno}"
    if isinstance(error, UnicodeDecodeError):
        return "it is no text in UTF-8"
    if isinstance(error, UnicodeEncodeError):
        return "they hold half a character"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error).splitlines()[0]
