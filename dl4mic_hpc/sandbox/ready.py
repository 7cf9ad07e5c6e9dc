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
PUSHED = "library/debian:trixie-slim"


def wait(here: Instance, engine: Engine, record: Record) -> None:
    """Returns when nodes, sshd and registry are ready. SandboxError, with the log, if a container has ended."""
    end = time.monotonic() + PATIENCE
    while True:
        nodes = report.slurm_nodes(here, engine)
        idle = bool(nodes) and all(node.state in report.READY for node in nodes)
        if idle and _greets(record.ssh_port, b"", b"SSH-") and _registry(record):
            return
        for container in report.containers(here, engine):
            if container.state != "running":
                raise SandboxError(
                    f"the container {container.name} has ended: {_log(engine, container.name)}",
                    hint=f"`{engine.kind} logs {container.name}` shows all of it; `dl4mic-hpc sandbox down` starts over",
                )
        if time.monotonic() > end:
            seen = ", ".join(f"{node.name} {node.state}" for node in nodes) or "slurmctld does not answer"
            raise SandboxError(
                f"the cluster is not ready after {PATIENCE:.0f} s ({seen}): {_log(engine, here.name('ctl'))}",
                hint="`dl4mic-hpc sandbox down`, then `dl4mic-hpc sandbox up` starts over",
            )
        time.sleep(0.3)


def push(engine: Engine, record: Record) -> None:
    """Puts the base image into the cluster's registry under the name that recipes ask for."""
    target = f"127.0.0.1:{record.registry_port}/{PUSHED}"
    if engine.kind == "podman":
        engine.run("push", "--quiet", "--tls-verify=false", BASE, target, timeout=300)
        return
    engine.run("tag", BASE, target)
    engine.run("push", "--quiet", target, timeout=300)
    engine.run("rmi", target)


def _registry(record: Record) -> bool:
    return _greets(record.registry_port, b"GET /v2/ HTTP/1.0\r\n\r\n", b"HTTP/1.")


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
