"""The Apptainer of this computer, through spython's Client: build a bundle, pull an image, look into one, run in one.

spython calls a program named `singularity`, reads only one of its two streams while it runs, and ends the process on
some mistakes. So it is given a program of that name, in a folder of its own, which starts what is installed here,
builds as the bundle's build.sh does, and says everything on the stream that is read; and what ends is caught.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from dl4mic_hpc.errors import ImageError

if TYPE_CHECKING:
    from dl4mic_hpc.recipe.bundle import Bundle

_PROGRAMS = ("apptainer", "singularity")
_SHOWN = 15
# spython reads a build's output and a pull's errors.
_SHIM = """#!/bin/sh
{settings}case $1 in
    build) exec ./build.sh "$2" 2>&1 ;;
    pull) exec {program} "$@" 1>&2 ;;
esac
exec {program} "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What an image says of itself: labels, the text of its start script, and of the definition it was built from."""

    labels: dict[str, str]
    runscript: str
    definition: str


def beside(image: Path, what: str) -> Path:
    """Where `build_bundle` and `image test` put what belongs to an image: NAME.def, NAME.manifest.json, …"""
    return image.with_name(image.name.removesuffix(".sif") + what)


def build_bundle(
    bundle: Bundle,
    image: Path,
    *,
    said: Callable[[str], None] = lambda line: None,
    plain_http: bool = False,
) -> None:
    """Builds `image` with its definition and manifest beside it, for `image publish`. Otherwise as `build`."""
    with tempfile.TemporaryDirectory(prefix="dl4mic-bundle-") as folder:
        bundle.write(Path(folder, "bundle"))
        build(Path(folder, "bundle"), image, said=said, plain_http=plain_http)
    beside(image, ".def").write_text(bundle.definition, encoding="utf-8", errors="surrogateescape")
    beside(image, ".manifest.json").write_bytes(bundle.manifest)


def build(
    bundle: Path,
    image: Path,
    *,
    said: Callable[[str], None] = lambda line: None,
    plain_http: bool = False,
) -> None:
    """Builds `image` from a bundle's folder, as its build.sh does; each line that Apptainer prints goes to `said`.

    The image appears under its name only when it is complete and says of itself what the recipe says. plain_http:
    registries may speak without TLS. ImageError with the last lines if it fails.
    """
    target = image.absolute()
    part = target.with_name(f".{image.name}.{os.getpid()}.part")
    try:
        with _client(plain_http=plain_http) as client, contextlib.chdir(bundle):
            _, lines = client.build(recipe="image.def", image=str(part), sudo=False, stream=True, quiet=True)
            _follow(lines, said, what=f"{image.name} could not be built")
        _check(inspect(part), bundle)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _check(found: Inspection, bundle: Path) -> None:
    """ImageError if the image lacks a label that its recipe gives it."""
    *_, recipe = sorted(bundle.glob("ctx/*/.dl4mic-hpc/recipe.json"))
    labels = json.loads(recipe.read_bytes())["config"].get("Labels") or {}
    for name, value in labels.items():
        if name in found.labels and found.labels[name] != value:
            what = f"the image's label {name} is {found.labels[name]!r} and the recipe says {value!r}"
            raise ImageError(what, hint="convert the recipe and build the image again")


def pull(source: str, image: Path, *, said: Callable[[str], None] = lambda line: None) -> None:
    """Fetches the image that `source` (docker://…, oras://…, library://…) names. ImageError if it fails."""
    target = image.absolute()
    part = target.with_name(f".{image.name}.{os.getpid()}.part")
    try:
        with _client() as client:
            _, lines = client.pull(image=source, name=str(part), stream=True, quiet=True)
            _follow(lines, said, what=f"{source} could not be pulled")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def inspect(image: Path) -> Inspection:
    """What `image` says of itself. ImageError if it is no image."""
    with _client() as client:
        found = client.inspect(image=str(image), quiet=True)
    attributes = found.get("attributes") if isinstance(found, dict) else None
    if not isinstance(attributes, dict):
        raise ImageError(f"{image} is no image that Apptainer can read", hint="build or pull it again")
    return Inspection(
        labels=dict(attributes.get("labels") or {}),
        runscript=attributes.get("runscript") or "",
        definition=attributes.get("deffile") or "",
    )


def execute(
    image: Path,
    *words: str,
    home: Path,
    said: Callable[[str], None] = lambda line: None,
) -> None:
    """Runs a program in the image as a session's job does, with the folder `home` as /home.

    Nothing of this computer is seen by it but that folder; no GPU either. ImageError with the last lines it said if
    it fails.
    """
    with tempfile.TemporaryDirectory(prefix="dl4mic-work-") as work, _client() as client:
        options = ["--contain", "--cleanenv", "--home", f"{home}:/home", "--workdir", work, "--pwd", "/home"]
        lines = client.execute(
            str(image.absolute()), list(words), options=options, stream=True, stream_type="both", quiet=True
        )
        _follow(lines, said, what=f"{image.name} cannot be run here")


def version() -> str:
    """What this computer's Apptainer says that it is ("apptainer version 1.4.5")."""
    with _client() as client:
        return str(client.version()).strip()


@contextlib.contextmanager
def _client(*, plain_http: bool = False) -> Iterator[Any]:
    """spython's Client, with a program `singularity` before all others that starts the one installed here."""
    program = next((found for name in _PROGRAMS if (found := shutil.which(name))), None)
    if program is None or os.name == "nt":
        raise ImageError(
            "there is no Apptainer on this computer",
            hint="build on the cluster: dl4mic-hpc launch does it; or install Apptainer here",
        )
    from spython.main import get_client

    path = os.environ.get("PATH", "")
    with tempfile.TemporaryDirectory(prefix="dl4mic-") as folder:
        shim = Path(folder, "singularity")
        settings = "export APPTAINER_NOHTTPS=true SINGULARITY_NOHTTPS=true\n" if plain_http else ""
        shim.write_text(_SHIM.format(program=quote(program), settings=settings), encoding="utf-8")
        shim.chmod(0o700)
        os.environ["PATH"] = f"{folder}{os.pathsep}{path}"
        try:
            yield get_client(quiet=False)
        except SystemExit as ended:
            raise ImageError(
                "Apptainer could not be asked", hint="is it installed and does it run?"
            ) from ended
        finally:
            os.environ["PATH"] = path


def _follow(lines: Iterator[str], said: Callable[[str], None], *, what: str) -> None:
    """Hands every line on. ImageError with the last of them if the program fails."""
    kept: list[str] = []
    try:
        for line in lines:
            text = line.rstrip()
            if text:
                kept = [*kept[1 - _SHOWN :], text]
                said(text)
    except subprocess.CalledProcessError as failed:
        shown = "\n  ".join(kept) or "it said nothing"
        raise ImageError(
            f"{what}; the last lines:\n  {shown}", hint="the first line that says error tells why"
        ) from failed
