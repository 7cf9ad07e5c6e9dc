"""Which image a session gets, and why: found on the cluster, pulled, or built. Values only.

auto    an image that is there, else the published one, else one built from the recipe
pull    the published one, or what -t names
build   the one of the recipe
PATH    a file on the cluster, as it is
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from dl4mic_hpc.catalog import NotebookSpec
from dl4mic_hpc.errors import ImageError
from dl4mic_hpc.images import published, record
from dl4mic_hpc.images.record import Entry, ImageRecord
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.recipe.bundle import Bundle

PUBLISHED = "docker.io/henriqueslab/dl4miceverywhere"
"""Where DL4MicEverywhere publishes its images, one tag for each notebook and version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked for, before anybody has looked. `name`: the first part of the file's name.

    `way`: auto, pull, build, or "" with `path`. `published`: a full reference, or "". `bundle`: what a build needs, or
    None where there is no recipe (`no_bundle` says why). `cuda`: the CUDA of the configuration, "" for none.
    """

    name: str
    way: Literal["auto", "pull", "build", ""]
    path: PurePosixPath | None = None
    published: str = ""
    bundle: Bundle | None = None
    no_bundle: str = ""
    cuda: str = ""

    def files(self) -> Iterator[tuple[str, str]]:
        """The names of the files that would do, the best first, each with where its content came from."""
        if self.published and self.way in ("auto", "pull"):
            yield f"{self.name}-{published.source(self.published).key}.sif", "published"
        if self.bundle is not None and self.way in ("auto", "build"):
            yield f"{self.name}-{self.bundle.key}.sif", "recipe"

    def places(self, profile: ClusterProfile) -> Iterator[PurePosixPath]:
        """Where to look, in this order: for each name the own folder, then those of others."""
        if self.path is not None:
            yield self.path
        for name, _ in self.files():
            for folder in (own_folder(profile), *profile.image_folders):
                yield folder / name


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A file that is there. `entries`: itself, its record and, for a folder of others, every folder above."""

    path: PurePosixPath
    record: ImageRecord | None
    entries: tuple[Entry, ...]

    @property
    def stamp(self) -> str:
        """What tells it from another file in its place: bytes, and seconds since 1970."""
        return f"{self.entries[0].size}:{self.entries[0].modified}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """`kind`: there (use it), pull, build. `notes`: what else the user should hear, such as an image passed over.

    `replaces`: "SIZE:TIME" of a file at its place that is not to be used, or "".
    """

    kind: Literal["there", "pull", "build"]
    image: PurePosixPath
    reason: str
    notes: tuple[str, ...] = ()
    record: ImageRecord | None = None
    replaces: str = ""
    wish: Wish


def own_folder(profile: ClusterProfile) -> PurePosixPath:
    return profile.work_dir / "images"


def published_reference(spec: NotebookSpec, tag: str | None, *, own_requirements: bool) -> str:
    """The full reference of the image that DL4MicEverywhere publishes for a notebook, or that `tag` names; "" for none.

    A tag is used as it is; with `/` or `:` it is a reference of its own. The published image is the GPU one exactly
    if the configuration names a CUDA, as its recipe is: one image serves -g 0 too. Requirements of one's own (-r) are
    in no published image.
    """
    if tag is not None:
        return tag if "/" in tag or ":" in tag else f"{PUBLISHED}:{tag}"
    if own_requirements or not spec.docker_hub_image:
        return ""
    return f"{PUBLISHED}:{spec.docker_hub_image}{'-gpu' if spec.cuda_version else ''}"


def of_reference(text: str) -> Wish:
    """What is wished for by naming an image itself, as in `image pull`."""
    name = re.sub(r"[^a-z0-9._]+", "_", text.partition("@")[0].rpartition("/")[2].lower()).strip("._")
    return Wish(name=name or "image", way="pull", published=text)


def choose(
    wish: Wish,
    seen: Mapping[PurePosixPath, Seen],
    profile: ClusterProfile,
    *,
    user: str,
    ask: Callable[[str], str],
) -> Choice:
    """The image. `ask` is asked only if none is there: "" if the registry has it, else why not.

    ImageError where none can be had; `ask` raises it where the registry does not answer.
    """
    if wish.path is not None:
        if wish.path not in seen:
            raise ImageError(
                f"the image {wish.path} does not exist on {profile.name}",
                hint="correct the path after --image, or leave --image out: the image is then found, pulled or built",
            )
        return Choice(kind="there", image=wish.path, reason="it was named with --image", wish=wish)
    notes: list[str] = []
    for place in wish.places(profile):
        found = seen.get(place)
        if found is None:
            continue
        why_not = unusable(found, profile, user=user)
        if not why_not:
            where = "" if place.parent == own_folder(profile) else f" in {place.parent}"
            # Of others' folders the file itself: a link could be turned to another one before the job starts.
            return Choice(
                kind="there",
                image=place if place.parent == own_folder(profile) else found.entries[0].path,
                reason=f"it is there{where}",
                notes=tuple(notes),
                record=found.record,
                wish=wish,
            )
        notes.append(f"the image {place} is passed over: {why_not}")
    files = {origin: own_folder(profile) / name for name, origin in wish.files()}

    def made(kind: Literal["pull", "build"], origin: str, reason: str) -> Choice:
        image = files[origin]
        old = seen[image].stamp if image in seen else ""
        return Choice(kind=kind, image=image, reason=reason, notes=tuple(notes), replaces=old, wish=wish)

    missing = ""
    if "published" in files:
        missing = ask(wish.published)
        if not missing:
            return made("pull", "published", f"{wish.published} is published")
    if "recipe" in files:
        reason = missing or (
            "that was asked for" if wish.way == "build" else "there is no published image of it"
        )
        return made("build", "recipe", reason)
    raise _nothing(wish, missing, notes)


def unusable(found: Seen, profile: ClusterProfile, *, user: str) -> str:
    """Why an image that is there is not used; "" if it is."""
    image = found.entries[0]
    doubt = record.changed(found.record, image)
    if doubt:
        return doubt
    assert found.record is not None
    if found.record.key != found.path.stem.rpartition("-")[2]:
        return "its record tells of another image"
    if found.path.parent == own_folder(profile):
        return (
            "" if image.owner in (user, "root", *profile.trusted_owners) else f"it belongs to {image.owner}"
        )
    return record.distrust(found.entries, user=user, trusted=profile.trusted_owners)


def _nothing(wish: Wish, missing: str, notes: list[str]) -> ImageError:
    passed_over = "".join(f"; {note}" for note in notes)
    if missing:
        without = f", and it cannot be built: {wish.no_bundle}" if wish.no_bundle else ""
        return ImageError(
            f"{missing}{without}{passed_over}",
            hint="look for a typing error in the name and the tag; without --image and -t it is found or built"
            if not wish.no_bundle
            else "launch again when this computer has internet, or give an image of your own with --image",
        )
    return ImageError(
        f"there is no image of {wish.name}, and none can be built: {wish.no_bundle or 'there is no recipe'}{passed_over}",
        hint="give an image of your own with --image",
    )
