"""The two images of the practice cluster: its base (Debian) and the one that all nodes run.

The node image is tagged by a hash of everything that goes into it, so that instances share it and a change
of its recipe makes a new one.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dl4mic_hpc import resources
from dl4mic_hpc.errors import SandboxError
from dl4mic_hpc.sandbox import engine as engines
from dl4mic_hpc.sandbox.engine import Engine, tail
from dl4mic_hpc.sandbox.machine import BASE_SUITE, Machine

BASE = f"localhost/dl4mic-base:{BASE_SUITE}"
LABEL = "dl4mic-hpc.image"
_BOOTSTRAPPED = "Debian {suite}, made by debootstrap from this machine's own mirror (dl4mic-hpc sandbox)"
SPACE = 6_000_000_000
"""Bytes that must be free before an image is made: base, node image, their layers, room for a first SIF."""
PULL, BUILD = 120.0, 1200.0
"""Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """`base`: the identity of the base image; `node`: the tag of the node image."""

    base: str
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeImage:
    """`context`: the build context as a tar. `tag` follows from it."""

    tag: str
    context: bytes


def present(engine: Engine, tag: str) -> bool:
    return engine.call("image", "inspect", "--format", "{{.Id}}", tag).returncode == 0


def identity(engine: Engine, tag: str) -> str:
    return engine.run("image", "inspect", "--format", "{{.Id}}", tag).strip()


def sizes(engine: Engine) -> list[tuple[str, int]]:
    """The sandbox's images on this machine, the base first, with their size in bytes (the base counted in each)."""
    tags = {
        tag.removeprefix("localhost/")
        for tag in engine.lines("images", "--format", "{{.Repository}}:{{.Tag}}")
    }
    ours = [f"localhost/{tag}" for tag in sorted(tags) if tag.startswith(("dl4mic-base:", "dl4mic-node:"))]
    if not ours:
        return []
    found = engine.lines("image", "inspect", "--format", "{{.Size}}", *ours)
    return list(zip(ours, map(int, found), strict=True))


def node_image(machine: Machine, base: str) -> NodeImage:
    """What the node image is built from; `base`: the identity of the base image."""
    recipe = resources.data("templates", "sandbox", "node", "Containerfile").read_bytes()
    files = {"Containerfile": recipe, "machine/ca-certificates.crt": machine.ca or b""}
    digest = hashlib.sha256(base.encode())
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in sorted(files.items()):
            digest.update(name.encode() + b"\0" + content)
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return NodeImage(tag=f"localhost/dl4mic-node:{digest.hexdigest()[:12]}", context=packed.getvalue())


def ensure(engine: Engine, machine: Machine, say: Callable[[str], None]) -> Images:
    """Both images, made if they are not here. SandboxError if there is no way, or no space, to make them."""
    base = ensure_base(engine, machine, say)
    node = node_image(machine, base)
    if not present(engine, node.tag):
        _check_space(engine)
        _make_node(engine, machine, node, say)
    return Images(base=base, node=node.tag)


def ensure_base(
    engine: Engine, machine: Machine, say: Callable[[str], None], *, suite: str = BASE_SUITE, tag: str = BASE
) -> str:
    """The identity of a minimal image of one of Debian's suites, made if there is no `tag`."""
    if not present(engine, tag):
        _check_space(engine)
        public = f"docker.io/library/debian:{suite}-slim"
        say(f"getting the base image {public} …")
        try:
            pulled = engine.call("pull", "--quiet", public, timeout=PULL)
            reason = None if pulled.returncode == 0 else tail(pulled.stderr, 1)
        except SandboxError as error:
            reason = error.message
        if reason is None:
            engine.run("tag", public, tag)
        else:
            _bootstrap(engine, machine, suite, tag, f"{public} cannot be pulled ({reason})", say)
    return identity(engine, tag)


def _bootstrap(
    engine: Engine, machine: Machine, suite: str, tag: str, reason: str, say: Callable[[str], None]
) -> None:
    """Imports a Debian made by debootstrap. `reason`: why the image could not be pulled."""
    root = engines.root_prefix()
    problem = None
    # Only root has the sbin folders on PATH.
    programs = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    if sys.platform != "linux" or shutil.which("debootstrap", path=programs) is None:
        problem = "debootstrap, which could make one, is not installed"
    elif root is None:
        problem = "debootstrap, which could make one, needs root"
    if problem or machine.mirror is None or root is None:
        raise SandboxError(
            f"there is no base image: {reason}, and "
            + (problem or "apt on this machine names no Debian mirror to make one from"),
            hint="on Debian, as root: apt-get update && apt-get install debootstrap; elsewhere: connect to the internet",
        )
    say("it cannot be pulled here; making it from this machine's Debian mirror (about half a minute) …")
    script = resources.data("templates", "sandbox", "node", "base.sh").read_text(encoding="utf-8")
    made = subprocess.run([*root, "sh", "-c", script, "base.sh", machine.mirror, suite], capture_output=True)
    if made.returncode:
        raise SandboxError(
            f"debootstrap failed: {tail(made.stderr)}",
            hint="see whether `apt-get update` works, then try again",
        )
    labels = {LABEL: "base", "org.opencontainers.image.description": f'"{_BOOTSTRAPPED.format(suite=suite)}"'}
    changes = [f"--change=LABEL {name}={value}" for name, value in labels.items()]
    engine.run("import", *changes, '--change=CMD ["bash"]', "-", tag, stdin=made.stdout, timeout=300)


def _make_node(engine: Engine, machine: Machine, node: NodeImage, say: Callable[[str], None]) -> None:
    say("building the nodes' image: Slurm, Apptainer, sshd, a registry (a minute or two) …")
    # By name alone: the values come from the environment, as a proxy's may hold a password.
    proxies = [f"--build-arg={name}" for name in machine.proxies if name in engines.PROXIES]
    words = ("build", *engine.build_options(), f"--build-arg=BASE={BASE}", *proxies, f"--label={LABEL}=node")
    built = engine.call(
        *words, f"--tag={node.tag}", "--file=Containerfile", "-", stdin=node.context, timeout=BUILD
    )
    if built.returncode:
        raise SandboxError(
            f"the nodes' image cannot be built: {tail(built.stderr or built.stdout, 12)}",
            hint="see whether `apt-get update` works on this machine, then try again",
        )


def _check_space(engine: Engine) -> None:
    word = "{{.Store.GraphRoot}}" if engine.kind == "podman" else "{{.DockerRootDir}}"
    folder = Path(engine.run("info", "--format", word).strip())
    while not folder.exists() and folder != folder.parent:  # the engine may keep it in a virtual machine
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < SPACE:
        raise SandboxError(
            f"{folder} has {free / 1e9:.1f} GB free, and the sandbox needs {SPACE / 1e9:.0f} GB for its images",
            hint=f"`{engine.kind} system prune` removes what no container uses; `df -h {folder}` shows the disk",
        )
