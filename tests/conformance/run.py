"""One case: converted, built by both builders, compared."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe import bundle
from dl4mic_hpc.sources.resolver import Resolver

from . import cases, compare
from .cases import Case
from .compare import Converter, Outcome, Result
from .oracle import CACHE, Oracle, inside

BASELINE_MODE = "subuid"
"""The mode in which the baseline is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """What all cases share. server: the address of the corpus's web server."""

    oracle: Oracle
    server: str

    def build_args(self, case: Case) -> dict[str, str]:
        return {name: value.replace("{server}", self.server) for name, value in case.build_args.items()}


def ours(case: Case, modes: Sequence[str], bench: Workbench) -> Iterator[Result]:
    """Our converter's image against Docker's, in each mode."""
    folder = CACHE / "bundles" / case.name
    shutil.rmtree(folder, ignore_errors=True)
    outcome: Outcome | None
    try:
        _convert(case, bench, _staged(case, "ours"), folder)
        outcome, told = (
            (None, ()) if case.refused is None else ("different", (f"not refused: {case.refused}",))
        )
    except RecipeError as error:
        outcome, told = _refused(case, f"{error.message} ({error.hint})")
    except Exception:
        # A crash is a result like another; the other cases go on.
        outcome, told = "different", (traceback.format_exc(limit=-3),)
    for mode in modes:
        if mode not in case.modes:
            yield Result(case=case.name, converter="ours", mode=mode, outcome="left out", told=(case.why,))
        elif outcome is not None:
            yield Result(case=case.name, converter="ours", mode=mode, outcome=outcome, told=told)
        else:
            yield _compared(case, "ours", mode, bench, folder)


def _refused(case: Case, why: str) -> tuple[Outcome, tuple[str, ...]]:
    if case.refused is not None:
        return ("refused" if re.search(case.refused, why) else "different", (why,))
    if case.fails:
        return ("equal", (f"both refuse: {why}",))
    return ("different", (f"it is refused: {why}",))


def _compared(case: Case, converter: Converter, mode: str, bench: Workbench, folder: Path) -> Result:
    docker = {"built": False} if case.buildah and not case.witness else _docker(case, bench)
    observed = bench.oracle.observe(_request(case, folder, mode), folder)
    told = tuple(compare.differences(docker, observed))
    if told and docker["built"] and observed["built"]:
        # What is another at every build is no difference; only now it is worth a second one.
        ignored = compare.noise(docker, _docker(case, bench, again=True))
        told = tuple(compare.differences(docker, observed, ignored=ignored))
    outcome: Outcome = "different" if told else "equal"
    return Result(
        case=case.name, converter=converter, mode=mode, outcome=outcome, told=told, log=observed["log"]
    )


def _convert(case: Case, bench: Workbench, context: Path, folder: Path) -> None:
    sources = Resolver(
        folder=CACHE / "sources",
        base_map=bench.oracle.bases(bench.oracle.here),
    )
    made = bundle.convert(
        context / case.dockerfile,
        context=context,
        build_args=bench.build_args(case),
        target=case.target,
        outside=sources,
        pin=True,
        exact=True,
    )
    made.write(folder)
    _secrets(case, folder / "site" / "secrets")


def docker_alone(case: Case, bench: Workbench) -> list[str]:
    """What is wrong with the case itself: Docker does not do what the case says."""
    if case.buildah and not case.witness:
        return [] if case.fails else ["without a witness it can only fail"]
    docker = _docker(case, bench)
    if case.refused is None and docker["built"] == case.fails:
        return [f"Docker {'builds' if docker['built'] else 'fails'}: {compare.tail(docker['log'])}"]
    return []


def _docker(case: Case, bench: Workbench, *, again: bool = False) -> dict[str, Any]:
    """What buildah makes of it; `again`: of another build, without running anything."""
    context = _staged(case, "docker")
    secrets = _secrets(case, CACHE / "secrets" / case.digest[:16])
    request = {
        "builder": "docker",
        "name": case.name,
        "context": inside(context),
        "dockerfile": case.witness or case.dockerfile,
        "build_args": bench.build_args(case),
        "target": case.target,
        "secrets": {name: inside(path) for name, path in secrets.items()},
        "runs": [] if again else [list(run) for run in case.runs],
        "again": again,
    }
    return bench.oracle.observe(request, context)


def _request(case: Case, folder: Path, mode: str) -> dict[str, Any]:
    return {
        "builder": "apptainer",
        "name": case.name,
        "folder": inside(folder),
        "mode": mode,
        "work": f"/work/build/{case.name}-{mode}",
        "runs": [list(run) for run in case.runs],
    }


def _secrets(case: Case, folder: Path) -> dict[str, Path]:
    """The case's secrets as files in `folder`."""
    for name, text in case.secrets.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return {name: folder / name for name in case.secrets}


def _staged(case: Case, whom: str) -> Path:
    return cases.stage(case, CACHE / "contexts" / whom / case.name)


def spython(case: Case, bench: Workbench) -> Iterator[Result]:
    """The same for spython's converter, in the default mode: the baseline.

    Its definitions can run commands on the computer that builds them: they are built in the oracle's container alone.
    """
    folder = _staged(case, "spython")
    program = [sys.executable, str(Path(__file__).parent / "baseline.py"), case.dockerfile]
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True, timeout=60)
    if done.returncode:
        told = (compare.tail(done.stderr, 1),)
        outcome: Outcome = "equal" if case.fails else "different"
        yield Result(case=case.name, converter="spython", mode=BASELINE_MODE, outcome=outcome, told=told)
        return
    definition = done.stdout
    for name, archive in bench.oracle.bases(bench.oracle.there).items():
        agent, _, file = archive.partition(":")
        wanted = rf"(?mi)^Bootstrap: docker\nFrom: {re.escape(name)}$"
        definition = re.sub(wanted, f"Bootstrap: {agent}\nFrom: {file}", definition)
    (folder / "image.def").write_text(definition, encoding="utf-8")
    yield _compared(case, "spython", BASELINE_MODE, bench, folder)
