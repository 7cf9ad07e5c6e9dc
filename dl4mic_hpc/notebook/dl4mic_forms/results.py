"""What a form leaves under results/: the values chosen, and a log of every run.

A results folder that is full or missing must not stop a run that takes hours: logging gives up silently, and
settings report the reason to the caller. Standard library and Python 3.7 syntax only.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Mapping, TextIO

SETTINGS = "dl4mic_settings.json"


def read_values(path: Path) -> dict[str, Any]:
    """The values in a settings file or a parameter file: `name` or `form.name` -> value.

    A parameter file is a JSON object of such pairs; a settings file holds them under "fields". ValueError if
    it is neither, OSError if it cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if isinstance(content, dict) and isinstance(content.get("fields"), dict):
        content = content["fields"]
    if not isinstance(content, dict):
        raise ValueError(f'{path} must hold names and values: {{"name": value}}')
    return content


def save_values(folder: Path, notebook: str, form: str, values: Mapping[str, Any]) -> None:
    """Adds the values of one form to the settings in `folder`, which are never seen half written.

    A settings file that cannot be read any more is kept under another name. OSError if the disk refuses.
    """
    path = folder / SETTINGS
    folder.mkdir(parents=True, exist_ok=True)
    try:
        known = read_values(path)
    except FileNotFoundError:
        known = {}
    except ValueError:
        path.replace(path.with_suffix(".unreadable"))
        known = {}
    known.update({f"{form}.{name}": value for name, value in values.items()})
    content = {
        "version": 1,
        "notebook": notebook,
        "saved": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "fields": dict(sorted(known.items())),
    }
    beside = folder / (SETTINGS + ".new")
    beside.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    beside.replace(path)


class RunLog:
    """While open, everything printed is also written to logs/<form>_<time>.log in `folder`."""

    def __init__(self, folder: Path, form: str, values: Mapping[str, str]) -> None:
        self._folder, self._form, self._values = folder / "logs", form, values
        self._file: TextIO | None = None
        self._streams = (sys.stdout, sys.stderr)
        self._started = 0.0

    def open(self) -> None:
        self._started = time.monotonic()
        self._streams = (sys.stdout, sys.stderr)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            name = "{}_{}.log".format(self._form, time.strftime("%Y%m%d-%H%M%S"))
            self._file = (self._folder / name).open("a", encoding="utf-8", errors="replace", buffering=1)
        except OSError:
            return
        job = os.environ.get("SLURM_JOB_ID")
        self._write("{} on {}{}\n".format(time.ctime(), platform.node(), ", job " + job if job else ""))
        for name, literal in self._values.items():
            self._write(f"{name} = {literal}\n")
        self._write("\n")
        sys.stdout = _Tee(self._streams[0], self._write)
        sys.stderr = _Tee(self._streams[1], self._write)

    def close(self, error: BaseException | None) -> float:
        """Ends the log with what became of the run; the seconds that it took."""
        seconds = time.monotonic() - self._started
        sys.stdout, sys.stderr = self._streams
        if self._file is not None:
            if error is not None:
                self._write("".join(traceback.format_exception(type(error), error, error.__traceback__)))
            self._write("\n{} after {:.1f} s\n".format("done" if error is None else "failed", seconds))
            self._file.close()
            self._file = None
        return seconds

    def _write(self, text: str) -> None:
        try:
            if self._file is not None:
                self._file.write(text)
        except (OSError, ValueError):
            self._file = None


class _Tee:
    """A stream that hands everything on to the real one and a copy of what is written to the log."""

    def __init__(self, stream: TextIO, copy: Any) -> None:
        self._stream, self._copy = stream, copy

    def write(self, text: str) -> int:
        self._copy(text)
        return self._stream.write(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
