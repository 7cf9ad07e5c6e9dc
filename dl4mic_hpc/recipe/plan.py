"""Which stages and images a recipe needs, what each stands on, and the instructions that a base hands on (ONBUILD).

Only what the wanted stage can reach is looked at: what else stands in the file costs no network and is not refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe import commands, mounts, stages
from dl4mic_hpc.recipe.commands import Command
from dl4mic_hpc.recipe.outside import Outside
from dl4mic_hpc.recipe.parser import parse
from dl4mic_hpc.recipe.stages import Scope, Stage
from dl4mic_hpc.recipe.steps import BaseImage, Scratch


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One image on the way to the wanted one.

    start: the instruction that asks for it. base: what it stands on; the place in the plan of an earlier one if
    that is a stage. commands: those that the base hands on, then its own. origins: where in the plan the stages and
    images are that the commands' `from` names.
    """

    name: str
    start: Command
    base: BaseImage | Scratch | int
    commands: tuple[Command, ...]
    origins: Mapping[str, int]


def plan(every: tuple[Stage, ...], wanted: int, *, scope: Scope, outside: Outside) -> tuple[Planned, ...]:
    """What is built, in order; the wanted stage is the last. RecipeError for what there is not, or not yet."""
    planner = _Planner(every, scope, outside)
    planner.reach(wanted)
    return planner.planned()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reached:
    """A stage that is needed. base: the place in the file if that is a stage. origins: likewise, or an image."""

    base: BaseImage | Scratch | int
    commands: tuple[Command, ...]
    origins: Mapping[str, int | str]


class _Planner:
    def __init__(self, every: tuple[Stage, ...], scope: Scope, outside: Outside) -> None:
        self.every, self.scope, self.outside = every, scope, outside
        self.reached: dict[int, _Reached] = {}
        self.images: dict[str, BaseImage] = {}
        # Images that files are copied from, and the instruction that asks for each first.
        self.shown: dict[str, Command] = {}

    def reach(self, wanted: int) -> None:
        waiting = [wanted]
        while waiting:
            at = waiting.pop()
            if at not in self.reached:
                self.reached[at] = reached = self.look_at(at)
                places = [reached.base, *reached.origins.values()]
                waiting += [place for place in places if isinstance(place, int)]

    def planned(self) -> tuple[Planned, ...]:
        order = sorted(self.reached)
        keys: list[int | str] = [*self.shown, *order]
        place = {key: number for number, key in enumerate(keys)}
        shown = [
            Planned(name="", start=command, base=self.base(name, command), commands=(), origins={})
            for name, command in self.shown.items()
        ]
        return (*shown, *(self.placed(at, place) for at in order))

    def placed(self, at: int, place: Mapping[int | str, int]) -> Planned:
        stage, reached = self.every[at], self.reached[at]
        return Planned(
            name=stage.name,
            start=stage.start,
            base=place[reached.base] if isinstance(reached.base, int) else reached.base,
            commands=reached.commands,
            origins={name: place[origin] for name, origin in reached.origins.items()},
        )

    def look_at(self, at: int) -> _Reached:
        stage = self.every[at]
        stages.check_platform(stage, self.scope)
        text, missing = stages.base_of(stage, self.scope)
        earlier = stages.find(self.every[:at], text)
        base: BaseImage | Scratch | int
        if earlier is not None and not text.isdecimal():
            base = earlier
            triggers = tuple(each.whole for each in self.every[earlier].commands if each.keyword == "ONBUILD")
        else:
            stages.check_image(stage, text, missing)
            base = self.base(text, stage.start)
            triggers = base.config.onbuild if isinstance(base, BaseImage) and base.config else ()
        handed_on = tuple(_trigger(text, stage.start) for text in triggers)
        own = (*handed_on, *stage.commands)
        origins = {name: self.origin(name, at, command) for command in own for name in _origins(command)}
        return _Reached(base=base, commands=own, origins=origins)

    def base(self, name: str, command: Command) -> BaseImage | Scratch:
        if name == "scratch":
            return Scratch()
        reference = stages.check_reference(name, where=f"{command.file}:{command.line}")
        if reference not in self.images:
            try:
                self.images[reference] = self.outside.base(reference, platform=self.scope.platform)
            except RecipeError as error:
                raise command.refuse(error.message, hint=error.hint) from error
        return self.images[reference]

    def origin(self, name: str, at: int, command: Command) -> int | str:
        """The place in the file of the stage that `from` names, or the image."""
        found = stages.find(self.every, name)
        if found is None:
            if name.isdecimal():
                hint = f"the stages have the numbers 0 to {len(self.every) - 1}"
                raise command.refuse(f"there is no stage number {name}", hint=hint)
            self.base(name, command)
            self.shown.setdefault(name, command)
            return name
        if found == at:
            hint = "name an earlier stage or an image"
            raise command.refuse(f"the stage takes files from itself, '{name}'", hint=hint)
        if found > at:
            hint = f"move the stage '{name}' before this one"
            raise command.refuse(f"files come from the stage '{name}', which begins later", hint=hint)
        return found


def _origins(command: Command) -> tuple[str, ...]:
    """What the instruction takes files from: the names of stages and images in its `from`."""
    if command.keyword == "RUN":
        return mounts.origins(command)
    origin = command.options.text("from") if command.keyword == "COPY" else ""
    if "$" in origin:
        hint = f"name a stage: FROM {origin} AS NAME, and --from=NAME"
        raise command.refuse(f"--from={origin} holds a variable", hint=hint)
    return (origin,) if origin else ()


def _trigger(text: str, start: Command) -> Command:
    """An instruction that the base hands on, as if it stood in the line of FROM."""
    where = f"{start.file}:{start.line}: ONBUILD of the base"
    parsed = parse(text.encode("utf-8", "surrogatepass"), name=where)
    if len(parsed.instructions) != 1 or parsed.instructions[0].keyword in commands.UNTRIGGERED:
        hint = "choose another base, or mend the recipe that it is built from"
        raise start.refuse(f"ONBUILD of the base hands on no instruction: {text!r:.80}", hint=hint)
    (instruction,) = parsed.instructions
    return commands.read(replace(instruction, line=start.line), file=start.file, escape=parsed.escape)
