"""A recipe -> the text of an Apptainer definition that builds the same image, and the files that it reads.

No text of the Dockerfile reaches a header or `%files`, where Apptainer would interpret it on the machine that builds:
stages have names of our own, files lie in folders of our own. Everywhere else it stands inside quotes that Apptainer's
reader of definitions leaves alone. A stage that continues another one begins as a copy of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from dl4mic_hpc import resources
from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe import kinds, loads, runtime
from dl4mic_hpc.recipe.adapt import Adapted
from dl4mic_hpc.recipe.context import Packed
from dl4mic_hpc.recipe.kinds import Group
from dl4mic_hpc.recipe.layers import Layers, oci_archive
from dl4mic_hpc.recipe.loads import Load
from dl4mic_hpc.recipe.parser import refuse
from dl4mic_hpc.recipe.post import IN, OUT, ROOT, between, between_loads, made_for, post
from dl4mic_hpc.recipe.steps import BaseImage, Copy, FromStage, MakeFolder, Recipe, Run, Scratch, Stage, Step

# Apptainer reads a definition with a buffer of 64 KiB; a section, with the line after it, has to fit.
SECTION_LIMIT = 65_000

Files = dict[PurePosixPath, bytes | Path]
PackedLoads = Mapping[tuple[int, str], Packed]

# A layer that holds nothing: the end of a tar.
_EMPTY = bytes(10_240)
_LIBRARY = ("steps.sh", "users.sh", "copies.sh", "mounts.sh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The definition, and the files beside it by their path; a Path for one that is copied from elsewhere."""

    text: str
    files: Files


@dataclass(slots=True)
class _Part:
    """One stage of the definition. taken: from which stage what goes where."""

    name: str
    bootstrap: str = "scratch"
    source: str = ""
    taken: list[tuple[str, str, str]] = field(default_factory=list)
    sections: dict[str, str] = field(default_factory=dict)

    def text(self, *, named: bool) -> str:
        header = [f"Bootstrap: {self.bootstrap}"]
        header += [f"From: {self.source}"] if self.source else []
        header += [f"Stage: {self.name}"] if named else []
        parts = ["".join(f"{line}\n" for line in header)]
        for stage, group in itertools.groupby(self.taken, key=lambda each: each[0]):
            listed = "".join(f"    {path} {target}\n" for _, path, target in group)
            parts.append(f"\n%files from {stage}\n{listed}")
        parts += [f"\n%{name}\n{body}" for name, body in self.sections.items() if body]
        return "".join(parts)


def serialise(
    adapted: Adapted,
    *,
    packed: PackedLoads,
    bases: Mapping[int, str],
    kept: Mapping[str, bytes],
    platform: str,
) -> Written:
    """The definition.

    packed: the files of each load that does not come from a stage, by the stage's place and the load's id. bases:
    where a registry has the base image of the stage at this place. kept: files that stay in the image, by their name
    in /.dl4mic-hpc. RecipeError if a section grows beyond what Apptainer reads, and for what a stage without a shell
    cannot do.
    """
    writer = _Writer(adapted, packed, bases, platform)
    for at in range(len(adapted.recipe.stages)):
        writer.stage(at, kept)
    for part in writer.parts:
        _check_size(adapted.recipe.name, part)
    named = len(writer.parts) > 1
    return Written(text="\n".join(part.text(named=named) for part in writer.parts), files=writer.files)


def template(name: str) -> str:
    """A constant part of every bundle, from templates/recipe/."""
    return resources.data("templates", "recipe", name).read_text(encoding="utf-8")


