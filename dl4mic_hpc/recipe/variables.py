"""The variables of one stage while it is evaluated, and what their values leave open.

Two sets, as BuildKit keeps them: what a RUN and every expansion see (ENV and ARG, the later one wins), and what ENV
leaves in the image. A base image whose configuration is not known may hold anything; what then depends on it is
completed by the build (values of names that end in PATH), presumed and looked at by the build, or needed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe import lexer
from dl4mic_hpc.recipe.commands import Command
from dl4mic_hpc.recipe.steps import BaseImage, ImageConfig, Late, Value

# What Docker gives an image that sets none.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# Apptainer's own, fakeroot's own, and those that the shell which reads %environment lets nobody set.
_TAKEN = re.compile(r"APPTAINER.*|SINGULARITY.*|LD_PRELOAD|FAKED_MODE|FAKEROOT(?:KEY|DONTTRYCHOWN)")
# A late value in a late value, doubled again and again, soon fills a memory.
_LARGEST = 1 << 20
_READ_ONLY = ("EUID", "GID", "PWD", "UID")


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the evaluation of all stages finds beside their steps, as in `Recipe`; needs: each with its line."""

    needs: list[tuple[int, RecipeError]] = field(default_factory=list)
    presumed: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def need(self, command: Command, what: str, *, base: BaseImage, hint: str) -> None:
        """`what` is decided by `base`, whose configuration is not known."""
        why = base.unknown or "it was not read"
        said = f"{what}, which the base {base.reference} decides; its configuration is not known: {why}"
        full_hint = f"give --base-map {base.reference}=FILE, or {hint}"
        self.needs.append((command.line, command.refuse(said, hint=full_hint)))

    def note(self, command: Command, what: str) -> None:
        self.notes.append(f"{command.file}:{command.line}: {what}")


