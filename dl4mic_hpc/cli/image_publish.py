"""`image matrix`, `image test` and `image publish`: images built and tried on this computer, for a registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dl4mic_hpc.cli import choose, console
from dl4mic_hpc.errors import ImageError, UsageError

if TYPE_CHECKING:
    from dl4mic_hpc.images.trial import Trial

JsonOption = Annotated[bool, typer.Option("--json", help="Answer as JSON on standard output.")]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "-c", "--config", metavar="FILE", help="A configuration.yaml of your own instead of NOTEBOOK."
    ),
]

MATRIX = """\b
Examples:
  dl4mic-hpc image matrix
  dl4mic-hpc image matrix --since main
  dl4mic-hpc image matrix --since main --disk 60 --json
"""
TEST = """\b
Examples:
  dl4mic-hpc image test pixel_segmentation.sif pixel_segmentation
  dl4mic-hpc image test mine.sif -c configuration.yaml -o mine.test.json
"""
PUBLISH = """\b
Examples:
  dl4mic-hpc image publish pixel_segmentation.sif oras://ghcr.io/mylab/images:pixel_segmentation
  dl4mic-hpc image publish mine.sif oras://localhost:5000/images:mine --insecure-registry localhost:5000
"""


def register(app: typer.Typer) -> None:
    app.command(epilog=MATRIX)(matrix)
    app.command(epilog=TEST)(test)
    app.command(epilog=PUBLISH)(publish)


def matrix(
    since: Annotated[
        str,
        typer.Option(
            "--since",
            metavar="REVISION",
            help="Only images that differ from those of this revision of the checkout here. Without it: all.",
        ),
    ] = "",
    disk: Annotated[
        float | None,
        typer.Option("--disk", metavar="GB", help="The disk that there is to build on. Without it: 14."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Name the images of the catalogue that a change touches, and those too large for a hosted runner."""
    from dl4mic_hpc import resources
    from dl4mic_hpc.images import matrix as matrices
    from dl4mic_hpc.images import room
    from dl4mic_hpc.sources.resolver import Resolver

    found = matrices.compute(
        since=since,
        disk=room.RUNNER if disk is None else disk,
        cache=resources.home("cache"),
        outside=Resolver(folder=resources.home("cache"), say=console.tell),
        say=console.tell,
    )
    if as_json:
        console.answer_json(found.as_json())
        return
    if found.rows:
        console.table(
            ("NOTEBOOK", "KEY", "DISK", ""),
            [(row.notebook, row.key, f"{row.disk:g} GB", row.why_not) for row in found.rows],
        )
    else:
        console.answer("No image is touched.")


def test(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The image: a .sif on this computer.")],
    notebook: Annotated[
        str | None, typer.Argument(metavar="NOTEBOOK", help="A notebook of the catalogue.")
    ] = None,
    config: ConfigOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="The file of the result. Without it: FILE.test.json."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Try on this computer whether an image holds what its notebook needs: JupyterLab, forms, imports, versions."""
    import json

    from dl4mic_hpc import resources
    from dl4mic_hpc.images import local, trial
    from dl4mic_hpc.sources import files

    _there(file)
    with console.Steps() as steps:
        spec = files.obtain(
            choose.notebook(notebook, config),
            cache=resources.home("cache"),
            say=steps.say,
            parts=("notebook", "requirements"),
        )
        steps.say(f"trying {file.name} with {spec.notebook_file}")
        done = trial.run(file, spec, said=steps.detail)
    result = output or local.beside(file, ".test.json")
    result.write_text(json.dumps(done.as_json(), indent=1) + "\n", encoding="utf-8")
    _tell(done, result, as_json=as_json)
    if not done.fits:
        raise ImageError(
            f"{file.name} does not hold what {spec.id} needs",
            hint="mend the recipe or the requirements where it says unfit, and build again",
        )


def _tell(done: Trial, result: Path, *, as_json: bool) -> None:
    if as_json:
        console.answer_json(done.as_json())
        return
    words = {"ok": "ok", "unfit": "failed", "gpu": "needs a GPU", "unknown": "unknown"}
    for one in done.findings:
        console.finding(words[one.verdict], one.what, one.detail)
    console.tell(f"the result is in {result}")


def publish(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The image: a .sif on this computer.")],
    place: Annotated[
        str, typer.Argument(metavar="PLACE", help="Where it is published: oras://REGISTRY/REPOSITORY:TAG.")
    ],
    definition: Annotated[
        Path | None,
        typer.Option("--definition", metavar="FILE", help="Its definition. Without it: FILE.def."),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", metavar="FILE", help="Its manifest. Without it: FILE.manifest.json."),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option("--test", metavar="FILE", help="The result of its test. Without it: FILE.test.json."),
    ] = None,
    licenses: Annotated[
        str,
        typer.Option("--licenses", metavar="SPDX", help="The licences of what it holds, for the annotation."),
    ] = "",
    revision: Annotated[
        str,
        typer.Option(
            "--revision", metavar="COMMIT", help="The commit it was built from, for the annotation."
        ),
    ] = "",
    source: Annotated[
        str,
        typer.Option("--source", metavar="URL", help="The repository it was built from, for the annotation."),
    ] = "",
    insecure_registry: Annotated[
        list[str] | None,
        typer.Option(
            "--insecure-registry", metavar="HOST[:PORT]", help="A registry that is spoken to without TLS."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Put an image that has passed its test into a registry, with its definition, manifest and test result."""
    from dl4mic_hpc.images import publish as publishing
    from dl4mic_hpc.images.publish import Evidence
    from dl4mic_hpc.sources.registry import Access

    _there(file)
    target = publishing.target(place)
    evidence = Evidence.of(file, definition=definition, manifest=manifest, test=test)
    with console.Steps() as steps:
        steps.say(f"looking at {file.name}")
        plan = publishing.plan(file, target, evidence, licenses=licenses, revision=revision, source=source)
        steps.say(f"pushing {target}")
        bar = console.Bar(steps)
        bar.start(file.name, 1, file.stat().st_size)
        access = Access(insecure=frozenset(insecure_registry or ()))
        pushed = publishing.push(plan, access=access, progress=bar.advance)
    address = f"{publishing.SCHEME}{target.name}@{pushed.digest}"
    if as_json:
        console.answer_json(
            {
                "version": 1,
                "image": f"{publishing.SCHEME}{target}",
                "digest": pushed.digest,
                "sif_digest": pushed.sif_digest,
                "size": pushed.size,
                "key": plan.key,
                "facts": publishing.facts_place(target),
                "facts_digest": pushed.facts_digest,
            }
        )
        return
    console.answer(f"{publishing.SCHEME}{target}")
    console.answer(pushed.digest)
    console.tell(f"for ever the same image:  apptainer pull {address}")


def _there(image: Path) -> None:
    if not image.is_file():
        raise UsageError(
            f"there is no file {image}",
            hint="build it first: dl4mic-hpc image build NOTEBOOK --here -o FILE.sif",
        )
