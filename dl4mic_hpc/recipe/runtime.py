"""How an image behaves when it runs: `%environment`, `%runscript` and the labels."""

from __future__ import annotations

from dl4mic_hpc.recipe import kinds
from dl4mic_hpc.recipe.shell import assignment, quote, words
from dl4mic_hpc.recipe.steps import BaseImage, FromStage, ImageConfig, Recipe, Scratch, Stage

_SILENT = '[ "$#" != 0 ] || { echo "error: the image names no command: give one" >&2; exit 1; }\n'


def environment(config: ImageConfig, *, without: frozenset[str] = frozenset()) -> str:
    """The variables that the image sets, for Apptainer's own shell."""
    return "".join(
        f"export {assignment(name, value)}\n" for name, value in config.environment if name not in without
    )


def runscript(recipe: Recipe) -> str:
    """What starts, by Docker's table: arguments replace CMD and follow ENTRYPOINT; nothing is evaluated again.

    https://docs.docker.com/reference/dockerfile/#understand-how-cmd-and-entrypoint-interact
    "" where nothing is known of what starts: Apptainer's own script for the base image is right then.
    """
    config = recipe.stages[-1].config
    base = base_of(recipe, recipe.stages[-1])
    says_nothing = config.entrypoint is None and config.command is None
    if says_nothing and base is not None and base.config is None:
        return ""
    lines = [f"cd -P {quote(config.folder or '/')} || exit 1\n"]
    if config.command:
        lines.append(f'[ "$#" != 0 ] || set -- {words(config.command)}\n')
    if config.entrypoint:
        lines.append(f'set -- {words(config.entrypoint)} "$@"\n')
    elif not config.command:
        lines.append(_SILENT)
    return "".join([*lines, 'exec "$@"\n'])


def base_of(recipe: Recipe, stage: Stage) -> BaseImage | None:
    """The image below the stage and those that it continues, None for nothing at all."""
    while isinstance(stage.base, FromStage):
        stage = recipe.stages[stage.base.stage]
    return stage.base if isinstance(stage.base, BaseImage) else None


def labels(recipe: Recipe) -> list[tuple[str, str]]:
    """The labels that the image has beyond its base image's, as Apptainer can keep them: each on one line."""
    return [(name, _on_one_line(value)) for name, value in _own_labels(recipe) if _is_label(name)]


def lost_labels(recipe: Recipe) -> list[str]:
    """The names of the labels that Apptainer does not keep as they are."""
    last = len(recipe.stages) - 1
    own = _own_labels(recipe)
    if kinds.has_shell(recipe, last):
        return [name for name, value in own if not _is_label(name) or _on_one_line(value) != value]
    # Only an image of our own making carries labels without a shell that writes them.
    return [] if isinstance(recipe.stages[last].base, Scratch) else [name for name, _ in own]


def _own_labels(recipe: Recipe) -> list[tuple[str, str]]:
    base = base_of(recipe, recipe.stages[-1])
    known = dict(base.config.labels) if base is not None and base.config is not None else {}
    return [(name, value) for name, value in recipe.stages[-1].config.labels if known.get(name) != value]


def _on_one_line(value: str) -> str:
    return " ".join(value.splitlines()).strip()


def _is_label(name: str) -> bool:
    """Whether Apptainer can keep a label of this name."""
    return bool(name) and not name.startswith("#") and not any(char.isspace() for char in name)
