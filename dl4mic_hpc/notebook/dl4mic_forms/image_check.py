"""What a session needs of an image, tried inside it: `dl4mic-hpc image test` runs this and reads what it wrote.

    python -m dl4mic_forms.image_check REQUEST RESULT

Both are files of JSON. REQUEST has "imports", the notebook's import statements by the module on top, and "start", the
code of its first cell. Nothing is judged here: RESULT tells what happened. Standard library and Python 3.7 syntax only,
but for what every JupyterLab brings.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Iterator

from . import front_end

START = 180.0  # seconds for JupyterLab to answer: the first start from a squashed image reads all of it
KERNEL = 120.0  # seconds for a kernel to start
IMPORT = 600.0  # seconds for what one module brings: TensorFlow takes half a minute from a slow disk
MOST = 600  # characters of an error that are kept

_TOKEN = secrets.token_hex(16)
# Both names of the server: Jupyter Server, and the Notebook server of old images.
_CONFIG = """\
c.{0}.token = {1!r}
c.{0}.ip = '127.0.0.1'
c.{0}.port = 0
c.{0}.root_dir = '/home'
c.ConnectionFileMixin.transport = 'ipc'
"""
_TRY = """\
import json, sys
scope = {"__name__": "__main__"}
for statement in json.loads(sys.argv[1]):
    try:
        exec(statement, scope)
    except BaseException as problem:
        print("\\n" + json.dumps([statement, type(problem).__name__, str(problem)]))
        break
else:
    print("\\nnull")
"""


def check(request: dict[str, Any]) -> dict[str, Any]:
    """What RESULT is to hold."""
    lab_version, lab_problem = lab()
    return {
        "version": 1,
        "python": ".".join(map(str, sys.version_info[:3])),
        "key": key(),
        "jupyterlab": lab_version,
        "lab": lab_problem,
        "kernel": kernel(request["start"]),
        "front_end": " ".join(front_end.verdict().split()),
        "imports": {module: imported(lines) for module, lines in request["imports"].items()},
        "packages": packages(),
    }


def key() -> str:
    """The key of the recipe that the image was built from, "" for an image of another make."""
    try:
        return str(json.loads(Path("/.dl4mic-hpc/recipe.json").read_text())["key"])
    except (OSError, ValueError, KeyError):
        return ""


def packages() -> dict[str, str]:
    """What is installed for the Python that JupyterLab runs with."""
    try:
        from importlib import metadata
    except ImportError:  # Python 3.7
        working_set = importlib.import_module("pkg_resources").working_set
        return {one.project_name: one.version for one in working_set}
    found: dict[str, str] = {}
    for one in metadata.distributions():
        name = one.metadata["Name"]
        if name:
            found.setdefault(name, one.version)  # the first one on the path is what an import gets
    return found


def imported(statements: list[str]) -> dict[str, str]:
    """What went wrong with these statements in a process of their own; empty if nothing did."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TRY, json.dumps(statements)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=IMPORT,
        )
    except subprocess.TimeoutExpired:
        return {"statement": statements[0], "error": "Timeout", "text": f"no end after {IMPORT:.0f} s"}
    last = done.stdout.decode("utf-8", "replace").rstrip().rsplit("\n", 1)[-1]
    try:
        said = json.loads(last)
    except ValueError:
        text = done.stderr.decode("utf-8", "replace").strip()[-MOST:]
        return {"statement": statements[0], "error": f"ended with {done.returncode}", "text": text}
    if said is None:
        return {}
    return {"statement": said[0], "error": said[1], "text": " ".join(said[2].split())[-MOST:]}


def kernel(start: str) -> str:
    """What went wrong when a kernel ran the notebook's first cell; "" if nothing did."""
    heard: list[str] = []

    def hear(message: dict[str, Any]) -> None:
        content = message["content"]
        if message["msg_type"] == "stream" and content["name"] == "stdout":
            heard.append(content["text"])

    try:
        from jupyter_client.manager import KernelManager

        # As in a session: ports of a shared computer are everybody's.
        manager = KernelManager(kernel_name="python3", transport="ipc")
        manager.start_kernel()
    except Exception as problem:
        return _said(problem)
    client = manager.client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=KERNEL)
        for code in (start, "print(6 * 7)"):
            reply = client.execute_interactive(code, timeout=KERNEL, output_hook=hear, allow_stdin=False)
            if reply["content"]["status"] != "ok":
                return f"{reply['content'].get('ename')}: {reply['content'].get('evalue')}"
        return "" if "42" in "".join(heard) else "it computes nothing"
    except Exception as problem:
        return _said(problem)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def lab() -> tuple[str, str]:
    """JupyterLab's version, and what went wrong when it was started as a session does; "" if nothing did."""
    try:
        from jupyterlab import __version__ as version
    except Exception as problem:
        return "", _said(problem)
    with tempfile.TemporaryDirectory(prefix="lab") as name:
        folder = Path(name)
        with (folder / "log").open("wb") as log, _started(folder, log) as server:
            wrong = _answers(folder, server)
        if wrong:
            wrong += ": " + (folder / "log").read_text("utf-8", "replace").strip()[-MOST:]
    return str(version), wrong


@contextlib.contextmanager
def _started(folder: Path, log: Any) -> Iterator[Any]:
    for config, application in (
        ("jupyter_server_config.py", "ServerApp"),
        ("jupyter_notebook_config.py", "NotebookApp"),
    ):
        (folder / config).write_text(_CONFIG.format(application, _TOKEN))
    own = {"CONFIG_DIR": folder, "DATA_DIR": folder / "data", "RUNTIME_DIR": folder / "runtime"}
    environment = dict(os.environ, **{"JUPYTER_" + name: str(path) for name, path in own.items()})
    environment["IPYTHONDIR"] = str(folder / "ipython")
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=environment,
    )
    try:
        yield server
    finally:
        server.kill()
        server.wait()


def _answers(folder: Path, server: Any) -> str:
    """Waits until the server answers; what is wrong otherwise."""
    until = time.monotonic() + START
    while time.monotonic() < until:
        if server.poll() is not None:
            return f"it ended with {server.returncode}"
        for file in (folder / "runtime").glob("[jn]*server-*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                port = json.loads(file.read_text())["port"]
                return _asked(f"http://127.0.0.1:{port}")
        time.sleep(0.1)
    return f"no answer after {START:.0f} s"


def _asked(address: str) -> str:
    """Whether the page of JupyterLab is there for whoever has the token, and the kernel for notebooks."""
    no_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for path, word in (("/api/kernelspecs", "python3"), ("/lab", "jupyter-config-data")):
        request = urllib.request.Request(address + path, headers={"Authorization": "token " + _TOKEN})
        try:
            with no_proxy.open(request, timeout=START) as answer:
                text = answer.read().decode("utf-8", "replace")
        except urllib.error.URLError as problem:
            return f"{path} is not served ({problem})"
        if word not in text:
            return f"{path} is served without {word}"
    return ""


def _said(problem: BaseException) -> str:
    return f"{type(problem).__name__}: {problem}"[:MOST]


def main(request: Path, result: Path) -> None:
    found = check(json.loads(request.read_text("utf-8")))
    result.write_text(json.dumps(found, indent=1), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
