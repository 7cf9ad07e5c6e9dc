"""Where a session's data and results lie, which folders there are to choose, and what one of them holds.

Looking is bounded in depth, number and time: a folder of a million files on a slow disk must not hang a form.
Standard library and Python 3.7 syntax only.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter, deque
from pathlib import Path
from typing import Iterator

from .forms import Field

HOME = Path(__file__).absolute().parent.parent
DATA = HOME / "data"
RESULTS = HOME / "results"

DEPTH = 3
FOLDERS = 100
ENTRIES = 10_000
SECONDS = 1.0

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_PLACES = {"path", "paths", "folder", "folders", "dir", "dirs", "directory", "file", "files"}
_PERHAPS = {"source", "target", "annotations", "outputs"}
_NO_PLACES = {"name", "id", "url", "description"}
_RESULTS = {
    "result",
    "results",
    "output",
    "outputs",
    "saving",
    "save",
    "model",
    "models",
    "checkpoint",
    "csv",
}
_OWN = {"logs", "dl4mic_runs"}  # made by the forms themselves
_known: tuple[float, list[str], list[str]] = (-60.0, [], [])


def words(name: str) -> list[str]:
    """The words of a field's name: "Training_sourceDir2" gives training, source, dir."""
    return [word.lower() for word in _WORD.findall(name)]


def is_place(field: Field) -> bool:
    """Whether the field asks for a file or folder, told by its name (and by a value that looks like one)."""
    if field.kind != "string" and not (field.kind == "dropdown" and field.allow_input):
        return False
    found = words(field.name)
    if not found or found[-1] in _NO_PLACES:
        return False
    looks = field.value == "" or (isinstance(field.value, str) and "/" in field.value)
    looks = looks and "://" not in str(field.value)
    return bool(_PLACES & set(found)) or (looks and bool(_PERHAPS & set(found)))


def for_results(field: Field) -> bool:
    """Whether the place is more likely one of results than one of data."""
    return bool(_RESULTS & set(words(field.name)))


def known(*, fresh: bool = False) -> tuple[list[str], list[str]]:
    """The folders under the session's data and under its results, upper levels first.

    Forms are drawn many at a time, so an answer of a few seconds ago is taken again unless it must be `fresh`.
    """
    global _known
    if fresh or time.monotonic() - _known[0] > 5:
        until = time.monotonic() + SECONDS
        data, results = list(_below(DATA, until)), list(_below(RESULTS, until + SECONDS))
        _known = (time.monotonic(), data, results)
    return _known[1], _known[2]


def describe(text: str) -> tuple[bool, str]:
    """What stands at the path `text`: whether that deserves a warning, and a sentence for under the field."""
    if not text.strip():
        return False, ""
    path = Path(os.path.normpath(Path.cwd() / text))
    outside = not any(path == top or top in path.parents for top in (DATA, RESULTS))
    where = f", outside {DATA} and {RESULTS}: it does not come to your computer" if outside else ""
    try:
        if path.is_dir():
            return outside, _holds(str(path)) + where
        if path.is_file():
            return outside, _size(path.stat().st_size) + where
    except (OSError, ValueError) as problem:  # ValueError: a zero byte in the path
        return True, f"cannot be read: {problem}"
    return True, "does not exist" + where


def _below(top: Path, until: float) -> Iterator[str]:
    waiting = deque([(str(top), 0)])
    number = 0
    own = {str(RESULTS / name) for name in _OWN}
    while waiting and number < FOLDERS and time.monotonic() < until:
        path, depth = waiting.popleft()
        if Path(path).is_dir():
            number += 1
            yield path
        if depth < DEPTH:
            waiting.extend(
                (inside, depth + 1) for inside in sorted(_folders_in(path, until)) if inside not in own
            )


def _folders_in(path: str, until: float) -> Iterator[str]:
    try:
        with os.scandir(path) as entries:
            for number, entry in enumerate(entries):
                if number >= ENTRIES or (number % 100 == 0 and time.monotonic() > until):
                    return
                if not entry.name.startswith((".", "__")) and entry.is_dir():
                    yield entry.path
    except OSError:
        return


def _holds(path: str) -> str:
    """What is in a folder: "12 files, 10 of them .tif and 2 folders"."""
    endings: Counter[str] = Counter()
    folders, more, until = 0, "", time.monotonic() + SECONDS
    with os.scandir(path) as entries:
        for number, entry in enumerate(entries):
            if number >= ENTRIES or (number % 100 == 0 and time.monotonic() > until):
                more = "more than "
                break
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                folders += 1
            else:
                endings[Path(entry.name).suffix.lower()] += 1
    files = sum(endings.values())
    said = [_counted(files, "file")] if files else []
    ending, most = endings.most_common(1)[0] if files else ("", 0)
    if ending:
        said.append(
            f"{most:,} of them {ending}" if most < files else f"all {ending}" if files > 1 else ending
        )
    said += [_counted(folders, "folder")] if folders else []
    return more + ", ".join(said) if said else "empty or too slow to look at" if more else "empty"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _size(number: float) -> str:
    for unit in ("bytes", "KB", "MB"):
        if number < 1000:
            return f"a file of {number:.0f} {unit}"
        number /= 1000
    return f"a file of {number:.1f} GB"
