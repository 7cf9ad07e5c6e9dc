"""Whether the cluster answers: Slurm's nodes, sshd, the registry; and what the registry starts with."""

from __future__ import annotations

import socket
import time

from dl4mic_hpc.errors import SandboxError
from dl4mic_hpc.sandbox import report
from dl4mic_hpc.sandbox.engine import Engine, tail
from dl4mic_hpc.sandbox.image import BASE
from dl4mic_hpc.sandbox.instance import Instance, Record

PATIENCE = 120.0
"""Seconds from the start of the containers until every node is idle; it takes some 10 on two cores."""
REPOSITORY, TAG = "library/debian", "trixie-slim"
"""What recipes ask docker.io for, and the cluster's registry answers."""


def wait(here: Instance, engine: Engine, record: Record) -> None:
    """Returns when nodes, sshd and registry are ready. SandboxError, with the log, if a container has ended."""
    end = time.monotonic() + PATIENCE
    while True:
        nodes = report.slurm_nodes(here, engine)
        idle = bool(nodes) and all(node.ready for node in nodes)
        if idle and _greets(record.ssh_port, b"", b"SSH-") and _get(record, "/v2/"):
            return
        for container in report.listed(here, engine):
            if container.state != "running":
                raise SandboxError(
                    f"the container {container.name} has ended: {_log(engine, container.name)}",
                    hint=f"`{engine.kind} logs {container.name}` shows all of it; `dl4mic-hpc sandbox up` tries again",
                )
        if time.monotonic() > end:
            seen = ", ".join(f"{node.name} {node.state}" for node in nodes) or "slurmctld does not answer"
            raise SandboxError(
                f"the cluster is not ready after {PATIENCE:.0f} s ({seen}): {_log(engine, here.name('ctl'))}",
                hint="`dl4mic-hpc sandbox down`, then `dl4mic-hpc sandbox up` starts over",
            )
        time.sleep(0.3)


def end_lost_jobs(here: Instance, engine: Engine) -> None:
    """Ends the jobs that ran when the machines went down: Slurm would believe in them until their time limit."""
    engine.run("exec", here.name("ctl"), "scancel", "--quiet", "--state=RUNNING")


def push(engine: Engine, record: Record) -> None:
    """Puts the base image into the cluster's registry under the name that recipes ask for."""
    target = f"127.0.0.1:{record.registry_port}/{REPOSITORY}:{TAG}"
    if engine.kind == "podman":
        engine.run("push", "--quiet", "--tls-verify=false", BASE, target, timeout=300)
        return
    engine.run("tag", BASE, target)
    engine.run("push", "--quiet", target, timeout=300)
    engine.run("rmi", target)


def has_base(record: Record) -> bool:
    """Whether the registry holds the base image: its disk may have been removed from outside."""
    return _get(record, f"/v2/{REPOSITORY}/tags/list")


def _get(record: Record, path: str) -> bool:
    """Whether the registry answers with 200."""
    return _greets(record.registry_port, f"GET {path} HTTP/1.0\r\n\r\n".encode(), b"HTTP/1.0 200")


def _greets(port: int, asks: bytes, starts: bytes) -> bool:
    """Whether what listens on 127.0.0.1:port answers `asks` with something that `starts` so."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            if asks:
                connection.sendall(asks)
            return connection.recv(64).startswith(starts)
    except OSError:
        return False


def _log(engine: Engine, name: str) -> str:
    said = engine.call("logs", "--tail", "15", name)
    return tail(said.stdout + said.stderr, 15)
