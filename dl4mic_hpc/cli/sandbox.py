"""`sandbox`: a practice cluster in containers on this computer."""

from __future__ import annotations

from typing import Annotated

import typer

from dl4mic_hpc.cli import console

app = typer.Typer(
    help="A practice cluster in containers on this computer.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

JsonOption = Annotated[bool, typer.Option("--json", help="Answer as JSON on standard output.")]


@app.command(epilog="Example: dl4mic-hpc sandbox up")
def up(
    site: Annotated[str, typer.Option("--site", help="Which practice site to set up.")] = "default",
    engine: Annotated[
        str | None, typer.Option("--engine", help="podman or docker; the one found if left out.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Start the practice cluster; safe to repeat.

    Slurm, SSH and Apptainer are real. The GPUs are simulated: nothing is computed on them.
    """
    from dl4mic_hpc import sandbox

    with console.Steps() as steps:
        found = sandbox.up(site=site, engine=engine, say=steps.say)
    if as_json:
        console.answer_json(found.as_json())
        return
    console.answer(
        "The practice cluster is up: " + ", ".join(f"{node.name} ({node.gpus})" for node in found.nodes)
    )
    console.tell(
        "  GPUs are SIMULATED: jobs are scheduled as on a real cluster, but nothing is computed on a GPU"
    )
    console.tell("  try it    dl4mic-hpc launch pixel_segmentation --cluster sandbox")
    console.tell("  end it    dl4mic-hpc sandbox down")


@app.command(epilog="Example: dl4mic-hpc sandbox status --json")
def status(as_json: JsonOption = False) -> None:
    """Say whether the practice cluster runs, and what it consists of."""
    from dl4mic_hpc import sandbox

    found = sandbox.status()
    if as_json:
        console.answer_json(found.as_json())
        return
    console.answer(f"sandbox {found.instance}: {found.state}")
    if found.containers:
        console.table(
            ("CONTAINER", "ROLE", "STATE"), [(one.name, one.role, one.state) for one in found.containers]
        )
    if found.nodes:
        console.table(("NODE", "GPUS", "STATE"), [(one.name, one.gpus, one.state) for one in found.nodes])
    for image in found.images:
        console.answer(f"image {image.name}, {console.size_in_words(image.size)}")


@app.command(epilog="Example: dl4mic-hpc sandbox down --purge")
def down(
    purge: Annotated[bool, typer.Option("--purge", help="Remove its images too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """End the practice cluster with all that is in it.

    Its sessions, its files, its keys and its profile go; its images stay unless --purge is given.
    Results that were not brought home are lost.
    """
    from dl4mic_hpc import sandbox

    with console.Steps() as steps:
        removed = sandbox.down(purge=purge, say=steps.say)
    if as_json:
        console.answer_json(removed.as_json())
        return
    console.answer("The practice cluster is gone.")
    for image in removed.images_left:
        console.tell(
            f"  image {image.name} stays ({console.size_in_words(image.size)}); `sandbox down --purge` removes it"
        )
