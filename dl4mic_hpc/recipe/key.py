"""The key of an image: a hash of everything that goes into it, found without a network.

The same on every laptop, and blind to comments, line numbers, names of stages and registry mirrors.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator

from dl4mic_hpc.recipe.base import as_docker
from dl4mic_hpc.recipe.context import Packed
from dl4mic_hpc.recipe.loads import loads_of
from dl4mic_hpc.recipe.steps import (
    BaseImage,
    Context,
    Copy,
    FromStage,
    Git,
    Late,
    MakeFolder,
    Mount,
    Recipe,
    Run,
    Scratch,
    Source,
    Stage,
    Text,
    Url,
    Variables,
)

# Part of every key: another number whenever the same recipe gives another image than before.
CONVERTER = 3
KEY_LENGTH = 16

Pack = Callable[[Copy], Packed]


def key_of(recipe: Recipe, *, pack: Pack, context_digest: Callable[[], bytes], exact: bool) -> str:
    """Hexadecimal digits. recipe: as it is where no registry is asked; its `needs` count by their text.

    pack: the files of a copy that come from the build context. context_digest: a hash of all of that, asked for only
    where it is not known which of them are copied.
    """
    inputs = [
        CONVERTER,
        exact,
        [_stage(stage, pack, context_digest) for stage in recipe.stages],
        [_without_place(need.message) for need in recipe.needs],
        list(recipe.presumed),
    ]
    text = json.dumps(inputs, ensure_ascii=True, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def _without_place(message: str) -> str:
    """`Dockerfile:7: what` without file and line, which are no part of an image."""
    return message.split(": ", 1)[-1]


def _stage(stage: Stage, pack: Pack, context_digest: Callable[[], bytes]) -> object:
    match stage.base:
        case BaseImage(reference=reference, platform=platform):
            base: object = ["image", reference, platform]
        case FromStage(stage=below):
            base = ["stage", below]
        case Scratch():
            base = ["scratch"]
    steps = [_step(step, pack, context_digest) for step in stage.steps]
    bound = [_copy(load.copy, pack, context_digest) for load in loads_of(stage) if "-" in load.id]
    return [base, steps, bound, as_docker(stage.config), list(_variables(stage.config.environment))]


def _step(step: Run | Copy | MakeFolder, pack: Pack, context_digest: Callable[[], bytes]) -> object:
    match step:
        case MakeFolder():
            return ["folder", step.path, step.owner]
        case Copy():
            return ["copy", *_copy(step, pack, context_digest)]
        case Run():
            script = None if step.script is None else hashlib.sha256(step.script).hexdigest()
            mounts = [_mount(mount) for mount in step.mounts]
            variables = list(_variables(step.environment))
            return ["run", list(step.argv), variables, step.folder, step.user, mounts, script]


def _variables(variables: Variables) -> Iterator[list[object]]:
    for name, value in variables:
        yield [name, list(value.parts) if isinstance(value, Late) else value]


def _mount(mount: Mount) -> list[object]:
    fields = dataclasses.replace(mount, source=None)
    return [getattr(fields, each.name) for each in dataclasses.fields(fields)]


def _copy(copy: Copy, pack: Pack, context_digest: Callable[[], bytes]) -> list[object]:
    flags = [copy.destination, copy.owner, copy.mode, copy.unpack, copy.parents, list(copy.exclude)]
    if copy.undecided:
        return ["undecided", *flags, context_digest().hex()]
    elsewhere = [_elsewhere(source) for source in copy.sources]
    here = tuple(source for source in copy.sources if isinstance(source.origin, Context | Text))
    if not here:
        return [*flags, elsewhere]
    packed = pack(dataclasses.replace(copy, sources=here))
    return [*flags, elsewhere, *_packed(packed)]


def _elsewhere(source: Source) -> object:
    """What stands for files that only the build, or a network, can give."""
    match source.origin:
        case FromStage(stage=stage):
            return ["stage", stage, source.path, source.glob]
        case Url(address=address, checksum=checksum):
            return ["url", address, checksum, source.path]
        case Git() as git:
            return ["git", git.repository, git.ref, git.folder, git.keep_git, git.checksum]
        case _:
            return None


def _packed(packed: Packed) -> list[object]:
    digests = [hashlib.sha256(content).hexdigest() for content in (packed.archive, *packed.archives)]
    return [digests, packed.folders.decode("utf-8", "surrogateescape"), packed.member]
