"""The stages of a Dockerfile and what holds for all of them: build arguments, platform, the ARGs before FROM."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from dl4mic_hpc.errors import RecipeError, perhaps_you_meant
from dl4mic_hpc.recipe import arguments, commands, lexer
from dl4mic_hpc.recipe.commands import Command
from dl4mic_hpc.recipe.parser import Dockerfile

_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
# Registry and path, tag, digest (https://github.com/distribution/reference); nothing else may reach a header.
_REFERENCE = re.compile(
    r"(?P<name>(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?/)?[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*)"
    r"(?P<tag>:\w[\w.-]{0,127})?(?P<digest>@sha256:[0-9a-f]{64})?",
    re.ASCII,
)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]")
_PROXY = re.compile(r"(?:https?|ftp|all|no)_proxy", re.IGNORECASE)
# Given to Docker's builder itself, whether a recipe declares them or not.
_PREDEFINED = re.compile(
    r"(?:BUILD|TARGET)(?:PLATFORM|OS|OSVERSION|ARCH|VARIANT)|TARGETSTAGE|SOURCE_DATE_EPOCH|BUILDKIT_\w+"
)
_SAME_MACHINE = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386", "armhf": "arm"}
_DEFAULT_VARIANT = {"amd64": "v1", "arm64": "v8", "arm": "v7"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What one FROM begins. name: in small letters, "" if it has none. base: as written, unexpanded."""

    name: str
    base: str
    start: Command
    commands: tuple[Command, ...]


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


def without(dockerfile: Dockerfile, stage: str) -> Dockerfile:
    """The same, but nothing is copied from the stage of this name, which then nothing asks for."""
    kept = tuple(
        instruction
        for instruction in dockerfile.instructions
        if instruction.keyword != "COPY" or f"--from={stage}" not in map(str.lower, instruction.flags)
    )
    return replace(dockerfile, instructions=kept)


def split(dockerfile: Dockerfile) -> tuple[tuple[Command, ...], tuple[Stage, ...]]:
    """The ARGs before the first FROM, and the stages. RecipeError for a mistake of form, in whatever stage."""
    read = [
        commands.read(instruction, file=dockerfile.name, escape=dockerfile.escape)
        for instruction in dockerfile.instructions
    ]
    starts = [at for at, command in enumerate(read) if command.keyword == "FROM"]
    if not starts:
        hint = "begin the recipe with FROM and the base image"
        raise RecipeError(f"{dockerfile.name} has no FROM", hint=hint)
    before = tuple(read[: starts[0]])
    for command in before:
        if command.keyword != "ARG":
            what = f"{command.keyword} stands before FROM"
            raise command.refuse(what, hint="begin the recipe with FROM")
    ends = [*starts[1:], len(read)]
    return before, tuple(_stage(read[start:end]) for start, end in zip(starts, ends, strict=True))


def _stage(read: list[Command]) -> Stage:
    start, *rest = read
    name = start.words[2].lower() if len(start.words) == 3 else ""
    if name and not _STAGE_NAME.fullmatch(name):
        hint = "use letters, digits, - _ . and begin with a letter"
        raise start.refuse(f"'{start.words[2]}' cannot name a stage", hint=hint)
    return Stage(name=name, base=start.words[0], start=start, commands=tuple(rest))


def choose(file: str, stages: tuple[Stage, ...], target: str | None) -> int:
    """The place of the stage that `target` names, by its name or number, or of the last one."""
    if target is None:
        return len(stages) - 1
    found = find(stages, target)
    if found is None:
        hint = perhaps_you_meant(target, {stage.name for stage in stages if stage.name})
        raise RecipeError(f"{file} has no stage named '{target}'", hint=hint)
    return found


def find(stages: tuple[Stage, ...], name: str) -> int | None:
    """The place of a stage, by its name (the last one that has it) or number; None if there is none."""
    folded = name.lower()
    named = [at for at, stage in enumerate(stages) if stage.name and stage.name == folded]
    if named:
        return named[-1]
    at = int(name) if re.fullmatch(r"[0-9]{1,6}", name, re.ASCII) else len(stages)
    return at if at < len(stages) else None


