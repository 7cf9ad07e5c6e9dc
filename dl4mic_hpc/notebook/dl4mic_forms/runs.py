"""One run of a form's code, whichever way it was started: its settings, record and log. Python 3.7 syntax only."""

from __future__ import annotations

import asyncio
from typing import Any, Awaitable, Mapping

from . import folders
from .parameters import MAGIC
from .runlog import RunLog, Told
from .scan import magic_first
from .settings import RunRecord, save_values


class Run:
    """From `begin` to `end` everything that is printed is logged; what cannot be kept is told by `unsaved`."""

    def __init__(
        self, shell: Any, notebook: str, form: str, values: Mapping[str, Any], literals: Mapping[str, str],
        told: Told | None = None,
    ) -> None:  # fmt: skip
        self.unsaved = ""
        self._shell, self._notebook, self._form, self._values = shell, notebook, form, values
        self._log = RunLog(folders.RESULTS, form, literals, told)
        self._record: RunRecord | None = None

    def begin(self) -> None:
        try:
            save_values(folders.RESULTS, self._notebook, self._form, self._values)
            self._record = RunRecord(folders.RESULTS, self._notebook, self._form, self._values)
        except OSError as problem:
            self.unsaved = f" (the settings could not be kept: {problem})"
        self._log.open(self._shell)

    def end(self, error: BaseException | None) -> float:
        """The seconds that the run took."""
        seconds = self._log.close(error)
        if self._record is not None:
            try:
                self._record.close(error)
            except OSError as problem:
                self.unsaved = f" (the record of this run could not be kept: {problem})"
        return seconds


def program(form: str, source: str) -> str:
    """What is run: a comment stands where the magic stood, so that line numbers agree with the cell's.

    Under %%time and its kind they count from the line below it, as they do in any cell.
    """
    source = magic_first(source)
    if source.startswith("%%"):
        first, _, rest = source.partition("\n")
        return f"{first}\n#\n{rest}"
    return f"# {MAGIC[2:]} {form}\n{source}"


def await_here(coroutine: Awaitable[Any]) -> Any:
    """Runs code with `await` at its top level although the kernel's own event loop is running (and waits for us)."""
    outer = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()
        asyncio._set_running_loop(outer)


def duration(seconds: float) -> str:
    """A time to read: "0.8 s", "12 s", "3 min 20 s", "2 h 05 min"."""
    if seconds < 60:
        return "{:.{}f} s".format(seconds, 1 if seconds < 9.95 else 0)
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return "{} h {:02d} min".format(*divmod(minutes, 60))
