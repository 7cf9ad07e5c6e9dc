"""What a cell did: its calls, prints and files in order, how it ended, and what every name of the notebook holds."""

from __future__ import annotations

import hashlib
import json
import linecache
import os
import random
import re
import sys
import types
from typing import Any

ROOT = os.path.realpath(".")
HERE = re.compile(r"\\*/".join(map(re.escape, ROOT.split("/"))))
"""The kernel's folder, also where a notebook has put backslashes into it."""

TEMPORARY = re.compile(r"\btmp[a-z0-9_]{8}\b")
ENOUGH = 4000
"""Things that one cell may do: a loop that waits for something that a symbol never becomes ends there."""

SHOWN = 300
"""Of these, so many are told one by one."""

shell: Any = None
clock = [0]
_before: set[str] = set()
_events: list[str] = []
_errors: list[list[str]] = []


class EnoughError(BaseException):
    """Ends a cell that does not end by itself; no notebook catches it."""


def begin(in_shell: Any) -> None:
    """Names that are there now are not the notebook's."""
    global shell
    shell = in_shell
    shell.events.register("post_run_cell", _after)
    _before.update(shell.user_ns)
    take()


def take() -> str:
    """What was done since the last call, as JSON: events (the first ones, and all of them as one hash), error, names."""
    done = {
        "events": _events[:SHOWN],
        "all": f"{len(_events)} {digest(chr(10).join(_events))}",
        "errors": list(_errors),
        "names": {
            name: value_text(value)
            for name, value in list(shell.user_ns.items())
            if not name.startswith("_") and name not in _before and name not in ("In", "Out", "dl4mic_forms")
        },
    }
    _events.clear()
    _errors.clear()
    random.seed(0)
    clock[0] = 0
    return json.dumps(done)


def event(text: str) -> None:
    if len(_events) >= ENOUGH:
        raise EnoughError(f"more than {ENOUGH} events")
    _events.append(text)


def notebook_calls(depth: int = 2) -> bool:
    return sys._getframe(depth).f_globals is shell.user_ns


def _after(result: Any) -> None:
    error = result.error_in_exec or result.error_before_exec
    if error is not None:
        _errors.append([type(error).__name__, value_text(str(error)), _line(error)])


def _line(error: BaseException) -> str:
    """The notebook's line where the exception came from."""
    found, trace = "", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals is shell.user_ns:
            found = linecache.getline(trace.tb_frame.f_code.co_filename, trace.tb_lineno).strip()
        trace = trace.tb_next
    return value_text(found)


# What a value is, as text


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _short(text: str) -> str:
    return text if len(text) < 200 else f"{text[:120]}… {digest(text)}"


def value_text(value: Any, depth: int = 0) -> str:
    try:
        return _short(TEMPORARY.sub("<temporary>", HERE.sub("<root>", _text(value, depth))))
    except Exception as problem:
        return f"<{type(value).__name__} that cannot be read: {type(problem).__name__}>"


def _text(value: Any, depth: int) -> str:
    kind = type(value)
    if hasattr(kind, "_label"):  # a symbol
        return f"<{value._label}>"
    if value is None or kind in (bool, int, float, complex, str, bytes):
        return repr(value)
    if kind in (list, tuple, set, frozenset, dict):
        return _of_container(value, depth)
    if isinstance(value, types.ModuleType):
        return f"<module {value.__name__}>"
    if isinstance(value, types.FunctionType):
        return f"<function {value.__name__} {_of_code(value.__code__)} {value_text(value.__defaults__, depth + 1)}>"
    if isinstance(value, BaseException):
        return f"{kind.__name__}({', '.join(value_text(each, depth + 1) for each in value.args)})"
    return _of_class(value, depth) if isinstance(value, type) else f"<{kind.__module__}.{kind.__name__}>"


def _of_container(value: Any, depth: int) -> str:
    name = type(value).__name__
    if depth > 4:
        return f"<{name} of {len(value)}>"
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{value_text(k, depth + 1)}: {value_text(v, depth + 1)}" for k, v in value.items())
            + "}"
        )
    if len(value) > 20 and sum(each in sys.modules for each in value if isinstance(each, str)) > 0.9 * len(
        value
    ):
        return f"<{name} of loaded modules>"  # more are loaded where forms are drawn
    inside = [value_text(each, depth + 1) for each in value]
    return f"{name}({', '.join(sorted(inside) if isinstance(value, (set, frozenset)) else inside)})"


def _of_class(value: type, depth: int) -> str:
    inside = "".join(
        value_text(each, depth + 1) for each in vars(value).values() if isinstance(each, types.FunctionType)
    )
    return f"<class {value.__name__} {digest(inside)}>"


def _of_code(code: types.CodeType) -> str:
    """Of what a function does, wherever it stands."""
    constants = [
        _of_code(each) if isinstance(each, types.CodeType) else repr(each) for each in code.co_consts
    ]
    return digest(HERE.sub("<root>", repr((code.co_code, code.co_names, code.co_varnames, constants))))
