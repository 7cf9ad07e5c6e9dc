"""One stage carried out on paper: its instructions in order, to steps and an image configuration.

The rules are BuildKit's (https://docs.docker.com/reference/dockerfile/). What depends on a base image whose
configuration is not known becomes one of `Findings.needs`, and goes on with what Docker gives an image that sets
nothing.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from dl4mic_hpc.recipe import copies, heredocs, mounts, ports
from dl4mic_hpc.recipe.commands import HEALTH_TIMES, Command
from dl4mic_hpc.recipe.durations import nanoseconds
from dl4mic_hpc.recipe.plan import Planned
from dl4mic_hpc.recipe.stages import Scope
from dl4mic_hpc.recipe.steps import BaseImage, Health, ImageConfig, MakeFolder, Run, Step
from dl4mic_hpc.recipe.variables import Findings, Variables, check_name, is_name

_SHELL = ("/bin/sh", "-c")
# Linux's, by number or name (signal(7)).
_SIGNAL = re.compile(
    r"[1-9][0-9]?|(?:SIG)?(?:ABRT|ALRM|BUS|CHLD|CLD|CONT|FPE|HUP|ILL|INT|IO|IOT|KILL|PIPE|POLL|PROF|PWR|QUIT|SEGV"
    r"|STKFLT|STOP|SYS|TERM|TRAP|TSTP|TTIN|TTOU|URG|USR1|USR2|VTALRM|WINCH|XCPU|XFSZ|RTM(?:IN(?:\+[0-9]{1,2})?|AX(?:-[0-9]{1,2})?))",
    re.ASCII | re.IGNORECASE,
)
# What only the configuration of the base says.
_OF_THE_BASE = ("folder", "user", "entrypoint")


class Interpretation:
    """A stage while its instructions are gone through.

    config: all but its variables. unsaid: of `_OF_THE_BASE`, what neither the recipe nor a known base has said.
    """

    def __init__(
        self, planned: Planned, *, scope: Scope, variables: Variables, config: ImageConfig, unsaid: set[str]
    ) -> None:
        self.planned, self.scope, self.variables = planned, scope, variables
        self.config, self.unsaid = config, unsaid
        self.steps: list[Step] = []
        self.starts: Command | None = None
        self.has_command = False
        self.handlers: Mapping[str, Callable[[Command], None]] = {
            "ADD": self.copy,
            "ARG": self.arg,
            "CMD": self.cmd,
            "COPY": self.copy,
            "ENTRYPOINT": self.entrypoint,
            "ENV": self.env,
            "EXPOSE": self.expose,
            "HEALTHCHECK": self.health,
            "LABEL": self.label,
            "MAINTAINER": self.maintainer,
            "ONBUILD": self.onbuild,
            "RUN": self.run,
            "SHELL": self.shell,
            "STOPSIGNAL": self.stop_signal,
            "USER": self.user,
            "VOLUME": self.volume,
            "WORKDIR": self.workdir,
        }

    @classmethod
    def on_image(
        cls, planned: Planned, config: ImageConfig | None, *, scope: Scope, findings: Findings
    ) -> Interpretation:
        """At the beginning of a stage on an image; `config` None if that of the base is not known."""
        unknown = planned.base if config is None and isinstance(planned.base, BaseImage) else None
        return cls(
            planned,
            scope=scope,
            variables=Variables.of_base(config, findings, unknown=unknown, escape=scope.escape),
            config=replace(config or ImageConfig(), environment=(), onbuild=()),
            unsaid=set() if unknown is None else set(_OF_THE_BASE),
        )

    def child(self, planned: Planned) -> Interpretation:
        """At the beginning of a stage that stands on this one."""
        child = Interpretation(
            planned,
            scope=self.scope,
            variables=self.variables.child(),
            config=replace(self.config, onbuild=()),
            unsaid=set(self.unsaid),
        )
        child.starts = self.starts
        return child

    def carry_out(self) -> None:
        for command in self.planned.commands:
            self.handlers[command.keyword](command)

    def finished(self) -> ImageConfig:
        """The configuration at the end."""
        return replace(self.config, environment=tuple(self.variables.kept.items()))

    def check_start(self) -> None:
        """Of the wanted stage: what its program needs to be started as Docker starts it."""
        if self.starts is None:
            return
        if self.config.entrypoint is None and "entrypoint" in self.unsaid:
            self.need(
                self.starts, "CMD stands without ENTRYPOINT", hint="write ENTRYPOINT [] if nothing is meant"
            )
        self.current_folder(self.starts)

    # What depends on the base.

    def need(self, command: Command, what: str, *, hint: str) -> None:
        base = self.variables.unknown
        if base is not None:
            self.variables.findings.need(command, what, base=base, hint=hint)

    def current_folder(self, command: Command) -> str:
        if "folder" in self.unsaid:
            self.unsaid.discard("folder")
            what = f"{command.keyword} stands before WORKDIR"
            self.need(command, what, hint="write WORKDIR before it (WORKDIR / if nothing is meant)")
        return posixpath.normpath("/" + self.config.folder.lstrip("/"))

    def current_user(self, command: Command) -> str:
        if "user" in self.unsaid:
            self.unsaid.discard("user")
            what = f"{command.keyword} stands before USER"
            self.need(command, what, hint="write USER before it (USER root if nothing is meant)")
        return self.config.user

    def path(self, command: Command, text: str) -> str:
        """An absolute path in the image; it ends with / where the text says that it is a folder."""
        above = "/" if text.startswith("/") else self.current_folder(command)
        clean = "/" + posixpath.normpath(posixpath.join(above, text)).lstrip("/")
        is_folder = text.endswith("/") or posixpath.basename(text) in ("", ".")
        return clean if clean == "/" or not is_folder else clean + "/"

    # Variables.

    def arg(self, command: Command) -> None:
        for word in command.words:
            name, equals, default = word.partition("=")
            if not equals and not is_name(name):
                # Mostly a comment behind an ARG; to Docker each of its words is an ARG that nobody can give.
                self.variables.findings.note(command, f"ARG {name} declares nothing that can be given")
                continue
            check_name(command, name)
            if name in self.scope.given:
                self.variables.arg(command, name, self.scope.given[name])
            elif equals:
                self.variables.arg(command, name, self.variables.value(default, command, name=name))
            else:
                self.variables.arg(command, name, self.scope.values.get(name))

    def env(self, command: Command) -> None:
        expanded = [
            (check_name(command, self.variables.text(name, command)), value)
            for name, value in command.pairs()
        ]
        values = [(name, self.variables.value(value, command, name=name)) for name, value in expanded]
        for name, value in values:
            self.variables.env(name, value)

    # What happens while the image is built.

    def run(self, command: Command) -> None:
        self.check_run(command)
        folder, user = self.current_folder(command), self.current_user(command)
        argv, script = self.program(command)
        step = Run(
            argv=argv,
            environment=tuple({**self.scope.proxies, **self.variables.seen}.items()),
            folder=folder,
            user=user,
            mounts=mounts.read(
                command,
                text=lambda word: self.variables.text(word, command),
                path=lambda text: self.path(command, text),
                places=self.planned.origins,
            ),
            script=script,
            line=command.line,
            text=f"RUN {command.whole}",
        )
        self.steps.append(step)

    def check_run(self, command: Command) -> None:
        said = command.options
        if said.all("device"):
            raise command.refuse(
                "RUN --device is not converted", hint="delete it: a GPU is there when the image runs"
            )
        if said.text("security") not in ("", "sandbox"):
            hint = "delete it: a build on a cluster has no more rights than its user"
            raise command.refuse(f"RUN --security={said.text('security')} is not converted", hint=hint)
        if said.text("network") not in ("", "default", "host", "none"):
            hint = "write default, host or none"
            raise command.refuse(f"RUN knows no --network={said.text('network')}", hint=hint)
        if said.text("network") == "none":
            self.variables.findings.note(
                command, "RUN --network=none: the build does not cut the network off"
            )

    def program(self, command: Command) -> tuple[tuple[str, ...], bytes | None]:
        """What is run, and the script that is its last argument if a here-document begins with #!."""
        shell = self.config.shell or _SHELL
        program = (command.words if command.listed else shell)[:1]
        # A word like these is no program's name to the `env` that starts it, and to nobody's use.
        if not program or not program[0] or "=" in program[0] or program[0].startswith("-"):
            hint = 'write the program first: RUN ["PROGRAM", "ARGUMENT"]'
            raise command.refuse("RUN names no program", hint=hint)
        if command.listed:
            return command.words, None
        if not command.heredocs:
            return (*shell, command.words[0]), None
        if heredocs.read(command.words[0]) is None:
            return (*shell, command.whole), None
        text = command.heredocs[0].text
        return (shell, text.encode()) if text.startswith("#!") else ((*shell, text), None)

    def copy(self, command: Command) -> None:
        origin = command.options.text("from")
        self.steps += copies.read(
            command,
            self.variables,
            path=lambda text: self.path(command, text),
            stage=self.planned.origins[origin] if origin else None,
        )

    def workdir(self, command: Command) -> None:
        text = self.variables.text(command.words[0], command)
        folder = self.path(command, text).rstrip("/") or "/"
        self.config = replace(self.config, folder=folder)
        self.unsaid.discard("folder")
        if folder != "/":
            owner = self.current_user(command)
            self.steps.append(
                MakeFolder(path=folder, owner=owner, line=command.line, text=f"WORKDIR {folder}")
            )

    # What the image says about itself.

    def cmd(self, command: Command) -> None:
        self.starts, self.has_command = command, True
        self.config = replace(self.config, command=self.start_words(command))

    def entrypoint(self, command: Command) -> None:
        self.starts = command
        self.config = replace(self.config, entrypoint=self.start_words(command))
        if not self.has_command:
            self.config = replace(self.config, command=())

    def start_words(self, command: Command) -> tuple[str, ...]:
        """The exec form as it is, the shell form as what the shell is called with; neither is expanded."""
        return command.words if command.listed else (*(self.config.shell or _SHELL), *command.words)

    def shell(self, command: Command) -> None:
        self.config = replace(self.config, shell=command.words)

    def user(self, command: Command) -> None:
        self.config = replace(self.config, user=self.variables.text(command.words[0], command))
        self.unsaid.discard("user")

    def label(self, command: Command) -> None:
        labels = dict(self.config.labels)
        for name, value in command.pairs():
            labels[self.variables.text(name, command)] = self.variables.text(value, command)
        self.config = replace(self.config, labels=tuple(labels.items()))

    def expose(self, command: Command) -> None:
        words = [word for written in command.words for word in self.variables.words(written, command)]
        added = [port for word in words for port in ports.read(command, word)]
        self.config = replace(self.config, ports=tuple(dict.fromkeys((*self.config.ports, *added))))

    def volume(self, command: Command) -> None:
        added = [self.variables.text(word.strip(), command) for word in command.words]
        if not all(added):
            raise command.refuse("VOLUME names no folder", hint="write VOLUME FOLDER")
        self.config = replace(self.config, volumes=tuple(dict.fromkeys((*self.config.volumes, *added))))

    def stop_signal(self, command: Command) -> None:
        signal = self.variables.text(command.words[0], command)
        if not _SIGNAL.fullmatch(signal):
            raise command.refuse(f"'{signal}' is no signal", hint="write STOPSIGNAL SIGTERM")
        self.config = replace(self.config, stop_signal=signal)

    def health(self, command: Command) -> None:
        kind, *words = command.words
        shown = kind if command.listed or kind == "NONE" else "CMD-SHELL"
        said = command.options
        times = {name.replace("-", "_"): nanoseconds(said.text(name) or "0") for name in HEALTH_TIMES}
        health = Health(test=(shown, *words), retries=int(said.text("retries") or 0), **times)
        self.config = replace(self.config, health=health)

    def maintainer(self, command: Command) -> None:
        self.config = replace(self.config, author=command.words[0])

    def onbuild(self, command: Command) -> None:
        self.config = replace(self.config, onbuild=(*self.config.onbuild, command.whole))
