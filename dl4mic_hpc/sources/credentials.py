"""User names and passwords of registries, as Docker and Podman keep them on this computer.

They are read only when a registry asks for them, and go nowhere else: they are in no message and on no command line.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dl4mic_hpc.sources.reference import HUB

_HUB_KEY = "https://index.docker.io/v1/"


def find(registry: str) -> tuple[str, str] | None:
    """User and password for a registry; None if nobody is logged in there.

    The files are those of containers-auth.json(5) and of `docker login`, with their programs that keep passwords
    (https://docs.docker.com/reference/cli/docker/login/). A file that cannot be read counts as none.
    """
    keys = (_HUB_KEY, "index.docker.io", HUB) if registry == HUB else (registry, f"https://{registry}")
    for path in _files():
        settings = _read(path)
        for key in keys:
            if found := _of_program(settings, key) or _of_file(settings, key):
                return found
    return None


def _files() -> Iterator[Path]:
    if chosen := os.environ.get("REGISTRY_AUTH_FILE"):
        yield Path(chosen)
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime, "containers", "auth.json")
    if docker := os.environ.get("DOCKER_CONFIG"):
        yield Path(docker, "config.json")
    with contextlib.suppress(RuntimeError):  # where nobody has a home
        yield Path.home() / ".config" / "containers" / "auth.json"
        yield Path.home() / ".docker" / "config.json"


def _read(path: Path) -> Mapping[str, Any]:
    try:
        settings = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _of_file(settings: Mapping[str, Any], key: str) -> tuple[str, str] | None:
    try:
        packed = settings["auths"][key]["auth"]
        user, _, password = base64.b64decode(packed).decode().partition(":")
    except (KeyError, TypeError, ValueError):
        return None
    return (user, password) if user and password else None


def _of_program(settings: Mapping[str, Any], key: str) -> tuple[str, str] | None:
    """From the program that the file names for this registry (docker-credential-…), asked over its standard input."""
    helpers = settings.get("credHelpers")
    name = (helpers.get(key) if isinstance(helpers, dict) else None) or settings.get("credsStore")
    if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name):
        return None
    try:
        asked = subprocess.run(
            [f"docker-credential-{name}", "get"], input=key.encode(), capture_output=True, timeout=20
        )
        answer = json.loads(asked.stdout)
        user, password = answer["Username"], answer["Secret"]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        return None
    # A secret of the user "<token>" is of another kind: for a protocol that registries no longer use.
    usable = isinstance(user, str) and isinstance(password, str) and user not in ("", "<token>")
    return (user, password) if usable else None
