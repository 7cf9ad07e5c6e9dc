"""Images with the oldest and the newest Python that Debian's archive has, made once, and what happens in them.

An image is kept by the engine under a tag that follows from all that went in. Its base is made as the practice
cluster's is.
"""

from __future__ import annotations

import hashlib
import io
import json
import sysconfig
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dl4mic_hpc.sandbox import engine as engines
from dl4mic_hpc.sandbox import image as sandbox_image
from dl4mic_hpc.sandbox.engine import Engine
from dl4mic_hpc.sandbox.machine import Machine

SUPPORT = Path(__file__).parent
INSIDE = SUPPORT / "pythons_image"
BUILD = 600.0
ACT = 240.0
"""Seconds."""

UNPACK = 'mkdir /work && tar --extract --directory=/work && cd /work && PYTHONPATH=/work exec "$0" act.py'


@dataclass(frozen=True, kw_only=True)
class World:
    """One environment: in the image of Debian's `suite`, the folder /opt/`environment` with `requirements`."""

    suite: str
    environment: str
    requirements: tuple[str, ...]


def image(engine: Engine, machine: Machine, worlds: tuple[World, ...], *, index: str) -> str:
    """The tag of the image that holds `worlds`, which are of one suite; made if it is not there."""
    (suite,) = {world.suite for world in worlds}
    base = f"localhost/dl4mic-pythons:{suite}"
    identity = sandbox_image.ensure_base(engine, machine, print, suite=suite, tag=base)
    files = {
        "Containerfile": (INSIDE / "Containerfile").read_bytes(),
        "machine/ca-certificates.crt": machine.ca or b"",
        **{
            f"requirements/{world.environment}": "\n".join(world.requirements).encode() + b"\n"
            for world in worlds
        },
    }
    key = hashlib.sha256(identity.encode())
    for name, content in sorted(files.items()):
        key.update(name.encode() + b"\0" + content)
    tag = f"{base}-{key.hexdigest()[:12]}"
    if not sandbox_image.present(engine, tag):
        print(f"building an image of Debian {suite} with its newest Python …")
        # Lent to the build and not kept in the image.
        lent = {
            "machine/index": index.encode(),
            "machine/uv": Path(sysconfig.get_path("scripts"), "uv").read_bytes(),
        }
        words = ["build", *engine.build_options(), f"--build-arg=BASE={base}"]
        words += [f"--build-arg={name}" for name in machine.proxies if name in engines.PROXIES]
        engine.run(
            *words, f"--tag={tag}", "--file=Containerfile", "-", stdin=_packed(files | lent), timeout=BUILD
        )
    return tag


def act(engine: Engine, tag: str, world: World, home: Mapping[str, bytes], plan: object) -> dict[str, Any]:
    """What act.py answers in a container without a network; `home`: the notebook's folder."""
    files = {path.name: path.read_bytes() for path in INSIDE.glob("*.py")}
    files |= {
        "desk.py": (SUPPORT / "desk.py").read_bytes(),
        "plan.json": json.dumps(plan).encode(),
        **{f"home/{name}": content for name, content in home.items()},
    }
    words = ("run", "--rm", "--interactive", "--network=none", *engine.create_options(), "--entrypoint=sh")
    python = f"/opt/{world.environment}/bin/python"
    said = engine.run(*words, tag, "-euc", UNPACK, python, stdin=_packed(files), timeout=ACT)
    answers: dict[str, Any] = json.loads(said)
    return answers


def _packed(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
