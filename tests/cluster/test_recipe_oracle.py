"""A fixed sample of the conformance corpus: built by buildah and, in the default mode, by Apptainer, and compared.

`make conformance` does it for the whole corpus in every mode. Nothing is taken here from what it remembers.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from conformance import cases, oracle, run
from conformance.cases import Case
from conformance.compare import Result

SAMPLE = {case.name: case for case in cases.every() if case.sample}
MODE = "subuid"


@pytest.fixture(scope="module")
def results() -> Iterator[Mapping[str, Future[Result]]]:
    """The result of each case of the sample, two of them under way at a time."""
    found = dataclasses.replace(oracle.start(print), remembers=False)
    with run.workbench(found) as bench, ThreadPoolExecutor(2) as pool:

        def one(case: Case) -> Result:
            return run.ours(case, [MODE], bench)[0]

        yield {name: pool.submit(one, case) for name, case in SAMPLE.items()}
    if os.environ.get("CI"):
        oracle.stop(print)


@pytest.mark.parametrize("name", SAMPLE)
def test_apptainer_builds_what_docker_builds(name: str, results: Mapping[str, Future[Result]]):
    result = results[name].result()
    assert result.outcome == "equal", "\n".join([*result.told, result.log[-3000:]])
