"""The stages of a Dockerfile and what holds for all of them: build arguments and the ARGs before FROM."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from dl4mic_hpc.errors import RecipeError, perhaps_you_meant
from dl4mic_hpc.recipe import arguments, lexer
from dl4mic_hpc.recipe.parser import Dockerfile, Instruction, refuse

_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
# Registry and path, tag, digest (https://github.com/distribution/reference); nothing else may reach a header.
_REFERENCE = re.compile(
    r"(?P<name>(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?/)?[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*)"
    r"(?P<tag>:\w[\w.-]{0,127})?(?P<digest>@sha256:[0-9a-f]{64})?",
    re.ASCII,
)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What one FROM begins. name: in small letters, "" if it has none. base: as written, unexpanded."""

    name: str
    base: str
    start: Instruction
    instructions: tuple[Instruction, ...]


def arguments_of(dockerfile: Dockerfile) -> frozenset[str]:
    """The names of all its ARGs."""
    return frozenset(
        word.partition("=")[0]
        for instruction in dockerfile.instructions
        if instruction.keyword == "ARG"
        for word in arguments.quoted_words(instruction.arguments, escape=dockerfile.escape)
    )


def names_of(dockerfile: Dockerfile) -> frozenset[str]:
    """The names of all its stages, in small letters."""
    parts = (arguments.words(each.arguments) for each in dockerfile.instructions if each.keyword == "FROM")
    return frozenset(words[2].lower() for words in parts if len(words) == 3)


class Scope:
    """The ARGs before FROM, and the build arguments given from outside, which win over every default.

    RecipeError if a given argument is declared nowhere: it would silently do nothing.
    """

    def __init__(self, dockerfile: Dockerfile, build_args: Mapping[str, str]) -> None:
        self.dockerfile, self.given = dockerfile, build_args
        self.values: dict[str, str] = {}
        declared = arguments_of(dockerfile)
        for name, value in sorted(build_args.items()):
            if name not in declared:
                hint = perhaps_you_meant(name, declared)
                raise RecipeError(f"{dockerfile.name} has no ARG for the build argument '{name}'", hint=hint)
            if _CONTROL.search(value):
                what = f"the build argument {name} holds a control character: {value!r}"
                raise RecipeError(what, hint="give it without")

    def declare(self, instruction: Instruction) -> None:
        """An ARG before FROM."""
        for word in arguments.quoted_words(instruction.arguments, escape=self.dockerfile.escape):
            name, equals, default = word.partition("=")
            fallback = self.expand(default, instruction) if equals and name not in self.given else None
            value = self.value(name, fallback)
            if value is not None:
                self.values[name] = value

    def value(self, name: str, default: str | None) -> str | None:
        """The value of an ARG that is declared with this (expanded) default, or without one; None if it has none."""
        if name in self.given:
            return self.given[name]
        return self.values.get(name) if default is None else default

    def expand(self, text: str, instruction: Instruction) -> str:
        """`text` with the variables that a FROM line sees."""
        name, line = self.dockerfile.name, instruction.line
        try:
            expansion = lexer.expand(text, self.values, escape=self.dockerfile.escape)
        except lexer.LexError as error:
            raise refuse(
                name, line, f"{instruction.keyword}: {error}", hint="mend the quotes or braces"
            ) from error
        for missing in sorted(expansion.missing):
            raise refuse(
                name,
                line,
                f"{instruction.keyword} uses {missing}, which has no value before FROM",
                hint=f"write a default, ARG {missing}=…, before FROM, or give --build-arg {missing}=…",
            )
        return expansion.text


def split(dockerfile: Dockerfile, scope: Scope) -> tuple[Stage, ...]:
    """The stages in order, the ARGs before them declared in `scope`."""
    starts = [at for at, each in enumerate(dockerfile.instructions) if each.keyword == "FROM"]
    if not starts:
        raise RecipeError(
            f"{dockerfile.name} has no FROM", hint="begin the recipe with FROM and the base image"
        )
    for instruction in dockerfile.instructions[: starts[0]]:
        if instruction.keyword != "ARG":
            what = f"{instruction.keyword} stands before FROM"
            raise refuse(dockerfile.name, instruction.line, what, hint="begin the recipe with FROM")
        scope.declare(instruction)
    ends = [*starts[1:], len(dockerfile.instructions)]
    return tuple(
        _stage(dockerfile, dockerfile.instructions[start:end])
        for start, end in zip(starts, ends, strict=True)
    )


def _stage(dockerfile: Dockerfile, instructions: tuple[Instruction, ...]) -> Stage:
    start, *rest = instructions
    parts = arguments.words(start.arguments)
    named = len(parts) == 3 and parts[1].upper() == "AS"
    if len(parts) != 1 and not named:
        raise refuse(
            dockerfile.name,
            start.line,
            "FROM names no base image",
            hint="write FROM IMAGE or FROM IMAGE AS NAME",
        )
    name = parts[2].lower() if named else ""
    if named and not _STAGE_NAME.fullmatch(name):
        what = f"'{parts[2]}' cannot name a stage"
        raise refuse(
            dockerfile.name, start.line, what, hint="use letters, digits, - _ . and begin with a letter"
        )
    return Stage(name=name, base=parts[0], start=start, instructions=tuple(rest))


def choose(dockerfile: Dockerfile, stages: tuple[Stage, ...], target: str | None) -> Stage:
    """The stage that `target` names, or the last one."""
    if target is None:
        return stages[-1]
    named = {stage.name: stage for stage in stages if stage.name}
    if target.lower() not in named:
        hint = perhaps_you_meant(target, named)
        raise RecipeError(f"{dockerfile.name} has no stage named '{target}'", hint=hint)
    return named[target.lower()]


def base_image(dockerfile: Dockerfile, stages: tuple[Stage, ...], stage: Stage, scope: Scope) -> str:
    """The image that `stage` stands on. With a digest it has no tag: Docker looks at the digest alone."""
    line = stage.start.line
    if stage.start.flags:
        raise refuse(
            dockerfile.name,
            line,
            f"FROM {stage.start.flags[0]} is not converted yet",
            hint="delete it: the image is built for the cluster's own processors",
        )
    base = scope.expand(stage.base, stage.start)
    earlier = {other.name for other in stages[: stages.index(stage)] if other.name}
    if base.lower() in earlier:
        raise refuse(
            dockerfile.name,
            line,
            f"the stage stands on another one, '{base}', which is not converted yet",
            hint=f"convert the stage '{base}' itself by naming it as the target, or write one stage",
        )
    if base == "scratch":
        raise refuse(
            dockerfile.name,
            line,
            "FROM scratch is not converted yet",
            hint="begin with a distribution's image",
        )
    return check_reference(base, where=f"{dockerfile.name}:{line}")


def check_reference(reference: str, *, where: str) -> str:
    """`reference` if it is an image's, its tag dropped if it has a digest. RecipeError that begins with `where`."""
    found = _REFERENCE.fullmatch(reference)
    if not found:
        raise RecipeError(
            f"{where}: '{reference}' is no image reference",
            hint="write it as NAME:TAG, such as debian:trixie-slim",
        )
    return reference if not found["digest"] else found["name"] + found["digest"]