class _Writer:
    def __init__(
        self, adapted: Adapted, packed: PackedLoads, bases: Mapping[int, str], platform: str
    ) -> None:
        self.adapted, self.packed, self.bases, self.platform = adapted, packed, bases, platform
        self.recipe: Recipe = adapted.recipe
        self.parts: list[_Part] = []
        self.files: Files = {}

    def stage(self, at: int, kept: Mapping[str, bytes]) -> None:
        last = at == len(self.recipe.stages) - 1
        part = _Part(name=f"s{at}")
        stage = self.recipe.stages[at]
        self.begin(part, stage, at)
        own: dict[str, bytes] = dict(kept) if last else {}
        if kinds.has_shell(self.recipe, at) and (last or stage.steps or self.offers(at)):
            own |= self.steps(part, at)
        self.assemble(part, at)
        self.take(part, at)
        if own:
            for name, content in own.items():
                self.files[PurePosixPath(f"ctx/s{at}/.dl4mic-hpc", name)] = content
            part.sections = {"files": f"    ctx/s{at}/.dl4mic-hpc /\n", **part.sections}
        if last:
            self.run_time(part)
        self.parts.append(part)

    def begin(self, part: _Part, stage: Stage, at: int) -> None:
        match stage.base:
            case BaseImage() as base:
                part.bootstrap, part.source = base.agent, self.bases.get(at, "")
                if base.file:
                    part.source = self.keep(Path(base.file), at)
            case FromStage(stage=below):
                part.taken.append((f"s{below}", "/", "/"))
            case Scratch():
                self.begin_with_files(part, stage, at)

    def begin_with_files(self, part: _Part, stage: Stage, at: int) -> None:
        """On nothing at all there is no shell before the first files are there; if none comes, labels go in too."""
        shell, groups = kinds.has_shell(self.recipe, at), kinds.groups(self.recipe, at)
        layers = self.layers(at, groups[0]) if groups and not groups[0].maker else []
        if not groups and shell:
            raise refuse(
                self.recipe.name,
                stage.line,
                "a RUN follows FROM scratch, and there is no file yet that it could run",
                hint="begin with an image, or ADD the files of one first",
            )
        part.bootstrap, part.source = "oci-archive", f"base/s{at}.tar"
        config: dict[str, object] = {} if shell else {"Labels": dict(stage.config.labels)}
        archive = oci_archive(layers or [_EMPTY], config=config, platform=self.platform)
        self.files[PurePosixPath(part.source)] = archive

    def keep(self, file: Path, at: int) -> str:
        """The path of a base image's file in the bundle; one that several stages stand on is there once."""
        known = [path for path, content in self.files.items() if content == file]
        path = known[0] if known else PurePosixPath(f"base/s{at}{file.suffix}")
        self.files[path] = file
        return str(path)

    def layers(self, at: int, group: Group, below: str = "") -> list[bytes]:
        """The files of steps that take nothing from stages. below: what stands for the image's root."""
        layers = Layers(below=below)
        for number in group.steps:
            step = self.recipe.stages[at].steps[number]
            try:
                if isinstance(step, MakeFolder):
                    layers.make_folder(step)
                elif isinstance(step, Copy):
                    layers.copy(step, self.packed[at, f"{number:03d}"])
            except RecipeError as error:
                raise refuse(self.recipe.name, step.line, error.message, hint=error.hint) from error
        return layers.done

    def steps(self, part: _Part, at: int) -> dict[str, bytes]:
        """`%post`, and the files that it needs."""
        done = _done(self.recipe, at)
        text, files = post(self.adapted, at, self.packed, done=done)
        part.sections["post"] = text
        own = {**_library(), **{str(path): content for path, content in files.items()}}
        for load in loads.loads_of(self.recipe.stages[at]):
            packed = self.packed.get((at, load.id))
            if packed is not None and load.step not in done:
                own |= _archives(load, packed)
        return own

    def offers(self, at: int) -> bool:
        """Whether the stage has to make ready what others take; of an image, if it was seen to have a shell, the owners."""
        base = self.recipe.stages[at].base
        if isinstance(base, BaseImage) and base.shell:
            return True
        return any(
            not kinds.is_searched(self.recipe, at) or load.step in kinds.from_outside(self.recipe, taker)
            for taker, load in loads.taken_from(self.recipe, at)
        )

    def take(self, part: _Part, at: int) -> None:
        """What this stage copies from others, brought to where its shell looks for it."""
        outside = kinds.from_outside(self.recipe, at)
        wanted = (load.stage for load in loads.loads_of(self.recipe.stages[at]) if load.step not in outside)
        for source in sorted({stage for stage in wanted if stage is not None}):
            place = "/" if kinds.is_searched(self.recipe, source) else f"{OUT}/s{at}"
            part.taken.append((f"s{source}", place, f"{IN}/s{source}"))

    def assemble(self, part: _Part, at: int) -> None:
        """What a stage gets from outside, in order: files of the context as layers, those of stages made ready there."""
        if any(group.maker == f"g{at}" for group in kinds.groups(self.recipe, at)):
            self.go_between(at)
        for number, group in enumerate(kinds.groups(self.recipe, at)):
            if group.maker:
                made = made_for(at, number)
                part.taken.append((self.relayed(part, f"{at}-{number}", group.maker, made), f"{made}/", "/"))
            elif number or not isinstance(self.recipe.stages[at].base, Scratch):
                helper = _Part(
                    name=f"c{at}-{number}", bootstrap="oci-archive", source=f"base/c{at}-{number}.tar"
                )
                layers = self.layers(at, group, below=f"{OUT}/context")
                self.files[PurePosixPath(helper.source)] = oci_archive(
                    layers, config={}, platform=self.platform
                )
                self.parts.append(helper)
                part.taken.append((helper.name, f"{OUT}/context/", "/"))

    def relayed(self, part: _Part, name: str, maker: str, made: str) -> str:
        """The part to take the folder `made` from: Apptainer copies all that comes from one part at one time."""
        if maker not in {source for source, _, _ in part.taken}:
            return maker
        self.parts.append(_Part(name=f"r{name}", taken=[(maker, made, made)]))
        return f"r{name}"

    def go_between(self, taker: int) -> None:
        """A stage that only hands files from stages without a shell on to another one without."""
        lender = next(kinds.lenders(self.recipe), None)
        if lender is None:
            what = "files go from a stage without a shell to another one without"
            hint = "take them from a stage that has a RUN, or let this one stand on an image with a shell"
            raise refuse(self.recipe.name, self.recipe.stages[taker].line, what, hint=hint)
        helper = _Part(name=f"g{taker}")
        self.begin(helper, self.recipe.stages[lender], lender)
        sources = sorted({load.stage for load in between_loads(self.recipe, taker) if load.stage is not None})
        helper.taken += [(f"s{source}", "/", f"{IN}/s{source}") for source in sources]
        helper.sections["files"] = f"    ctx/g{taker}/.dl4mic-hpc /\n"
        helper.sections["post"] = between(self.adapted, taker)
        for name, content in _library().items():
            self.files[PurePosixPath(f"ctx/g{taker}/.dl4mic-hpc", name)] = content
        self.parts.append(helper)

    def run_time(self, part: _Part) -> None:
        config = self.recipe.stages[-1].config
        part.sections["environment"] = runtime.environment(config, without=self.adapted.unset)
        part.sections["runscript"] = part.sections["startscript"] = runtime.runscript(self.recipe)


