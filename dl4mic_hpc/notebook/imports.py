"""What a notebook's cells import, as statements that can be tried without running the cells."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping

from dl4mic_hpc.notebook.lines import statements

_ELSEWHERE = ("google", "dl4mic_forms", "__future__")
"""Colab's own modules, which the files in dl4mic_forms/ stand in for once the notebook has started."""

_CAUGHT = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


def of(notebook: bytes) -> Mapping[str, tuple[str, ...]]:
    """The import statements of a converted notebook by the module on top, each once and in the notebook's order.

    Left out are those that the notebook itself can do without (in a `try` that catches their failing), and cells
    that are no Python.
    """
    found: dict[str, dict[str, None]] = {}
    for cell in json.loads(notebook)["cells"]:
        if cell["cell_type"] != "code":
            continue
        for node in _of_cell("".join(cell["source"])):
            for module, statement in _plain(node):
                if module not in _ELSEWHERE:
                    found.setdefault(module, {})[statement] = None
    return {module: tuple(lines) for module, lines in found.items()}


def start(notebook: bytes) -> str:
    """The code of the cell that makes the forms work, "" if the notebook has none."""
    for cell in json.loads(notebook)["cells"]:
        if cell["metadata"].get("dl4mic_hpc", {}).get("made") == "start":
            return "".join(cell["source"])
    return ""


def _of_cell(source: str) -> Iterator[ast.Import | ast.ImportFrom]:
    """Without its magics; statement by statement where the cell as a whole is not understood."""
    kept = source.split("\n")
    for one in statements(source):
        if one.kind != "python":
            first, *others = one.lines
            indent = first[: len(first) - len(first.lstrip())]
            kept[one.number - 1 : one.number - 1 + len(one.lines)] = [f"{indent}pass", *("" for _ in others)]
    kept = ["" if line.startswith("%%") else line for line in kept]
    try:
        yield from _statements(ast.parse("\n".join(kept)))
    except (SyntaxError, ValueError):
        for one in statements(source):
            if one.kind == "python":
                try:
                    yield from _statements(ast.parse("\n".join(one.lines).strip()))
                except (SyntaxError, ValueError):
                    continue


def _statements(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.Try) and any(map(_catches, child.handlers)):
            yield from _statements(ast.Module(body=[*child.orelse, *child.finalbody], type_ignores=[]))
        else:
            yield from _statements(child)


def _catches(handler: ast.ExceptHandler) -> bool:
    names = (
        {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)} if handler.type else {None}
    )
    return bool(names & {*_CAUGHT, None})


def _plain(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
    """Module on top and statement; `import a, b` are two. A relative import is of no image."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name.partition(".")[0], ast.unparse(ast.Import(names=[alias]))
    elif not node.level and node.module:
        yield node.module.partition(".")[0], ast.unparse(node)
