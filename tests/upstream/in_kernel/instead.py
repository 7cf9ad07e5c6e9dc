"""What a notebook does not do here: processes, fetches, writes outside of the kernel's folder; one clock for all."""

from __future__ import annotations

import builtins
import datetime as real_datetime
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import types
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from in_kernel import record
from in_kernel.record import ROOT, event, notebook_calls, value_text
from in_kernel.symbols import called, symbol

FETCHES = re.compile(r"\b(?:git\s+clone|wget|curl|gdown|aria2c)\b")
INSTALLS = re.compile(
    r"\b(?:pip3?|conda|mamba|apt|apt-get)\b.*\b(?:un)?install\b|\bapt(?:-get)?\s+(?:update|upgrade)"
)


def printing(real: Callable[..., None]) -> Callable[..., None]:
    def recording(*values: Any, **how: Any) -> None:
        if notebook_calls():
            event("print" + value_text(values))
        real(*values, **how)

    recording.__name__ = "print"
    return recording


def _command(line: str) -> None:
    if FETCHES.search(line):
        return
    for part in re.split(r"\s*(?:&&|\|\||;)\s*", line):
        alone = re.match(r"cd\b|$", part)  # a shell's own folder, which ends with the line
        if not alone and not INSTALLS.search(part):
            event("shell " + value_text(part))


def system(line: str, *_: Any, depth: int = 1) -> None:
    _command(record.shell.var_expand(line, depth=depth))


def no_processes() -> None:
    def instead(name: str, answer: Any) -> Callable[..., Any]:
        def call(command: Any = "", *values: Any, **named: Any) -> Any:
            if "dl4mic_forms" in sys._getframe(1).f_globals.get("__name__", ""):
                raise FileNotFoundError(2, "no such file", str(command))
            _command(command if isinstance(command, str) else " ".join(map(str, command)))
            return answer() if callable(answer) else answer

        return call

    def nothing() -> Any:
        return types.SimpleNamespace(
            returncode=0,
            stdout=[],
            stderr=[],
            communicate=lambda *_, **__: (b"", b""),
            wait=lambda *_, **__: 0,
            poll=lambda: 0,
        )

    answers = {"call": 0, "check_call": 0, "check_output": b"", "getoutput": "", "getstatusoutput": (0, "")}
    for name in ("run", "Popen", *answers):
        setattr(subprocess, name, instead(name, answers.get(name, nothing)))
    os.system = lambda line: _command(line) or 0
    os.popen = lambda line, *_: _command(line) or io.StringIO("")  # type: ignore[assignment]
    for name in ("kill", "_exit", "abort"):
        setattr(os, name, lambda *_: None)


def no_network() -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    socket.getaddrinfo = unknown
    urllib.request.urlopen = lambda where, *_, **__: symbol(called("urlopen", (where,), {}))
    urllib.request.urlretrieve = lambda where, *_, **__: (called("urlretrieve", (where,), {}), None)  # type: ignore[assignment,return-value]


def _inside(place: Any) -> bool:
    if isinstance(place, int):
        return True
    return os.path.realpath(os.fspath(place)).startswith((ROOT, "/dev/"))


def _guarded(module: Any, name: str, *which: int) -> None:
    real = getattr(module, name)

    def guarded(*values: Any, **named: Any) -> Any:
        if notebook_calls():
            event(f"{name}{value_text(values)}")
        here = all(_inside(values[index]) for index in which if index < len(values))
        return real(*values, **named) if here else None

    setattr(module, name, guarded)


def no_writes_elsewhere() -> None:
    for name in ("remove", "unlink", "rmdir", "mkdir", "makedirs", "removedirs"):
        _guarded(os, name, 0)
    for name in ("rename", "replace"):
        _guarded(os, name, 0, 1)
    _guarded(shutil, "rmtree", 0)
    _guarded(shutil, "move", 0, 1)
    for name in ("copy", "copy2", "copyfile", "copytree"):
        _guarded(shutil, name, 1)
    chdir = os.chdir

    def changing(folder: Any) -> None:
        if Path(folder).is_dir():
            chdir(folder)
        else:
            event(f"chdir {value_text(folder)}")

    os.chdir = changing
    real = io.open

    def opening(file: Any, mode: str = "r", *values: Any, **named: Any) -> Any:
        if not set(mode) & set("wax+"):
            return real(file, mode, *values, **named)
        if notebook_calls():
            event(f"open{value_text((file, mode))}")
        if not _inside(file):
            return io.BytesIO() if "b" in mode else io.StringIO()
        return real(file, mode, *values, **named)

    builtins.open = io.open = opening
    record.shell.user_ns["open"] = opening


def same_clock() -> None:
    def ticking(real: Callable[[], float]) -> Callable[[], float]:
        def clock() -> float:
            if not notebook_calls():
                return real()
            record.clock[0] += 1
            return 1_700_000_000.0 + record.clock[0]

        return clock

    for name in ("time", "perf_counter", "monotonic", "process_time"):
        setattr(time, name, ticking(getattr(time, name)))
    sleep = time.sleep
    time.sleep = lambda seconds: None if notebook_calls() else sleep(seconds)

    class datetime(real_datetime.datetime):  # noqa: N801
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return cls(2021, 3, 4, 5, 6, 7, tzinfo=tz) if notebook_calls() else super().now(tz)

        today = now

    class date(real_datetime.date):  # noqa: N801
        @classmethod
        def today(cls) -> Any:
            return cls(2021, 3, 4) if notebook_calls() else super().today()

    real_datetime.datetime, real_datetime.date = datetime, date  # type: ignore[misc]
