"""What is observed of an image, whoever built it: programs run, and the tree of its files. Runs in the container."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

TIMEOUT = 300
"""Seconds."""
KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFREG: "file",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def call(*argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if options.pop("apart", False) else subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
        start_new_session=True,
        **options,
    ) as process:
        try:
            out, err = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            out, err = process.communicate()
            out += "\n(it did not end in time)"
        return subprocess.CompletedProcess(argv, process.returncode, out, err)


def answer(*argv: str, **options: Any) -> dict[str, Any]:
    """How a program ended and what it printed. Whatever cannot be started is the same to every builder."""
    done = call(*argv, apart=True, **options)
    started = done.returncode not in (125, 126, 127, 255)
    return {"code": done.returncode if started else None, "out": done.stdout, "err": done.stderr[-600:]}


def tree(root: Path, owner: Callable[[int], str | None]) -> dict[str, dict[str, Any]]:
    """Every path below `root` with what is compared of it."""
    found: dict[str, dict[str, Any]] = {}
    linked: dict[tuple[int, int], list[str]] = {}

    def visit(folder: str) -> None:
        for entry in sorted(os.scandir(folder or root), key=lambda entry: entry.name):
            path = entry.path[len(str(root)) :]
            if path in ("/.singularity.d", "/dev", "/proc", "/sys"):
                continue
            status = entry.stat(follow_symlinks=False)
            found[path] = node = {
                "kind": KINDS[stat.S_IFMT(status.st_mode)],
                "mode": f"{stat.S_IMODE(status.st_mode):04o}",
                "owner": f"{owner(status.st_uid)}:{owner(status.st_gid)}" if owner(0) else None,
            }
            if node["kind"] == "link":
                node["target"] = str(Path(entry.path).readlink())
                del node["mode"]
            elif node["kind"] == "file":
                node["size"] = status.st_size
                node["sha256"] = digest(entry.path)
                if status.st_nlink > 1:
                    linked.setdefault((status.st_dev, status.st_ino), []).append(path)
            with contextlib.suppress(OSError):
                names = os.listxattr(entry.path, follow_symlinks=False)
                node["xattrs"] = {
                    name: os.getxattr(entry.path, name, follow_symlinks=False).hex()
                    for name in names
                    if name.startswith(("user.", "security.capability"))
                }
            if node["kind"] == "folder":
                visit(entry.path)

    visit("")
    for group in linked.values():
        if len(group) > 1:
            for path in group:
                found[path]["links"] = group
    return found


def digest(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
