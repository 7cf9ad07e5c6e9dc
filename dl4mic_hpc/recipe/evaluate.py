"""Instructions and build arguments -> a recipe in which nothing is left to expand.

The scopes are BuildKit's: an ARG before FROM is visible in FROM lines, and in a stage only where that declares
it again; the words of one ENV see the values from before it. What depends on the base image's own configuration,
which is not read, is refused, or, where the text itself says what an absent value means, presumed and looked at
by the build.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping

from dl4mic_hpc.errors import RecipeError, perhaps_you_meant
from dl4mic_hpc.recipe import arguments, lexer, stages
from dl4mic_hpc.recipe.parser import Dockerfile, Instruction, refuse
from dl4mic_hpc.recipe.steps import Copy, ImageConfig, MakeFolder, Recipe, Run, Step

_SHELL = ("/bin/sh", "-c")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_PLATFORM = re.compile(r"(?:BUILD|TARGET)(?:PLATFORM|OS|OSVERSION|ARCH|VARIANT)|TARGETSTAGE")
_PROXY = re.compile(r"(?:https?|ftp|all|no)_proxy", re.IGNORECASE)
# Apptainer's own, fakeroot's own, and those that the shell which reads %environment lets nobody set.
_TAKEN = re.compile(r"APPTAINER.*|SINGULARITY.*|LD_PRELOAD|FAKED_MODE|FAKEROOT(?:KEY|DONTTRYCHOWN)")
_READ_ONLY = ("EUID", "GID", "PWD", "UID")
_GLOB = re.compile(r"[*?\[\\]")
_ALWAYS_SET = ("HOME", "PATH")
_SAY_WORKDIR = "write WORKDIR before it (`WORKDIR /` if nothing is meant): the base image's own is not known"
_REFUSED = {
    "EXPOSE": "delete the line: a session chooses its port itself",
    "HEALTHCHECK": "delete the line: Apptainer checks no health",
    "MAINTAINER": "write LABEL maintainer=…",
    "ONBUILD": "write the instruction into the recipe that it is meant for",
    "SHELL": "name the shell where it is needed: RUN bash -c '…'",
    "STOPSIGNAL": "delete the line: Slurm ends a job",
    "USER": "delete the line: a build runs as root, a session as the person who starts it",
    "VOLUME": "delete the line: folders are bound when a session starts",
}


def evaluate(dockerfile: Dockerfile, *, build_args: Mapping[str, str], target: str | None = None) -> Recipe:
    """The recipe of the stage `target` (None: the last one) with these build arguments.

    RecipeError with file and line for everything that is not converted exactly.
    """
    scope = stages.Scope(dockerfile, build_args)
    every = stages.split(dockerfile, scope)
    stage = stages.choose(dockerfile, every, target)
    evaluation = _Evaluation(dockerfile, scope, stage.start.line)
    base = stages.base_image(dockerfile, every, stage, scope)
    for instruction in stage.instructions:
        evaluation.apply(instruction)
    return Recipe(
        name=dockerfile.name,
        base=base,
        steps=tuple(evaluation.steps),
        config=evaluation.config(),
        presumed=tuple(sorted(evaluation.presumed)),
        stage=stage.name,
        left_out=tuple(other.name for other in every[every.index(stage) + 1 :]),
    )


class _Evaluation:
    """A stage while its instructions are gone through in order."""

    def __init__(self, dockerfile: Dockerfile, scope: stages.Scope, line: int) -> None:
        self.dockerfile, self.scope, self.line = dockerfile, scope, line
        self.steps: list[Step] = []
        self.environment: dict[str, str] = {}
        self.kept: dict[str, str] = {}
        self.labels: dict[str, str] = {}
        self.undecided: set[str] = set()
        self.presumed: set[str] = set()
        self.folder: str | None = None
        self.entrypoint: tuple[str, ...] | None = None
        self.command: tuple[str, ...] | None = None
        self.handlers: dict[str, Callable[[str], None]] = {
            "ADD": self.copy_archives_refused,
            "ARG": self.arg,
            "CMD": self.cmd,
            "COPY": self.copy,
            "ENTRYPOINT": self.entry,
            "ENV": self.env,
            "LABEL": self.label,
            "RUN": self.run,
            "WORKDIR": self.workdir,
        }

    def apply(self, instruction: Instruction) -> None:
        self.line = instruction.line
        keyword = instruction.keyword
        if keyword in _REFUSED:
            raise self.refuse(f"{keyword} is not converted", hint=_REFUSED[keyword])
        if instruction.flags:
            hint = "write the step without this option; docs/reference/recipes.md lists what is converted"
            raise self.refuse(f"{keyword} {instruction.flags[0]} is not converted yet", hint=hint)
        if not instruction.arguments:
            raise self.refuse(f"{keyword} says nothing", hint=f"complete the {keyword} or delete it")
        try:
            self.handlers[keyword](instruction.arguments)
        except (arguments.ArgumentError, lexer.LexError) as error:
            raise self.refuse(
                f"{keyword}: {error}", hint="docs/reference/recipes.md shows the form"
            ) from error

    def refuse(self, what: str, *, hint: str) -> RecipeError:
        return refuse(self.dockerfile.name, self.line, what, hint=hint)

    def config(self) -> ImageConfig:
        if self.command is not None and self.entrypoint is None:
            raise self.refuse(
                "CMD stands without ENTRYPOINT, and the base image's own is not known",
                hint="write `ENTRYPOINT []` before it if nothing is meant",
            )
        if self.entrypoint is not None and self.folder is None:
            raise self.refuse("ENTRYPOINT stands without WORKDIR", hint=_SAY_WORKDIR)
        return ImageConfig(
            environment=tuple(self.kept.items()),
            labels=tuple(self.labels.items()),
            entrypoint=self.entrypoint,
            command=self.command or (),
            folder=self.folder,
        )

    def arg(self, text: str) -> None:
        for word in arguments.quoted_words(text, escape=self.dockerfile.escape):
            name, equals, default = word.partition("=")
            self.check_name(name)
            if _PLATFORM.fullmatch(name):
                raise self.refuse(
                    f"the platform argument {name} is not converted yet", hint="write its value out"
                )
            fallback = self.expand(default) if equals and name not in self.scope.given else None
            value = self.scope.value(name, fallback)
            if value is None:
                self.undecided.add(name)
                continue
            if self.kept.get(name, value) != value:
                raise self.refuse(
                    f"ARG {name} follows ENV {name} with another value, and Docker's builders differ in which one counts",
                    hint="give one of them another name",
                )
            self.environment[name] = value

    def env(self, text: str) -> None:
        for name, value in self.pairs(text):
            self.check_name(name)
            if name in _READ_ONLY:
                raise self.refuse(
                    f"ENV {name}: Apptainer's shell lets nobody set it",
                    hint="choose another name, or use ARG",
                )
            self.environment[name] = self.kept[name] = value

    def label(self, text: str) -> None:
        for name, value in self.pairs(text):
            if (
                not name
                or name.startswith("#")
                or any(char.isspace() for char in name)
                or value != value.strip()
            ):
                raise self.refuse(
                    f"LABEL {name}={value}: Apptainer keeps no blanks in a label's name or at the ends of its value",
                    hint="write the label without them",
                )
            self.labels[name] = value

    def workdir(self, text: str) -> None:
        self.folder = self.path(self.expand(text)).rstrip("/") or "/"
        if self.folder != "/":
            self.steps.append(MakeFolder(path=self.folder, line=self.line, text=f"WORKDIR {self.folder}"))

    def run(self, text: str) -> None:
        argv = self.command_line(text)
        if not argv or not argv[0] or "=" in argv[0] or argv[0].startswith("-"):
            raise self.refuse(
                "RUN names no program", hint='write the program first: RUN ["PROGRAM", "ARGUMENT"]'
            )
        if self.folder is None:
            raise self.refuse("RUN stands before WORKDIR", hint=_SAY_WORKDIR)
        environment = tuple(self.environment.items())
        step = Run(argv=argv, environment=environment, folder=self.folder, line=self.line, text=f"RUN {text}")
        self.steps.append(step)

    def copy(self, text: str, *, keyword: str = "COPY") -> None:
        listed = arguments.json_array(text)
        parts = [self.expand(word) for word in (arguments.words(text) if listed is None else listed)]
        if len(parts) < 2:
            raise self.refuse(f"{keyword} has no destination", hint=f"write {keyword} SOURCE … DESTINATION")
        *sources, destination = parts
        target = self.path(destination or "./")
        if len(sources) > 1 and not target.endswith("/"):
            raise self.refuse(
                f"{keyword} puts several files onto '{destination}'", hint="end the folder's name with /"
            )
        self.steps.append(
            Copy(
                sources=tuple(self.source(keyword, source) for source in sources),
                destination=target,
                refuse_archives=keyword == "ADD",
                line=self.line,
                text=f"{keyword} {' '.join(parts)}",
            )
        )

    def copy_archives_refused(self, text: str) -> None:
        self.copy(text, keyword="ADD")

    def entry(self, text: str) -> None:
        self.entrypoint = self.command_line(text)

    def cmd(self, text: str) -> None:
        self.command = self.command_line(text)

    def command_line(self, text: str) -> tuple[str, ...]:
        """The exec form as it is, the shell form as what the shell is called with; neither is expanded."""
        listed = arguments.json_array(text)
        return (*_SHELL, text) if listed is None else listed

    def pairs(self, text: str) -> list[tuple[str, str]]:
        found = arguments.pairs(text, escape=self.dockerfile.escape)
        return [(self.expand(name), self.expand(value)) for name, value in found]

    def expand(self, text: str) -> str:
        expansion = lexer.expand(text, self.environment, escape=self.dockerfile.escape)
        for name in sorted((expansion.missing | expansion.presumed).intersection(_ALWAYS_SET)):
            raise self.refuse(
                f"${name} has a value in every image, which is not known here", hint="write the value out"
            )
        for name in sorted(expansion.missing):
            if name in self.undecided:
                hint = (
                    f"give --build-arg {name}=…, write a default, or write ${{{name}:-}} if it may be empty"
                )
                raise self.refuse(f"ARG {name} has no value", hint=hint)
            hint = f"declare it with ARG or ENV; {perhaps_you_meant(name, self.environment)}"
            raise self.refuse(f"${name} is used and nothing in the recipe gives it a value", hint=hint)
        self.presumed |= expansion.presumed
        return expansion.text

    def path(self, text: str) -> str:
        """An absolute path in the image; it ends with / where the text says that it is a folder."""
        if ".." in text.split("/"):
            raise self.refuse(f"'..' in the path {text} is not converted", hint="write the path without it")
        if not text.startswith("/") and self.folder is None:
            raise self.refuse(f"the path '{text}' is relative and stands before WORKDIR", hint=_SAY_WORKDIR)
        clean = "/" + posixpath.normpath(posixpath.join(self.folder or "/", text)).lstrip("/")
        is_folder = text.endswith("/") or posixpath.basename(text) in ("", ".")
        return clean if clean == "/" or not is_folder else clean + "/"

    def source(self, keyword: str, text: str) -> str:
        """A clean path in the build context, "." for all of it."""
        if "://" in text or text.startswith("git@"):
            raise self.refuse(
                f"{keyword} from {text} is not converted yet", hint="put the file into the build context"
            )
        if not text:
            hint = f"write . if all of the build context is meant; {keyword} SOURCE … DESTINATION"
            raise self.refuse(
                f"a source of {keyword} is empty, which Docker takes for the whole context", hint=hint
            )
        if found := _GLOB.search(text):
            raise self.refuse(f"'{found.group()}' in {text} is not converted yet", hint="write the names out")
        if ".." in text.split("/"):
            raise self.refuse(
                f"{text} leads out of the build context", hint="move the file into the recipe's folder"
            )
        return posixpath.normpath(text.lstrip("/") or ".")

    def check_name(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise self.refuse(
                f"'{name}' cannot name a variable", hint="use letters, digits and _, no digit first"
            )
        if _PROXY.fullmatch(name):
            raise self.refuse(
                f"{name} is the cluster's to set",
                hint="delete it; the profile's key build.environment.proxies",
            )
        if _TAKEN.fullmatch(name):
            raise self.refuse(f"{name} belongs to Apptainer or its shell", hint="choose another name")
