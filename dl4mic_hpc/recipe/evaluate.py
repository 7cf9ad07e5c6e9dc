"""Instructions and build arguments -> a recipe in which nothing is left to expand.

The scopes are BuildKit's: an ARG before FROM is visible in FROM lines, and in a stage only where that declares
it again; the words of one ENV see the values from before it. Everything is checked before anything is handed on.
"""

from __future__ import annotations

from collections.abc import Mapping

from dl4mic_hpc.recipe import stages
from dl4mic_hpc.recipe.interpret import Interpretation
from dl4mic_hpc.recipe.merge import merged
from dl4mic_hpc.recipe.outside import Outside
from dl4mic_hpc.recipe.parser import Dockerfile
from dl4mic_hpc.recipe.plan import Planned, plan
from dl4mic_hpc.recipe.stages import Scope
from dl4mic_hpc.recipe.steps import BaseImage, FromStage, ImageConfig, Recipe, Stage
from dl4mic_hpc.recipe.variables import Findings


def evaluate(
    dockerfile: Dockerfile,
    *,
    build_args: Mapping[str, str],
    target: str | None = None,
    outside: Outside,
    platform: str = "linux/amd64",
) -> Recipe:
    """The recipe of the stage `target` (its name or number, None: the last one) with these build arguments.

    With `outside.Nothing()` it gives an image's key, with real sources its definition. RecipeError with file and
    line for everything that is not converted exactly.
    """
    before, every = stages.split(dockerfile)
    wanted = stages.choose(dockerfile.name, every, target)
    name = target if target is not None else every[-1].name
    scope = Scope(build_args, platform=platform, stage=name, escape=dockerfile.escape)
    for command in before:
        scope.declare(command)
    planned = plan(every, wanted, scope=scope, outside=outside)
    findings = Findings()
    findings.notes.extend(stages.idle_arguments(dockerfile.name, build_args, _declared(dockerfile, planned)))
    built: list[Interpretation] = []
    for each in planned:
        built.append(_begun(each, built, scope, findings))
        built[-1].carry_out()
    built[-1].check_start()
    return Recipe(
        name=dockerfile.name,
        stages=merged(tuple(_stage(each) for each in built)),
        needs=tuple(need for _, need in sorted(findings.needs, key=lambda found: found[0])),
        presumed=tuple(sorted(findings.presumed)),
        notes=tuple(findings.notes),
        left_out=tuple(stage.name for stage in every[wanted + 1 :]),
    )


def _begun(planned: Planned, built: list[Interpretation], scope: Scope, findings: Findings) -> Interpretation:
    if isinstance(planned.base, int):
        return built[planned.base].child(planned)
    config = planned.base.config if isinstance(planned.base, BaseImage) else ImageConfig(folder="/")
    return Interpretation.on_image(planned, config, scope=scope, findings=findings)


def _stage(built: Interpretation) -> Stage:
    planned = built.planned
    return Stage(
        name=planned.name,
        base=FromStage(stage=planned.base) if isinstance(planned.base, int) else planned.base,
        steps=tuple(built.steps),
        config=built.finished(),
        line=planned.start.line,
    )


def _declared(dockerfile: Dockerfile, planned: tuple[Planned, ...]) -> set[str]:
    """The names of all ARGs, those among them that bases hand on."""
    handed_on = (
        word.partition("=")[0]
        for each in planned
        for command in each.commands
        if command.keyword == "ARG"
        for word in command.words
    )
    return {*stages.arguments_of(dockerfile), *handed_on}