class Variables:
    """The variables of a stage. unknown: the base image that it stands on, if its configuration is not known.

    seen: what a RUN and every expansion see. kept: what ENV leaves in the image. reserved: names that nobody may
    set here, which the base image has: expansions see them, and the image sets them itself.
    """

    def __init__(self, findings: Findings, *, unknown: BaseImage | None, escape: str) -> None:
        self.findings, self.unknown, self.escape = findings, unknown, escape
        self.seen: dict[str, Value] = {}
        self.kept: dict[str, Value] = {}
        self.reserved: dict[str, str] = {}
        self.declared: set[str] = set()
        # All that is a text by now.
        self._texts: dict[str, str] = {}

    @classmethod
    def of_base(
        cls, config: ImageConfig | None, findings: Findings, *, unknown: BaseImage | None, escape: str
    ) -> Variables:
        """Those that an image starts with; `config` None if that is not known."""
        variables = cls(findings, unknown=unknown, escape=escape)
        if config is None:
            return variables
        for name, value in config.environment:
            if is_name(name) and not _TAKEN.fullmatch(name) and name not in _READ_ONLY:
                variables.env(name, value)
            elif isinstance(value, str):
                variables.reserved[name] = value
        if "PATH" not in variables.kept:
            variables.env("PATH", DEFAULT_PATH)
        variables._texts |= variables.reserved
        return variables

    def child(self) -> Variables:
        """Those that a stage on top of this one starts with: ARGs are inherited, and ENV wins over them again."""
        child = Variables(self.findings, unknown=self.unknown, escape=self.escape)
        child.reserved, child._texts = dict(self.reserved), dict(self._texts)
        for name, value in (self.seen | self.kept).items():
            child._see(name, value)
        child.kept, child.declared = dict(self.kept), set(self.declared)
        return child

    def env(self, name: str, value: Value) -> None:
        self.kept[name] = value
        self._see(name, value)

    def _see(self, name: str, value: Value) -> None:
        self.seen[name] = value
        if isinstance(value, str):
            self._texts[name] = value
        else:
            self._texts.pop(name, None)

    def arg(self, command: Command, name: str, value: Value | None) -> None:
        self.declared.add(name)
        if value is None:
            return
        if self.kept.get(name, value) != value:
            what = f"ARG {name} differs from ENV {name}: later steps see the ARG's value, the image keeps the ENV's"
            self.findings.note(command, what)
        self._see(name, value)

    def text(self, word: str, command: Command) -> str:
        """`word` expanded, where only a text will do."""
        return self._expand(word, command).text

    def words(self, text: str, command: Command) -> tuple[str, ...]:
        """`text` expanded, and split at the blanks that were not quoted."""
        return self._expand(text, command).words

    def document(self, content: str, command: Command) -> str:
        """A here-document's `content` expanded: quotes are letters in it."""
        return self._expand(content, command, quotes=False).text

    def value(self, word: str, command: Command, *, name: str) -> Value:
        """`word` expanded as the value of the variable `name`."""
        parts = self._expand(word, command, late=is_path(name)).parts
        return self._spliced(parts, command)

    def _expand(
        self, word: str, command: Command, *, late: bool = False, quotes: bool = True
    ) -> lexer.Expansion:
        lex = partial(self._lex, word, command, quotes=quotes)
        found = lex()
        if self.unknown is None:
            for name in sorted(found.missing - self.declared):
                self.findings.note(command, f"${name} is used and has no value")
            return found
        completed = frozenset(name for name in found.missing if late and is_path(name))
        if completed:
            found = lex(late=completed)
        shown = self._settle(found, command, self.unknown)
        return lex(late=completed, more=shown) if shown else found

    def _settle(self, found: lexer.Expansion, command: Command, base: BaseImage) -> dict[str, str]:
        """Say what `found` needs or presumes; the result stands for the names that are needed."""
        needed = []
        for name in sorted(found.missing | found.presumed):
            said_to_be_absent = name in found.presumed or name in self.declared
            if said_to_be_absent and not is_path(name) and name != "HOME":
                self.findings.presumed.add(name)
                continue
            needed.append(name)
            what = f"{command.keyword} uses ${name}"
            self.findings.need(command, what, base=base, hint="write its value out")
        return {name: f"${{{name}}}" for name in needed if name in found.missing}

    def _lex(
        self,
        word: str,
        command: Command,
        *,
        quotes: bool,
        late: frozenset[str] = frozenset(),
        more: Mapping[str, str] | None = None,
    ) -> lexer.Expansion:
        # Docker's builder reads a here-document with the backslash as escape, whatever the file has chosen.
        escape = self.escape if quotes else "\\"
        try:
            known = {**self._texts, **more} if more else self._texts
            return lexer.expand(word, known, escape=escape, late=late, quotes=quotes)
        except lexer.LexError as error:
            hint = "mend the quotes, braces or pattern"
            raise command.refuse(f"{command.keyword}: {error}", hint=hint) from error

    def _spliced(self, parts: tuple[str, ...], command: Command) -> Value:
        """The value of literal texts and names, values that are late themselves put in their names' place."""
        spliced, size = [""], 0
        for at, part in enumerate(parts):
            value = self.seen.get(part) if at % 2 else part
            inner = (
                value.parts if isinstance(value, Late) else (value,) if value is not None else ("", part, "")
            )
            spliced[-1] += inner[0]
            spliced.extend(inner[1:])
            size += sum(map(len, inner))
            if size > _LARGEST:
                what = f"{command.keyword} takes over more of the base's variables than a value can hold"
                raise command.refuse(what, hint="name each variable once")
        return spliced[0] if len(spliced) == 1 else Late(parts=tuple(spliced))


def is_path(name: str) -> bool:
    """Whether it names a list of folders, such as PATH or LD_LIBRARY_PATH, which recipes add to."""
    return name.endswith("PATH")


def is_name(name: str) -> bool:
    """Whether a shell could set it."""
    return _NAME.fullmatch(name) is not None


def check_name(command: Command, name: str) -> str:
    """`name`, if a recipe may set it on a cluster. RecipeError otherwise."""
    if not is_name(name):
        hint = "use letters, digits and _, no digit first"
        raise command.refuse(f"'{name}' cannot name a variable", hint=hint)
    if _TAKEN.fullmatch(name):
        raise command.refuse(f"{name} belongs to Apptainer or its shell", hint="choose another name")
    if command.keyword == "ENV" and name in _READ_ONLY:
        hint = "choose another name, or use ARG"
        raise command.refuse(f"ENV {name}: Apptainer's shell lets nobody set it", hint=hint)
    return name
