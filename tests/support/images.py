"""Images as documents: what a registry or an archive holds, without any layers that matter."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import tarfile
from pathlib import Path
from typing import Any

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
SIF_CONFIG = "application/vnd.sylabs.sif.config.v1+json"
SIF_LAYER = "application/vnd.sylabs.sif.layer.v1.sif"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Documents:
    """Documents by their digests; each method adds one and gives its digest."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def add(self, document: object) -> str:
        return self.keep(json.dumps(document).encode())

    def keep(self, data: bytes) -> str:
        self.content[digest_of(data)] = data
        return digest_of(data)

    def config(self, *, platform: str = "linux/amd64", **fields: Any) -> str:
        system, processor, *variant = platform.split("/")
        says = {"os": system, "architecture": processor, "config": {"Env": ["PATH=/bin"], **fields}}
        return self.add(says | ({"variant": variant[0]} if variant else {}))

    def manifest(
        self,
        kind: str | None = OCI_MANIFEST,
        *,
        config: str = "",
        config_kind: str = OCI_CONFIG,
        layers: tuple[bytes, ...] = (),
        layer_kind: str = OCI_LAYER,
    ) -> str:
        """kind: None for a manifest that does not name its own."""
        digest = config or self.config()
        entry = {"mediaType": config_kind, "digest": digest, "size": len(self.content[digest])}
        return self.add(
            {
                "schemaVersion": 2,
                "config": entry,
                "layers": [
                    {"mediaType": layer_kind, "digest": self.keep(data), "size": len(data)} for data in layers
                ],
            }
            | ({"mediaType": kind} if kind else {})
        )

    def image(self, platform: str = "linux/amd64", kind: str | None = OCI_MANIFEST, **fields: Any) -> str:
        return self.manifest(kind, config=self.config(platform=platform, **fields))

    def index(self, *entries: tuple[str, str], kind: str | None = OCI_INDEX, **notes: str) -> str:
        """entries: platform ("" for none) and digest."""
        return self.add(
            {
                "schemaVersion": 2,
                "manifests": [self._entry(platform, digest, notes) for platform, digest in entries],
            }
            | ({"mediaType": kind} if kind else {})
        )

    def _entry(self, platform: str, digest: str, notes: dict[str, str]) -> dict[str, Any]:
        system, _, rest = platform.partition("/")
        processor, _, variant = rest.partition("/")
        entry: dict[str, Any] = {
            "mediaType": OCI_MANIFEST,
            "digest": digest,
            "size": len(self.content[digest]),
        }
        if platform:
            entry["platform"] = {"os": system, "architecture": processor} | (
                {"variant": variant} if variant else {}
            )
        return entry | ({"annotations": notes} if notes else {})


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def write_sif(path: Path, objects: list[tuple[int, bytes, bytes]], architecture: bytes = b"02") -> Path:
    """objects: kind, name and content of each; the layout is that of apptainer/sif's pkg/sif."""
    table, start = 4096, 32768
    rows, data = b"", b""
    for number, (kind, name, content) in enumerate(objects, start=1):
        place = start + len(data)
        rows += struct.pack(
            "<i?IIIqqqqqqq", kind, True, number, 0xF0000001, 0, place, len(content), len(content), 0, 0, 0, 0
        )
        rows += name.ljust(128, b"\0") + bytes(384)
        data += content
    rows += bytes(585)  # one that is not used
    header = (
        b"#!/usr/bin/env run-singularity\n\0" + b"SIF_MAGIC\0" + b"01\0" + architecture + b"\0" + bytes(16)
    )
    header += struct.pack("<8q", 0, 0, 1, len(objects) + 1, table, len(rows), start, len(data))
    path.write_bytes((header.ljust(table, b"\0") + rows).ljust(start, b"\0") + data)
    return path
