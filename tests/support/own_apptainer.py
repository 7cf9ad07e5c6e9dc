"""A computer with Apptainer and a registry with a password, for programs that run in this process's own machine.

The machine need not have an Apptainer: a program of that name hands every call on to a container, as an ordinary user,
with one folder that both see under the same path.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shlex
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from conformance import oracle
from support.servers import FOREIGN
from support.web_server import make_certificate

from dl4mic_hpc.sandbox import engine as engines
from dl4mic_hpc.sandbox.engine import Engine

PERSON = ("ada", "s3cret-w0rd")
_HTPASSWD = "ada:$2y$05$abcdefghijklmnopqrstuuxkfnsT92cmKajQ/1kES5QAXehS5Jpc.\n"
_PASSED = (
    "APPTAINER_TMPDIR", "APPTAINER_DOCKER_USERNAME", "APPTAINER_DOCKER_PASSWORD", "APPTAINER_NOHTTPS", "SSL_CERT_FILE",
)  # fmt: skip
# The folder belongs to the ordinary user as long as Apptainer runs.
_AS_ADA = (
    'owner=$(stat -c %u "$0"); chown -R ada "$0"; '
    'setpriv --reuid ada --regid ada --init-groups env HOME=/home/ada apptainer "$@"; '
    'code=$?; chown -R "$owner" "$0"; exit $code'
)
# A small root with a Python, from the programs of the container, pushed as python:1.
_PYTHON = """\
set -eu
base=$(buildah from --name python "oci-archive:$1")
buildah copy --quiet python /usr/bin/python3 /usr/bin/python3
mkdir -p /oracle/lib
ldd /usr/bin/python3 | grep -o '/[^ ]*' | while read -r library; do cp -L "$library" /oracle/lib; done
buildah copy --quiet python /oracle/lib /usr/lib/x86_64-linux-gnu
buildah copy --quiet python /usr/lib/python3.13 /usr/lib/python3.13
buildah commit --quiet python python:1
buildah push --quiet --tls-verify=false --creds "$2" python:1 "docker://$3/python:1"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnApptainer:
    """folder: seen by both sides. registry: HOST:PORT, with TLS, for `PERSON` only."""

    engine: Engine
    container: str
    folder: Path
    registry: str
    certificate: Path

    def environment(self) -> dict[str, str]:
        """With the program `apptainer`, and logged in to the registry."""
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        return {
            **{name: value for name, value in os.environ.items() if name not in ("CI", *FOREIGN)},
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "TMPDIR": str(temporary),
            "HOME": str(self.folder / "user"),
            "DL4MIC_HPC_HOME": str(self.folder / "home"),
            "SSL_CERT_FILE": str(self.certificate),
            "REGISTRY_AUTH_FILE": str(self.folder / "auth.json"),
            "APPTAINER_DOCKER_USERNAME": PERSON[0],
            "APPTAINER_DOCKER_PASSWORD": PERSON[1],
            "TERM": "dumb",
        }


@contextlib.contextmanager
def running(folder: Path) -> Iterator[OwnApptainer]:
    """The computer, with a base image python:1 in its registry."""
    found = oracle.start(print)
    image = found.engine.run("inspect", "--format", "{{.Config.Image}}", found.container, timeout=60).strip()
    engine = engines.probe(found.engine, image)
    container = f"{oracle.name()}-own"
    certificate = make_certificate(folder / "certificate.pem")
    for name in ("user", "bin"):
        (folder / name).mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        registry = f"127.0.0.1:{free.getsockname()[1]}"
    _write_registry(folder, registry, certificate)
    _write_program(folder, engine, container)
    engine.call("rm", "--force", container)
    options = ["--network=host", "--tmpfs=/oracle:exec,suid,dev,size=2g", f"--volume={folder}:{folder}"]
    options += [f"--volume={found.here}:/bases:ro"]
    engine.run(
        "run", "--detach", f"--name={container}", *engine.create_options(), *options, image, timeout=120
    )
    try:
        inside = ("exec", container)
        engine.run(*inside, "chmod", "666", "/dev/fuse", timeout=60)
        engine.run(
            "exec", "--detach", container, "docker-registry", "serve", f"{folder}/registry.yml", timeout=60
        )
        engine.run(*inside, "timeout", "60", "python3", "-c", _answers(registry), timeout=90)
        words = ("sh", "-c", _PYTHON, "sh", "/bases/glibc.tar", ":".join(PERSON), registry)
        engine.run(*inside, *words, timeout=300)
        yield OwnApptainer(
            engine=engine, container=container, folder=folder, registry=registry, certificate=certificate
        )
    finally:
        engine.call("rm", "--force", "--volumes", container)


def _write_registry(folder: Path, registry: str, certificate: Path) -> None:
    (folder / "htpasswd").write_text(_HTPASSWD)
    packed = base64.b64encode(":".join(PERSON).encode()).decode()
    (folder / "auth.json").write_text(json.dumps({"auths": {registry: {"auth": packed}}}))
    settings = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": "/oracle/registry"}},
        "http": {"addr": registry, "tls": {"certificate": str(certificate), "key": str(certificate)}},
        "auth": {"htpasswd": {"realm": "here", "path": f"{folder}/htpasswd"}},
    }
    (folder / "registry.yml").write_text(json.dumps(settings))


def _write_program(folder: Path, engine: Engine, container: str) -> None:
    passed = " ".join(f"--env {name}" for name in _PASSED)
    program = folder / "bin" / "apptainer"
    program.write_text(
        f'#!/bin/sh\nexec {shlex.join(engine.prefix)} exec --interactive --workdir "$PWD" {passed} {shlex.quote(container)} '
        f'sh -c {shlex.quote(_AS_ADA)} {shlex.quote(str(folder))} "$@"\n'
    )
    program.chmod(0o755)


def _answers(registry: str) -> str:
    """A program that ends when the registry listens."""
    host, _, port = registry.partition(":")
    return (
        "import socket, threading\n"
        "while True:\n"
        "    try:\n"
        f"        socket.create_connection(({host!r}, {port}), 5)\n"
        "        break\n"
        "    except OSError:\n"
        "        threading.Event().wait(0.1)\n"
    )
