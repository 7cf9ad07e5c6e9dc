"""The container in which the same recipe is built by buildah and by Apptainer, and what is remembered of it.

It is made from the sandbox's node image, kept running between runs, and found by a hash of the checkout's path. An
observation is remembered by everything that it depends on, so a run that was broken off goes on where it was.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from dl4mic_hpc.sandbox import engine as engines
from dl4mic_hpc.sandbox import image as sandbox_image
from dl4mic_hpc.sandbox import machine as machines
from dl4mic_hpc.sandbox.engine import Engine

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CACHE = ROOT / ".cache" / "conformance"
REGISTRY = "base.example"
BASES = {
    "glibc": "oci-archive",
    "busybox": "oci-archive",
    "bare": "docker-archive",
    "rich": "docker-archive",
    "onbuild": "docker-archive",
    "owned": "oci-archive",
}
"""The images that the corpus stands on, as bases.sh makes them: name -> kind of archive."""
BUILD = 1200.0
ASK = 700.0
"""Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Oracle:
    """The running container.

    base_key: changes whenever the images do that the corpus stands on. remembers: what was observed before is taken
    from the cache.
    """

    engine: Engine
    container: str
    base_key: str
    remembers: bool = True

    @property
    def there(self) -> PurePosixPath:
        """Where the container has the archives of the bases."""
        return PurePosixPath(f"/oracle/bases-{self.base_key}")

    def observe(self, request: Mapping[str, Any], files: Path) -> dict[str, Any]:
        """What one builder makes of the files in `files`, which lie below CACHE; asked only if that is not remembered.

        A build that failed is not remembered: it may have been this machine's fault.
        """
        script = f"{request['builder']}.py"
        told = json.dumps(
            [self.base_key, _scripts("observation.py", script), tree_digest(files), _keyed(request)],
            sort_keys=True,
        )
        kept = CACHE / "observed" / f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.json.gz"
        if self.remembers and kept.is_file():
            return dict(json.loads(gzip.decompress(kept.read_bytes())))
        answer = self.engine.run(
            *("exec", "--interactive", self.container, "python3", f"/conformance/{script}"),
            stdin=json.dumps(request).encode(),
            timeout=ASK,
        )
        found = dict(json.loads(answer))
        if not found["built"]:
            return found
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(f".{threading.get_ident()}.part")
        part.write_bytes(gzip.compress(answer.encode(), mtime=0))
        part.replace(kept)
        return found

    def bases(self, folder: PurePath) -> dict[str, str]:
        """From the name of a base in a recipe to its archive as "KIND:FILE", in `folder`."""
        return {f"{REGISTRY}/{name}:1": f"{kind}:{folder / name}.tar" for name, kind in BASES.items()}

    @property
    def here(self) -> Path:
        """Where this computer has the archives."""
        return CACHE / "bases" / self.base_key


def _keyed(request: Mapping[str, Any]) -> dict[str, Any]:
    """Without the places where things happen to lie."""
    return {name: value for name, value in request.items() if name not in ("context", "folder", "name")}


def tree_digest(folder: Path) -> str:
    """A hash of all files in a folder, with their modes."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = b""
        if path.is_symlink():
            content = str(path.readlink()).encode()
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).digest()
        found.update(f"{path.relative_to(folder)} {status.st_mode:o} {len(content)}\n".encode() + content)
    return found.hexdigest()


def name() -> str:
    return f"dl4mic-oracle-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:6]}"


def inside(path: Path) -> str:
    """The path of a file below CACHE as the container sees it."""
    return f"/shared/{path.relative_to(CACHE).as_posix()}"


def start(say: Callable[[str], None]) -> Oracle:
    """The container, running, with the bases made. SandboxError if this machine cannot run it."""
    engine, machine = engines.find(), machines.look()
    node = sandbox_image.ensure(engine, machine, say).node
    tag = _ensure_image(engine, node, machine.proxies, say)
    engine = engines.probe(engine, node)
    _ensure_running(engine, tag, say)
    base_key = hashlib.sha256(
        f"{sandbox_image.identity(engine, tag)} {_scripts('bases.sh')}".encode()
    ).hexdigest()[:16]
    oracle = Oracle(engine=engine, container=name(), base_key=base_key)
    _ensure_bases(oracle, say)
    return oracle


def stop(say: Callable[[str], None]) -> None:
    """Removes the container; what was observed stays."""
    engine = engines.find()
    engine.call("rm", "--force", "--volumes", name())
    say("the oracle's container is gone")


def _scripts(*names: str) -> str:
    """A hash of programs that run in the container."""
    return hashlib.sha256(b"\0".join((HERE / "container" / name).read_bytes() for name in names)).hexdigest()


def _ensure_image(engine: Engine, node: str, proxies: Mapping[str, str], say: Callable[[str], None]) -> str:
    recipe = (HERE / "Containerfile").read_bytes()
    tag = f"localhost/dl4mic-oracle:{hashlib.sha256(node.encode() + recipe).hexdigest()[:12]}"
    if not sandbox_image.present(engine, tag):
        say("building the oracle's image: buildah beside Apptainer …")
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            entry = tarfile.TarInfo("Containerfile")
            entry.size = len(recipe)
            archive.addfile(entry, io.BytesIO(recipe))
        named = [f"--build-arg={proxy}" for proxy in proxies if proxy in engines.PROXIES]
        words = ("build", *engine.build_options(), f"--build-arg=BASE={node}", *named, f"--tag={tag}")
        engine.run(*words, "--file=Containerfile", "-", stdin=packed.getvalue(), timeout=BUILD)
    return tag


def _ensure_running(engine: Engine, tag: str, say: Callable[[str], None]) -> None:
    shown = engine.call("inspect", "--format", "{{.State.Running}} {{.Config.Image}}", name())
    wanted = f"true {tag}"
    if shown.returncode == 0 and shown.stdout.decode().strip() == wanted:
        return
    say("starting the oracle's container …")
    engine.call("rm", "--force", name())
    CACHE.mkdir(parents=True, exist_ok=True)
    # Builders wait for disks most of the time, so they work in memory. The machine's own network: recipes fetch from
    # a server of this process, and from nowhere else.
    options = [
        f"--name={name()}",
        "--network=host",
        "--tmpfs=/oracle:exec,suid,dev,size=6g",
        f"--volume={CACHE}:/shared:ro",
    ]
    options += [f"--volume={HERE / 'container'}:/conformance:ro"]
    engine.run("run", "--detach", *engine.create_options(), *options, tag, timeout=120)


def _ensure_bases(oracle: Oracle, say: Callable[[str], None]) -> None:
    folder = oracle.here
    last = f"{list(BASES)[-1]}.tar"
    there = oracle.engine.call("exec", oracle.container, "test", "-e", str(oracle.there / last))
    if there.returncode == 0 and (folder / last).is_file():
        return
    say("making the images that the corpus stands on …")
    folder.mkdir(parents=True, exist_ok=True)
    script = 'rm -rf /oracle/bases-* && mkdir "$1" && sh /conformance/bases.sh "$1"'
    oracle.engine.run("exec", oracle.container, "sh", "-c", script, "sh", str(oracle.there), timeout=BUILD)
    for base in BASES:
        done = oracle.engine.call(
            "exec", oracle.container, "cat", str(oracle.there / f"{base}.tar"), timeout=120
        )
        done.check_returncode()
        (folder / f"{base}.tar").write_bytes(done.stdout)
