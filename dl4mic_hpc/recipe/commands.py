"""Instructions with their form checked and their arguments split, for every stage, needed or not.

Nothing is expanded here: what a variable holds is known only where a stage is evaluated. Every mistake of form is
found before anything else happens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe import arguments, durations, options
from dl4mic_hpc.recipe.heredocs import Heredoc
from dl4mic_hpc.recipe.options import Options
from dl4mic_hpc.recipe.parser import Instruction, refuse, split_flags

# Instructions that BuildKit allows no trigger to be.
UNTRIGGERED = ("FROM", "MAINTAINER", "ONBUILD")

# The options of HEALTHCHECK that are lengths of time, and the shortest that Docker takes, in nanoseconds.
HEALTH_TIMES = ("interval", "timeout", "start-period", "start-interval")
_SHORTEST = 10**6
_SAY_JSON = 'write it as a JSON array: ["PROGRAM", "ARGUMENT"]'


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One instruction. file, line: where it stands.

    words: its arguments, unexpanded: ENV and LABEL give name, value, name, value …; HEALTHCHECK its kind first; one
    word with all the text where an instruction takes a text. listed: they stand in a JSON array. whole: the
    arguments as written, here-documents included.
    """

    keyword: str
    words: tuple[str, ...]
    listed: bool
    whole: str
    options: Options
    heredocs: tuple[Heredoc, ...]
    file: str
    line: int

    def refuse(self, what: str, *, hint: str) -> RecipeError:
        return refuse(self.file, self.line, what, hint=hint)

    def pairs(self) -> list[tuple[str, str]]:
        """The words of ENV and LABEL two by two."""
        return list(zip(self.words[::2], self.words[1::2], strict=True))


def read(instruction: Instruction, *, file: str, escape: str) -> Command:
    """The instruction, split. RecipeError for a form that Docker would not take."""
    keyword, line = instruction.keyword, instruction.line
    if not instruction.arguments:
        raise refuse(file, line, f"{keyword} says nothing", hint=f"complete the {keyword} or delete it")
    try:
        words, listed = _SPLIT[keyword](instruction.arguments, escape)
        read_options = options.read(keyword, instruction.flags)
    except arguments.ArgumentError as error:
        hint = "docs/reference/recipes.md shows the form"
        raise refuse(file, line, f"{keyword}: {error}", hint=hint) from error
    except options.OptionError as error:
        raise refuse(file, line, str(error), hint=error.hint) from error
    command = Command(
        keyword=keyword,
        words=words,
        listed=listed,
        whole=instruction.whole,
        options=read_options,
        heredocs=instruction.heredocs,
        file=file,
        line=line,
    )
    if check := _CHECKS.get(keyword):
        check(command)
    return command


Split = tuple[tuple[str, ...], bool]


def _text(text: str, escape: str) -> Split:
    return (text,), False


def _plain_words(text: str, escape: str) -> Split:
    return arguments.words(text), False


def _quoted_words(text: str, escape: str) -> Split:
    return arguments.quoted_words(text, escape=escape), False


def _pairs(text: str, escape: str) -> Split:
    return tuple(part for pair in arguments.pairs(text, escape=escape) for part in pair), False


def _trigger(text: str, escape: str) -> Split:
    """One text; what Docker's parser finds wrong in the instruction that ONBUILD keeps is wrong wherever it stands."""
    keyword, rest = arguments.first_word(text)
    bare, _ = split_flags(rest, escape)
    if bare and (split := _SPLIT.get(keyword.upper())):
        split(bare, escape)
    return (text,), False


def _array_or_words(text: str, escape: str) -> Split:
    listed = arguments.json_array(text)
    return (arguments.words(text), False) if listed is None else (listed, True)


def _array_or_text(text: str, escape: str) -> Split:
    listed = arguments.json_array(text)
    return ((text,), False) if listed is None else (listed, True)


def _health(text: str, escape: str) -> Split:
    kind, rest = arguments.first_word(text)
    words, listed = _array_or_text(rest, escape) if rest else ((), False)
    return (kind.upper(), *words), listed


_SPLIT: Mapping[str, Callable[[str, str], Split]] = {
    "ADD": _array_or_words,
    "ARG": _quoted_words,
    "CMD": _array_or_text,
    "COPY": _array_or_words,
    "ENTRYPOINT": _array_or_text,
    "ENV": _pairs,
    "EXPOSE": _plain_words,
    "FROM": _plain_words,
    "HEALTHCHECK": _health,
    "LABEL": _pairs,
    "MAINTAINER": _text,
    "ONBUILD": _trigger,
    "RUN": _array_or_text,
    "SHELL": _array_or_text,
    "STOPSIGNAL": _text,
    "USER": _text,
    "VOLUME": _array_or_words,
    "WORKDIR": _text,
}


def _check_copy(command: Command) -> None:
    if len(command.words) < 2:
        hint = f"write {command.keyword} SOURCE … DESTINATION"
        raise command.refuse(f"{command.keyword} has no destination", hint=hint)


def _check_arg(command: Command) -> None:
    for word in command.words:
        if word.startswith("="):
            raise command.refuse(f"'{word}' has no name before the =", hint="write ARG NAME=DEFAULT")


def _check_from(command: Command) -> None:
    words = command.words
    if len(words) != 1 and not (len(words) == 3 and words[1].upper() == "AS"):
        hint = "write FROM IMAGE or FROM IMAGE AS NAME"
        raise command.refuse("FROM names no base image", hint=hint)


def _check_health(command: Command) -> None:
    kind, *words = command.words
    if kind not in ("CMD", "NONE"):
        raise command.refuse(
            f"HEALTHCHECK knows no '{kind}'", hint="write HEALTHCHECK CMD … or HEALTHCHECK NONE"
        )
    if (kind == "NONE") == bool(words):
        what = "HEALTHCHECK NONE takes no words" if words else "HEALTHCHECK CMD names no command"
        raise command.refuse(what, hint="write HEALTHCHECK CMD COMMAND or HEALTHCHECK NONE")
    for name in HEALTH_TIMES:
        value = command.options.text(name) or "0"
        try:
            length = durations.nanoseconds(value)
        except ValueError as error:
            raise command.refuse(
                f"--{name}={value} is no duration", hint="write it as 30s or 1m30s"
            ) from error
        if length and length < _SHORTEST:
            raise command.refuse(f"--{name}={value} is less than 1ms", hint="write it as 30s or 1m30s")
    retries = command.options.text("retries")
    if retries and not re.fullmatch(r"\+?[0-9]{1,9}", retries, re.ASCII):
        raise command.refuse(f"--retries={retries} is no number", hint="write it as 3")


def _check_shell(command: Command) -> None:
    if not command.listed or not command.words:
        raise command.refuse("SHELL names no shell", hint=_SAY_JSON)


def _check_trigger(command: Command) -> None:
    word = command.words[0].split(maxsplit=1)[0].upper()
    if word in UNTRIGGERED:
        raise command.refuse(f"ONBUILD {word} is not allowed", hint="write another instruction after ONBUILD")


def _check_volume(command: Command) -> None:
    if not command.words or not all(word.strip() for word in command.words):
        raise command.refuse("VOLUME names no folder", hint="write VOLUME FOLDER")


_CHECKS: Mapping[str, Callable[[Command], None]] = {
    "ADD": _check_copy,
    "ARG": _check_arg,
    "COPY": _check_copy,
    "FROM": _check_from,
    "HEALTHCHECK": _check_health,
    "ONBUILD": _check_trigger,
    "SHELL": _check_shell,
    "VOLUME": _check_volume,
}
