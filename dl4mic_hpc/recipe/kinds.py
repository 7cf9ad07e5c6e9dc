"""How a stage can be built: by a shell that it has, or from outside, file by file, where there is none."""

from __future__ import annotations

import re

from dl4mic_hpc.recipe.steps import BaseImage, FromStage, Recipe, Run, Scratch, Stage

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
        case BaseImage(reference=reference):
            return not _NO_SHELL.search(reference)


def is_image(stage: Stage) -> bool:
    """Whether a stage is an image as it is: the stage that takes files from it looks for them by itself."""
    return not stage.steps and isinstance(stage.base, BaseImage)
