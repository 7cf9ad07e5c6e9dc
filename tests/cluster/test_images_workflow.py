"""Images built, tried and published as .github/workflows/images.yml does it: by the workflow's own commands.

Apptainer is real and runs as an ordinary user; the registry is real, with TLS and a password. What stands for Jupyter in
the small image answers as Jupyter does; the practice cluster's image, which has the real one, is tried as well.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from support import own_apptainer
from support.cluster import Cluster, Finished
from support.own_apptainer import OwnApptainer
from support.servers import FOREIGN

from dl4mic_hpc.sources import pushing
from dl4mic_hpc.sources.reference import parse
from dl4mic_hpc.sources.registry import Access

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "images.yml").read_text("utf-8"))
CONFIGURATION = """\
name: A small notebook
config:
  dl4miceverywhere:
    notebook_url: Tiny.ipynb
    requirements_url: requirements.txt
    description: A recipe that takes seconds
    python_version: '3.13'
"""
PYTHON = "/usr/lib/python3.13"
RECIPE = f"""\
FROM {{base}} AS environment
USER root
WORKDIR /home
COPY requirements.txt /opt/
COPY lab.py {PYTHON}/jupyterlab/__init__.py
COPY main.py {PYTHON}/jupyterlab/__main__.py
COPY commands.py {PYTHON}/jupyterlab/commands.py
COPY paths.py {PYTHON}/jupyter_core/paths.py
COPY manager.py {PYTHON}/jupyter_client/manager.py
COPY tiny_tool.py {PYTHON}/tiny_tool.py
COPY METADATA {PYTHON}/tiny_tool-1.2.dist-info/METADATA
COPY --chmod=755 jupyter-lab /usr/local/bin/jupyter-lab
RUN python3 -c 'import tiny_tool'
"""
FILES = {
    "requirements.txt": "tiny-tool==1.2\n",
    "METADATA": "Metadata-Version: 2.1\nName: tiny-tool\nVersion: 1.2\n",
    "tiny_tool.py": "",
    "jupyter-lab": "#!/usr/bin/python3\n",
    "lab.py": "__version__ = '4.9'\n",
    "main.py": """\
import http.server, json, os
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.headers["Authorization"] else 403)
        self.end_headers()
        self.wfile.write(b"python3" if "kernelspecs" in self.path else b"jupyter-config-data")
server = http.server.HTTPServer(("127.0.0.1", 0), Page)
os.makedirs(os.environ["JUPYTER_RUNTIME_DIR"])
with open(os.environ["JUPYTER_RUNTIME_DIR"] + "/jpserver-1.json", "w") as file:
    json.dump({"port": server.server_address[1]}, file)
server.serve_forever()
""",
    "commands.py": """\
class AppOptions:
    def __init__(self, **_): pass
class _AppHandler:
    info = {"version": "4.9", "disabled": {}}
    def __init__(self, _): pass
    def _ensure_disabled_info(self): pass
    def _get_extension_compat(self): return {"@jupyter-widgets/jupyterlab-manager": []}
""",
    "paths.py": "def jupyter_path(name): return []\n",
    "manager.py": """\
class KernelManager:
    def __init__(self, **_): pass
    def start_kernel(self): pass
    def client(self): return self
    def start_channels(self): pass
    def stop_channels(self): pass
    def wait_for_ready(self, timeout): pass
    def shutdown_kernel(self, now): pass
    def execute_interactive(self, code, timeout, output_hook, allow_stdin):
        said = {"msg_type": "stream", "content": {"name": "stdout", "text": "42"}}
        output_hook(said)
        return {"content": {"status": "ok"}}
