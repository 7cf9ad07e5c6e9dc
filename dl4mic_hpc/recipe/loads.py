"""What the steps of a recipe bring into its images from elsewhere: one numbered load for each COPY, ADD and bind mount."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dl4mic_hpc.recipe.steps import Copy, FromStage, Recipe, Run, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One of them. id: unique in its stage, the same on every laptop. stage: where it comes from, or None."""

    id: str
    copy: Copy
    stage: int | None

    @property
    def step(self) -> int:
        """The number of the step that asks for it."""
        return int(self.id.partition("-")[0])


def loads_of(stage: Stage) -> Iterator[Load]:
    """The loads of a stage, in the order in which they are needed."""
    for at, step in enumerate(stage.steps):
        if isinstance(step, Copy):
            yield _load(f"{at:03d}", step)
        elif isinstance(step, Run):
            yield from mounted(at, step)


def mounted(at: int, run: Run) -> Iterator[Load]:
    """The loads of the step at this place, a RUN: what its bind mounts show."""
    for number, mount in enumerate(run.mounts):
        if mount.source is not None:
            copy = Copy(
                sources=(mount.source,),
                destination=mount.target.rstrip("/"),
                line=run.line,
                text=run.text,
            )
            yield _load(f"{at:03d}-{number}", copy)


def taken_from(recipe: Recipe, stage: int) -> Iterator[tuple[int, Load]]:
    """Which stages take what from this one."""
    for at, taker in enumerate(recipe.stages):
        yield from ((at, load) for load in loads_of(taker) if load.stage == stage)


def _load(name: str, copy: Copy) -> Load:
    origin = copy.sources[0].origin if copy.sources else None
    return Load(id=name, copy=copy, stage=origin.stage if isinstance(origin, FromStage) else None)
