"""The catalogue's notebooks as their authors wrote them: at the pinned revisions, out of clones, by git."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from dl4mic_hpc import catalog
from dl4mic_hpc.catalog import Pinned

ADDRESS = re.compile(r"https://raw\.githubusercontent\.com/([^/]+)/([^/]+)/([0-9a-f]{40})/(.+)")


class MissingError(Exception):
    """A source that is not there, or is another one than was pinned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """One notebook. repository: owner/name. python: of its image, "" if nobody says."""

    name: str
    data: bytes
    repository: str = ""
    revision: str = ""
    sections: tuple[str, ...] = ()
    python: str = ""


def originals(clones: Path) -> list[Original | MissingError]:
    """Every notebook of the catalogue that is not our own."""
    specs = [catalog.load(name) for name in catalog.names()]
    return [_original(spec, clones) for spec in specs if isinstance(spec.notebook, Pinned)]


def _original(spec: catalog.NotebookSpec, clones: Path) -> Original | MissingError:
    assert isinstance(spec.notebook, Pinned)
    if spec.updated:
        return MissingError(
            f"{spec.id}: your own update hides what ships; `dl4mic-hpc notebook update {spec.id} --revert`"
        )
    try:
        owner, repository, revision, _ = _place(spec.notebook)
        data = taken(spec.notebook, clones)
    except MissingError as missing:
        return MissingError(f"{spec.id}: {missing}")
    return Original(
        name=spec.id,
        data=data,
        repository=f"{owner}/{repository}",
        revision=revision,
        sections=spec.sections_to_remove,
        python=spec.python_version,
    )


def taken(file: Pinned, clones: Path) -> bytes:
    """A pinned file, out of the clone of its repository. MissingError if it is not there, or another one."""
    _, repository, revision, path = _place(file)
    shown = subprocess.run(
        ["git", "-C", str(clones / repository), "show", f"{revision}:{unquote(path)}"],
        capture_output=True,
        check=False,
    )
    if shown.returncode:
        said = shown.stderr.decode(errors="replace").strip()
        raise MissingError(f"{clones / repository} has no {path} at {revision[:10]}: {said}")
    if hashlib.sha256(shown.stdout).hexdigest() != file.sha256:
        raise MissingError(f"{path} at {revision[:10]} is not the file that the catalogue pins")
    return shown.stdout


def _place(file: Pinned) -> tuple[str, ...]:
    """Owner, repository, revision and path."""
    found = ADDRESS.fullmatch(file.url)
    if found is None:
        raise MissingError(f"{file.url} names no revision of a repository on GitHub")
    return found.groups()


def unseen(folder: Path) -> Iterator[Original]:
    """Notebooks that nobody has looked at: every .ipynb file in a folder, and in the folders in it."""
    for file in sorted(folder.rglob("*.ipynb")):
        name = str(file.relative_to(folder).with_suffix(""))
        yield Original(name=name, data=file.read_bytes())
