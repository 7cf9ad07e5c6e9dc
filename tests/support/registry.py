"""A registry with one repository, lab/x, in this process."""

from __future__ import annotations

import json
import re

from support.images import OCI_MANIFEST, Documents
from support.web_server import Answer, Asked, WebServer

from dl4mic_hpc.sources import registry
from dl4mic_hpc.sources.cache import Cache
from dl4mic_hpc.sources.manifests import Image
from dl4mic_hpc.sources.reference import parse
from dl4mic_hpc.sources.registry import Access


class Registry:
    """The images of one repository. token: what a request must carry, and the token server's answer.

    ranges: whether it sends parts of blobs.
    """

    def __init__(self, server: WebServer) -> None:
        self.server = server
        self.held = Documents()
        self.tags: dict[str, str] = {}
        self.token = ""
        self.names_kinds = True
        self.ranges = True
        server.answer = self.answer

    def push(self, digest: str, tag: str = "1") -> str:
        self.tags[tag] = digest
        return digest

    def answer(self, asked: Asked) -> Answer:
        if asked.path == "/token":
            return Answer(body=json.dumps({"token": self.token}).encode())
        if self.token and asked.headers.get("authorization") != f"Bearer {self.token}":
            realm = f'Bearer realm="{self.server.url}/token",service="here",scope="repository:lab/x:pull"'
            return Answer(status=401, headers={"WWW-Authenticate": realm})
        _, _, kind, name = asked.path.rsplit("/", 3)
        digest = self.tags.get(name, name)
        if not asked.path.startswith("/v2/lab/x/") or digest not in self.held.content:
            return Answer(status=404)
        kinds = {"Content-Type": OCI_MANIFEST} if self.names_kinds and kind == "manifests" else {}
        content = self.held.content[digest]
        if (asked_for := re.fullmatch(r"bytes=(\d+)-(\d*)", asked.headers.get("range", ""))) and self.ranges:
            first, last = int(asked_for[1]), int(asked_for[2] or len(content) - 1)
            kinds["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            return Answer(status=206, body=content[first : last + 1], headers=kinds)
        return Answer(body=content, headers=kinds)

    def resolve(
        self, cache: Cache, name: str = "lab/x:1", *, platform: str = "linux/amd64", **access: object
    ) -> Image:
        image = parse(f"{self.server.host}/{name}")
        return registry.resolve(image, platform, cache=cache, access=Access(**access))  # type: ignore[arg-type]
