"""Puts an image that was built and tried into a registry, with what it was built from and what came of the trial."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dl4mic_hpc import __version__
from dl4mic_hpc.errors import ImageError, UsageError
from dl4mic_hpc.images import local
from dl4mic_hpc.sources import pushing, reference
from dl4mic_hpc.sources.pushing import FACTS_TAG, Fact, Pushed
from dl4mic_hpc.sources.reference import Reference
from dl4mic_hpc.sources.registry import Access

SCHEME = "oras://"
KEY = "io.github.dl4mic-hpc.key"
"""The annotation that holds the key of the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The files that belong to an image: its definition, its bundle's manifest, and the answer of `image test`."""

    definition: Path
    manifest: Path
    test: Path

    @classmethod
    def of(
        cls, image: Path, *, definition: Path | None, manifest: Path | None, test: Path | None
    ) -> Evidence:
        """Those that are not named lie beside the image."""
        return cls(
            definition=definition or local.beside(image, ".def"),
            manifest=manifest or local.beside(image, ".manifest.json"),
            test=test or local.beside(image, ".test.json"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What is going to be pushed."""

    image: Path
    target: Reference
    key: str
    facts: tuple[Fact, ...]
    annotations: Mapping[str, str]


def target(text: str) -> Reference:
    """The place that `oras://HOST/REPOSITORY:TAG` names. UsageError for what names none with a tag."""
    name = text.removeprefix(SCHEME)
    if name == text or "@" in name or ":" not in name.rpartition("/")[2]:
        raise UsageError(
            f"'{text}' is no place to publish to", hint="write oras://REGISTRY/REPOSITORY:TAG, all of it"
        )
    return reference.parse(name)


def facts_place(place: Reference) -> str:
    """Where definition, manifest and test result are, for programs that speak ORAS."""
    return f"{SCHEME}{place}{FACTS_TAG}"


def plan(
    image: Path,
    place: Reference,
    evidence: Evidence,
    *,
    licenses: str = "",
    revision: str = "",
    source: str = "",
) -> Publication:
    """Refuses what does not belong together, or did not pass: ImageError. Nothing is sent yet."""
    contents = {path: _read(path) for path in (evidence.definition, evidence.manifest, evidence.test)}
    manifest = _json(contents[evidence.manifest], evidence.manifest)
    test = _json(contents[evidence.test], evidence.test)
    with image.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    definition = hashlib.sha256(contents[evidence.definition]).hexdigest()
    again = "build the image again and test it: dl4mic-hpc image build NOTEBOOK --here, then dl4mic-hpc image test"
    if test.get("sha256") != sha256:
        raise ImageError(f"{evidence.test} is the test of another image than {image}", hint=again)
    if not test.get("fits"):
        raise ImageError(
            f"{image} did not pass its test: {_failures(test)}",
            hint="mend what it names, and build and test again",
        )
    if manifest.get("sha256", {}).get("image.def") != definition:
        raise ImageError(f"{evidence.definition} is not the definition of {evidence.manifest}", hint=again)
    if test.get("key") != manifest.get("key"):
        raise ImageError(
            f"{image} was built from another recipe (key {test.get('key') or 'none'}) than {evidence.manifest} tells "
            f"of (key {manifest.get('key')})",
            hint=again,
        )
    annotations = {
        "org.opencontainers.image.title": str(test["title"]),
        "org.opencontainers.image.created": datetime.datetime.now(datetime.UTC).strftime(
            "%Y-%m-%dT%H:%M:%SZ"
        ),
        "org.opencontainers.image.licenses": licenses,
        "org.opencontainers.image.revision": revision,
        "org.opencontainers.image.source": source,
        "io.github.dl4mic-hpc.program": f"dl4mic-hpc {__version__}",
        "io.github.dl4mic-hpc.notebook": str(test["notebook"]),
        KEY: str(test["key"]),
    }
    return Publication(
        image=image,
        target=place,
        key=str(test["key"]),
        facts=(
            Fact(name="image.def", media_type="text/plain", content=contents[evidence.definition]),
            Fact(name="manifest.json", media_type="application/json", content=contents[evidence.manifest]),
            Fact(name="test.json", media_type="application/json", content=contents[evidence.test]),
        ),
        annotations={name: value for name, value in annotations.items() if value},
    )


def push(
    publication: Publication, *, access: Access, progress: Callable[[int], None] = lambda size: None
) -> Pushed:
    """ImageError if the registry does not take it."""
    return pushing.push(
        publication.image,
        publication.target,
        facts=publication.facts,
        annotations=publication.annotations,
        access=access,
        progress=progress,
    )


def _failures(test: Mapping[str, Any]) -> str:
    unfit = [one for one in test.get("findings", []) if one.get("verdict") == "unfit"]
    return (
        "; ".join(re.sub(r"\s+", " ", f"{one['what']}: {one['detail']}") for one in unfit)
        or "it says no more"
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}",
            hint="an image is published with its definition, manifest and test; name them with --definition, "
            "--manifest and --test",
        ) from error


def _json(data: bytes, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise UsageError(f"{path} is no JSON", hint="name the file that the program wrote") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} is not what the program wrote", hint="name the file that the program wrote")
    return found
