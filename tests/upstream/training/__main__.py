"""`python -m upstream.training DIR [PAGE]`, run in tests/: trains twice, prints a table, and writes it into PAGE."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from upstream.originals import MissingError
from upstream.page import write
from upstream.training import check
from upstream.training.check import Outcome, Trained


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m upstream.training", description=__doc__)
    parser.add_argument("clones", type=Path, help="holds a clone of ZeroCostDL4Mic")
    parser.add_argument("page", type=Path, nargs="?", help="the page that holds the table")
    given = parser.parse_args()
    return prove(given.clones, given.page)


def prove(clones: Path, page: Path | None) -> int:
    """The exit status: 0 if the two trainings are equal and good."""
    with tempfile.TemporaryDirectory(prefix="dl4mic-hpc-") as elsewhere:
        try:
            outcome = check.run(clones, Path(elsewhere))
        except (MissingError, AssertionError) as problem:
            print(f"error: {problem}", file=sys.stderr)
            return 1
    table = _table(outcome)
    print(table)
    for wrong in outcome.wrong:
        print(f"error: {wrong}", file=sys.stderr)
    if page is not None and not outcome.wrong:
        write(page, table)
    return 1 if outcome.wrong else 0


def _table(outcome: Outcome) -> str:
    both = (outcome.by_hand, outcome.headless)
    rows = {
        "From the command to the results at home": [f"{each.seconds:.0f} s" for each in both],
        "Training loss, first epoch to last": [_loss(each, 0) for each in both],
        "Validation loss, first epoch to last": [_loss(each, 1) for each in both],
        "F1 score of the test pictures": [
            ", ".join(f"{score:.3f}" for score in each.scores) for each in both
        ],
        "sha256 of the weights": [f"`{each.digests[check.WEIGHTS][:16]}…`" for each in both],
    }
    equal = sum(outcome.by_hand.digests[name] == outcome.headless.digests[name] for name in check.EQUAL)
    return "\n".join(
        [
            f"{check.NAME} {outcome.spec.version} and its requirements, ZeroCostDL4Mic at {outcome.spec.revision}:",
            "",
            "| | By hand | Headless |",
            "|---|---|---|",
            *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()),
            "",
            f"{equal} of {len(check.EQUAL)} files are the same, byte for byte.",
        ]
    )


def _loss(trained: Trained, which: int) -> str:
    return f"{trained.losses[0][which]:.3f} → {trained.losses[-1][which]:.3f}"


if __name__ == "__main__":
    sys.exit(main())
