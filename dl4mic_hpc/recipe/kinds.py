"""How a stage can be built: by a shell that it has, or from outside, file by file, where there is none."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from dl4mic_hpc.recipe.steps import BaseImage, Copy, FromStage, Recipe, Run, Scratch, Stage, Step

# Images known to hold no shell (https://github.com/GoogleContainerTools/distroless); those tagged debug have one.
_NO_SHELL = re.compile(r"(?:^|/)distroless/(?!.*[:-]debug)")


def has_shell(recipe: Recipe, at: int) -> bool:
    """Whether a shell in the stage at this place carries out its steps; of an unknown image it is presumed."""
    stage = recipe.stages[at]
    if any(isinstance(step, Run) for step in stage.steps):
        return True
    match stage.base:
        case Scratch():
            return any(has_shell(recipe, source) for step in stage.steps for source in _roots(step))
        case FromStage(stage=base):
            return has_shell(recipe, base)
        case BaseImage(reference=reference, shell=None):
            return not _NO_SHELL.search(reference)
        case BaseImage(shell=shell):
            return bool(shell)


def is_image(stage: Stage) -> bool:
    """Whether a stage is an image as it is."""
    return not stage.steps and isinstance(stage.base, BaseImage)


def is_searched(recipe: Recipe, at: int) -> bool:
    """Whether those who take files from the stage look for them in it by themselves: it makes nothing ready."""
    return is_image(recipe.stages[at]) or not has_shell(recipe, at)


def lenders(recipe: Recipe) -> Iterator[int]:
    """The stages whose base is an image that has a shell; first those that show it by a RUN."""
    on_images = [at for at, stage in enumerate(recipe.stages) if isinstance(stage.base, BaseImage)]
    stages = (at for at in on_images if has_shell(recipe, at))
    yield from sorted(
        stages, key=lambda at: not any(isinstance(step, Run) for step in recipe.stages[at].steps)
    )


def from_outside(recipe: Recipe, at: int) -> frozenset[int]:
    """The steps, by their numbers, that are done before any shell is there.

    All of them in a stage without one; in a stage on nothing at all what stands before the first RUN. Where that has
    brought a whole root, in an archive or from a stage, its shell does the rest.
    """
    steps = recipe.stages[at].steps
    if not has_shell(recipe, at):
        return frozenset(range(len(steps)))
    if not isinstance(recipe.stages[at].base, Scratch):
        return frozenset()
    before = list(itertools.takewhile(lambda step: not isinstance(step, Run), steps))
    plain = list(itertools.takewhile(lambda step: not takes_from_stage(step), before))
    if any(map(_unpacks_a_root, plain)):
        return frozenset(range(len(plain)))
    taken = [number for number, step in enumerate(before) if _roots(step)]
    return frozenset(range(taken[0] + 1 if taken else len(before)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Neighbouring steps of `from_outside`. maker: the part of the definition that makes their files ready.

    maker: `sN` for a stage that has a shell, `gN` for one that goes between two without, "" for layers of our own.
    """

    maker: str
    steps: tuple[int, ...]


def groups(recipe: Recipe, at: int) -> list[Group]:
    """How the steps of `from_outside` are carried out, in their order."""
    numbers = sorted(from_outside(recipe, at))
    grouped = itertools.groupby(
        numbers, key=lambda number: _maker(recipe, at, recipe.stages[at].steps[number])
    )
    return [Group(maker=maker, steps=tuple(steps)) for maker, steps in grouped]


def _maker(recipe: Recipe, at: int, step: Step) -> str:
    sources = _sources(step)
    if not sources:
        return ""
    return f"s{sources[0]}" if has_shell(recipe, sources[0]) else f"g{at}"


def takes_from_stage(step: Step) -> bool:
    """Whether it is a COPY --from."""
    return bool(_sources(step))


def _sources(step: Step) -> list[int]:
    """The stages that a COPY --from takes files from."""
    origins = [source.origin for source in step.sources] if isinstance(step, Copy) else []
    return [origin.stage for origin in origins if isinstance(origin, FromStage)]


def _roots(step: Step) -> list[int]:
    """The stages that a COPY --from takes as a whole, to be the root of its own."""
    if not isinstance(step, Copy) or step.destination != "/" or step.exclude:
        return []
    return [stage for stage, source in zip(_sources(step), step.sources, strict=False) if source.path == "."]


def _unpacks_a_root(step: Step) -> bool:
    return isinstance(step, Copy) and step.unpack and step.destination == "/"
