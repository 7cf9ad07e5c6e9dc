"""The conformance table: what the results come to, for the terminal and for docs/reference/conformance.md. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from .cases import MODES, Case
from .compare import Converter, Result

BEGIN = "<!-- begin of the table: `make conformance` writes it -->"
END = "<!-- end of the table -->"
REFUSED_AT_MOST = 0.05
"""Of all cases, the part that may be refused."""

GROUPS = {
    "arg": "`ARG`",
    "env": "`ENV`",
    "label": "`LABEL`",
    "from": "`FROM`, stages",
    "run": "`RUN`",
    "user": "`USER`",
    "workdir": "`WORKDIR`",
    "copy": "`COPY`",
    "add": "`ADD`",
    "shell": "`SHELL`",
    "entry": "`ENTRYPOINT`, `CMD`",
    "meta": "`EXPOSE`, `VOLUME`, `HEALTHCHECK`, …",
    "onbuild": "`ONBUILD`",
    "syntax": "the file itself",
    "shape": "the notebooks' recipes",
}


def table(cases: Sequence[Case], results: Iterable[Result]) -> str:
    """Markdown: a line for each group of cases, a column for each mode, and spython's converter."""
    found: dict[tuple[str, Converter, str], Result] = {
        (result.case, result.converter, result.mode): result for result in results
    }
    lines = [
        f"| Cases about | {' | '.join(MODES)} | spython | cases |",
        f"|---|{'---:|' * (len(MODES) + 2)}",
    ]
    groups = [
        (title, [case for case in cases if case.name.split("-")[0] == key]) for key, title in GROUPS.items()
    ]
    for title, members in [*groups, ("**all**", list(cases))]:
        if not members:
            continue
        cells = [_cell(members, found, "ours", mode) for mode in MODES]
        cells.append(_cell(members, found, "spython", "subuid"))
        lines.append(f"| {title} | {' | '.join(cells)} | {len(members)} |")
    return "\n".join(lines) + "\n"


def _cell(
    members: Sequence[Case],
    found: Mapping[tuple[str, Converter, str], Result],
    converter: Converter,
    mode: str,
) -> str:
    """`12 + 1 of 14`: equal, refused with a reason, of those that the mode can build the same."""
    results = [found[key] for case in members if (key := (case.name, converter, mode)) in found]
    count = Counter(result.outcome for result in results)
    of = len(results) - count["left out"]
    if not of:
        return "–"
    refused = f" + {count['refused']}" if count["refused"] else ""
    return f"{count['equal']}{refused} of {of}"


def shortcomings(cases: Sequence[Case], results: Sequence[Result]) -> list[str]:
    """Why the bar is missed; [] if every image is equal or refused with a reason, and few are refused."""
    mine = [result for result in results if result.converter == "ours"]
    found = [
        f"{result.case} ({result.mode}): {told}"
        for result in mine
        if result.outcome == "different"
        for told in result.told[:8] or ("?",)
    ]
    refused = {result.case for result in mine if result.outcome == "refused"}
    if len(refused) > REFUSED_AT_MOST * len(cases):
        found.append(f"{len(refused)} of {len(cases)} cases are refused, more than {REFUSED_AT_MOST:.0%}")
    groups = {case.name for case in cases if case.name.split("-")[0] not in GROUPS}
    return found + [f"{name}: no group of the table has it" for name in sorted(groups)]


def inserted(page: str, text: str) -> str:
    """The page with `text` between its two marks. ValueError if it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has no marks for the table")
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"
