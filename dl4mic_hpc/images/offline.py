"""An image for compute nodes that reach no registry: fetched beforehand into an OCI layout on the cluster.

Only files are copied, each checked by its hash; the conversion to a SIF is a job's work. An OCI layout is the folder
that https://github.com/opencontainers/image-spec/blob/main/image-layout.md describes.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from dl4mic_hpc import resources
from dl4mic_hpc.errors import ImageError, RecipeError, RegistryError, RemoteError
from dl4mic_hpc.images import published
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.remote import Remote, RemoteProcess, Teller
from dl4mic_hpc.sources.manifests import Blob
from dl4mic_hpc.sources.registry import Access, Found
from dl4mic_hpc.sources.web import UnansweredError

_TRIES = 4
"""How often in a row a part may come no further before it is given up."""
_PAUSE = 2.0  # seconds before the second try; each further one waits twice as long
_CUT_SHORT = 65  # blob.sh's way to say that its last line tells why
_INDEX = "application/vnd.oci.image.index.v1+json"


class _ComesNoFurtherError(Exception):
    """A try has ended; another one may do better. The message says why."""


def fetch(
    remote: Remote,
    profile: ClusterProfile,
    found: Found,
    *,
    internet: Literal["login", "laptop"],
    folder: PurePosixPath,
    teller: Teller,
) -> None:
    """Makes `folder` on the cluster an OCI layout of exactly `found`, from which `apptainer build X.sif oci:FOLDER` works.

    internet: who downloads. "login": the login node's curl, while this computer only says what is next; "laptop":
    this computer, which keeps nothing of it. What is there already is not fetched again, and what was cut short goes
    on where it ended. Of an image of kind "sif" the SIF itself is the one layer's file in blobs/.

    RegistryError or ImageError if it cannot be had; RemoteError if the cluster's disk is full.
    """
    with contextlib.ExitStack() as stack:
        access = published.access(profile)
        if found.by_login_node:
            access = stack.enter_context(published.by_login_node(remote, access))
        _Fetching(
            remote=remote, found=found, access=access, folder=folder, teller=teller, internet=internet
        ).all()


@dataclass(slots=True, kw_only=True)
class _Fetching:
    remote: Remote
    found: Found
    access: Access
    folder: PurePosixPath
    teller: Teller
    internet: Literal["login", "laptop"]
    done: int = 0
    damaged: int = 0
    _told: float = field(default=0.0)

    def all(self) -> None:
        """Every part in its place, and the index last: a layout that has one is whole."""
        blobs = tuple(dict.fromkeys((self.found.config, *self.found.layers)))
        total = sum(blob.size for blob in blobs)
        there = self._look(blobs)
        for blob in blobs:
            if there[blob.digest] != "whole":
                self._part(blob, total)
            self.done += blob.size
        files = {
            f"blobs/{self.found.digest.replace(':', '/')}": self.found.manifest,
            "oci-layout": b'{"imageLayoutVersion": "1.0.0"}\n',
            "index.json": _index(self.found),
        }
        self.remote.run(
            "mkdir", "-p", str(self.folder / "blobs" / self.found.digest.partition(":")[0])
        ).check(f"making a folder in {self.folder}", hint="see whether you may write there")
        for name, content in files.items():
            self.remote.put(self.folder / name, content, mode=0o644)

    def _look(self, blobs: tuple[Blob, ...]) -> dict[str, str]:
        """For each part by its digest "whole", or the bytes of it that are there."""
        names = "".join(f"{blob.digest.replace(':', ' ')} {blob.size}\n" for blob in blobs)
        answer = self.remote.run(*self._script("look"), stdin=names.encode(), timeout=1800)
        answer.check(
            f"looking into {self.folder}", hint="`dl4mic-hpc cluster check` looks at the work folder"
        )
        lines = [line.split() for line in answer.stdout.splitlines()]
        states = {line[0]: line[1] for line in lines if len(line) == 2}
        return {blob.digest: states.get(blob.digest.partition(":")[2], "0") for blob in blobs}

    def _part(self, blob: Blob, total: int) -> None:
        """One part, as many tries as it takes while each one comes further than the last."""
        way = self._by_login_node if self.internet == "login" else self._by_laptop
        furthest, fruitless = -1, 0
        while True:
            try:
                way(blob, lambda size: self._tell(size, total))
                return
            except _ComesNoFurtherError as ended:
                state = self._look((blob,))[blob.digest]
                if state == "whole":
                    return
                fruitless = 0 if int(state) > furthest else fruitless + 1
                furthest = max(furthest, int(state))
                if fruitless >= _TRIES:
                    raise RegistryError(
                        f"{self.found.reference} cannot be fetched whole from {self.found.host}: {ended}",
                        hint="try again later: what has arrived is kept",
                        reason="silent",
                    ) from ended
                time.sleep(_PAUSE * 2**fruitless if fruitless else 0)

    def _by_login_node(self, blob: Blob, at: Callable[[int], None]) -> None:
        """A try of the login node's curl, with a token made for it: tokens last minutes, parts may take longer."""
        scheme = "http" if self.found.insecure else "https"
        address = f"{scheme}://{self.found.host}/v2/{self.found.path}/blobs/{blob.digest}"
        with self._conversation(), self.access.repository(self.found.reference) as repository:
            header = repository.authorization(self.found.digest)
        with self.remote.start(*self._script("get", blob)) as process:
            _give(process, f"{address}\n{header}\n".encode())
            process.close_stdin()
            last = ""
            for line in _lines(process):
                if line.startswith("at "):
                    at(int(line.removeprefix("at ")))
                else:
                    last = line
            self._ended(process, blob, last)

    def _by_laptop(self, blob: Blob, at: Callable[[int], None]) -> None:
        """A try from here: what the registry sends goes straight on."""
        begin = self._look((blob,))[blob.digest]
        if begin == "whole":
            return
        sent = int(begin)
        with self.remote.start(*self._script("take", blob), begin) as process:
            if sent < blob.size:
                with self._conversation(), self.access.repository(self.found.reference) as repository:
                    for piece in repository.blob(blob.digest, size=blob.size, offset=sent):
                        if not _give(process, piece):
                            break
                        sent += len(piece)
                        at(sent)
            process.close_stdin()
            self._ended(process, blob, *list(_lines(process))[-1:])

    def _ended(self, process: RemoteProcess, blob: Blob, last: str = "") -> None:
        try:
            result = process.wait(timeout=1800)
        except TimeoutError as error:
            raise RemoteError(
                f"{self.remote.cluster} gave no answer for half an hour while a part of {self.found.reference} was checked",
                hint="try again when the file system there is less busy: what has arrived is kept",
            ) from error
        if result.exit_code == 0:
            return
        word, _, said = last.partition(" ")
        if result.exit_code != _CUT_SHORT:
            what = f"blob.sh on {self.remote.cluster} ended with {result.exit_code}"
            raise _ComesNoFurtherError(f"{what}: {result.stderr.strip() or last}")
        match word:
            case "nocurl":
                raise ImageError(
                    f"there is no curl on the login node of {self.remote.cluster}",
                    hint="set `build.internet: laptop` in the profile: this computer then fetches images",
                )
            case "disk":
                raise RemoteError(
                    f"writing {self.folder} on {self.remote.cluster} failed: {said}",
                    hint="make room there, or set `work_dir` to a disk that has some",
                )
            case "status" if said in ("401", "403", "404", "410"):
                raise RegistryError(
                    f"{self.found.host} does not give out a part of {self.found.reference} (HTTP {said})",
                    hint="`dl4mic-hpc image pull --refresh` asks what the image is now",
                    reason="absent" if said in ("404", "410") else "refused",
                )
            case "status":
                raise _ComesNoFurtherError(f"the server answered with HTTP {said}")
            case "silent":
                raise _ComesNoFurtherError(f"the login node gets no answer: {said}")
            case "damaged":
                self.damaged += 1
                if self.damaged > 1:
                    raise ImageError(
                        f"a part of {self.found.reference} arrives with another hash than it should: {blob.digest}",
                        hint="try again later; if it stays so, the registry's copy is damaged: choose another tag",
                    )
                raise _ComesNoFurtherError("what arrived has another hash than it should")
            case _:
                raise _ComesNoFurtherError(said or "the connection broke")

    @contextlib.contextmanager
    def _conversation(self) -> Iterator[None]:
        try:
            yield
        except UnansweredError as error:
            raise _ComesNoFurtherError(error.why) from error
        except RecipeError as error:
            raise ImageError(error.message, hint=error.hint) from error

    def _tell(self, size: int, total: int) -> None:
        now = time.monotonic()
        if now - self._told >= 0.5:
            self._told = now
            self.teller.detail(f"{(self.done + size) / 1e9:.2f} of {total / 1e9:.2f} GB fetched")

    def _script(self, action: str, *blobs: Blob) -> tuple[str, ...]:
        text = resources.data("templates", "blob.sh").read_text(encoding="utf-8")
        of = [word for blob in blobs for word in (*blob.digest.split(":"), str(blob.size))]
        return ("sh", "-c", text, "blob", action, str(self.folder), *of)


def _lines(process: RemoteProcess) -> Iterator[str]:
    rest = b""
    while data := process.read():
        *whole, rest = (rest + data).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in whole)
    if rest:
        yield rest.decode("utf-8", "replace")


def _give(process: RemoteProcess, data: bytes) -> bool:
    """Whether the command takes more; how it ended tells the rest."""
    try:
        process.write(data)
    except BrokenPipeError:
        return False
    return True


def _index(found: Found) -> bytes:
    entry = {"mediaType": found.media_type, "digest": found.digest, "size": len(found.manifest)}
    return json.dumps({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [entry]}).encode() + b"\n"
