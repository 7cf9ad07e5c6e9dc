"""Files put into an image from outside: an OCI archive of layers, for a stage that has no shell to unpack them.

https://github.com/opencontainers/image-spec: every layer is an uncompressed tar, blobs are named by their hash.
"""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import re
import tarfile
from collections.abc import Sequence

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.context import MTIME, Packed
from dl4mic_hpc.recipe.steps import Copy, MakeFolder

_FORMAT = "application/vnd.oci.image"


class Layers:
    """Layers that grow by one for each step. below: a folder that stands for the image's root."""

    def __init__(self, below: str = "") -> None:
        self.below = below.strip("/")
        self.done: list[bytes] = []
        self.folders: set[str] = {""}

    def make_folder(self, step: MakeFolder) -> None:
        with _Layer(self, owner(step.owner)) as layer:
            layer.folder(step.path)

    def copy(self, copy: Copy, packed: Packed) -> None:
        """RecipeError, without file and line, for an owner by name: nothing here knows names."""
        ids = owner(copy.owner)
        target = copy.destination
        into = packed.member is None or self.place(target) in self.folders
        with _Layer(self, ids) as layer:
            layer.folder(target if into else posixpath.dirname(target))
            for line in packed.folders.decode().splitlines():
                mode, _, path = line.partition(" ")
                layer.folder(posixpath.join(target, path), mode=int(mode, 8))
            layer.files(packed.archive, target, renamed=None if into else posixpath.basename(target))
        for archive in packed.archives:
            with _Layer(self, ids if copy.owner else None) as layer:
                layer.folder(target)
                layer.files(archive, target)

    def place(self, path: str) -> str:
        """A path in the image as the name of a layer's entry."""
        return posixpath.normpath(posixpath.join("/", self.below, path.lstrip("/"))).lstrip("/")


class _Layer:
    """One layer while it is written. owner: of all that comes in, None for its own."""

    def __init__(self, layers: Layers, ids: tuple[int, int] | None) -> None:
        self.layers, self.ids = layers, ids
        self.buffer = io.BytesIO()
        self.tar = tarfile.TarFile(fileobj=self.buffer, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8")

    def __enter__(self) -> _Layer:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.tar.close()
        if kind is None:
            self.layers.done.append(self.buffer.getvalue())

    def folder(self, path: str, *, mode: int = 0o755) -> None:
        """The folder and those above it that are missing."""
        self.entry(self.layers.place(path), mode)

    def entry(self, name: str, mode: int = 0o755) -> None:
        if name in self.layers.folders:
            return
        self.entry(posixpath.dirname(name))
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, mode, MTIME
        entry.uid, entry.gid = self.ids or (0, 0)
        self.tar.addfile(entry)
        self.layers.folders.add(name)

    def files(self, archive: bytes, target: str, *, renamed: str | None = None) -> None:
        """The archive's entries below the folder `target`; one that is `renamed` stands beside it."""
        with tarfile.open(fileobj=io.BytesIO(archive), encoding="utf-8") as tar:
            for entry in tar:
                path = posixpath.join(target, entry.name.lstrip("/")) if renamed is None else target
                content = tar.extractfile(entry) if entry.isreg() else None
                if entry.islnk():
                    entry.linkname = self.layers.place(posixpath.join(target, entry.linkname.lstrip("/")))
                entry.name = self.layers.place(path)
                if self.ids is not None:
                    entry.uid, entry.gid = self.ids
                    entry.uname = entry.gname = ""
                if entry.isdir():
                    self.layers.folders.add(entry.name)
                self.tar.addfile(entry, content)


def owner(spec: str) -> tuple[int, int]:
    """The numbers of an owner: `root` and numbers alone mean something without /etc/passwd, and what is left out is 0."""
    user, colon, group = spec.partition(":")
    parts = ["0" if part in ("", "root") else part for part in (user, group if colon else user)]
    if not all(re.fullmatch(r"[0-9]+", part) for part in parts):
        what = f"the owner {spec} is a name, and nothing in this stage can look it up"
        raise RecipeError(what, hint="write --chown with numbers")
    return int(parts[0]), int(parts[1])


def oci_archive(layers: Sequence[bytes], *, config: dict[str, object], platform: str) -> bytes:
    """An image of these layers in one uncompressed tar; the same input gives the same bytes."""
    system, _, processor = platform.partition("/")
    architecture, _, variant = processor.partition("/")
    image = {
        "architecture": architecture,
        "os": system,
        **({"variant": variant} if variant else {}),
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_digest(layer)}" for layer in layers]},
    }
    configuration = _json(image)
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{_FORMAT}.manifest.v1+json",
            "config": _described(configuration, "config.v1+json"),
            "layers": [_described(layer, "layer.v1.tar") for layer in layers],
        }
    )
    index = {"schemaVersion": 2, "manifests": [_described(manifest, "manifest.v1+json")]}
    files = {"index.json": _json(index), "oci-layout": _json({"imageLayoutVersion": "1.0.0"})}
    blobs = {f"blobs/sha256/{_digest(blob)}": blob for blob in (configuration, manifest, *layers)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        # Apptainer makes no folder that is not there by its own entry.
        for name in ("blobs", "blobs/sha256"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mtime, entry.mode = tarfile.DIRTYPE, MTIME, 0o755
            archive.addfile(entry)
        for name, content in sorted((files | blobs).items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(content), MTIME, 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _described(blob: bytes, kind: str) -> dict[str, object]:
    return {"mediaType": f"{_FORMAT}.{kind}", "digest": f"sha256:{_digest(blob)}", "size": len(blob)}


def _digest(blob: bytes) -> str:
    return hashlib.sha256(blob).hexdigest()


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