""",
}


def notebook() -> str:
    cell = {"cell_type": "code", "source": "import tiny_tool\nx = 1 #@param", "metadata": {}, "outputs": []}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]})


class Runner:
    """A hosted runner, as far as the workflow sees one: a checkout, the program, and Apptainer."""

    def __init__(self, own: OwnApptainer) -> None:
        self.own = own
        self.checkout = own.folder / "checkout"
        self.checkout.mkdir()
        for name in ("dl4mic_hpc", "templates"):
            shutil.copytree(ROOT / name, self.checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
        program = own.folder / "bin" / "dl4mic-hpc"
        program.write_text(
            f'#!/bin/sh\nPYTHONPATH={self.checkout} exec {sys.executable} -m dl4mic_hpc "$@"\n'
        )
        program.chmod(0o755)
        self.git("init", "--quiet")
        self.add("other", tool="false")
        self.add("tiny", tool="import tiny_tool")

    def add(self, name: str, *, tool: str) -> None:
        """A notebook of the catalogue, in a commit of its own."""
        folder = self.checkout / "configs" / "notebooks" / name
        folder.mkdir(parents=True)
        recipe = RECIPE.format(base=f"{self.own.registry}/python:1").replace("import tiny_tool", tool)
        files = {
            "Dockerfile": recipe, "configuration.yaml": CONFIGURATION, "Tiny.ipynb": notebook(), **FILES
        }  # fmt: skip
        for file, content in files.items():
            (folder / file).write_text(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", name)

    def git(self, *words: str) -> None:
        person = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *person, *words], cwd=self.checkout, check=True)

    def run(self, job: str, expressions: Mapping[str, str]) -> dict[str, str]:
        """The steps of a job that call the program, one after the other; what they put out."""
        output = self.own.folder / "output"
        output.write_text("")
        given = {
            "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(self.own.folder / "summary"),
            "GITHUB_REPOSITORY": "MyLab/Notebooks",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_SHA": "c0ffee",
        }
        described = WORKFLOW["jobs"][job]
        steps = [step for step in described["steps"] if "dl4mic-hpc" in step.get("run", "")]
        assert steps
        for step in steps:
            named = {**WORKFLOW["env"], **described.get("env", {}), **step.get("env", {})}
            own = {
                name: re.sub(r"\$\{\{ (.*?) \}\}", lambda found: expressions[found[1]], str(value))
                for name, value in named.items()
            }
            done = subprocess.run(
                ["bash", "-e", "-c", step["run"]],
                cwd=self.checkout,
                env={**self.own.environment(), **own, **given, "REGISTRY": self.own.registry},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=600,
            )
            assert done.returncode == 0, f"{step['run']}\n{done.stdout}\n{done.stderr}"
        found = re.findall(r"^(\w+)<<(\w+)\n(.*?)\n\2$", output.read_text(), re.M | re.S)
        return {name: value for name, _, value in found}

    def call(self, *words: str, code: int = 0) -> Finished:
        done = subprocess.run(
            words,
            cwd=self.checkout,
            env=self.own.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == code, f"{words}\n{done.stdout}\n{done.stderr}"
        return Finished(code=done.returncode, out=done.stdout, err=done.stderr)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    with own_apptainer.running(tmp_path_factory.mktemp("own")) as own:
        yield Runner(own)


@pytest.fixture(scope="module")
def published(runner: Runner) -> dict[str, str]:
    """What the matrix says of the one image that the last commit touches, after the workflow has published it."""
    since = "github.event.pull_request.base.sha || github.event.before || inputs.since"
    said = runner.run("matrix", {since: "HEAD~1", "inputs.disk || '14'": "14"})
    (row,) = json.loads(said["matrix"])["include"]
    expressions = {f"matrix.{name}": str(value) for name, value in row.items()}
    runner.run("image", expressions)
    runner.run("publish", expressions)
    return row


def test_the_workflows_commands_publish_what_apptainer_pulls(
    runner: Runner, published: dict[str, str]
) -> None:
    assert published["notebook"] == "tiny"
    image = f"{runner.own.registry}/mylab/notebooks/images:{published['tag']}"
    runner.call("apptainer", "pull", str(runner.own.folder / "pulled.sif"), f"oras://{image}")
    built, pulled = runner.checkout / "tiny.sif", runner.own.folder / "pulled.sif"
    assert pulled.read_bytes() == built.read_bytes()
    assert "tiny" in (runner.own.folder / "summary").read_text()


def test_definition_manifest_and_test_lie_beside_it(
    runner: Runner, published: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in FOREIGN:
        monkeypatch.delenv(name, raising=False)
    for name in ("SSL_CERT_FILE", "REGISTRY_AUTH_FILE"):
        monkeypatch.setenv(name, runner.own.environment()[name])
    image = parse(f"{runner.own.registry}/mylab/notebooks/images:{published['tag']}")
    facts = pushing.facts_of(image, access=Access())
    for name, file in (
        ("image.def", "tiny.def"),
        ("manifest.json", "tiny.manifest.json"),
        ("test.json", "tiny.test.json"),
    ):
        assert facts[name] == (runner.checkout / file).read_bytes()
    test = json.loads(facts["test.json"])
    assert test["fits"] and test["key"] == published["key"]
    assert test["sha256"] == hashlib.sha256((runner.checkout / "tiny.sif").read_bytes()).hexdigest()
    assert {one["what"]: one["verdict"] for one in test["findings"]} == {
        "JupyterLab": "ok", "kernel": "ok", "forms": "ok", "imports": "ok", "requirements": "ok",
    }  # fmt: skip
    assert "From: " in facts["image.def"].decode()


def test_what_does_not_hold_what_a_notebook_needs_is_refused(
    runner: Runner, published: dict[str, str]
) -> None:
    folder = runner.own.folder / "demanding"
    folder.mkdir()
    (folder / "configuration.yaml").write_text(CONFIGURATION)
    (folder / "requirements.txt").write_text("tiny-tool==2\n")
    (folder / "Tiny.ipynb").write_text(notebook().replace("import tiny_tool", "import json, no_such_module"))
    result = folder / "result.json"
    words = ("image", "test", "tiny.sif", "-c", str(folder / "configuration.yaml"), "-o", str(result))
    done = runner.call("dl4mic-hpc", *words, code=7)
    assert "tiny-tool==2: the image has 1.2" in done.out and "no_such_module" in done.out
    place = f"oras://{runner.own.registry}/mylab/demanding:1"
    refused = runner.call("dl4mic-hpc", "image", "publish", "tiny.sif", place, "--test", str(result), code=7)
    assert "did not pass its test" in refused.err
    assert json.loads(result.read_text())["fits"] is False


def test_a_stranger_publishes_nothing(runner: Runner, published: dict[str, str]) -> None:
    login = Path(runner.own.environment()["REGISTRY_AUTH_FILE"])
    kept = login.read_bytes()
    login.write_text("{}")
    try:
        place = f"oras://{runner.own.registry}/mylab/strange:1"
        refused = runner.call("dl4mic-hpc", "image", "publish", "tiny.sif", place, code=7)
    finally:
        login.write_bytes(kept)
    assert "does not let you push" in refused.err and "podman login" in refused.err


def test_the_practice_clusters_image_passes(runner: Runner, cluster: Cluster, image: PurePosixPath) -> None:
    """With a real JupyterLab, real widgets and the packages that the notebook imports."""
    sif = runner.own.folder / "demo.sif"
    login = f"dl4mic-{cluster.instance}-login"
    with sif.open("wb") as file:
        subprocess.run(
            [cluster.engine, "exec", login, "cat", str(image)], stdout=file, check=True, timeout=120
        )
    words = (sys.executable, "-m", "dl4mic_hpc", "image", "test", str(sif), "pixel_segmentation", "--json")
    done = subprocess.run(
        words,
        cwd=runner.own.folder,
        env={**runner.own.environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["fits"] and all(one["verdict"] == "ok" for one in told["findings"])
    assert told["jupyterlab"].startswith("4.") and told["key"] == image.stem.rpartition("-")[2]
    assert "sklearn" in next(one["detail"] for one in told["findings"] if one["what"] == "imports")
    assert sif.stat().st_size == told["size"]


def test_an_image_that_is_built_here_is_used_by_a_launch_there(runner: Runner, other_laptop: Cluster) -> None:
    """For clusters on which nothing can be built: this one's nodes are said to have no internet."""
    shutil.copytree(other_laptop.home / "config", runner.own.folder / "home" / "config", dirs_exist_ok=True)
    path = runner.own.folder / "home" / "config" / "clusters" / "sandbox.yaml"
    profile = yaml.safe_load(path.read_text())
    profile |= {"work_dir": "/scratch/ada/here", "build": {**profile["build"], "internet": "laptop"}}
    path.write_text(yaml.safe_dump(profile))
    launch = ("dl4mic-hpc", "launch", "tiny", "--cluster", "sandbox", "--detach", "--json")
    build = ("dl4mic-hpc", "image", "build", "tiny", "--here", "--cluster", "sandbox", "--json")
    try:
        refused = runner.call(*launch, code=7)
        assert "no internet" in refused.err and "image build tiny --here" in refused.err
        assert other_laptop.inside("login", "ls", "/scratch/ada/here/sessions", "/scratch/ada/here/builds").split() == [
            "/scratch/ada/here/builds:", "/scratch/ada/here/sessions:",
        ]  # fmt: skip
        made = runner.call(*build).json
        assert made["state"] == "made" and runner.call(*build).json["state"] == "there"
        session = runner.call(*launch).json
        assert session["build_job_id"] is None
        runner.call("dl4mic-hpc", "stop", session["session"])
        checked = runner.call("dl4mic-hpc", "image", "check", "--all", "--cluster", "sandbox", "--json").json
        assert [one["verdict"] for one in checked["images"]] == ["ok"]
    finally:
        other_laptop.inside("login", "rm", "-rf", "/scratch/ada/here")
