"""How a stage can be built: by a shell that it has, or from outside, file by file, where there is none."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from dl4mic_hpc.recipe.steps import BaseImage, Context, Copy, FromStage, Recipe, Run, Scratch, Stage, Step

# Images known to hold no shell (https://github.com/GoogleContainerTools/distroless); those tagged debug have one.
_NO_SHELL = re.compile(r"(?:^|/)distroless/(?!.*[:-]debug)")


def has_shell(recipe: Recipe, at: int) -> bool:
    """Whether a shell in the stage at this place carries out its steps; of an unknown image it is presumed."""
    stage = recipe.stages[at]
    if any(isinstance(step, Run) for step in stage.steps):
        return True
    match stage.base:
        case Scratch():
            return False
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

    All of them in a stage without one; what stands before the first RUN in a stage on nothing at all. Where that has
    brought a root in an archive, its shell does the rest.
    """
    steps = recipe.stages[at].steps
    if not has_shell(recipe, at):
        return frozenset(range(len(steps)))
    if not isinstance(recipe.stages[at].base, Scratch):
        return frozenset()
    before = list(itertools.takewhile(lambda step: not isinstance(step, Run), steps))
    plain = list(itertools.takewhile(lambda step: not takes_from_stage(step), before))
    return frozenset(range(len(plain if any(map(_brings_a_root, plain)) else before)))


def takes_from_stage(step: Step) -> bool:
    """Whether it is a COPY --from."""
    return isinstance(step, Copy) and any(isinstance(source.origin, FromStage) for source in step.sources)


def _brings_a_root(step: Step) -> bool:
    return isinstance(step, Copy) and step.unpack and isinstance(step.sources[0].origin, Context)
