"""A recipe -> the text of an Apptainer definition that builds the same image.

No text of the Dockerfile reaches the header or `%files`, where Apptainer would interpret it on the machine that
builds. Everywhere else it stands inside single quotes, and what Apptainer's reader of definitions would take for
its own (a line that begins with `%` or `Bootstrap:`, a `{{ name }}`) is broken by an empty pair of quotes, which
no shell sees (https://apptainer.org/docs/user/latest/definition_files.html).

The order of the Dockerfile is kept: every COPY is an archive that `%post` unpacks at its turn, every RUN a
process of its own with exactly the recipe's environment, folder and shell.
"""

from __future__ import annotations

import posixpath
import re

from dl4mic_hpc import resources
from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.context import Packed
from dl4mic_hpc.recipe.steps import Copy, ImageConfig, MakeFolder, Recipe, Run

# Apptainer reads a definition with a buffer of 64 KiB; a section, with the line after it, has to fit.
SECTION_LIMIT = 65_000

_BREAK = re.compile(
    r"(?<=\{)(?=\{)|^(?=[^\S\n]*%)|^(?=bootstrap:)|(?<=\r)(?=\n)", re.IGNORECASE | re.MULTILINE
)
_PLAIN = re.compile(r"[A-Za-z0-9_./:=@+,-]+")
_HEADING = 100


def quote(text: str) -> str:
    """`text` as one word of a POSIX shell that Apptainer's reader of definitions leaves alone.

    A quote stands in double quotes: the shell inside Apptainer 1.4 that reads `%environment` keeps the backslash
    of an escaped one.
    """
    if _PLAIN.fullmatch(text):
        return text
    inner = _BREAK.sub("\0", text).replace("'", "'\"'\"'").replace("\0", "''")
    return f"'{inner}'"


def serialise(recipe: Recipe, *, base: str, packed: dict[int, Packed]) -> str:
    """The definition. `base` is where the base image comes from; `packed` the files of the COPY at each step.

    RecipeError if a section grows beyond what Apptainer reads.
    """
    sections = {
        "files": "    ctx /.dl4mic-hpc\n",
        "post": _post(recipe, packed),
        "environment": "".join(
            f"export {name}={quote(value)}\n" for name, value in recipe.config.environment
        ),
        "runscript": _runscript(recipe.config),
    }
    for name, body in sections.items():
        size = len(body.encode())
        if size > SECTION_LIMIT:
            raise RecipeError(
                f"{recipe.name}: the definition's %{name} would have {size} bytes, and Apptainer reads {SECTION_LIMIT}",
                hint="move long commands into a script, and COPY and RUN that",
            )
    return f"Bootstrap: docker\nFrom: {base}\n" + "".join(
        f"\n%{name}\n{body}" for name, body in sections.items() if body
    )


def template(name: str) -> str:
    """A constant part of every definition, from templates/recipe/."""
    return resources.data("templates", "recipe", name).read_text(encoding="utf-8")


def _post(recipe: Recipe, packed: dict[int, Packed]) -> str:
    lines = [template("post.sh")]
    if recipe.presumed:
        lines.append(f"dl4mic_presumed_unset {' '.join(recipe.presumed)}\n")
    known: dict[str, str] = {}
    for at, step in enumerate(recipe.steps):
        where = f"{recipe.name}:{step.line}" if step.line else "dl4mic-hpc"
        text = " ".join(step.text.split())
        shown = text if len(text) <= _HEADING else text[: _HEADING - 1] + "…"
        lines.append(f"\ndl4mic_step {quote(f'{where}: {shown}')}\n")
        match step:
            case MakeFolder():
                lines.append(f"mkdir -p {quote(step.path)}\n")
            case Copy():
                lines.append(_copy(step, packed[at], at))
            case Run():
                fresh = {name: value for name, value in step.environment if known.get(name) != value}
                known |= fresh
                if fresh:
                    words = " ".join(quote(f"{name}={value}") for name, value in fresh.items())
                    lines.append(f'set -- "$@" {words}\n')
                argv = " ".join(quote(word) for word in step.argv)
                run = f'dl4mic_enter {quote(step.folder)} && exec /usr/bin/env "$@" {argv}'
                lines.append(f"( {run} ) < /dev/null || dl4mic_failed {quote(where)}\n")
    if recipe.config.labels:
        words = "".join(f" \\\n    {quote(f'{name} {value}')}" for name, value in recipe.config.labels)
        lines.append(f"\ndl4mic_label{words}\n")
    lines.append("\ndl4mic_finish\n")
    return "".join(lines)


def _copy(step: Copy, packed: Packed, at: int) -> str:
    if packed.member is None:
        return f"dl4mic_unpack {at:03d} {quote(step.destination)}\n"
    parent = posixpath.dirname(step.destination)
    return f"dl4mic_place {at:03d} {quote(packed.member)} {quote(parent)} {quote(step.destination)}\n"


def _runscript(config: ImageConfig) -> str:
    """What starts, by Docker's table: arguments replace CMD and follow ENTRYPOINT; nothing is evaluated again.

    https://docs.docker.com/reference/dockerfile/#understand-how-cmd-and-entrypoint-interact
    """
    if config.entrypoint is None or config.folder is None:
        return ""
    lines = [f"cd {quote(config.folder)} || exit 1\n"]
    if config.command:
        lines.append(f'[ "$#" != 0 ] || set -- {" ".join(quote(word) for word in config.command)}\n')
    if config.entrypoint:
        lines.append(f'set -- {" ".join(quote(word) for word in config.entrypoint)} "$@"\n')
    elif not config.command:
        lines.append('[ "$#" != 0 ] || { echo "error: the image names no command: give one" >&2; exit 1; }\n')
    return "".join([*lines, 'exec "$@"\n'])
