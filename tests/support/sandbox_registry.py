"""The registry of the sandbox, to put small images in and take them away, by its port on this computer."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from support.cluster import Cluster
from support.images import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, digest_of

BASE = "library/debian"
BASE_TAG = "trixie-slim"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def layer(name: str, content: bytes) -> bytes:
    """A layer with one file in /opt."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        member = tarfile.TarInfo(f"opt/{name}")
        member.size, member.mode = len(content), 0o644
        tar.addfile(member, io.BytesIO(content))
    return raw.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxRegistry:
    """`container`: its name; `address`: HOST:PORT, from this computer."""

    cluster: Cluster
    container: str = field(init=False)
    address: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "container", f"dl4mic-{self.cluster.instance}-registry")
        object.__setattr__(self, "address", self._engine("port", self.container, "5000").split()[0])

    def push(self, repository: str, tag: str, *, on_base: bool = False, **files: bytes) -> str:
        """An image with a layer for each file, alone or on the cluster's base image. Gives its digest."""
        config: dict[str, Any] = {
            "os": "linux",
            "architecture": "amd64",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": []},
        }
        layers = []
        if on_base:
            base = json.loads(self._ask("GET", f"{BASE}/manifests/{BASE_TAG}", Accept=_BASE_KINDS))
            config = json.loads(self._ask("GET", f"{BASE}/blobs/{base['config']['digest']}"))
            for one in base["layers"]:
                self._ask("POST", f"{repository}/blobs/uploads/?mount={one['digest']}&from={BASE}")
                layers.append({"mediaType": OCI_LAYER, "digest": one["digest"], "size": one["size"]})
        for name, content in files.items():
            raw = layer(name, content)
            config["rootfs"]["diff_ids"].append(digest_of(raw))
            layers.append(self._blob(repository, gzip.compress(raw, 1, mtime=0), OCI_LAYER))
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self._blob(repository, json.dumps(config).encode(), OCI_CONFIG),
            "layers": layers,
        }
        data = json.dumps(manifest).encode()
        self._ask("PUT", f"{repository}/manifests/{tag}", data, **{"Content-Type": OCI_MANIFEST})
        return "sha256:" + hashlib.sha256(data).hexdigest()

    def delete(self, repository: str, digest: str) -> None:
        """The manifest is gone, and every tag of it."""
        self._ask("DELETE", f"{repository}/manifests/{digest}")

    def stop(self) -> None:
        self._engine("stop", "--time=0", self.container)

    def start(self) -> None:
        """Also waits until it answers; it has another hardware address now, for which nodes would ask late."""
        self._engine("start", self.container)
        for node in ("login", "gpu01", "gpu02"):
            self.cluster.inside(node, "ip", "neigh", "flush", "all")
        wait = "until nc -z 127.0.0.1 5000; do sleep 0.1; done"
        self._engine("exec", self.container, "timeout", "30", "sh", "-c", wait)

    def _blob(self, repository: str, data: bytes, media_type: str) -> dict[str, Any]:
        digest = digest_of(data)
        with self._open("POST", f"{repository}/blobs/uploads/") as answer:
            place = answer.headers["Location"]
        place = place.partition("/v2/")[2]
        sign = "&" if "?" in place else "?"
        kind = {"Content-Type": "application/octet-stream"}
        self._ask("PUT", f"{place}{sign}digest={digest}", data, **kind)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def _ask(self, method: str, path: str, data: bytes | None = None, **headers: str) -> bytes:
        with self._open(method, path, data, **headers) as answer:
            return bytes(answer.read())

    def _open(self, method: str, path: str, data: bytes | None = None, **headers: str) -> Any:
        url = f"http://{self.address}/v2/{path}"
        return _OPENER.open(urllib.request.Request(url, data, headers, method=method), timeout=30)

    def _engine(self, *argv: str) -> str:
        done = subprocess.run([self.cluster.engine, *argv], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout


_BASE_KINDS = (
    "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
)
