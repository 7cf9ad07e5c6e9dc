"""Builds one image by buildah and says all that is to be compared. Runs in the container; see observation.py.

The request is one JSON object on standard input, the observation one on standard output. apptainer.py gives the
same shape, so that the comparison knows nothing of either.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from observation import answer, call, tree

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def docker(request: dict[str, Any]) -> dict[str, Any]:
    """Built by buildah, as root, in its chroot isolation."""
    tag = f"localhost/{request['name']}"
    # Some mounts need a context that can be written to; caches have to be empty.
    work = Path("/oracle/docker", request["name"])
    context = work / "context"
    subprocess.run(["rm", "-rf", work], check=True)
    (work / "tmp").mkdir(parents=True)
    subprocess.run(["cp", "-a", request["context"], context], check=True)
    for name, text in request["secrets"].items():
        (work / name).write_text(text, encoding="utf-8")
    built = call(
        *(
            "buildah",
            "build",
            "--isolation",
            "chroot",
            "--network",
            "host",
            "--format",
            "docker",
            "--no-cache",
        ),
        *("--pull=never", "--tag", tag, "--file", f"{context}/{request['dockerfile']}"),
        *(["--target", request["target"]] if request["target"] else []),
        *(f"--build-arg={name}={value}" for name, value in request["build_args"].items()),
        *(f"--secret=id={name},src={work / name}" for name in request["secrets"]),
        str(context),
        umask=0o022,
        env=os.environ | {"BUILDAH_LAYERS": "false", "TMPDIR": str(work / "tmp")},
    )
    if built.returncode:
        return {"built": False, "log": built.stdout[-4000:]}
    container = ""
    try:
        container = call("buildah", "from", "--pull=never", tag, apart=True).stdout.strip()
        root = call("buildah", "mount", container, apart=True).stdout.strip()
        inspected = json.loads(call("buildah", "inspect", container, apart=True).stdout)
        found = {"built": True, "log": built.stdout[-4000:], "tree": tree(Path(root), str)}
        found["config"] = config = inspected["Docker"]["config"]
        found["runs"] = [run(root, config, line) for line in started(config, request["runs"])]
        return found
    finally:
        call("buildah", "rm", container)
        call("buildah", "rmi", "--force", tag)
        subprocess.run(["rm", "-rf", work], check=True)


def started(config: dict[str, Any], runs: list[list[str]]) -> Iterator[list[str]]:
    """What `docker run IMAGE arguments` starts, by the table in Docker's reference for ENTRYPOINT and CMD."""
    for arguments in runs:
        yield [*(config.get("Entrypoint") or []), *(arguments or config.get("Cmd") or [])]


def run(root: str, config: dict[str, Any], argv: list[str]) -> dict[str, Any]:
    """A program of the image as root, with the image's variables, in its working folder.

    Not by `buildah run`, which takes seconds to start.
    """

    def enter() -> None:
        os.chroot(root)
        os.chdir(config.get("WorkingDir") or "/")

    said = dict(entry.split("=", 1) for entry in config.get("Env") or [])
    if not argv:
        return {"code": None, "out": "", "err": "the image names no command"}
    try:
        return answer(*argv, env={"PATH": DEFAULT_PATH, "HOME": "/root"} | said, preexec_fn=enter)
    except OSError as error:
        return {"code": None, "out": "", "err": str(error)}


if __name__ == "__main__":
    json.dump(docker(json.load(sys.stdin)), sys.stdout)
