"""What one machine of the cluster (the login node, a compute node) has for images: the answer of fitness.sh as values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_NETWORK = re.compile(
    r"(fuse\.)?(nfs|lustre|gpfs|beegfs|ceph|smb|cifs|afs|panfs|glusterfs|wekafs|orangefs|pvfs|9p|sshfs)"
)
"""How the types of file systems of other machines begin."""

SUBUIDS = 65536
"""So many ids a range has to have for Apptainer to use it (`validRangeCount` in its internal/pkg/fakeroot)."""

_FLAGS = (
    "--bind", "--cleanenv", "--contain", "--cwd", "--env", "--fakeroot", "--fix-perms", "--home", "--ignore-subuid",
    "--mksquashfs-args", "--no-home", "--no-https", "--no-mount", "--nv", "--nvccli", "--overlay", "--pwd", "--userns",
    "--workdir",
)  # fmt: skip
"""The options that make a difference here; the help of newer versions names twice as many, and not all there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder for temporary files: `name` as a job is to ask for it ("/tmp", "$SLURM_TMPDIR"), `path` where it was.

    `kind`: the type of its file system as /proc/mounts has it; `options`: those of ro, nodev and noexec that it has;
    `free`: bytes, None where they are not told; `runs`: whether a program in it can be started.
    """

    name: str
    path: str
    kind: str
    options: tuple[str, ...] = ()
    free: int | None = None
    writable: bool = True
    runs: bool = True

    @property
    def on_network(self) -> bool:
        """Whether it lies on another machine, where the many small files of an image take very long."""
        return bool(_NETWORK.match(self.kind))

    @property
    def in_memory(self) -> bool:
        """Whether what lies there counts as memory of the job."""
        return self.kind in ("tmpfs", "ramfs", "rootfs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One machine; sizes in bytes. `version`: the program's own line, "" where there is none.

    `flags`: which of the options that make a difference here the help of build and exec names.
    `subuids`, `subgids`: how many ids the user's largest range has, 0 for none. `newuidmap`: whether it could set the
    range. `suid`: a starter-suid that would work. `fuse`: /dev/fuse could be opened. `reached`: each registry that was
    asked for. `quota`: bytes used and allowed where the work folder lies. `module_error`: the module that is not there.
    """

    node: str
    version: str = ""
    module_error: str = ""
    kernel: str = ""
    machine: str = ""
    system: str = ""
    cpus: int | None = None
    memory: int | None = None
    shared_memory: int | None = None
    flags: dict[str, tuple[str, ...]] = field(default_factory=dict)
    programs: tuple[str, ...] = ()
    user_namespaces: bool = False
    subuids: int = 0
    subgids: int = 0
    newuidmap: bool = False
    suid: bool = False
    fuse: bool = False
    reached: dict[str, bool] = field(default_factory=dict)
    folders: tuple[Folder, ...] = ()
    free: int | None = None
    free_inodes: int | None = None
    quota: tuple[int, int] | None = None

    @property
    def is_apptainer(self) -> bool:
        return self.version.startswith("apptainer")

    @property
    def release(self) -> tuple[int, int]:
        """The version's first two numbers: (3, 8) of "singularity version 3.8.7-1.el8", (0, 0) where it has none."""
        return _two_numbers(self.version)

    @property
    def kernel_release(self) -> tuple[int, int]:
        return _two_numbers(self.kernel)


def _two_numbers(text: str) -> tuple[int, int]:
    found = re.search(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def parse(text: str) -> Place | None:
    """The answer's lines as values, past what a site's own scripts print; None if the end of it is missing."""
    said: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, tab, value = line.partition("\t")
        if tab:
            said.setdefault(key, []).append(value)
    if "end" not in said or "node" not in said:
        return None

    def one(key: str) -> str:
        return said.get(key, [""])[-1].strip()

    def number(key: str, unit: int = 1) -> int | None:
        return int(one(key)) * unit if one(key).isdigit() else None

    return Place(
        node=one("node"),
        version=one("version"),
        module_error=one("module_failed"),
        kernel=one("kernel"),
        machine=one("machine"),
        system=one("system"),
        cpus=number("cpus"),
        memory=number("memory_kib", 1024),
        shared_memory=number("shared_memory_kib", 1024),
        flags={
            verb: tuple(flag for flag in one(f"flags_{verb}").split() if flag in _FLAGS)
            for verb in ("build", "exec")
        },
        programs=tuple(said.get("program", ())),
        user_namespaces=one("user_namespaces") == "yes",
        subuids=number("subuids") or 0,
        subgids=number("subgids") or 0,
        newuidmap=one("newuidmap") == "works",
        suid=one("suid") == "yes",
        fuse=one("fuse") == "yes",
        reached=dict.fromkeys(said.get("reached", ()), True)
        | dict.fromkeys(said.get("unreached", ()), False),
        folders=tuple(found for line in said.get("folder", ()) if (found := _folder(line))),
        free=number("free_kib", 1024),
        free_inodes=number("free_inodes"),
        quota=_quota(one("quota_kib")),
    )


def _folder(line: str) -> Folder | None:
    fields = line.split("\t")
    if len(fields) != 7:
        return None
    name, path, free, writable, runs, kind, options = fields
    return Folder(
        name=name,
        path=path,
        kind=kind,
        options=tuple(options.split()),
        free=int(free) * 1024 if free.isdigit() else None,
        writable=writable == "yes",
        runs=runs == "yes",
    )


def _quota(text: str) -> tuple[int, int] | None:
    """Of used, soft and hard limit (KiB, a star behind what is over its limit; 0: no limit) what counts, in bytes."""
    numbers = re.fullmatch(r"(\d+)\*? (\d+)\*? (\d+)\*?", text)
    if not numbers:
        return None
    used, soft, hard = (int(number) * 1024 for number in numbers.groups())
    limit = hard or soft
    return (used, limit) if limit else None
