"""Builds one image by Apptainer and says all that is to be compared. Runs in the container; see docker.py."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from observation import answer, call, tree

SUBUID_START = 100_000
USER = 1000
FAKEROOT = {
    "subuid": ["--fakeroot"],
    "root-mapped": ["--fakeroot", "--ignore-subuid", "--ignore-fakeroot-command"],
    "root-mapped+fakeroot": ["--fakeroot", "--ignore-subuid"],
    "root": [],
}
"""Options of `apptainer build` by mode (https://apptainer.org/docs/user/main/fakeroot.html)."""


def apptainer(request: dict[str, Any]) -> dict[str, Any]:
    """Built by Apptainer from the definition in `folder`, in one of its modes; run by an ordinary user."""
    mode, work = request["mode"], Path("/oracle/apptainer", request["name"])
    user = {} if mode == "root" else {"user": USER, "group": USER, "extra_groups": []}
    remove(work)
    image = work / "image"
    for folder in ("", "tmp", "bind_tmp", "bind_var_tmp", "cache", "home"):
        (work / folder).mkdir(parents=True)
        os.chown(work / folder, *((USER, USER) if user else (0, 0)))
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(work / "home"),
        "APPTAINER_TMPDIR": str(work / "tmp"),
        "APPTAINER_CACHEDIR": str(work / "cache"),
        "TMPDIR": str(work / "tmp"),
    }
    options = ["--sandbox", *FAKEROOT[mode]]
    if (Path(request["folder"]) / "build.sh").is_file():
        argv = ["sh", "build.sh", str(image), *options]
    else:
        private = [f"{work}/bind_tmp:/tmp", f"{work}/bind_var_tmp:/var/tmp"]
        argv = [
            "apptainer",
            "build",
            *options,
            *(f"--bind={bind}" for bind in private),
            str(image),
            "image.def",
        ]
    if mode == "root":
        take_all_capabilities()
    try:
        built = call(*argv, cwd=request["folder"], env=env, umask=0o022, **user)
        if built.returncode:
            return {"built": False, "log": built.stdout[-6000:]}
        found = {"built": True, "log": built.stdout[-6000:], "tree": tree(image, OWNERS.get(mode, nobody))}
        found["labels"] = json.loads((image / ".singularity.d/labels.json").read_text())
        kept = image / ".dl4mic-hpc/recipe.json"
        found["config"] = json.loads(kept.read_text())["config"] if kept.is_file() else None
        (image / ".oracle").mkdir()
        shutil.copy("/usr/bin/busybox", image / ".oracle/busybox")
        started = ("--cleanenv", "--no-home", str(image))
        as_user = {"env": env, "cwd": "/", "user": USER, "group": USER, "extra_groups": []}
        shown = answer("apptainer", "exec", *started, "/.oracle/busybox", "env", "-0", **as_user)
        found["environment"] = dict(line.split("=", 1) for line in shown["out"].split("\0") if "=" in line)
        found["runs"] = [
            answer("apptainer", "run", *started, *arguments, **as_user) for arguments in request["runs"]
        ]
        return found
    finally:
        remove(work)


def take_all_capabilities() -> None:
    """Moves this process into a user namespace that maps everybody to themselves, without network.

    Some machines keep a capability from root, and Apptainer, run by root, asks for all of them. It mounts /sys, which
    a user namespace may only with a network of its own.
    """
    ready, tell = os.pipe()
    process = os.getpid()
    if (helper := os.fork()) == 0:
        os.read(ready, 1)
        for kind in ("uid", "gid"):
            Path(f"/proc/{process}/{kind}_map").write_text("0 0 4294967295", encoding="ascii")
        os._exit(0)
    os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)
    os.write(tell, b".")
    os.waitpid(helper, 0)


def remove(work: Path) -> None:
    if work.exists():
        subprocess.run(["rm", "-rf", "--one-file-system", str(work)], check=True)


def nobody(_: int) -> None:
    """Every owner is the same: the mode cannot keep owners."""


def from_subuid(number: int) -> str:
    """The owner inside the namespace that newuidmap makes for the user."""
    if number == USER:
        return "0"
    return str(number - SUBUID_START + 1) if number >= SUBUID_START else f"unmapped {number}"


OWNERS: dict[str, Callable[[int], str | None]] = {"subuid": from_subuid, "root": str}


if __name__ == "__main__":
    json.dump(apptainer(json.load(sys.stdin)), sys.stdout)
