"""A work folder of the sandbox in which images are made, as the tests see it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from support.cluster import Cluster

WORK = "/scratch/ada/supply"
BUILD = {"partition": "a100", "cpus": 2, "mem": "4G"}
"""gpu01 is the only node of the partition a100: what a dead job has left there, the next one finds."""
TINY = "FROM debian:trixie-slim AS environment\nUSER root\nWORKDIR /home\nRUN touch /opt/kept\n"
"""A recipe that takes seconds."""
CLEAN = f"rm -rf {WORK}/images {WORK}/builds {WORK}/sessions {WORK}/cache"
"""All but what is remembered of the cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """`laptop`: its profile names the work folder; `profile` makes it say something else in some keys."""

    cluster: Cluster
    laptop: Cluster
    profile: Callable[..., Cluster]

    def on_login(self, script: str, *, user: str = "ada") -> str:
        return self.cluster.inside("login", "bash", "-c", f"cd {WORK} || exit; {script}", user=user)

    def names(self) -> list[str]:
        """What lies in the folder of the images, hidden things too; but not the word of an image's last use."""
        listed = self.on_login("mkdir -p images && ls -A images/").split()
        return [name for name in listed if not name.endswith(".used")]

    def record(self, image: str | PurePosixPath) -> dict[str, Any]:
        return dict(json.loads(self.on_login(f"cat {PurePosixPath(image).with_suffix('.json')}")))

    def builds(self) -> list[str]:
        """The folder of every job that has made an image, or was to: nothing new there, nothing submitted."""
        return self.on_login("mkdir -p builds && ls -t builds/").split()

    def jobs_of(self, image: str) -> list[str]:
        """Every job that makes or has made the image."""
        key = PurePosixPath(image).stem.rpartition("-")[2]
        return self.on_login(f"squeue --noheader --states=all --name=dl4mic-build-{key} --format=%i").split()

    def left_on_node(self) -> str:
        return self.cluster.inside("gpu01", "sh", "-c", "ls -dA /tmp/dl4mic-build* 2> /dev/null || true")

    def refused(self, laptop: Cluster, *argv: str) -> str:
        """What `image` with these words says, in an error and a hint; exit code 7."""
        said = laptop.cli("image", *argv, code=7).err
        assert "error: " in said and "\nhint: " in said, said
        return said

    def whole(self, image: str) -> bool:
        """Whether the image is the one that its record tells of, to the last byte."""
        record = self.record(image)
        size, modified, sha256 = self.on_login(
            f"stat --format='%s %Y' {image}; sha256sum {image} | cut -d' ' -f1"
        ).split()
        return (record["size"], record["modified"], record["sha256"]) == (int(size), int(modified), sha256)

    def image_and_record_alone(self) -> bool:
        """Whether there is exactly one image, whole, with its record and nothing else, here and on the node."""
        names = self.names()
        [image] = [name for name in names if name.endswith(".sif")]
        assert sorted(names) == sorted((image, image.replace(".sif", ".json"))), names
        assert self.left_on_node() == ""
        return self.whole(f"{WORK}/images/{image}")
