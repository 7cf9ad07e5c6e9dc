"""A container engine that only answers: a program with podman's face, for faults that the real one cannot be made to show."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

_PROGRAM = """#!{python}
import json, pathlib, sys
here = pathlib.Path({folder!r})
words = sys.argv[1:]
with (here / "calls").open("a") as log:
    log.write(json.dumps(words) + "\\n")
for start, answer in json.loads((here / "answers").read_text()):
    if all(word in words for word in start):
        sys.stdout.write(answer.get("out", ""))
        sys.stderr.write(answer.get("err", ""))
        sys.exit(answer.get("code", 0))
"""


class FakeEngine:
    """The program `name` in `folder`. An answer belongs to the first rule all of whose words are in the call."""

    def __init__(self, folder: Path, name: str = "podman") -> None:
        self.folder = folder
        self.program = folder / name
        self.program.write_text(_PROGRAM.format(python=sys.executable, folder=str(folder)))
        self.program.chmod(stat.S_IRWXU)
        self.rules: list[tuple[list[str], Mapping[str, object]]] = []
        self._save()

    def answers(self, *words: str, out: str = "", err: str = "", code: int = 0) -> None:
        self.rules.append((list(words), {"out": out, "err": err, "code": code}))
        self._save()

    @property
    def calls(self) -> list[list[str]]:
        log = self.folder / "calls"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []

    def _save(self) -> None:
        (self.folder / "answers").write_text(json.dumps(self.rules))
