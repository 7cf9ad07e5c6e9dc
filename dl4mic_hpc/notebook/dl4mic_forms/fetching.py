"""Shell lines of a notebook that fetch from the internet: run only where there is an answer. Python 3.7 syntax only.

`!git clone`, `!wget`, `!curl`, `!gdown`, `!aria2c` and `!pip install` would wait for minutes on a compute node
without internet. Before such a line runs, its host is asked; programs that Python code starts are not looked at.
Pretrained weights that the launch has brought are taken from there, whether there is an answer or not.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any, Callable
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from IPython.utils.text import LSString, SList

from .commands import PORTS, Fetch, fetches
from .folders import DATA
from .network import no_answer, reachable
from .plain import say
from .weights import find

_CELL_MAGICS = ("bash", "sh")


def install(shell: Any) -> None:
    """Looks at this kernel's shell lines and %%bash cells from now on; a second call does nothing."""
    if hasattr(shell, "dl4mic_fetching"):
        return
    shell.dl4mic_fetching = True
    system, getoutput = shell.system, shell.getoutput

    def guarded_system(line: str) -> Any:
        line = shell.var_expand(line, depth=1)
        return _guarded(shell, line, lambda: system(line))

    def guarded_getoutput(line: str, split: bool = True, depth: int = 0) -> Any:
        line = shell.var_expand(line, depth=depth + 1)
        nothing = SList() if split else LSString()
        answer = _guarded(shell, line, lambda: getoutput(line, split=split))
        return nothing if answer is None else answer

    shell.system, shell.getoutput = guarded_system, guarded_getoutput
    for name in _CELL_MAGICS:
        magic = shell.find_cell_magic(name)  # IPython 9 loads some magics when they are first asked for
        if magic is not None:
            shell.magics_manager.magics["cell"][name] = _guarded_magic(shell, magic)


def _guarded_magic(shell: Any, magic: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(line: str, cell: str) -> Any:
        return _guarded(shell, cell, lambda: magic(line, cell))

    guarded.__doc__ = magic.__doc__
    return guarded


def _guarded(shell: Any, line: str, run: Callable[[], Any]) -> Any:
    """What `run` answers; None if the line is not run, with the reason printed and `_exit_code` set."""
    found, alone = fetches(line)
    packages = [fetch for fetch in found if fetch.program == "pip"]
    others = [fetch for fetch in found if fetch.program != "pip"]
    if alone and others and others[0].program == "git" and _there(others[0]):
        return _instead(shell, line, f"already there: {others[0].target}", code=0)
    if alone and others and _brought(others[0]):
        return _instead(shell, line, f"taken from the cluster's weights: {others[0].target}", code=0)
    silent = [f for f in others if not (f.program == "git" and _there(f)) and not _answers(f)]
    for fetch in silent:
        _bring(fetch)
    missing = [f for f in silent if not (_there(f) and (alone or f.program == "git"))]
    if missing:
        first = missing[0]
        name = Path(first.target).name if alone or first.program == "git" else ""
        found_then = f" This line finds it there, if it is called {name}." if name else ""
        text = f"not run: {line.strip()}\n{no_answer(first.host)}.{found_then}"
        return _instead(shell, line, text, code=1)
    if alone and silent:
        text = f"already there: {silent[0].target} ({silent[0].host} does not answer)"
        return _instead(shell, line, text, code=0)
    no_index = any(not _answers(fetch) for fetch in packages)
    if no_index:
        say(f"{packages[0].host} does not answer: pip sees only the packages that are installed.")
    return _run(shell, run, {"PIP_NO_INDEX": "1"} if no_index else {})


def _run(shell: Any, run: Callable[[], Any], environment: dict[str, str]) -> Any:
    """Runs a line whose variables are filled in already; filling in once more would change what is in them."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    shell.var_expand = lambda line, *arguments, **keywords: line
    try:
        return run()
    finally:
        shell.__dict__.pop("var_expand", None)
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _instead(shell: Any, line: str, text: str, *, code: int) -> None:
    say(text)
    shell.user_ns["_exit_code"] = code
    if code and getattr(shell, "system_raise_on_error", False):
        raise CalledProcessError(code, line)


def _answers(fetch: Fetch) -> bool:
    """Whether the host can be reached: itself, or the proxy that the environment names for it."""
    proxies = getproxies()
    proxy = proxies.get(fetch.scheme) or proxies.get("all") or ""
    if not proxy or fetch.scheme in ("ssh", "git") or proxy_bypass(fetch.host):
        return reachable(fetch.host, fetch.port)
    parts = urlsplit(proxy if "//" in proxy else "//" + proxy)
    return reachable(parts.hostname or "", parts.port or PORTS["http"])


def _brought(fetch: Fetch) -> bool:
    """Copies what would be fetched from the weights that the launch has brought, if it is among them."""
    file = find(fetch.address) if fetch.target and fetch.address else None
    if file is None:
        return False
    target = _place(fetch)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(str(file), str(target))
    return True


def _bring(fetch: Fetch) -> None:
    """Copies what would be fetched from the data, where a person may have put it under its own name."""
    source, target = DATA / Path(fetch.target).name, _place(fetch)
    if not fetch.target or _there(fetch) or not source.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(str(source), str(target))
    else:
        shutil.copyfile(str(source), str(target))
    say(f"copied: {fetch.target} from {source}")


def _place(fetch: Fetch) -> Path:
    return Path(os.path.expandvars(fetch.target)).expanduser()


def _there(fetch: Fetch) -> bool:
    """Whether what would be fetched is there: a file, or a folder that is not empty."""
    if not fetch.target:
        return False
    target = _place(fetch)
    return target.is_file() or (target.is_dir() and any(target.iterdir()))