def _library() -> dict[str, bytes]:
    """What every `%post` reads, by its path below /.dl4mic-hpc."""
    return {
        "steps.sh": "\n".join(template(name) for name in _LIBRARY).encode(),
        "owners.py": template("owners.py").encode(),
        "owners.pl": template("owners.pl").encode(),
        "site/README": template("site-readme.txt").encode(),
    }


def _done(recipe: Recipe, at: int) -> frozenset[int]:
    """The steps that are done for good before `%post`.

    Without root rights Apptainer gives all that is in layers to root, so those with another owner are done again.
    """
    steps = recipe.stages[at].steps
    outside = kinds.from_outside(recipe, at)
    return frozenset(number for number in outside if _is_done(steps[number]))


def _is_done(step: Step) -> bool:
    return isinstance(step, Run) or kinds.takes_from_stage(step) or step.owner in ROOT


def _archives(load: Load, packed: Packed) -> dict[str, bytes]:
    found = {f"copy/{load.id}.tar": packed.archive, f"copy/{load.id}.folders": packed.folders}
    for number, archive in enumerate(packed.archives):
        found[f"copy/{load.id}.{number:03d}.tar"] = archive
    return found


def _check_size(name: str, part: _Part) -> None:
    for section, body in part.sections.items():
        size = len(body.encode("utf-8", "surrogateescape"))
        if size > SECTION_LIMIT:
            what = f"the definition's %{section} would have {size} bytes, and Apptainer reads {SECTION_LIMIT}"
            raise RecipeError(f"{name}: {what}", hint="move steps into a script, and COPY and RUN that")
