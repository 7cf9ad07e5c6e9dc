"""Fewer images to build: a stage that only one other stage continues is that stage's beginning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from dl4mic_hpc.recipe.steps import Copy, FromStage, Run, Source, Stage, Step


def merged(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """The same last image with fewer stages before it.

    A stage that does nothing is its base under another name; a stage that one FROM uses, and nothing else, needs no
    image of its own.
    """
    stages = _without_idle_bases(stages)
    uses = _uses(stages)
    bases = {stage.base.stage for stage in stages if isinstance(stage.base, FromStage)}
    beginnings: dict[int, Stage] = {}
    kept: dict[int, Stage] = {}
    for at, stage in enumerate(stages):
        base = stage.base
        if isinstance(base, FromStage) and base.stage in beginnings:
            before = beginnings[base.stage]
            stage = replace(stage, base=before.base, steps=before.steps + stage.steps)
        if uses[at] == 1 and at in bases:
            beginnings[at] = stage
        elif uses[at] or at == len(stages) - 1:
            kept[at] = stage
    places = {old: new for new, old in enumerate(kept)}
    return tuple(_moved(stage, places) for stage in kept.values())


def _without_idle_bases(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    found: list[Stage] = []
    for stage in stages:
        base = stage.base
        if isinstance(base, FromStage) and not found[base.stage].steps:
            stage = replace(stage, base=found[base.stage].base)
        found.append(stage)
    return tuple(found)


def _uses(stages: tuple[Stage, ...]) -> Counter[int]:
    """How often each stage is used on the way to the last one."""
    uses = Counter[int]()
    for at in reversed(range(len(stages))):
        if uses[at] or at == len(stages) - 1:
            sources = [source for step in stages[at].steps for source in _sources(step)]
            origins = [stages[at].base, *(source.origin for source in sources)]
            uses.update(origin.stage for origin in origins if isinstance(origin, FromStage))
    return uses


def _sources(step: Step) -> list[Source]:
    if isinstance(step, Copy):
        return list(step.sources)
    if isinstance(step, Run):
        return [mount.source for mount in step.mounts if mount.source]
    return []


def _moved(stage: Stage, places: Mapping[int, int]) -> Stage:
    """The stage with the stages that it names at their new places."""
    base = FromStage(stage=places[stage.base.stage]) if isinstance(stage.base, FromStage) else stage.base
    return replace(stage, base=base, steps=tuple(_moved_step(step, places) for step in stage.steps))


def _moved_step(step: Step, places: Mapping[int, int]) -> Step:
    if isinstance(step, Copy):
        return replace(step, sources=tuple(_moved_source(source, places) for source in step.sources))
    if isinstance(step, Run) and step.mounts:
        mounts = [
            replace(mount, source=_moved_source(mount.source, places)) if mount.source else mount
            for mount in step.mounts
        ]
        return replace(step, mounts=tuple(mounts))
    return step


def _moved_source(source: Source, places: Mapping[int, int]) -> Source:
    if not isinstance(source.origin, FromStage):
        return source
    return replace(source, origin=FromStage(stage=places[source.origin.stage]))
