"""shellcheck finds nothing in the scripts that ship and in those that check the project."""

from __future__ import annotations

import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def is_shell(path: Path) -> bool:
    """Whether a file is a whole shell script: by its suffix or its first line. Templates are checked rendered."""
    if not path.is_file() or path.suffix == ".j2":
        return False
    return path.suffix == ".sh" or bool(re.match(rb"#!.*\b(?:ba|da)?sh\b", path.read_bytes()[:80]))


SCRIPTS = [
    path
    for room in (".ci", "templates", "configs", "benchmarks")
    for path in sorted((ROOT / room).rglob("*"))
]
SCRIPTS = [path for path in SCRIPTS if is_shell(path)]


def shellcheck(script: str, *options: str) -> str:
    """What shellcheck says about `script`; nothing if it is in order."""
    program = Path(sysconfig.get_path("scripts")) / "shellcheck"
    done = subprocess.run(
        [program, "--norc", "--format=gcc", *options, "-"],
        input=script.encode(),
        capture_output=True,
    )
    return (done.stdout + done.stderr).decode()


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_script(path: Path) -> None:
    assert (
        shellcheck(path.read_text(encoding="utf-8"), *(() if has_first_line(path) else ("--shell=sh",))) == ""
    )


def has_first_line(path: Path) -> bool:
    return path.read_bytes().startswith(b"#!")


def test_a_fault_is_found() -> None:
    assert "SC2086" in shellcheck("#!/bin/sh\nrm $1\n")
