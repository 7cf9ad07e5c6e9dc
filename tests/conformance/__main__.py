"""`python -m tests.conformance`: every recipe of the corpus, built by Docker's rules and by Apptainer, compared.

What was observed is remembered, so a run that is broken off goes on where it was. Exit code 1 unless every image
is equal, or refused with a reason, and at most 5 % are refused; 2 if this machine cannot run containers.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from dl4mic_hpc.errors import SandboxError

from . import cases, oracle, run, table
from .cases import MODES, Case
from .compare import Result
from .run import Workbench

PAGE = oracle.ROOT / "docs" / "reference" / "conformance.md"
RECORD = oracle.CACHE / "results.json"
WORKERS = 2


def main() -> int:
    said = _arguments()
    try:
        if said.stop:
            oracle.stop(_say)
            return 0
        return _run(said)
    except SandboxError as error:
        _say(f"error: {error.message}\nhint: {error.hint}")
        return 2


def _run(said: argparse.Namespace) -> int:
    every = cases.every()
    chosen = [case for case in every if not said.case or case.name in said.case]
    started = time.monotonic()
    with run.workbench(oracle.start(_say)) as bench:
        faults = _faults(chosen, bench) if said.check_corpus else []
        modes = [] if said.check_corpus else list(said.mode or MODES)
        results = _results(chosen, bench, modes, not said.ours) if modes else []
    if said.check_corpus:
        print("\n".join(faults) or f"{len(chosen)} cases are what they say")
        return bool(faults)
    print(table.table(chosen, results))
    missed = table.shortcomings(chosen, results)
    print(
        "\n".join(missed)
        or f"every image is equal or refused with a reason ({time.monotonic() - started:.0f} s)"
    )
    RECORD.write_text(json.dumps([asdict(result) for result in results], indent=1), encoding="utf-8")
    if said.write and chosen == every:
        PAGE.write_text(
            table.inserted(PAGE.read_text(encoding="utf-8"), table.table(every, results)), encoding="utf-8"
        )
    return bool(missed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("case", nargs="*", help="names of cases; without one: all")
    parser.add_argument(
        "--mode", action="append", choices=MODES, help="how Apptainer builds; without it: all four"
    )
    parser.add_argument("--ours", action="store_true", help="leave spython's converter out")
    parser.add_argument(
        "--check-corpus", action="store_true", help="see only whether Docker does what the cases say"
    )
    parser.add_argument(
        "--write", action="store_true", help=f"write the table into {PAGE.relative_to(oracle.ROOT)}"
    )
    parser.add_argument("--stop", action="store_true", help="remove the oracle's container")
    return parser.parse_args()


def _results(chosen: list[Case], bench: Workbench, modes: list[str], baseline: bool) -> list[Result]:
    def one(case: Case) -> list[Result]:
        found: list[Result] = []
        try:
            found += run.ours(case, modes, bench)
            found += [run.spython(case, bench)] if baseline else []
        except SandboxError as error:
            # The oracle's own fault: it counts as a difference, and the other cases go on.
            found.append(
                Result(case=case.name, converter="ours", mode="-", outcome="different", told=(error.message,))
            )
        for result in found:
            if result.outcome == "different" and result.converter == "ours":
                _say(f"{case.name} ({result.mode}): {result.told[0] if result.told else '?'}")
        return found

    with ThreadPoolExecutor(WORKERS) as pool:
        return [result for found in pool.map(one, chosen) for result in found]


def _faults(chosen: list[Case], bench: Workbench) -> list[str]:
    with ThreadPoolExecutor(WORKERS) as pool:
        found = pool.map(
            lambda case: [f"{case.name}: {fault}" for fault in run.docker_alone(case, bench)], chosen
        )
        return [fault for faults in found for fault in faults]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
