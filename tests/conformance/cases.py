"""The corpus: small recipes of the project's own, and what each of them has to come to.

A folder of corpus/ is a build context with its Dockerfile. `case.yaml` beside it, which is no part of the context,
says what the text cannot: build arguments, programs to run, and files that git cannot keep.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

CORPUS = Path(__file__).parent / "corpus"
Mode = Literal["subuid", "root-mapped", "root-mapped+fakeroot", "root"]
MODES: tuple[Mode, ...] = ("subuid", "root-mapped", "root-mapped+fakeroot", "root")

RUNS = (
    (),
    ("sh", "-c", 'pwd; printf "<%s>\\n" "$0" "$@"', "a b", "$HOME", "it's", '"', "\\", "*", "", "%s"),
)
"""What is started in every image: its own command, and one that shows folder and arguments."""

_COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "gz": lambda data: gzip.compress(data, mtime=0),
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


class Made(BaseModel):
    """A file of the context that git cannot keep. Exactly one of `text`, `fifo`, `archive`, `folder`, `link`, `size`.

    text: its content. mode: octal. archive: its kind (tar, gz, bz2, xz), holding `members` (path -> text; a path that
    ends with / is a folder). link: the target of a symbolic link. size: that many bytes of a fixed pattern.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    text: str | None = None
    mode: str | None = None
    fifo: bool = False
    folder: bool = False
    link: str | None = None
    size: int | None = None
    archive: Literal["tar", "gz", "bz2", "xz"] | None = None
    members: dict[str, str] = Field(default_factory=dict)
    owner: int = 0


class Case(BaseModel):
    """One recipe. Everything but `name` and `folder` stands in its case.yaml.

    refused: a regular expression that the refusal's message has to match; None if it has to be converted.
    fails: both builders have to fail. buildah: where it does not do what BuildKit does, and so is no witness; then it
    builds `witness` instead, a recipe in the same folder that says the same in other words. modes: those in which it
    can be the same; `why` says what keeps the others from it. secrets: name -> text. sample: built by `make test` too.
    `{server}` in a build argument becomes the address of the corpus's own web server, which serves `served/`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    folder: Path
    dockerfile: str = "Dockerfile"
    build_args: dict[str, str] = Field(default_factory=dict)
    target: str | None = None
    refused: str | None = None
    fails: bool = False
    buildah: str = ""
    witness: str = ""
    runs: tuple[tuple[str, ...], ...] = RUNS
    modes: tuple[Mode, ...] = MODES
    why: str = ""
    make: tuple[Made, ...] = ()
    secrets: dict[str, str] = Field(default_factory=dict)
    sample: bool = False

    @property
    def digest(self) -> str:
        """Changes with anything in the case's folder."""
        found = hashlib.sha256()
        for path in sorted(self.folder.rglob("*")):
            mode = path.lstat().st_mode & 0o170100
            content = (
                str(path.readlink()).encode()
                if path.is_symlink()
                else b""
                if path.is_dir()
                else path.read_bytes()
            )
            found.update(f"{path.relative_to(self.folder)} {mode:o} {len(content)}\n".encode() + content)
        return found.hexdigest()


def load(folder: Path) -> Case:
    file = folder / "case.yaml"
    said: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8")) or {} if file.is_file() else {}
    return Case(name=folder.name, folder=folder, **said)


def every(corpus: Path = CORPUS) -> list[Case]:
    """All cases, sorted by name."""
    return [load(folder) for folder in sorted(corpus.iterdir()) if folder.is_dir()]


def stage(case: Case, target: Path) -> Path:
    """The build context of a case as a folder, the same whatever this checkout's umask; returns it."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(case.folder, target, symlinks=True, ignore=shutil.ignore_patterns("case.yaml"))
    for path in [target, *target.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    for made in case.make:
        _make(made, target)
    return target


def _make(made: Made, context: Path) -> None:
    path = context / made.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if made.link is not None:
        path.symlink_to(made.link)
        return
    if made.fifo:
        os.mkfifo(path)
    elif made.folder:
        path.mkdir(exist_ok=True)
    elif made.archive:
        path.write_bytes(_archive(made))
    elif made.size is not None:
        path.write_bytes(bytes(range(251)) * (made.size // 251 + 1))
        os.truncate(path, made.size)
    elif made.text is not None:
        path.write_text(made.text, encoding="utf-8")
    path.chmod(int(made.mode or ("0755" if made.folder else "0644"), 8))


def _archive(made: Made) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in made.members.items():
            entry = tarfile.TarInfo(name.rstrip("/"))
            entry.mtime, entry.uid, entry.gid, entry.mode = 1_000_000_000, made.owner, made.owner, 0o640
            if name.endswith("/"):
                entry.type, entry.mode = tarfile.DIRTYPE, 0o750
            elif text.startswith("-> "):
                entry.type, entry.linkname = tarfile.SYMTYPE, text[3:]
            else:
                entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()) if entry.isreg() else None)
    return _COMPRESSED[made.archive or "tar"](packed.getvalue())
