"""Images that nobody has built: a file with a name, the few bytes that tell a SIF, and its record."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

KEY = "0123456789abcdef"
MODIFIED = 1_600_000_000
CONTENT = b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\0" + b"squashfs" * 20


def record_of(
    name: str = "care_2d", key: str = KEY, *, content: bytes = CONTENT, **values: Any
) -> dict[str, Any]:
    """The record of such a file, as the job that makes an image writes it."""
    return {
        "version": 1,
        "key": key,
        "name": name,
        "size": len(content),
        "modified": MODIFIED,
        "sha256": hashlib.sha256(content).hexdigest(),
        "source": {"kind": "registry", "reference": "docker.io/lab/care:1", "digest": "sha256:" + 64 * "a"},
        "cuda": "11.8.0",
        "builder": {"program": "dl4mic-hpc 0.1.0", "user": "ada", "job_id": 3},
        "built": "2020-09-13T12:26:40Z",
        **values,
    }


def put_image(
    folder: Path, name: str = "care_2d", key: str = KEY, *, content: bytes = CONTENT, **values: Any
) -> Path:
    """The image in `folder`, with its record."""
    folder.mkdir(parents=True, exist_ok=True)
    image = folder / f"{name}-{key}.sif"
    image.write_bytes(content)
    os.utime(image, (MODIFIED, MODIFIED))
    image.with_suffix(".json").write_text(json.dumps(record_of(name, key, content=content, **values)))
    return image


def put_session(work: Path, session: str, image: Path | str, *, job: str = "", ended: bool = False) -> Path:
    """A session's folder that names `image`."""
    folder = work / "sessions" / session
    folder.mkdir(parents=True)
    (folder / "session.json").write_text(
        json.dumps({"version": 1, "id": session, "image": str(image)}, indent=2)
    )
    if job:
        (folder / "job.id").write_text(f"{job}\n")
    if ended:
        (folder / "exit.json").write_text("{}")
    return folder
