"""`python -m upstream.notebooks DIR [PAGE]`, run in tests/: every notebook of the catalogue, converted and compared.

DIR holds clones of the repositories that the catalogue names; the files are read at the pinned revisions. With
`--unseen FOLDER` the notebooks in a folder go through the same, against lower bars. `--record` writes down what the
forms are now, which a person then reads and commits. Everything that is wrong is listed; the exit status is 1 then.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dl4mic_hpc.errors import Dl4micError
from upstream import conversion, differential
from upstream.conversion import Pair
from upstream.differential import Comparison
from upstream.originals import MissingError, Original, originals, unseen
from upstream.page import write

EXPECTED = Path(__file__).with_name("notebooks.json")
SECONDS = 5.0
"""Of CPU, in which all of the catalogue's notebooks are converted in one process."""

RIGHT = 0.98
"""The part of the fields of unseen notebooks that must be right."""

KINDS = (
    "string",
    "number",
    "integer",
    "slider",
    "boolean",
    "dropdown",
    "raw dropdown",
    "raw",
    "date",
    "untyped",
)


@dataclass(kw_only=True)
class Result:
    """What came of one notebook. not_understood: `#@param` lines that became no field."""

    original: Original
    fields: dict[str, int] = field(default_factory=dict)
    code: int = 0
    not_understood: int = 0
    compared: Comparison = field(default_factory=Comparison)
    faults: list[str] = field(default_factory=list)

    @property
    def wrong_fields(self) -> int:
        return sum(": field " in fault for fault in self.faults)

    @property
    def wrong_names(self) -> int:
        return sum(": name " in fault for fault in self.faults)

    @property
    def different_cells(self) -> int:
        return len({cell for cell, _ in self.compared.faults})


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m upstream.notebooks", description=__doc__)
    parser.add_argument("clones", type=Path, help="holds clones of the repositories that the catalogue names")
    parser.add_argument("page", type=Path, nargs="?", help="the page that holds the table")
    parser.add_argument("--unseen", type=Path, help="a folder of notebooks from elsewhere")
    parser.add_argument("--only", default="", help="names of notebooks, with commas")
    parser.add_argument("--record", action="store_true", help=f"write {EXPECTED.name}")
    given = parser.parse_args()
    found = originals(given.clones)
    missing = [each for each in found if isinstance(each, MissingError)]
    there = [each for each in found if isinstance(each, Original)]
    if given.only:
        there = [each for each in there if each.name in given.only.split(",")]
    elif missing or not there:
        return _failed([str(each) for each in missing] or ["the catalogue names no notebook of elsewhere"])
    started = time.process_time()
    pairs = [conversion.convert(each) for each in there]
    seconds = time.process_time() - started
    if given.record:
        _record(pairs)
    results = _all(pairs, json.loads(EXPECTED.read_text(encoding="utf-8")))
    wrong = [f"{each.original.name}: {fault}" for each in results for fault in each.faults]
    if seconds >= SECONDS and not given.only:
        wrong.append(
            f"the conversion of {len(pairs)} notebooks took {seconds:.1f} s of CPU, not under {SECONDS:.0f}"
        )
    table = _table(results)
    print(table, f"\nConverted in {seconds:.1f} s of CPU.")
    if given.page is not None and not given.only and not wrong:
        write(given.page, table)
    if given.unseen is not None:
        wrong += _unseen(given.unseen)
    return _failed(wrong)


def _failed(wrong: Sequence[str]) -> int:
    for each in wrong:
        print(f"error: {each}", file=sys.stderr)
    return 1 if wrong else 0


