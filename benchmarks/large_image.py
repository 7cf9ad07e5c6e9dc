"""An image of a realistic size for a registry: files of this machine in four layers, a gigabyte when compressed."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import json
import os
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dxf import DXF

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYERS = 4
FOLDERS = ("/usr/lib", "/usr/share", "/opt", "/usr/local")
"""What is packed: programs, libraries, data, as images have them; from each no more than is needed."""
LARGEST = 300 * 10**6
"""Bytes of the largest file taken, so that the layers do not differ much."""
LEVEL = 6
"""Of gzip: that of Docker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    file: Path
    diff_id: str
    unpacked: int


def files(top: str) -> Iterator[Path]:
    for folder, inner, names in os.walk(top):
        inner.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_symlink() or not path.is_file() or not os.access(path, os.R_OK):
                continue
            if path.stat().st_size <= LARGEST:
                yield path


def all_files() -> Iterator[Path]:
    """One of each folder in turn."""
    for row in itertools.zip_longest(*map(files, FOLDERS)):
        yield from filter(None, row)


class Hashing(io.RawIOBase):
    """Hands on what is written, and keeps its hash and size."""

    def __init__(self, sink: gzip.GzipFile) -> None:
        self.sink, self.hash, self.size = sink, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.hash.update(data)
        self.size += len(data)
        return self.sink.write(data)


def pack(target: Path, number: int, source: Iterator[Path], lock: threading.Lock, size: int) -> Layer:
    """A layer of `size` bytes or little more, of the files that no other layer has taken."""
    with (
        target.open("wb") as file,
        gzip.GzipFile(fileobj=file, mode="wb", compresslevel=LEVEL, mtime=0) as packed,
    ):
        sink = Hashing(packed)
        with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            while file.tell() < size:
                with lock:
                    path = next(source, None)
                if path is None:
                    raise SystemExit(
                        f"error: {', '.join(FOLDERS)} hold too little for a layer of {size} bytes"
                    )
                tar.add(path, arcname=f"opt/layer{number}{path}", recursive=False)
    return Layer(file=target, diff_id=f"sha256:{sink.hash.hexdigest()}", unpacked=sink.size)


def push(registry: str, base: str, name: str, *, size: int) -> tuple[int, int]:
    """Puts NAME:1, `base` and `size` bytes of layers, into a plain-http registry: its bytes packed and unpacked."""
    source, tag = base.split(":")
    old, new = DXF(registry, source, insecure=True), DXF(registry, name, insecure=True)
    answer = old._request("get", f"manifests/{tag}", headers={"Accept": MANIFEST})  # type: ignore[no-untyped-call]
    there = answer.json()
    config = old._request("get", f"blobs/{there['config']['digest']}").json()  # type: ignore[no-untyped-call]
    for blob in there["layers"]:
        got = old._request("get", f"blobs/{blob['digest']}")  # type: ignore[no-untyped-call]
        new.push_blob(data=iter([got.content]), digest=blob["digest"])
    layers, unpacked = list(there["layers"]), 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(LAYERS) as workers:
        source_files, lock = all_files(), threading.Lock()
        made = workers.map(
            lambda number: pack(Path(folder, str(number)), number, source_files, lock, size // LAYERS),
            range(LAYERS),
        )
        for layer in made:
            digest = new.push_blob(str(layer.file))
            layers.append({"mediaType": LAYER, "digest": digest, "size": layer.file.stat().st_size})
            config["rootfs"]["diff_ids"].append(layer.diff_id)
            config.pop("history", None)
            unpacked += layer.unpacked
    data = json.dumps(config).encode()
    digest = new.push_blob(data=iter([data]), digest=f"sha256:{hashlib.sha256(data).hexdigest()}")
    manifest = there | {"config": there["config"] | {"digest": digest, "size": len(data)}, "layers": layers}
    headers = {"Content-Type": MANIFEST}
    new._request("put", "manifests/1", data=json.dumps(manifest), headers=headers)  # type: ignore[no-untyped-call]
    return sum(layer["size"] for layer in layers), unpacked
