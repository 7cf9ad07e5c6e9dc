"""COPY and ADD: which files they put where, decided as far as the recipe alone decides it."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable
from dataclasses import replace

from dl4mic_hpc.recipe import addresses, heredocs, modes, patterns
from dl4mic_hpc.recipe.commands import Command
from dl4mic_hpc.recipe.heredocs import Heredoc
from dl4mic_hpc.recipe.steps import Context, Copy, FromStage, Source, Text
from dl4mic_hpc.recipe.variables import Variables


def read(
    command: Command,
    variables: Variables,
    *,
    path: Callable[[str], str],
    stage: int | None,
) -> tuple[Copy, ...]:
    """What the instruction copies. path: makes a path absolute. stage: the place of --from's, None for none.

    Two copies where files of a stage and here-documents go together; the here-documents are the last, as in BuildKit.
    """
    *written, last = command.words
    if _heredoc(command, last):
        raise command.refuse("a here-document cannot be a destination", hint="write the file's name last")
    asked = len(variables.findings.needs)
    documents = [found for word in written if (found := _heredoc(command, word))]
    names = [variables.text(word, command) for word in written if not _heredoc(command, word)]
    files = _sources(command, variables, names, stage)
    texts = [_document(command, variables, document) for document in documents]
    undecided = len(variables.findings.needs) > asked
    copy = Copy(
        sources=(),
        destination=_destination(command, variables, path(variables.text(last, command)), len(written)),
        owner=variables.text(command.options.text("chown"), command),
        mode=_mode(command, variables.text(command.options.text("chmod"), command)),
        unpack=_unpack(command, names),
        parents=bool(command.options.switch("parents")),
        exclude=command.options.all("exclude"),
        undecided=undecided,
        line=command.line,
        text=" ".join([command.keyword, *names, *(f"<<{each.path}" for each in texts), last]),
    )
    groups = [[*files, *texts]] if stage is None else [files, texts]
    return tuple(replace(copy, sources=tuple(group)) for group in groups if group)


def _heredoc(command: Command, word: str) -> Heredoc | None:
    """The here-document that `word` stands for, None if it is an ordinary word."""
    announced = heredocs.read(word)
    named = [document for document in command.heredocs if announced and document.name == announced.name]
    return named[-1] if named else None


def _document(command: Command, variables: Variables, document: Heredoc) -> Source:
    text = variables.document(document.text, command) if document.expand else document.text
    return Source(origin=Text(content=text.encode()), path=document.name)


def _sources(command: Command, variables: Variables, names: list[str], stage: int | None) -> list[Source]:
    checksum = variables.text(command.options.text("checksum"), command)
    if checksum and not (len(names) == 1 and _is_fetched(names[0])):
        hint = "write one address after it, or delete --checksum"
        raise command.refuse("ADD --checksum is for one file or repository that is fetched", hint=hint)
    return [_source(command, name, stage=stage, checksum=checksum) for name in names]


def _source(command: Command, name: str, *, stage: int | None, checksum: str) -> Source:
    if not name:
        hint = f"write . if all of the build context is meant; {command.keyword} SOURCE … DESTINATION"
        what = f"a source of {command.keyword} is empty, which Docker takes for the whole context"
        raise command.refuse(what, hint=hint)
    if _is_fetched(name):
        return _fetched(command, name, checksum)
    parents = bool(command.options.switch("parents"))
    if stage is None and _leads_out(name):
        hint = "move the file into the recipe's folder"
        raise command.refuse(f"{name} leads out of the build context", hint=hint)
    return Source(
        origin=Context() if stage is None else FromStage(stage=stage),
        path=_clean(name, parents=parents),
        glob=patterns.has_wildcards(name),
    )


def _fetched(command: Command, name: str, checksum: str) -> Source:
    if command.keyword != "ADD":
        hint = "write ADD, or put the file into the build context"
        raise command.refuse(f"{command.keyword} fetches nothing: {name}", hint=hint)
    if addresses.is_git(name):
        keep_git = command.options.switch("keep-git-dir")
        repository = addresses.git(command, name, keep_git=keep_git, checksum=checksum)
        return Source(origin=repository, path=".")
    url, file = addresses.url(command, name, checksum=checksum)
    return Source(origin=url, path=file)


def _is_fetched(name: str) -> bool:
    return addresses.is_url(name) or addresses.is_git(name)


def _leads_out(name: str) -> bool:
    return posixpath.normpath(name.lstrip("/") or ".").split("/")[0] == ".."


def _clean(name: str, *, parents: bool) -> str:
    """A path relative to the root; with --parents the `/./` stays that says from where on folders are kept."""
    parts = name.split("/./", maxsplit=1) if parents else [name]
    return "/./".join(posixpath.normpath("/" + part).lstrip("/") or "." for part in parts)


def _destination(command: Command, variables: Variables, path: str, sources: int) -> str:
    if sources < 2 or path.endswith("/"):
        return path
    what = f"{command.keyword} puts several files onto {path}, which is taken for a folder"
    variables.findings.note(command, what)
    return path + "/"


def _mode(command: Command, mode: str) -> str:
    try:
        modes.parse(mode or "0")
    except ValueError as error:
        hint = "write an octal number up to 7777, such as 755, or changes such as u+x"
        raise command.refuse(f"--chmod={mode} is no mode", hint=hint) from error
    return mode


def _unpack(command: Command, names: Iterable[str]) -> bool:
    said = command.options.switch("unpack")
    if said and any(_is_fetched(name) for name in names):
        hint = "unpack the file in a RUN: tar -xf FILE"
        raise command.refuse("ADD --unpack of what is fetched is not converted", hint=hint)
    return command.keyword == "ADD" if said is None else said
