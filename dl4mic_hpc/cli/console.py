"""The only place that prints: progress to standard error, answers to standard output.

On a terminal the current step is one line that is rewritten; without one every new step is a line of its
own, so that a log reads well.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dl4mic_hpc.errors import Dl4micError

if TYPE_CHECKING:
    from dl4mic_hpc.sessions.gpu import GpuProof
    from dl4mic_hpc.transfer import Summary

_COLOURS = {"red": "31", "green": "32", "yellow": "33", "bold": "1", "dim": "2"}


def _paint(text: str, colour: str, *, error: bool) -> str:
    stream = sys.stderr if error else sys.stdout
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if interactive(stream) else text


def interactive(stream: Any = None) -> bool:
    """Whether a person sees this: a terminal that understands colours and rewriting."""
    import os

    stream = stream or sys.stderr
    return bool(stream.isatty()) and os.environ.get("TERM") != "dumb" and "NO_COLOR" not in os.environ


def can_ask() -> bool:
    """Whether a question can be asked and answered on a terminal."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def answer(text: str) -> None:
    """One line of the answer, on standard output."""
    print(text, flush=True)


def answer_json(value: Mapping[str, Any]) -> None:
    """The whole answer as one JSON object with a `version`, on standard output."""
    import json

    print(json.dumps(value, indent=2, sort_keys=False), flush=True)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns that line up, on standard output."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for number, row in enumerate((header, *rows)):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        answer(_paint(line, "bold", error=False) if number == 0 else line)


def tell(text: str) -> None:
    """A sentence for the person at the terminal, on standard error: no part of the answer."""
    print(text, file=sys.stderr, flush=True)


def strong(text: str) -> str:
    return _paint(text, "bold", error=False)


def coloured(text: str, colour: str) -> str:
    """For standard output; plain where that is no terminal."""
    return _paint(text, colour, error=False)


def heading(text: str) -> None:
    answer(strong(f"== {text} =="))


def warn(text: str) -> None:
    print(_paint("warning: ", "yellow", error=True) + text, file=sys.stderr, flush=True)


def gpu(found: GpuProof) -> None:
    """A verdict on a session's GPUs: a fall back to the processor is said loudly."""
    if found.is_bad:
        warn(found.sentence)
    else:
        tell(f"  GPU: {found.sentence}")


def error(problem: Dl4micError) -> None:
    print(_paint("error: ", "red", error=True) + problem.message, file=sys.stderr)
    print(_paint("hint: ", "bold", error=True) + problem.hint, file=sys.stderr, flush=True)


class Steps:
    """Progress of a command, one step at a time, on standard error.

    `say` starts a step (the one before is done), `detail` changes what stands behind the current one.
    Repeating the same words changes nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live = interactive() and not quiet
        self._text = ""
        self._detail = ""
        self._since = 0.0

    def __enter__(self) -> Steps:
        return self

    def __exit__(self, kind: object, problem: object, trace: object) -> None:
        self.close(done=kind is None)

    def close(self, *, done: bool = True) -> None:
        """Ends the current step: what is printed next stands on a line of its own."""
        if self._text and self._live:
            mark = _paint("✓", "green", error=True) if done else _paint("✗", "red", error=True)
            self._rewrite(mark, end="\n")
        self._text = ""

    def say(self, text: str) -> None:
        text = text.removesuffix(" …")
        if text == self._text or self._quiet:
            return
        if self._live:
            if self._text:
                self._rewrite(_paint("✓", "green", error=True), end="\n")
            self._text, self._detail, self._since = text, "", time.monotonic()
            self._rewrite("·")
        else:
            self._text = text
            print(f"{text} …", file=sys.stderr, flush=True)

    def detail(self, text: str) -> None:
        if self._quiet or text == self._detail:
            return
        self._detail = text
        if self._live:
            self._rewrite("·")
        elif text:
            print(f"  {_shortened(text, 120)}", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """A remark that stays, between two steps."""
        if self._quiet:
            return
        if self._live and self._text:
            print("\r\x1b[2K", end="", file=sys.stderr)
        print(f"  {text}", file=sys.stderr, flush=True)
        if self._live and self._text:
            self._rewrite("·")

    def _rewrite(self, mark: str, end: str = "") -> None:
        import shutil

        took = time.monotonic() - self._since
        seconds = _paint(f" {took:.0f} s", "dim", error=True) if end and took >= 1 else ""
        room = max(shutil.get_terminal_size().columns - 4, 20)
        line = self._text if end or not self._detail else f"{self._text}: {self._detail}"
        print(f"\r\x1b[2K{mark} {_shortened(line, room)}{seconds}", end=end, file=sys.stderr, flush=True)


def make_room() -> None:
    """Leaves the line of a running step, so that a question stands on its own."""
    if interactive():
        print("\r\x1b[2K", end="", file=sys.stderr, flush=True)


def ask(question: str, *, default: bool = False) -> bool:
    """A yes-or-no question on the terminal; only an answer that starts with y is a yes."""
    make_room()
    print(f"{question} [{'Y/n' if default else 'y/N'}] ", end="", file=sys.stderr, flush=True)
    said = sys.stdin.readline().strip().casefold()
    return said.startswith("y") if said else default


def _shortened(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"


class Bar:
    """Progress of a copy: bytes done of bytes to do, as the detail of a step."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._size = 0
        self._sent = 0
        self._shown = 0.0

    def start(self, what: str, files: int, size: int) -> None:
        self._size, self._sent, self._shown = size, 0, time.monotonic()
        if files:
            self._steps.detail(f"{what}: {files} file{'' if files == 1 else 's'}, {size_in_words(size)}")

    def advance(self, size: int) -> None:
        self._sent += size
        now = time.monotonic()
        if self._size and now - self._shown > (0.2 if interactive() else 10.0):
            self._shown = now
            share = min(100 * self._sent // self._size, 100)
            self._steps.detail(f"{size_in_words(self._sent)} of {size_in_words(self._size)} ({share} %)")

    def done(self) -> None:
        pass


def left_out(summary: Summary) -> list[str]:
    """What a copy did otherwise than asked: files set aside, renamed, not copied. Nothing of it may go unsaid."""
    return [
        *(f"kept what was there before as {path}" for path in summary.kept),
        *(f"{path} is here under the name {here}" for path, here in summary.renamed.items()),
        *(f"not copied: {one.path} ({one.reason})" for one in summary.skipped),
    ]


def size_in_words(size: int) -> str:
    """Bytes with the unit that a person would use ("1.4 GB"; powers of 1000)."""
    value = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def answer_raw(chunk: bytes) -> None:
    """Part of an answer as it came from the cluster (a log), on standard output."""
    sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def tell_raw(chunk: bytes) -> None:
    """The same where it is no answer, on standard error."""
    sys.stderr.buffer.write(chunk)
    sys.stderr.buffer.flush()


def finding(verdict: str, what: str, detail: str) -> None:
    """One line of a check."""
    colour = {"ok": "green", "failed": "red"}.get(verdict, "yellow")
    answer(
        f"{_paint(f'{verdict:<11}', colour, error=False)}  {what}: {detail}"
        if detail
        else f"{verdict:<11}  {what}"
    )