class Scope:
    """The variables of FROM lines: the platform's, the ARGs before the first FROM; given build arguments win."""

    def __init__(self, build_args: Mapping[str, str], *, platform: str, stage: str, escape: str) -> None:
        self.given, self.escape = build_args, escape
        self.platform = normalised_platform(platform) or ""
        if not self.platform.startswith("linux/"):
            what = f"images are built for Linux, not for '{platform}'"
            raise RecipeError(what, hint="name the platform as linux/amd64 or linux/arm64")
        system, machine, variant, *_ = [*self.platform.split("/"), "", ""]
        self.values: dict[str, str] = {"TARGETSTAGE": stage or "default"}
        for side in ("BUILD", "TARGET"):
            self.values[f"{side}PLATFORM"] = self.platform
            self.values[f"{side}OS"], self.values[f"{side}ARCH"] = system, machine
            self.values[f"{side}VARIANT"], self.values[f"{side}OSVERSION"] = variant, ""
        self.values |= {name: build_args[name] for name in self.values if name in build_args}
        self.proxies = {
            spelled: value
            for name, value in sorted(build_args.items())
            if _PROXY.fullmatch(name) and value
            for spelled in (name.lower(), name.upper())
        }

    def declare(self, command: Command) -> None:
        """An ARG before FROM."""
        for word in command.words:
            name, equals, default = word.partition("=")
            if name in self.given:
                self.values[name] = self.given[name]
            elif equals:
                self.values[name] = self.expand(default, command).text

    def expand(self, text: str, command: Command) -> lexer.Expansion:
        """`text` with the variables that a FROM line sees."""
        try:
            return lexer.expand(text, self.values, escape=self.escape)
        except lexer.LexError as error:
            hint = "mend the quotes, braces or pattern"
            raise command.refuse(f"{command.keyword}: {error}", hint=hint) from error


def idle_arguments(file: str, build_args: Mapping[str, str], declared: Iterable[str]) -> Iterator[str]:
    """A note for each build argument that does nothing. RecipeError for one that nothing can carry."""
    names = set(declared)
    for name, value in sorted(build_args.items()):
        if name not in names and not _PREDEFINED.fullmatch(name) and not _PROXY.fullmatch(name):
            meant = perhaps_you_meant(name, names)
            yield f"{file} has no ARG for the build argument '{name}', which does nothing: {meant}"
        if _CONTROL.search(value):
            what = f"the build argument {name} holds a control character: {value!r}"
            raise RecipeError(what, hint="give it without")


def check_platform(stage: Stage, scope: Scope) -> None:
    """RecipeError if the stage asks for another platform than the one that is built for."""
    written = stage.start.options.text("platform")
    if not written:
        return
    found = scope.expand(written, stage.start)
    platform = normalised_platform(found.text)
    if platform is None:
        missing = "".join(f"; {name} has no value" for name in sorted(found.missing))
        what = f"'{found.text}' is no platform{missing}"
        raise stage.start.refuse(what, hint="write it as linux/amd64, or delete --platform")
    if not platform.startswith("linux/"):
        hint = "Apptainer runs Linux images only"
        raise stage.start.refuse(f"the platform {platform} is not converted", hint=hint)
    if platform != scope.platform:
        what = f"the stage is for {platform}, and the image is built for {scope.platform}"
        raise stage.start.refuse(what, hint="delete --platform: it is built on the cluster's own processors")


def normalised_platform(text: str) -> str | None:
    """The platform in the form linux/amd64 or linux/arm/v6, None if it is none."""
    parts = text.lower().split("/")
    if not 1 <= len(parts) <= 3 or not all(re.fullmatch(r"[a-z0-9_.-]+", part) for part in parts):
        return None
    if len(parts) == 1:
        is_system = parts[0] in ("linux", "windows", "darwin", "freebsd")
        parts = [parts[0], "amd64"] if is_system else ["linux", parts[0]]
    parts[1] = _SAME_MACHINE.get(parts[1], parts[1])
    if len(parts) == 3 and _DEFAULT_VARIANT.get(parts[1]) == parts[2]:
        parts.pop()
    return "/".join(parts)


def base_of(stage: Stage, scope: Scope) -> tuple[str, tuple[str, ...]]:
    """What the stage stands on, expanded, and the names that had no value. RecipeError if that leaves nothing."""
    found = scope.expand(stage.base, stage.start)
    missing = tuple(sorted(found.missing))
    if not found.text:
        raise _no_image(stage.start, f"FROM {stage.base} names no image", missing)
    return found.text, missing


def check_image(stage: Stage, base: str, missing: tuple[str, ...]) -> None:
    """RecipeError if `base` names no image because variables in it have no value."""
    if missing and not _REFERENCE.fullmatch(base):
        raise _no_image(stage.start, f"'{base}' is no image reference", missing)


def _no_image(command: Command, what: str, missing: tuple[str, ...]) -> RecipeError:
    if not missing:
        return command.refuse(what, hint="write FROM IMAGE, such as FROM debian:trixie-slim")
    name = missing[0]
    hint = f"write a default, ARG {name}=…, before FROM, or give --build-arg {name}=…"
    return command.refuse(f"{what}: {name} has no value before FROM", hint=hint)


def check_reference(reference: str, *, where: str) -> str:
    """`reference` if it is an image's, its tag dropped if it has a digest. RecipeError that begins with `where`."""
    found = _REFERENCE.fullmatch(reference)
    if not found:
        raise RecipeError(
            f"{where}: '{reference}' is no image reference",
            hint="write it as NAME:TAG, such as debian:trixie-slim",
        )
    return reference if not found["digest"] else found["name"] + found["digest"]
