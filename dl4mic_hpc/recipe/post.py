"""The steps of a stage as the shell text of its `%post`, in the order of the Dockerfile.

Every COPY is an archive that is unpacked at its turn, every RUN a process of its own with exactly the recipe's user,
environment, folder and shell. The functions are those of templates/recipe/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe import kinds, loads, offer, runtime
from dl4mic_hpc.recipe.adapt import Adapted
from dl4mic_hpc.recipe.context import Packed
from dl4mic_hpc.recipe.loads import Load
from dl4mic_hpc.recipe.parser import refuse
from dl4mic_hpc.recipe.shell import assignment, quote, words
from dl4mic_hpc.recipe.steps import (
    BaseImage,
    Copy,
    MakeFolder,
    Mount,
    Recipe,
    Run,
    Scratch,
    Stage,
    Value,
    Variables,
)

OWN, IN, OUT = "/.dl4mic-hpc", "/.dl4mic-hpc-in", "/.dl4mic-hpc-out"
# Longer texts stand in files beside the definition, whose sections Apptainer reads up to 64 KiB.
LONGEST = 4096
# The most that Linux hands to a program as one argument (MAX_ARG_STRLEN), the closing zero included.
ARGUMENT_LIMIT = 131_072

_HEADING = 100
ROOT = ("", "root", "0", "0:0", "root:root")
_OWNER = '"$dl4mic_ids"'


def post(
    adapted: Adapted, at: int, packed: Mapping[tuple[int, str], Packed], *, done: frozenset[int]
) -> tuple[str, dict[PurePosixPath, bytes]]:
    """`%post` of the stage at this place, and the files that it reads, by their path below /.dl4mic-hpc.

    done: the places of steps that are done before it begins. packed: the files of each load that does not come from a
    stage, by the stage's place and the load's id. RecipeError for a RUN whose text no Linux can start.
    """
    script = _Script(adapted.recipe, at, packed)
    script.begin(adapted)
    for number, step in enumerate(adapted.recipe.stages[at].steps):
        if number not in done:
            script.step(number, step)
    script.offer()
    if at == len(adapted.recipe.stages) - 1:
        script.complete(adapted)
    script.lines.append("\ndl4mic_finish\n")
    return "".join(script.lines), script.files


def made_for(taker: int, group: int) -> str:
    """Where stages that have a shell put together what the stage `taker`, without one, copies from them.

    group: the place of these steps in `kinds.groups`.
    """
    return f"{OUT}/root-s{taker}-{group}"


def between(adapted: Adapted, taker: int) -> str:
    """`%post` of a stage that only puts together what the stage `taker` copies from others without a shell."""
    script = _Script(adapted.recipe, taker, {})
    script.open()
    for load in between_loads(adapted.recipe, taker):
        script.put_together(taker, load, root=f"{IN}/s{load.stage}")
    script.lines.append("\ndl4mic_finish\n")
    return "".join(script.lines)


def between_loads(recipe: Recipe, taker: int) -> list[Load]:
    """What the stage copies from one without a shell while it has none itself."""
    steps = {
        step for group in kinds.groups(recipe, taker) if group.maker == f"g{taker}" for step in group.steps
    }
    return [load for load in loads.loads_of(recipe.stages[taker]) if load.step in steps]


class _Script:
    def __init__(self, recipe: Recipe, at: int, packed: Mapping[tuple[int, str], Packed]) -> None:
        self.recipe, self.at, self.packed = recipe, at, packed
        self.lines: list[str] = []
        self.files: dict[PurePosixPath, bytes] = {}
        self.known: dict[str, Value] = {}

    def add(self, *parts: str) -> None:
        self.lines.append(" ".join(part for part in parts if part) + "\n")

    def announce(self, line: int, text: str) -> str:
        """Says what comes; the place in the Dockerfile."""
        where = f"{self.recipe.name}:{line}" if line else "dl4mic-hpc"
        text = " ".join(text.split())
        said = text if len(text) <= _HEADING else text[: _HEADING - 1] + "…"
        self.lines.append(f"\ndl4mic_step {quote(f'{where}: {said}')}\n")
        return where

    def open(self) -> None:
        self.lines.append(f"set +x\n. {OWN}/steps.sh\ndl4mic_begin\n")

    def begin(self, adapted: Adapted) -> None:
        self.open()
        archives = any(isinstance(step, Copy) and step.unpack for step in self.stage.steps)
        if isinstance(self.stage.base, BaseImage) or (isinstance(self.stage.base, Scratch) and archives):
            self.add("dl4mic_restore_owners")
        self.add("dl4mic_apt", "as-root" if adapted.apt_as_root else "as-it-is")
        if adapted.constraints:
            content = "".join(f"{line}\n" for line in adapted.constraints)
            self.files[PurePosixPath("pip-constraints.txt")] = content.encode()
        if self.recipe.presumed:
            self.add("dl4mic_presumed_unset", *self.recipe.presumed)

    def complete(self, adapted: Adapted) -> None:
        """What only the image at the end has."""
        if adapted.reachable:
            self.add("\ndl4mic_open", words(adapted.reachable))
        if adapted.homes:
            self.add("\ndl4mic_open_homes", words(adapted.homes))
        if labels := runtime.labels(self.recipe):
            listed = "".join(f" \\\n    {quote(f'{name} {value}')}" for name, value in labels)
            self.lines.append(f"\ndl4mic_label{listed}\n")

    def step(self, number: int, step: Run | Copy | MakeFolder) -> None:
        where = self.announce(step.line, step.text)
        match step:
            case MakeFolder():
                owner = "" if step.owner in ROOT else step.owner
                self.add("dl4mic_folder", quote(step.path), self.owner(owner))
            case Copy():
                (load,) = (each for each in loads.loads_of(self.stage) if each.id == f"{number:03d}")
                self.load(load)
            case Run():
                self.run(number, step, where)

    @property
    def stage(self) -> Stage:
        return self.recipe.stages[self.at]

    def owner(self, spec: str) -> str:
        """A word for an owner, which names and numbers are looked up for in the image."""
        if not spec:
            return "''"
        self.add("dl4mic_owner", quote(spec))
        return _OWNER

    # Files.

    def load(self, load: Load) -> None:
        copy = load.copy
        owner = self.owner(copy.owner)
        if load.stage is not None:
            folder = f"{IN}/s{load.stage}/{load.id}"
            if kinds.is_searched(self.recipe, load.stage):
                folder = f"{OWN}/copy/{load.id}"
                self.hand_over(copy, folder, root=f"{IN}/s{load.stage}")
            self.add("dl4mic_take", folder, quote(copy.destination), owner, quote(copy.mode))
            return
        packed = self.packed[self.at, load.id]
        if packed.member is None:
            self.add("dl4mic_copy", load.id, quote(copy.destination), owner)
        else:
            self.add("dl4mic_copy_file", load.id, quote(packed.member), quote(copy.destination), owner)

    def offer(self) -> None:
        """What later stages copy from this one, ready for them at the end."""
        for taker, load in loads.taken_from(self.recipe, self.at):
            if load.step in kinds.from_outside(self.recipe, taker):
                self.put_together(taker, load, root="")
            elif not kinds.is_searched(self.recipe, self.at):
                self.announce(load.copy.line, load.copy.text)
                self.hand_over(load.copy, f"{OUT}/s{taker}/{load.id}", root="")

    def put_together(self, taker: int, load: Load, *, root: str) -> None:
        """What another stage, which has no shell to do it, copies: as it is to lie there, below a root for it."""
        copy = load.copy
        self.announce(copy.line, copy.text)
        folder = f"{OWN}/copy/s{taker}-{load.id}"
        self.hand_over(copy, folder, root=root)
        owner = self.owner(copy.owner)
        groups = enumerate(kinds.groups(self.recipe, taker))
        (target,) = (made_for(taker, number) for number, group in groups if load.step in group.steps)
        self.add("dl4mic_take", folder, quote(target + copy.destination), owner, quote(copy.mode))

    def hand_over(self, copy: Copy, folder: str, *, root: str) -> None:
        if any(pattern.strip().startswith("!") for pattern in copy.exclude):
            what = "--exclude with ! does not go together with --from"
            raise refuse(self.recipe.name, copy.line, what, hint="copy the wanted files by their names")
        self.lines += offer.offered(copy, folder, root=root)

    # Commands.

    def run(self, number: int, run: Run, where: str) -> None:
        self.environment(run.environment)
        mounts = [(f"{number:03d}-{at}", mount) for at, mount in enumerate(run.mounts)]
        sources = {load.id: load for load in loads.mounted(number, run)}
        for name, mount in mounts:
            if mount.target:
                self.mount(name, mount, sources.get(name))
        self.start(number, run, where)
        for name, mount in reversed(mounts):
            if mount.kind == "cache":
                self.add("dl4mic_keep_cache", quote(_cache(mount)), quote(mount.target))
            if mount.target:
                self.add("dl4mic_show", name, quote(mount.target))

    def environment(self, wanted: Variables) -> None:
        """`$@` holds what `env` is to set; only what is new is said. What was set once is never unset."""
        fresh = {name: value for name, value in wanted if self.known.get(name) != value}
        self.known |= fresh
        if fresh:
            self.add('set -- "$@"', *(assignment(name, value) for name, value in fresh.items()))

    def start(self, number: int, run: Run, where: str) -> None:
        prefix = [f"dl4mic_enter {quote(run.user)} {quote(run.folder)}"]
        prefix += [
            f"dl4mic_secret_variable {quote(mount.id)} {_required(mount)} {mount.variable}"
            for mount in run.mounts
            if mount.variable
        ]
        argv = [self.argument(f"{number:03d}-{at}", word, run) for at, word in enumerate(run.argv)]
        if run.script is not None:
            self.files[PurePosixPath(f"run/{number:03d}")] = run.script
            argv.append(f"{OWN}/run/{number:03d}")
        command = " && ".join([*prefix, " ".join(['dl4mic_as env "$@"', *argv])])
        self.lines.append(f"( {command} ) < /dev/null || dl4mic_failed\n")
        if run.user not in ROOT:
            self.add("dl4mic_leave")

    def argument(self, name: str, word: str, run: Run) -> str:
        content = word.encode("utf-8", "surrogateescape")
        if len(content) >= ARGUMENT_LIMIT:
            raise self.too_long(run, len(content))
        if len(content) <= LONGEST:
            return quote(word)
        self.files[PurePosixPath(f"run/{name}")] = content
        variable = f"dl4mic_text_{name.replace('-', '_')}"
        self.lines.append(f"dl4mic_read {name}\n{variable}=$dl4mic_text\n")
        return f'"${variable}"'

    def too_long(self, run: Run, size: int) -> RecipeError:
        what = f"this command has {size} bytes, and Linux starts none with more than {ARGUMENT_LIMIT - 1} in one text"
        hint = "put it into a file of the build context, and COPY and RUN that"
        return refuse(self.recipe.name, run.line, what, hint=hint)

    def mount(self, name: str, mount: Mount, load: Load | None) -> None:
        target = quote(mount.target)
        if mount.kind == "secret":
            owner = self.owner(mount.owner)
            self.add(
                "dl4mic_secret", name, target, quote(mount.id), _required(mount), owner, mount.mode or "0400"
            )
            return
        self.add("dl4mic_hide", name, target)
        if load is not None:
            self.load(load)
        elif mount.kind == "cache":
            owner = self.owner(mount.owner)
            self.add("dl4mic_cache", quote(_cache(mount)), target, owner, mount.mode or "0755")
        else:
            self.add("dl4mic_tmpfs", target, "''", mount.mode or "1777")


def _required(mount: Mount) -> str:
    return "required" if mount.required else "optional"


def _cache(mount: Mount) -> str:
    """A file name for a cache, which is shared by its id."""
    return re.sub(r"[^A-Za-z0-9.-]", lambda found: f"_{ord(found.group()):x}_", mount.id or mount.target)
