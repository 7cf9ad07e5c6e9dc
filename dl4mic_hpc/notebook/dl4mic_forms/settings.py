"""What was chosen in the forms, kept under results/: the last values of every form, and a record of each run.

Both kinds of file are parameter files of a run without a browser. None of them is ever seen half written, and
two notebooks that save at the same time do not lose each other's values. A results folder that is full must not
stop a run that takes hours: everything here raises OSError and leaves it to the caller to say so.
Standard library and Python 3.7 syntax only.
"""

from __future__ import annotations

import json
import os
import platform
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Iterator, Mapping

SETTINGS = "dl4mic_settings.json"
RUNS = "dl4mic_runs"

_PATIENCE = 5.0  # seconds; a save takes milliseconds, so a lock that is older was left by somebody who died


def read_values(path: Path, notebook: str) -> dict[str, Any]:
    """The values in a settings, run or parameter file: `name` or `form.name` -> value.

    A parameter file is a JSON object of such pairs; a record of a run holds them under "fields"; settings hold
    them for every notebook by its name. ValueError if it is neither, OSError if it cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if isinstance(content, dict) and isinstance(content.get("notebooks"), dict):
        kept = content["notebooks"]
        if notebook not in kept:
            raise ValueError(
                "{} holds values of {}, not of {}".format(path, ", ".join(sorted(kept)), notebook)
            )
        content = kept[notebook]
    if isinstance(content, dict) and isinstance(content.get("fields"), dict):
        content = content["fields"]
    if not isinstance(content, dict):
        raise ValueError(f'{path} must hold names and values: {{"name": value}}')
    return content


def previous(folder: Path, notebook: str, form: str) -> dict[str, Any]:
    """The values of the form's last run by field name; none if it has not been run. ValueError as above."""
    try:
        fields = _known(folder / SETTINGS).get(notebook, {})["fields"]
    except (FileNotFoundError, KeyError):
        return {}
    start = form + "."
    return {key[len(start) :]: value for key, value in fields.items() if key.startswith(start)}


def save_values(folder: Path, notebook: str, form: str, values: Mapping[str, Any]) -> None:
    """Makes `values` the last ones of a form. Settings that cannot be read any more are kept under another name."""
    path = folder / SETTINGS
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder / (SETTINGS + ".lock")):
        try:
            known = _known(path)
        except FileNotFoundError:
            known = {}
        except ValueError:
            path.replace(path.with_suffix(".unreadable"))
            known = {}
        start = form + "."
        fields = known.get(notebook, {}).get("fields", {})
        fields = {key: value for key, value in fields.items() if not key.startswith(start)}
        fields.update({start + name: value for name, value in values.items()})
        known[notebook] = {"saved": now(), "fields": dict(sorted(fields.items()))}
        write_json(path, {"version": 2, "notebooks": known})


class RunRecord:
    """One run in dl4mic_runs/<time>_<form>.json: when, where, with which values, and what became of it."""

    def __init__(self, folder: Path, notebook: str, form: str, values: Mapping[str, Any]) -> None:
        self._started = time.monotonic()
        self.stamp = time.strftime("%Y%m%d-%H%M%S")
        folder = folder / RUNS
        folder.mkdir(parents=True, exist_ok=True)
        self._path = _free(folder, f"{self.stamp}_{form}", ".json")
        self._content: dict[str, Any] = {
            "version": 1,
            "notebook": notebook,
            "form": form,
            "started": now(),
            "ended": None,
            "state": "running",
            "seconds": None,
            "error": None,
            "node": platform.node(),
            "job": os.environ.get("SLURM_JOB_ID"),
            "fields": {f"{form}.{name}": value for name, value in values.items()},
        }
        write_json(self._path, self._content)

    def close(self, error: BaseException | None) -> None:
        state = "done" if error is None else "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
        self._content.update(ended=now(), state=state, seconds=round(time.monotonic() - self._started, 1))
        if state == "failed":
            self._content["error"] = f"{type(error).__name__}: {error}"
        write_json(self._path, self._content)


def write_json(path: Path, content: Any) -> None:
    """Writes a whole file or nothing, even if the node loses power."""
    beside = path.with_name(f"{path.name}.{platform.node()}-{os.getpid()}.new")
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _known(path: Path) -> dict[str, Any]:
    """The settings by notebook. The first version of the file held those of one notebook."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    kept = content.get("notebooks") if isinstance(content, dict) else None
    if kept is None and isinstance(content, dict) and isinstance(content.get("fields"), dict):
        kept = {str(content.get("notebook")): {"saved": content.get("saved"), "fields": content["fields"]}}
    if not isinstance(kept, dict) or not all(
        isinstance(each, dict) and "fields" in each for each in kept.values()
    ):
        raise ValueError(f"{path} does not hold settings")
    return kept


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One writer at a time, on network disks too: creating a file that must be new is atomic on all of them."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            os.close(os.open(str(lock), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            break
        except FileExistsError:
            if time.monotonic() > until:
                break
            time.sleep(0.02)
    try:
        yield
    finally:
        with suppress(OSError):
            lock.unlink()


def _free(folder: Path, stem: str, ending: str) -> Path:
    number, path = 1, folder / (stem + ending)
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}{ending}"
    return path
