"""`python -m upstream DIR [PAGE]`, run in tests/: converts everything, prints a table, and writes it into PAGE."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dl4mic_hpc.errors import Dl4micError
from dl4mic_hpc.recipe import bundle
from dl4mic_hpc.recipe.bundle import Bundle
from upstream import expected, found
from upstream.catalogue import DOCKERFILES, Configuration, configurations
from upstream.clones import Clones
from upstream.page import write

# The stage whose files are made on the laptop instead, by `dl4mic_hpc.notebook`.
NOTEBOOK_STAGE = "notebook_autoconversion"
WIDGET_FRONT_END = "widget-front-end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One definition. whole: with the notebook's stage. wrong: what differs from what is expected, "" for nothing."""

    configuration: Configuration
    gpu: bool
    whole: bool
    steps: int
    wrong: str


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m upstream", description=__doc__)
    parser.add_argument("clones", type=Path, help="holds clones of DL4MicEverywhere and ZeroCostDL4Mic")
    parser.add_argument("page", type=Path, nargs="?", help="the page that holds the table")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dl4mic-hpc-") as elsewhere:
        clones = Clones(folder=given.clones, elsewhere=Path(elsewhere))
        if missing := clones.missing():
            print(f"error: {given.clones} holds no clone of {' and '.join(missing)}", file=sys.stderr)
            return 1
        outcomes = list(_outcomes(clones))
    table = _table(outcomes, stood_in=len(clones.stood_in))
    print(table)
    wrong = [outcome for outcome in outcomes if outcome.wrong]
    for outcome in wrong:
        print(
            f"error: {outcome.configuration.name}: {DOCKERFILES[outcome.gpu]}: {outcome.wrong}",
            file=sys.stderr,
        )
    if not outcomes:
        print(f"error: {given.clones} has no configurations", file=sys.stderr)
    if given.page is not None and outcomes:
        write(given.page, table)
    return 1 if wrong or not outcomes else 0


def _outcomes(clones: Clones) -> Iterator[Outcome]:
    for configuration in configurations(clones.folder / "DL4MicEverywhere"):
        for gpu in DOCKERFILES:
            for whole in (False, True):
                steps, wrong = 0, ""
                try:
                    steps = _check(clones, configuration, gpu=gpu, whole=whole)
                except (Dl4micError, ValueError, KeyError) as error:
                    wrong = f"{type(error).__name__}: {error}"
                yield Outcome(configuration=configuration, gpu=gpu, whole=whole, steps=steps, wrong=wrong)


def _check(clones: Clones, configuration: Configuration, *, gpu: bool, whole: bool) -> int:
    """Converts and compares; the number of RUN, ADD and COPY. ValueError for a difference."""
    clone = clones.folder / "DL4MicEverywhere"
    dockerfile = clone / DOCKERFILES[gpu]
    arguments = configuration.arguments(gpu=gpu)
    if whole:
        made = bundle.convert(dockerfile, context=clone, build_args=arguments, outside=clones)
    else:
        made = bundle.convert_environment(dockerfile, context=clone, offered=arguments, outside=clones)
    wanted = expected.images(dockerfile.read_text(encoding="utf-8"), arguments, _bases(clones))
    if not whole:
        wanted = [_without_notebook(image) for image in wanted if image.name != NOTEBOOK_STAGE]
    return _compare(made, wanted, clones)


def _bases(clones: Clones) -> dict[str, dict[str, str]]:
    names = ("ubuntu", "nvidia/cuda", "python")
    return {
        name: dict(entry.split("=", 1) for entry in _configuration(clones, name)["Env"]) for name in names
    }


def _configuration(clones: Clones, base: str) -> dict[str, list[str]]:
    inner: dict[str, list[str]] = json.loads(clones.configuration(base).read_text(encoding="utf-8"))["config"]
    return inner


def _without_notebook(image: expected.Image) -> expected.Image:
    kept = tuple(step for step in image.steps if step.stage != NOTEBOOK_STAGE)
    return expected.Image(
        name=image.name,
        base=image.base,
        steps=kept,
        environment=image.environment,
        folder=image.folder,
        command=image.command,
    )


def _compare(made: Bundle, wanted: list[expected.Image], clones: Clones) -> int:
    images = found.images(made)
    _same("stages", len(images), len(wanted))
    for image, want in zip(images, wanted, strict=True):
        _same(f"{want.name}: FROM", image.base, want.base)
        _same(f"{want.name}: steps", len(image.steps), len(want.steps))
        for step, other in zip(image.steps, want.steps, strict=True):
            _compare_step(step, other, clones)
    _compare_image(images[-1], wanted[-1], clones)
    if WIDGET_FRONT_END not in {deviation.name for deviation in made.deviations}:
        raise ValueError("nothing keeps the forms' front end at a release that JupyterLab 3 loads")
    return sum(len(image.steps) for image in images)


def _compare_step(step: found.Step, want: expected.Step, clones: Clones) -> None:
    shown = want.text or " ".join(want.sources)
    if want.keyword == "RUN":
        _same(f"RUN {shown:.40}", step.argv, ("/bin/sh", "-c", want.text))
        _same(f"RUN {shown:.40}: folder", step.folder, want.folder)
        _same(f"RUN {shown:.40}: environment", dict(step.environment), dict(want.environment))
        return
    _same(f"{want.keyword} {shown}: target", step.target.rstrip("/"), want.target)
    if want.stage:
        _same(f"{want.keyword} {shown}: paths", step.taken, want.sources)
    else:
        digests = [found.digest(clones.fetch(source)) for source in want.sources]
        _same(f"{want.keyword} {shown}: content", [digest for _, digest in step.files], digests)


def _compare_image(image: found.Image, want: expected.Image, clones: Clones) -> None:
    base = _configuration(clones, want.base)
    before = dict(entry.split("=", 1) for entry in base["Env"])
    _same("%environment", found.environment(image, before), dict(want.environment))
    entry, command = base.get("Entrypoint", []), list(want.command or base.get("Cmd", []))
    _same("%runscript", found.started(image), [want.folder, *entry, *command])
    others = ["python", "a b", "$HOME"]
    _same("%runscript with arguments", found.started(image, *others), [want.folder, *entry, *others])


def _same(what: str, is_: object, should_be: object) -> None:
    if is_ != should_be:
        raise ValueError(f"{what}: is {is_!r}, should be {should_be!r}")


def _table(outcomes: list[Outcome], *, stood_in: int) -> str:
    lines = [
        "| Configuration | Ubuntu | CUDA | Python | Dockerfile | Dockerfile.gpu |",
        "|---|---|---|---|---|---|",
    ]
    by_name: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_name.setdefault(outcome.configuration.name, []).append(outcome)
    for name, group in by_name.items():
        facts = group[0].configuration.facts
        cells = [name, facts["ubuntu_version"], facts["cuda_version"], facts["python_version"]]
        cells += [" + ".join(_cell(each) for each in group if each.gpu is gpu) for gpu in DOCKERFILES]
        lines.append(f"| {' | '.join(cells)} |")
    right = sum(not outcome.wrong for outcome in outcomes)
    lines += [
        "",
        f"{len(by_name)} configurations, {len(outcomes)} definitions, {right} right. "
        f"Files of other repositories that something else stood for: {stood_in}.",
    ]
    return "\n".join(lines)


def _cell(outcome: Outcome) -> str:
    return "wrong" if outcome.wrong else str(outcome.steps)


if __name__ == "__main__":
    sys.exit(main())
