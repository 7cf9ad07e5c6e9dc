"""What .dockerignore leaves out of the build context (https://docs.docker.com/build/concepts/context/#dockerignore-files)."""

from __future__ import annotations

from pathlib import Path

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.parser import refuse
from dl4mic_hpc.recipe.patterns import Patterns, clean

NAME = ".dockerignore"


def read(context: Path, *, name: str, beside: Path) -> Patterns:
    """The patterns for the build of the Dockerfile `name`, which lies in `beside`.

    A file of its own, <name>.dockerignore beside it, wins over the context's; without either nothing is left out.
    RecipeError, with file and line, for a pattern that Docker refuses.
    """
    for file in (beside / f"{name}{NAME}", context / NAME):
        if file.is_file():
            try:
                return parse(file.read_bytes(), name=file.name)
            except OSError as error:
                hint = "give yourself the right to read it"
                raise RecipeError(f"{file} cannot be read: {error.strerror}", hint=hint) from error
    return Patterns(())


def parse(data: bytes, *, name: str = NAME) -> Patterns:
    """The patterns in `data`, a .dockerignore's content; `name` is for messages."""
    patterns = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        try:
            pattern = _pattern(line.decode())
            Patterns((pattern,))
        except UnicodeDecodeError as error:
            raise refuse(name, number, "this is not UTF-8 text", hint="save the file as UTF-8") from error
        except ValueError as error:
            what = f"'{line.decode().strip()}' is no pattern that Docker knows"
            hint = "close its brackets; put no \\ at its end or before a letter"
            raise refuse(name, number, what, hint=hint) from error
        patterns.append(pattern)
    return Patterns(patterns)


def _pattern(line: str) -> str:
    """The line's pattern, relative to the context; "" for a comment or nothing."""
    if line.startswith("#") or not (text := line.strip()):
        return ""
    sign = "!" if text.startswith("!") else ""
    bare = text.removeprefix("!").strip()
    if not bare:
        return sign
    cleaned = clean(bare)
    return sign + (cleaned.removeprefix("/") or cleaned)
