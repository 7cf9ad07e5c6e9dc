"""What was fetched before, on this computer: files by the hash of their content, and the last answers to names."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dl4mic_hpc.errors import RecipeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """A folder that may be deleted at any time; several programs may use it at once.

    files/ALGORITHM/HASH holds content, tags/… the digest that a name stood for when it was last asked, and git/…
    the files of commits. Nothing in it is ever changed: it is written beside its place and moved there whole.
    """

    folder: Path

    def file(self, digest: str) -> Path | None:
        """The file with this hash, if it is here and undamaged."""
        path = self.place(digest)
        with contextlib.suppress(OSError), path.open("rb") as file:
            if hashlib.file_digest(file, digest.partition(":")[0]).hexdigest() == path.name:
                return path
        return None

    def place(self, digest: str) -> Path:
        algorithm, _, value = digest.partition(":")
        return self.folder / "files" / algorithm / value

    def keep(self, digest: str, data: bytes) -> None:
        with self.writing() as (file, temporary):
            file.write(data)
            file.close()
            self.move(temporary, self.place(digest))

    def recall(self, name: str) -> str:
        """The digest that `name` stood for when it was last asked, "" if it never was."""
        try:
            return str(json.loads(self._answer(name).read_bytes())["digest"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def remember(self, name: str, digest: str) -> None:
        with self.writing() as (file, temporary):
            file.write(json.dumps({"name": name, "digest": digest}).encode())
            file.close()
            self.move(temporary, self._answer(name))

    @contextlib.contextmanager
    def writing(self) -> Iterator[tuple[BinaryIO, Path]]:
        """A new file in the cache; it is gone afterwards unless it was moved. RecipeError if the disk refuses."""
        with self.new_folder() as folder, (folder / "file").open("wb") as file:
            yield file, folder / "file"

    @contextlib.contextmanager
    def new_folder(self) -> Iterator[Path]:
        """An empty folder in the cache, likewise."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(
                dir=self.folder, prefix=".part-", ignore_cleanup_errors=True
            ) as name:
                yield Path(name)
        except OSError as error:
            raise RecipeError(
                f"what is fetched cannot be kept in {self.folder}: {error.strerror or error}",
                hint="make room there, or delete the folder: nothing in it is needed",
            ) from error

    def move(self, made: Path, place: Path) -> None:
        """Puts what was made in its place; if another program was faster, its work is as good."""
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            made.replace(place)
        except OSError:
            if not place.exists():
                raise

    def _answer(self, name: str) -> Path:
        return self.folder / "tags" / f"{hashlib.sha256(name.encode()).hexdigest()}.json"
