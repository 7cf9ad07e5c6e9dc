"""A run's output, written to a log under results/ while it goes to the screen: a closed browser loses nothing.

What is printed from Python, by shell lines and by programs that the code starts arrives at the kernel's two output
streams, so these are listened to. Pictures are saved beside the log. A log that cannot be written stops nothing.
Standard library, IPython and Python 3.7 syntax only.
"""

from __future__ import annotations

import base64
import os
import platform
import re
import sys
import time
import traceback
from pathlib import Path
from threading import Event, RLock
from typing import Any, Callable, Mapping, TextIO

PICTURES = 200
SCREEN_LINES = 5_000

_STYLE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\x08")
_PROGRESS = 10.0  # seconds between two states of a progress bar in the log
_END = "\x06"  # "acknowledge": marks the end of what programs wrote; nobody prints it

Told = Callable[[int, str], None]


class RunLog:
    """While open, what is printed and shown also goes to logs/<form>_<time>.log in `folder`.

    With `told` the screen is spared: browsers stop answering at some ten thousand lines. From SCREEN_LINES on,
    lines go to the log alone, and `told` gets their number and the last one, once a second.
    """

    def __init__(self, folder: Path, form: str, values: Mapping[str, str], told: Told | None = None) -> None:
        self._folder, self._form, self._values, self._told = folder / "logs", form, values, told
        self._stem = ""
        self._file: TextIO | None = None
        self._lock = RLock()
        self._drained = Event()
        self._drained.set()
        self._undo: list[Callable[[], None]] = []
        self._texts: list[_Text] = []
        self._started = self._told_at = 0.0
        self._lines = self._pictures = 0

    def open(self, shell: Any) -> None:
        self._started = time.monotonic()
        self._create()
        for stream in (sys.stdout, sys.stderr):
            self._listen(stream)
        self._watch(shell)

    def close(self, error: BaseException | None) -> float:
        """Ends the log with what became of the run; the seconds that it took."""
        for stream in (sys.stdout, sys.stderr):
            self._drain(stream)
            stream.flush()
        seconds = time.monotonic() - self._started
        while self._undo:
            self._undo.pop()()
        with self._lock:
            for text in self._texts:
                text.end()
            if self._told is not None and self._lines > SCREEN_LINES:
                where = f"are in results/logs/{self._stem}.log" if self._file else "could not be kept"
                print(f"\n… {self._lines - SCREEN_LINES:,} more lines {where}")  # noqa: T201
            if error is not None:
                self._put("".join(traceback.format_exception(type(error), error, error.__traceback__)))
            self._put("\n{} after {:.1f} s\n".format("done" if error is None else "failed", seconds))
            if self._file is not None:
                self._file.close()
                self._file = None
        return seconds

    def _create(self) -> None:
        self._stem = "{}_{}".format(self._form, time.strftime("%Y%m%d-%H%M%S"))
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / (self._stem + ".log")
            self._file = path.open("a", encoding="utf-8", errors="replace", buffering=1)
        except OSError:
            return
        job = os.environ.get("SLURM_JOB_ID")
        self._put("{} on {}{}\n".format(time.ctime(), platform.node(), ", job " + job if job else ""))
        self._put("".join(f"{name} = {literal}\n" for name, literal in self._values.items()) + "\n")

    def _listen(self, stream: Any) -> None:
        """Takes the stream's own `write`: the output of programs and of old references to it come that way too."""
        original = stream.write
        lines = _Text(self._line)

        def write(text: Any) -> Any:
            if not isinstance(text, str):
                return original(text)
            ends = _END in text and not self._drained.is_set()
            text = text.replace(_END, "", 1) if ends else text
            with self._lock:
                lines.add(text)
                spared = self._told is not None and self._lines > SCREEN_LINES
            written = len(text) if spared else original(text)
            if ends:
                self._drained.set()
            return written

        stream.write = write
        self._texts.append(lines)
        self._undo.append(lambda: delattr(stream, "write"))

    def _drain(self, stream: Any) -> None:
        """Waits until what programs wrote has come through.

        ipykernel reads the process's own output from a pipe, in a thread; a mark sent last tells when it is empty.
        """
        if getattr(stream, "_fid", None) is None or "write" not in vars(stream):
            return
        self._drained.clear()
        try:
            os.write(stream._original_stdstream_fd, _END.encode())
            self._drained.wait(1.0)
        except (OSError, AttributeError):
            pass
        self._drained.set()

    def _watch(self, shell: Any) -> None:
        """Listens to what is displayed: by display(), by matplotlib, and as the value of a cell's last line."""
        publisher, hook = shell.display_pub, shell.displayhook
        if hasattr(publisher, "register_hook"):

            def shown(message: dict[str, Any]) -> dict[str, Any]:
                if message.get("msg_type", message.get("header", {}).get("msg_type")) == "display_data":
                    self._show(message["content"]["data"])
                return message

            publisher.register_hook(shown)
            self._undo.append(lambda: publisher.unregister_hook(shown))
        original = hook.write_format_data

        def write_format_data(format_dict: dict[str, Any], md_dict: Any = None) -> None:
            self._show(format_dict)
            original(format_dict, md_dict)

        hook.write_format_data = write_format_data
        self._undo.append(lambda: delattr(hook, "write_format_data"))

    def _show(self, data: Mapping[str, Any]) -> None:
        picture = data.get("image/png")
        if picture is not None and self._pictures < PICTURES:
            self._pictures += 1
            name = f"{self._stem}_{self._pictures}.png"
            try:
                content = picture if isinstance(picture, bytes) else base64.b64decode(picture)
                (self._folder / name).write_bytes(content)
                self._put(f"[picture: {name}]\n")
            except (OSError, ValueError) as problem:
                self._put(f"[picture, which could not be saved: {problem}]\n")
        elif picture is None and "application/vnd.jupyter.widget-view+json" not in data:
            self._put("{}\n".format(data.get("text/plain", "")))

    def _line(self, line: str, whole: bool) -> None:
        self._put(line + "\n")
        self._lines += whole
        if self._told is not None and self._lines > SCREEN_LINES and time.monotonic() - self._told_at > 1:
            self._told_at = time.monotonic()
            self._told(self._lines, line)

    def _put(self, text: str) -> None:
        with self._lock:
            try:
                if self._file is not None:
                    self._file.write(text)
            except (OSError, ValueError):
                self._file = None


class _Text:
    """Makes lines, as a person would read them, of what is written to a stream.

    A progress bar that redraws its line a thousand times leaves its last state, and one every ten seconds.
    """

    def __init__(self, line: Callable[[str, bool], None]) -> None:
        self._line, self._rest, self._at = line, "", time.monotonic()

    def add(self, text: str) -> None:
        *whole, rest = _STYLE.sub("", text).replace("\r\n", "\n").split("\n")
        for part in whole:
            self._line(self._redrawn(part).rstrip("\r"), True)
            self._rest, self._at = "", time.monotonic()
        self._rest = self._redrawn(rest)

    def end(self) -> None:
        if self._rest.strip("\r"):
            self._line(self._rest.strip("\r"), False)
        self._rest = ""

    def _redrawn(self, part: str) -> str:
        if "\r" in part and time.monotonic() - self._at > _PROGRESS:
            self.end()
            self._at = time.monotonic()
        states = [state for state in (self._rest + part).split("\r") if state] or [""]
        return states[-1] + "\r" * (self._rest + part).endswith("\r")
