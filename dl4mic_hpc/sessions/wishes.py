"""From a notebook of the catalogue to the images that would do for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, cast

from dl4mic_hpc import resources
from dl4mic_hpc.catalog import NotebookSpec, Pinned
from dl4mic_hpc.errors import Dl4micError, UsageError
from dl4mic_hpc.images import choice
from dl4mic_hpc.images.choice import Wish
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.recipe import bundle as recipe_bundle
from dl4mic_hpc.recipe.bundle import Bundle
from dl4mic_hpc.sessions.outside import OnDemand
from dl4mic_hpc.sources import files as sources

Origin = dict[str, str | None]
"""Of a file: `url` and `revision` where it was fetched, else None; `file`, its name; `sha256`."""

_RECIPE = ("requirements", "recipe")


def of_notebook(
    notebook: NotebookSpec,
    profile: ClusterProfile | None,
    *,
    way: str,
    tag: str | None = None,
    own_requirements: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[Wish, dict[str, Origin]]:
    """What would do (`way`: auto, pull, build), and where recipe and requirements came from.

    `profile`: the cluster whose mirrors a recipe's base images come from; None for a build on this computer.

    A recipe that cannot be fetched or converted stops nothing as long as a published image would do. A full reference
    stands for the same image whichever notebook uses it, so its file has the name that `image pull` gives it.
    """
    reference = choice.published_reference(notebook, tag, own_requirements=own_requirements)
    wish = Wish(
        name=choice.of_reference(tag).name if tag is not None and tag == reference else notebook.id,
        way=cast("Literal['auto', 'pull', 'build']", way),
        published=reference,
        cuda=notebook.cuda_version,
    )
    if way == "pull" and not reference:
        raise UsageError(
            f"no image of {notebook.id} is published"
            + (" with requirements of your own" if own_requirements and notebook.docker_hub_image else ""),
            hint="leave --image out, and it is built from its recipe; or name a published one with -t",
        )
    if way == "pull" or tag is not None:
        return wish, {}
    try:
        spec = sources.obtain(notebook, cache=resources.home("cache"), say=say, parts=_RECIPE)
        bundle = bundle_of(spec, profile)
    except Dl4micError as problem:
        if way == "build" or not reference:
            raise
        return replace(wish, no_bundle=problem.message), {}
    return replace(wish, bundle=bundle), {part: origin(notebook, spec, part) for part in _RECIPE}


def bundle_of(spec: NotebookSpec, profile: ClusterProfile | None) -> Bundle:
    """What the notebook's image is built from, by way of the profile's mirrors if there is one."""
    with spec.recipe_context() as context:
        return recipe_bundle.convert_environment(
            context / "Dockerfile",
            context=context,
            offered=spec.build_args(),
            base_reference=lambda reference: mirrored(reference, profile) if profile else reference,
            outside=OnDemand(insecure=frozenset(profile.insecure_registries if profile else ())),
        )


def origin(wanted: NotebookSpec, spec: NotebookSpec, part: str) -> Origin:
    """Where the notebook, its requirements or the recipe came from, and the hash of what came."""
    file, address = getattr(spec, part), getattr(wanted, part)
    fetched = isinstance(address, Pinned)
    return {
        "url": sources.shown(address) if fetched else None,
        "revision": (spec.revision or None) if fetched and part == "notebook" else None,
        "file": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }


def mirrored(reference: str, profile: ClusterProfile) -> str:
    """The reference by way of the profile's mirror of its registry, if there is one."""
    registry, _, rest = reference.partition("/")
    if not rest or not ("." in registry or ":" in registry or registry == "localhost"):
        registry, rest = "docker.io", reference if "/" in reference else f"library/{reference}"
    mirror = profile.registry_mirrors.get(registry)
    return f"{mirror}/{rest}" if mirror else f"{registry}/{rest}"
