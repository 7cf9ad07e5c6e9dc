"""`notebook update`: what has changed upstream, and taking it over."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dl4mic_hpc.cli import console
from dl4mic_hpc.errors import NotebookError, UsageError

if TYPE_CHECKING:
    from dl4mic_hpc.sources.upstream import Head

EXAMPLES = """\b
Examples:
  dl4mic-hpc notebook update
  dl4mic-hpc notebook update stardist_2d --apply
  dl4mic-hpc notebook update stardist_2d --revert
"""


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLES)(update)


def update(
    notebooks: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NOTEBOOK]...", help="Notebooks of the catalogue; all if left out."),
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="From now on launch these notebooks as they are upstream now.")
    ] = False,
    revert: Annotated[
        bool, typer.Option("--revert", help="Go back to the notebooks that ship with the program.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON on standard output.")] = False,
) -> None:
    """Show what has changed upstream since the notebooks of the catalogue were pinned.

    Without --apply nothing changes here.
    """
    if apply and revert:
        raise UsageError("--apply and --revert exclude each other", hint="leave one of them out")
    from dl4mic_hpc import catalog

    names = list(dict.fromkeys(catalog.find(text) for text in notebooks)) if notebooks else catalog.names()
    answers = [_reverted(name) for name in names] if revert else _updated(names, apply=apply)
    problems = [one for one in answers if one["problem"]]
    if as_json:
        console.answer_json({"version": 1, "notebooks": answers})
    else:
        for one in answers:
            _tell(one)
    if problems and (len(problems) == len(answers) or apply):
        raise NotebookError(
            "; ".join(f"{one['id']}: {one['problem']}" for one in problems[:3])
            + (f"; and {len(problems) - 3} more" if problems[3:] else ""),
            hint="what was found before stays as it is; see whether this computer is online",
        )


def _reverted(name: str) -> dict[str, Any]:
    from dl4mic_hpc.sources import upstream

    return _answer(name, state="reverted" if upstream.unpin(name) else "as shipped")


def _updated(names: list[str], *, apply: bool) -> list[dict[str, Any]]:
    from dl4mic_hpc import catalog, resources
    from dl4mic_hpc.sources import upstream

    cache = resources.home("cache")

    def one(name: str) -> dict[str, Any]:
        try:
            spec = catalog.load(name)
            head = upstream.look(spec, cache=cache)
            if head is None:
                return _answer(name, state="ships with the program")
            written = upstream.pin(head, cache=cache, say=console.tell) if apply and head.changes else None
        except NotebookError as problem:
            return _answer(name, state="unknown", problem=problem.message)
        return _answer(name, state="changed" if head.changes else "current", head=head, written=written)

    with console.Steps() as steps, ThreadPoolExecutor(max_workers=8) as pool:
        steps.say(f"asking upstream about {len(names)} notebook{'s' if names[1:] else ''}")
        return list(pool.map(one, names))


def _answer(
    name: str,
    *,
    state: str,
    problem: str | None = None,
    head: Head | None = None,
    written: Path | None = None,
) -> dict[str, Any]:
    return {
        "id": name,
        "state": state,
        "notebook_version": head.spec.version if head else None,
        "upstream_version": head.facts.get("notebook_version", head.spec.version) if head else None,
        "changes": [{"what": one.what, "text": one.text} for one in head.changes] if head else [],
        "applied": str(written) if written else None,
        "problem": problem,
    }


def _tell(one: dict[str, Any]) -> None:
    state = {
        "current": "up to date",
        "changed": "has changed upstream" if one["applied"] is None else "is launched as it is upstream now",
        "unknown": f"cannot be compared: {one['problem']}",
        "reverted": "is launched as it ships with the program again",
    }.get(one["state"], one["state"])
    console.answer(f"{console.strong(one['id'])}: {state}")
    for change in one["changes"]:
        console.answer(f"  {change['what']}: {change['text']}")
