"""One case: converted, built by both builders, compared."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe import bundle
from dl4mic_hpc.sources.resolver import Resolver

from . import compare
from .cases import Case, stage
from .compare import Converter, Outcome, Result
from .oracle import CACHE, Oracle, inside
from .server import served

BASELINE_MODE = "subuid"
"""The mode in which the baseline is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """What all cases of a run share. server: the address of the corpus's web server. folder: this run's own."""

    oracle: Oracle
    server: str
    folder: Path

    def build_args(self, case: Case) -> dict[str, str]:
        return {name: value.replace("{server}", self.server) for name, value in case.build_args.items()}

    def name(self, case: Case, what: str) -> str:
        """A name in the container that no other run uses."""
        return f"{os.getpid()}-{case.name}-{what}"

    @contextlib.contextmanager
    def files(self, case: Case) -> Iterator[Path]:
        """A folder for the files of one case, gone afterwards: a bundle holds its base image."""
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=f"{case.name}-") as folder:
            Path(folder).chmod(0o755)
            yield Path(folder)


@contextlib.contextmanager
def workbench(oracle: Oracle) -> Iterator[Workbench]:
    """A run beside which others may be under way."""
    with served() as address, tempfile.TemporaryDirectory(dir=CACHE, prefix="run-") as folder:
        Path(folder).chmod(0o755)
        yield Workbench(oracle=oracle, server=address, folder=Path(folder))


def ours(case: Case, modes: Sequence[str], bench: Workbench) -> list[Result]:
    """Our converter's image against Docker's, in each mode."""
    with bench.files(case) as folder:
        decided: tuple[Outcome, tuple[str, ...]] | None = None
        try:
            _convert(case, bench, folder)
            if case.refused is not None:
                decided = ("different", (f"it has to be refused: {case.refused}",))
        except RecipeError as error:
            decided = _refused(case, f"{error.message} ({error.hint})")
        except Exception:
            # A crash is a result like another; the other cases go on.
            decided = ("different", (traceback.format_exc(limit=-3),))

        def result(mode: str) -> Result:
            if mode not in case.modes:
                return Result(
                    case=case.name, converter="ours", mode=mode, outcome="left out", told=(case.why,)
                )
            if decided is not None:
                outcome, told = decided
                return Result(case=case.name, converter="ours", mode=mode, outcome=outcome, told=told)
            return _compared(case, "ours", mode, bench, folder / "bundle")

        return [result(mode) for mode in modes]


def _refused(case: Case, why: str) -> tuple[Outcome, tuple[str, ...]]:
    if case.refused is not None:
        return ("refused" if re.search(case.refused, why) else "different", (why,))
    if case.fails:
        return ("equal", (f"both refuse: {why}",))
    return ("different", (f"it is refused: {why}",))


def _convert(case: Case, bench: Workbench, folder: Path) -> None:
    """The case as a bundle with its secrets, in `folder`."""
    context = stage(case, folder / "context")
    made = bundle.convert(
        context / case.dockerfile,
        context=context,
        build_args=bench.build_args(case),
        target=case.target,
        outside=Resolver(folder=CACHE / "sources", base_map=bench.oracle.bases(bench.oracle.here)),
        pin=True,
        exact=True,
    )
    made.write(folder / "bundle")
    for name, text in case.secrets.items():
        file = folder / "bundle" / "site" / "secrets" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def spython(case: Case, bench: Workbench) -> Result:
    """The same for spython's converter, in the default mode: the baseline.

    Its definitions can run commands on the computer that builds them: they are built in the oracle's container alone.
    """
    with bench.files(case) as folder:
        context = stage(case, folder / "context")
        program = [sys.executable, str(Path(__file__).parent / "baseline.py"), case.dockerfile]
        done = subprocess.run(program, cwd=context, capture_output=True, text=True, timeout=60)
        if done.returncode:
            outcome: Outcome = "equal" if case.fails else "different"
            told = (compare.tail(done.stderr, 1),)
            return Result(case=case.name, converter="spython", mode=BASELINE_MODE, outcome=outcome, told=told)
        definition = done.stdout
        for name, archive in bench.oracle.bases(bench.oracle.there).items():
            agent, _, file = archive.partition(":")
            wanted = rf"(?mi)^Bootstrap: docker\nFrom: {re.escape(name)}$"
            definition = re.sub(wanted, f"Bootstrap: {agent}\nFrom: {file}", definition)
        (context / "image.def").write_text(definition, encoding="utf-8")
        return _compared(case, "spython", BASELINE_MODE, bench, context)


def _compared(case: Case, converter: Converter, mode: str, bench: Workbench, folder: Path) -> Result:
    """What Apptainer builds of the definition in `folder`, against Docker's image."""
    docker = (
        {"built": False, "log": case.buildah} if case.buildah and not case.witness else _docker(case, bench)
    )
    request = {
        "builder": "apptainer",
        "name": bench.name(case, mode),
        "folder": inside(folder),
        "mode": mode,
        "runs": [list(run) for run in case.runs],
    }
    observed = bench.oracle.observe(request, folder)
    fakeroot = mode == "root-mapped+fakeroot"
    told = compare.differences(docker, observed, fakeroot=fakeroot)
    if told and docker["built"] and observed["built"]:
        # What is another at every build is no difference; only now it is worth a second one.
        ignored = compare.noise(docker, _docker(case, bench, again=True))
        told = compare.differences(docker, observed, ignored=ignored, fakeroot=fakeroot)
    return Result(
        case=case.name,
        converter=converter,
        mode=mode,
        outcome="different" if told else "equal",
        told=tuple(told),
        log=observed["log"],
    )


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
    with bench.files(case) as folder:
        context = stage(case, folder / "context")
        request = {
            "builder": "docker",
            "name": bench.name(case, "docker"),
            "context": inside(context),
            "dockerfile": case.witness or case.dockerfile,
            "build_args": bench.build_args(case),
            "target": case.target,
            "secrets": case.secrets,
            "runs": [] if again else [list(run) for run in case.runs],
            "again": again,
        }
        return bench.oracle.observe(request, context)
