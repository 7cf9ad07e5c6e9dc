"""The rooms, the error tree and the documentation say the same; the rest of the design is held by import-linter."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from dl4mic_hpc import errors

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "dl4mic_hpc"
MODULES = sorted(PACKAGE.rglob("*.py"))
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# ---- Rooms -----------------------------------------------------------------------------------------------------------


def contracts() -> list[dict[str, Any]]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = project["tool"]["importlinter"]["contracts"]
    return found


def test_every_room_has_its_layer() -> None:
    """import-linter says nothing about a room that it was not told of."""
    rooms = {path.stem for path in PACKAGE.glob("*.py")} | {
        path.parent.name for path in PACKAGE.glob("*/__init__.py")
    }
    layers = {name.strip() for line in contracts()[0]["layers"] for name in line.split("|")}
    assert {f"dl4mic_hpc.{room}" for room in rooms - {"__init__", "__main__"}} == layers


def test_pure_rooms_are_kept_from_every_way_out() -> None:
    pure = next(contract for contract in contracts() if contract["name"].startswith("Pure rooms"))
    rooms = {"recipe", "notebook", "slurm", "catalog", "profile"}
    assert {f"dl4mic_hpc.{room}" for room in rooms} <= set(pure["source_modules"])
    ways_out = {"paramiko", "subprocess", "socket", "ssl", "http", "urllib", "requests", "spython"}
    assert ways_out | {"typer", "rich"} <= set(pure["forbidden_modules"])


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module(path: Path) -> None:
    """A module has a promising name, one subject's length, and leaves the ending of the program to `main`."""
    assert not {"utils", "helpers", "common", "models", "manager"} & set(
        path.relative_to(ROOT).with_suffix("").parts
    )
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 450, "a module that passes about 400 lines wants to be two"
    # Two programs: the command line, and what runs a notebook inside its image.
    if path not in (PACKAGE / "cli" / "main.py", PACKAGE / "notebook" / "dl4mic_forms" / "__main__.py"):
        assert ends_the_program(ast.parse(text)) == []


def ends_the_program(tree: ast.AST) -> list[int]:
    """The lines that raise SystemExit or call sys.exit, exit, quit or os._exit."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"sys.exit", "exit", "quit", "os._exit"}:
            lines.append(node.lineno)
        if isinstance(node, ast.Raise) and node.exc and ast.unparse(node.exc).startswith("SystemExit"):
            lines.append(node.lineno)
    return lines


# ---- Errors ----------------------------------------------------------------------------------------------------------


def family(cls: type[errors.Dl4micError]) -> list[type[errors.Dl4micError]]:
    return [cls, *(child for direct in cls.__subclasses__() for child in family(direct))]


CLASSES = [cls for cls in family(errors.Dl4micError) if cls.__module__ == errors.__name__]
KINDS = [cls for cls in CLASSES if errors.Dl4micError in cls.__bases__]


def test_errors_are_defined_in_one_place() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and path.name != "errors.py":
                parents = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
                assert not parents & {cls.__name__ for cls in CLASSES}, f"{name_of(path)}:{node.lineno}"


def test_every_kind_of_error_has_its_exit_code() -> None:
    codes = [cls.exit_code for cls in KINDS]
    assert sorted(codes) == sorted(set(codes))
    assert not {0, 1, 130} & set(codes)
    for kind in KINDS:
        assert {cls.exit_code for cls in family(kind)} == {kind.exit_code}


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = re.findall(r"[├└]─ (\w+)\s+(\d+)", errors.__doc__ or "")
    assert {(name, int(code)) for name, code in drawn} == {
        (cls.__name__, cls.exit_code) for cls in CLASSES[1:]
    }


def test_the_exit_codes_are_documented() -> None:
    page = (ROOT / "docs" / "reference" / "exit-codes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \|(.*)\|$", page, re.M)
    assert [int(code) for code, _ in rows] == sorted({0, 1, 130} | {cls.exit_code for cls in KINDS})
    named = {name: int(code) for code, row in rows for name in re.findall(r"`(\w+Error)`", row)}
    assert named == {cls.__name__: cls.exit_code for cls in CLASSES[1:]}


# ---- Documentation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", text):
        file, _, heading = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), f"{name_of(page)} links to {target}, which is not there"
        if heading:
            titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
            anchors = {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}
            assert heading in anchors, f"{name_of(page)} links to {target}: no such heading"


def test_the_index_lists_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in sorted((ROOT / "docs").rglob("*.md")):
        relative = page.relative_to(ROOT / "docs").as_posix()
        assert relative == "README.md" or f"({relative})" in index, f"docs/README.md does not list {relative}"


def test_every_make_target_named_in_the_documentation_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for page in PAGES:
        for name in re.findall(r"`make ([a-z-]+)", page.read_text(encoding="utf-8")):
            assert name in targets, f"{name_of(page)} names `make {name}`"
