"""BuildKit's own test vectors for its word expansion and its parser: all of them, and their number."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.buildkit_vectors import buildkit_vectors as buildkit_vectors
from support.buildkit_view import dump, nodes

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.arguments import ArgumentError
from dl4mic_hpc.recipe.lexer import LexError, expand

ENVIRONMENT = {"PWD": "/home", "SHELL": "bash", "KOREAN": "한국어", "NULL": ""}
REFUSED = "error"


def test_expansion(buildkit_vectors: Path) -> None:
    wrong, count = [], 0
    for line in (buildkit_vectors / "shell" / "envVarTest").read_text(encoding="utf-8").splitlines():
        platform, *parts = line.split("|")
        if line.startswith("#") or not line.strip() or platform.strip() == "W":
            continue
        written, expected = (part.strip() for part in parts)
        try:
            found = expand(written, ENVIRONMENT).text
        except LexError:
            found = REFUSED
        wrong += [(written, expected, found)] if found != expected else []
        count += 1
    assert (wrong, count) == ([], 228)


def test_splitting(buildkit_vectors: Path) -> None:
    environment: dict[str, str] = {}
    wrong, count = [], 0
    for line in (buildkit_vectors / "shell" / "wordsTest").read_text(encoding="utf-8").split("\n"):
        if line.startswith("#") or not line:
            continue
        if line.startswith("ENV "):
            name, _, value = line.removeprefix("ENV ").partition("=")
            environment[name] = value
            continue
        written, listed = line.split("|")
        expected = tuple(listed.lstrip(" ").split(","))
        try:
            found = expand(written.strip(), environment).words
        except LexError:
            found = (REFUSED,)
        wrong += [(written, expected, found)] if found != expected else []
        count += 1
    assert (wrong, count) == ([], 24)


def test_instructions(buildkit_vectors: Path) -> None:
    folders = sorted((buildkit_vectors / "parser" / "testfiles").iterdir())
    wrong = []
    for folder in folders:
        # A NUL character is the one thing in them that we refuse: no program can be given one.
        data = (folder / "Dockerfile").read_bytes().replace(rb"\u0000", b"")
        expected = (folder / "result").read_text(encoding="utf-8").replace(r"\x00", "").strip()
        found = nodes(data)
        if expected not in (dump(found, separators=False), dump(found, separators=True)):
            wrong.append(folder.name)
    assert (wrong, len(folders)) == ([], 33)


def test_files_that_are_refused(buildkit_vectors: Path) -> None:
    folders = sorted((buildkit_vectors / "parser" / "testfiles-negative").iterdir())
    for folder in folders:
        with pytest.raises((RecipeError, ArgumentError)):
            nodes((folder / "Dockerfile").read_bytes())
    assert len(folders) == 4


def test_lines(buildkit_vectors: Path) -> None:
    found = nodes((buildkit_vectors / "parser" / "testfile-line" / "Dockerfile").read_bytes())
    assert [node.line for node in found] == [5, 11, 17]
