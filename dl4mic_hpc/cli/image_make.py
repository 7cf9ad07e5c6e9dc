"""`image pull` and `image build`: an image on the cluster before anybody waits for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dl4mic_hpc.cli import choose, console
from dl4mic_hpc.cli.ask import TerminalAsker
from dl4mic_hpc.errors import UsageError

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from dl4mic_hpc.images.choice import Wish
    from dl4mic_hpc.profile import ClusterProfile

ClusterOption = Annotated[
    str | None,
    typer.Option("--cluster", metavar="NAME", help="Where; may be left out if you have only one cluster."),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "-c", "--config", metavar="FILE", help="A configuration.yaml of your own instead of NOTEBOOK."
    ),
]
DetachOption = Annotated[bool, typer.Option("--detach", help="Return once the job is submitted.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer as JSON on standard output.")]

PULL = """\b
Examples:
  dl4mic-hpc image pull care_2d --cluster myuni
  dl4mic-hpc image pull care_2d --refresh
  dl4mic-hpc image pull ghcr.io/mylab/segmentation:2.1
  dl4mic-hpc image pull oras://ghcr.io/mylab/segmentation:2.1
"""
BUILD = """\b
Examples:
  dl4mic-hpc image build pixel_segmentation --cluster myuni
  dl4mic-hpc image build pixel_segmentation -r requirements.txt
  dl4mic-hpc image build pixel_segmentation --here --cluster myuni
  dl4mic-hpc image build pixel_segmentation --here -o pixel_segmentation.sif
"""


def register(app: typer.Typer) -> None:
    app.command(epilog=PULL)(pull)
    app.command(epilog=BUILD)(build)


def pull(
    image: Annotated[
        str | None,
        typer.Argument(
            metavar="IMAGE",
            help="A notebook of the catalogue, or the full name of an image (docker://, oras://, library://).",
        ),
    ] = None,
    config: ConfigOption = None,
    tag: Annotated[
        str | None,
        typer.Option("-t", "--tag", metavar="TAG", help="Another published tag than the configuration's."),
    ] = None,
    cluster: ClusterOption = None,
    refresh: Annotated[
        bool,
        typer.Option("--refresh", help="Ask again what the tag stands for, and pull it if it has moved."),
    ] = False,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fetch a published image to the cluster, by a job that converts it."""
    from dl4mic_hpc.images import choice
    from dl4mic_hpc.sessions import wishes

    profile = choose.profile(cluster)
    if image is not None and ("/" in image or ":" in image):
        if config is not None or tag is not None:
            raise UsageError(
                "the full name of an image needs neither -c nor -t", hint="give the name alone, or a notebook"
            )
        wish = choice.of_reference(image)
    else:
        spec = choose.notebook(image, config)
        wish, _ = wishes.of_notebook(spec, profile, way="pull", tag=tag)
    _make(profile, wish, renew=refresh, detach=detach, as_json=as_json)


def build(
    notebook: Annotated[
        str | None, typer.Argument(metavar="NOTEBOOK", help="A notebook of the catalogue.")
    ] = None,
    config: ConfigOption = None,
    requirements: Annotated[
        Path | None,
        typer.Option(
            "-r",
            "--requirements",
            metavar="FILE",
            help="Another requirements.txt for the chosen configuration.",
        ),
    ] = None,
    cluster: ClusterOption = None,
    again: Annotated[
        bool, typer.Option("--again", help="Build it although it is there, and replace it.")
    ] = False,
    here: Annotated[
        bool,
        typer.Option(
            "--here", help="Build on this computer, with its Apptainer, then copy it to the cluster."
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="With --here: keep it as this file, on no cluster."
        ),
    ] = None,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Build an image from a notebook's recipe, by a job on the cluster or on this computer."""
    from dl4mic_hpc.sessions import wishes

    spec = choose.notebook(notebook, config, requirements=requirements)
    if output is not None and not here:
        raise UsageError(
            "-o is for an image that is built on this computer", hint="add --here, or leave -o out"
        )
    if here and detach:
        raise UsageError("--here and --detach exclude each other", hint="leave one of them out")
    if output is not None:
        _build_file(spec, output, as_json=as_json)
        return
    profile = choose.profile(cluster)
    wish, _ = wishes.of_notebook(
        spec, None if here else profile, way="build", own_requirements=requirements is not None
    )
    if here:
        _build_and_copy(profile, wish, again=again, as_json=as_json)
        return
    _make(profile, wish, renew=again, detach=detach, as_json=as_json)


def _make(profile: ClusterProfile, wish: Wish, *, renew: bool, detach: bool, as_json: bool) -> None:
    from dl4mic_hpc import ssh
    from dl4mic_hpc.sessions import making

    with console.Steps() as steps:
        steps.say(f"connecting to {profile.name}")
        with ssh.connect(profile, ask=TerminalAsker()) as connection:
            begun = making.begin(connection, profile, wish, steps, renew=renew)
            steps.close()
            if begun.making is None:
                _answer(begun.image, "there", None, as_json=as_json)
                return
            job = begun.making.job_id
            if detach:
                _answer(begun.image, "submitted", job, as_json=as_json)
                return
            console.tell(f"job {job}; it goes on without this window, and this command then finds the image")
            making.follow(connection, profile, begun, console.tell_raw)
            _answer(begun.image, "made", job, as_json=as_json)


def _build_file(spec: Any, output: Path, *, as_json: bool) -> None:
    from dl4mic_hpc import resources
    from dl4mic_hpc.images import local
    from dl4mic_hpc.sessions import wishes
    from dl4mic_hpc.sources import files as sources

    with console.Steps() as steps:
        whole = sources.obtain(
            spec, cache=resources.home("cache"), say=steps.say, parts=("requirements", "recipe")
        )
        steps.say("building on this computer")
        local.build_bundle(wishes.bundle_of(whole, None), output, said=steps.detail)
    if as_json:
        console.answer_json({"version": 1, "image": str(output), "state": "made"})
    else:
        console.answer(f"The image is {output}.")


def _build_and_copy(profile: ClusterProfile, wish: Wish, *, again: bool, as_json: bool) -> None:
    from dl4mic_hpc import ssh
    from dl4mic_hpc.sessions import making

    with console.Steps() as steps:
        steps.say(f"connecting to {profile.name}")
        with ssh.connect(profile, ask=TerminalAsker()) as connection:
            image, made = making.here(connection, profile, wish, steps, again=again)
    _answer(image, "made" if made else "there", None, as_json=as_json)


_STATES = {
    "there": "The image is there: {image}",
    "submitted": "Job {job} makes the image {image}",
    "made": "The image is made: {image}",
}


def _answer(image: PurePosixPath, state: str, job: int | None, *, as_json: bool) -> None:
    if as_json:
        console.answer_json({"version": 1, "image": str(image), "state": state, "job_id": job})
        return
    console.answer(_STATES[state].format(image=image, job=job))