def _record(pairs: Sequence[Pair]) -> None:
    facts = {pair.original.name: conversion.expectation(pair) for pair in pairs}
    EXPECTED.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _all(pairs: Sequence[Pair], expected: dict[str, Any] | None) -> list[Result]:
    # Processes: Python 3.11 does not parse in two threads at a time (SystemError, "AST constructor recursion depth").
    with ProcessPoolExecutor(max(2, (os.cpu_count() or 2) // 2)) as workers:
        return list(workers.map(partial(_check, expected=expected), pairs))


def _check(pair: Pair, expected: dict[str, Any] | None) -> Result:
    is_ = conversion.expectation(pair)
    result = Result(original=pair.original, fields=is_["fields"])
    result.code = sum(cell["cell_type"] == "code" for cell in pair.before())
    result.not_understood = conversion.not_understood(pair)
    result.faults += conversion.faults(pair)
    if expected is not None:
        if is_ != expected.get(pair.original.name):
            result.faults.append(f"the fields are {is_}, not {expected.get(pair.original.name)}")
        result.faults += [f"{each.text} (cell {each.cell})" for each in pair.converted.report.not_understood]
    with tempfile.TemporaryDirectory(prefix="dl4mic-hpc-", ignore_cleanup_errors=True) as home:
        result.compared = differential.compare(pair.original.data, pair.converted.notebook, Path(home))
    result.faults += [f"cell {cell}: {fault}" for cell, fault in result.compared.faults]
    print(f"{pair.original.name}: {'right' if not result.faults else 'wrong'}", file=sys.stderr, flush=True)
    return result


def _table(results: Sequence[Result]) -> str:
    kinds = [kind for kind in KINDS if any(kind in each.fields for each in results)]
    head = ["Notebook", "Source", "Fields", *kinds, "Code cells run", "of them to the end", "Names compared"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for each in results:
        where = f"{each.original.repository} {each.original.revision[:10]}"
        counts = [sum(each.fields.values()), *(each.fields.get(kind, 0) for kind in kinds)]
        run = [each.compared.cells, each.compared.completed, each.compared.names]
        lines.append(f"| {each.original.name} | {where} | {' | '.join(map(str, [*counts, *run]))} |")
    totals = [sum(sum(each.fields.values()) for each in results)]
    totals += [sum(each.fields.get(kind, 0) for each in results) for kind in kinds]
    totals += [
        sum(getattr(each.compared, what) for each in results) for what in ("cells", "completed", "names")
    ]
    lines.append(f"| **total** | | {' | '.join(map(str, totals))} |")
    return "\n".join(lines)


# Notebooks that nobody has looked at


def _unseen(folder: Path) -> list[str]:
    """Prints what came of them; the bars that they miss."""
    wrong, pairs = [], []
    for original in unseen(folder):
        try:
            pairs.append(conversion.convert(original))
        except Dl4micError as error:
            wrong.append(f"{original.name}: {error}")
    results = _all(pairs, None)
    if not results:
        return [*wrong, f"{folder} holds no notebook that can be converted"]
    print(
        "\n| Notebook | Fields | wrong | not understood | Code cells run | different |\n|---|---|---|---|---|---|"
    )
    for each in results:
        row = [sum(each.fields.values()), each.wrong_fields, each.not_understood, each.compared.cells]
        print(f"| {each.original.name} | {' | '.join(map(str, row))} | {each.different_cells} |")
        for fault in each.faults:
            print(f"    {each.original.name}: {fault}")
    bad = sum(each.wrong_fields + each.not_understood for each in results)
    fields = sum(sum(each.fields.values()) + each.not_understood for each in results)
    print(f"{len(results)} unseen notebooks: {fields - bad} of {fields} fields right.")
    if fields - bad < RIGHT * fields:
        wrong.append(f"only {fields - bad} of {fields} fields of the unseen notebooks are right")
    static = (
        "does not compile",
        "an install is left",
        "a text is lost",
        "lost",
        "bytes differ",
        "changes it",
    )
    wrong += [
        f"{each.original.name}: {fault}"
        for each in results
        for fault in each.faults
        if any(word in fault for word in static)
    ]
    return wrong


if __name__ == "__main__":
    sys.exit(main())
