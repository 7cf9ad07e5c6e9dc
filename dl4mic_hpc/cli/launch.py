"""`launch`: one notebook on the cluster, from the command line to the browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dl4mic_hpc.cli import choose, console, live
from dl4mic_hpc.errors import UsageError

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from dl4mic_hpc.sessions.launch import LaunchRequest

EXAMPLES = """\b
Examples:
  dl4mic-hpc launch pixel_segmentation --cluster sandbox
  dl4mic-hpc launch pixel_segmentation --cluster myuni -d ./raw -o ./results -g 1
  dl4mic-hpc launch pixel_segmentation --cluster myuni -d cluster:/scratch/me/raw -g a100:1 --time 4:00:00
  dl4mic-hpc launch care_2d --cluster myuni -t care_2d_zerocostdl4mic-z1.15.3-d2.1.0-gpu
  dl4mic-hpc launch pixel_segmentation --dry-run
  dl4mic-hpc launch pixel_segmentation --headless --set Trees=100 --sections 1-4
"""


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLES)(launch)


def launch(
    notebook: Annotated[
        str | None,
        typer.Argument(metavar="NOTEBOOK", help="A notebook of the catalogue (`dl4mic-hpc notebook list`)."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "-c", "--config", metavar="FILE", help="A configuration.yaml of your own instead of NOTEBOOK."
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster", metavar="NAME", help="Where to run; may be left out if you have only one cluster."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "-d",
            "--data",
            metavar="FOLDER",
            help="A folder here, copied up; or cluster:/path, used where it lies, read-only.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FOLDER",
            help="The folder here that the results come home to; results-SESSION if left out.",
        ),
    ] = None,
    gpus: Annotated[
        str | None,
        typer.Option(
            "-g",
            "--gpus",
            metavar="GPUS",
            help="GPUs: 1, 0 (none), a type such as a100:2, or a MIG name. Default: the profile's.",
        ),
    ] = None,
    notebook_file: Annotated[
        Path | None,
        typer.Option("-n", "--notebook", metavar="FILE", help="Another .ipynb for the chosen configuration."),
    ] = None,
    requirements: Annotated[
        Path | None,
        typer.Option(
            "-r",
            "--requirements",
            metavar="FILE",
            help="Another requirements.txt for the chosen configuration.",
        ),
    ] = None,
    tag: Annotated[
        str | None,
        typer.Option(
            "-t",
            "--tag",
            metavar="TAG",
            help="Another published image: a tag of DL4MicEverywhere's, or a full name with / or :.",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "-p",
            "--port",
            min=1,
            max=65535,
            metavar="PORT",
            help="The port on this computer; any free one if left out.",
        ),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            "--time",
            metavar="TIME",
            help="Time limit: minutes, HH:MM:SS or D-HH:MM:SS. Default: the profile's.",
        ),
    ] = None,
    partition: Annotated[
        list[str] | None,
        typer.Option(
            "--partition",
            metavar="NAME",
            help="Partition; may be given several times. Default: the profile's.",
        ),
    ] = None,
    image: Annotated[
        str,
        typer.Option(
            "--image",
            metavar="IMAGE",
            help="auto (there, else pulled, else built), pull, build, or a .sif on the cluster.",
        ),
    ] = "auto",
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print what would be done, to the last command, and touch nothing."),
    ] = False,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the browser.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Return once the job is submitted.")] = False,
    until_ready: Annotated[
        bool,
        typer.Option(
            "--until-ready",
            help="Return once JupyterLab has answered; the tunnel is closed, the session goes on.",
        ),
    ] = False,
    headless: Annotated[
        bool,
        typer.Option(
            "--headless",
            help="Run the notebook from top to bottom without a browser, then bring the results home.",
        ),
    ] = False,
    parameters: Annotated[
        Path | None,
        typer.Option(
            "--parameters",
            metavar="FILE",
            help="With --headless: JSON with the forms' values, or a dl4mic_settings.json.",
        ),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="With --headless: the value of one field; may be given several times.",
        ),
    ] = None,
    sections: Annotated[
        str | None,
        typer.Option(
            "--sections", metavar="SECTIONS", help="With --headless: run only these, such as 1-3,5,6.1."
        ),
    ] = None,
    require_gpu: Annotated[
        bool,
        typer.Option(
            "--require-gpu", help="End the session, with the reason, if it would not compute on its GPUs."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON on standard output.")] = False,
) -> None:
    """Start a notebook on a GPU of the cluster and open it here, or let it run by itself.

    Once the job is submitted, closing this computer loses nothing: `attach` opens the notebook again.
    """
    if detach and until_ready:
        raise UsageError("--detach and --until-ready exclude each other", hint="leave one of them out")
    _check_headless(headless, given=(parameters, values, sections), useless=(until_ready, port))
    profile = choose.profile(cluster)

    def request() -> LaunchRequest:
        from dl4mic_hpc.sessions.launch import LaunchRequest
        from dl4mic_hpc.sessions.parameters import HeadlessRequest
        from dl4mic_hpc.slurm.job import Resources

        local_data, cluster_data = _data(data)
        spec = choose.notebook(notebook, config, notebook_file=notebook_file, requirements=requirements)
        choose.tell_state(spec)
        return LaunchRequest(
            profile=profile,
            notebook=spec,
            resources=Resources.of(
                profile, gpus=choose.gpus(gpus), time=choose.time(time), partition=tuple(partition or ())
            ),
            data=local_data,
            cluster_data=cluster_data,
            results=output.absolute() if output else None,
            image=choose.image(image),
            tag=choose.tag(tag, image),
            own_requirements=requirements is not None,
            local_port=port,
            headless=HeadlessRequest(file=parameters, texts=values or (), sections=sections or "")
            if headless
            else None,
            require_gpu=require_gpu,
        )

    if dry_run:
        _rehearse(request(), as_json=as_json)
        return
    live.launch(
        profile, request, browser=not no_browser, detach=detach, until_ready=until_ready, as_json=as_json
    )


def _check_headless(headless: bool, *, given: tuple[object, ...], useless: tuple[object, ...]) -> None:
    """given: what needs --headless. useless: what needs JupyterLab."""
    if any(given) and not headless:
        raise UsageError(
            "--parameters, --set and --sections are for a notebook that runs by itself", hint="add --headless"
        )
    if any(useless) and headless:
        raise UsageError(
            "--headless starts no JupyterLab, so there is no port and nothing to get ready",
            hint="leave out -p and --until-ready; --detach returns once the job is submitted",
        )


def _data(text: str | None) -> tuple[Path | None, PurePosixPath | None]:
    """A folder here, or one on the cluster."""
    from pathlib import PurePosixPath

    if text is None:
        return None, None
    if not text.startswith("cluster:"):
        return Path(text).expanduser().absolute(), None
    path = PurePosixPath(text.removeprefix("cluster:"))
    if not path.is_absolute():
        raise UsageError(
            f"'{text}' is no absolute path on the cluster", hint="write it like -d cluster:/scratch/me/raw"
        )
    return None, path


def _rehearse(request: LaunchRequest, *, as_json: bool) -> None:
    from dl4mic_hpc.sessions.launch import plan_launch
    from dl4mic_hpc.sessions.rehearsal import rehearse

    rehearsal = rehearse(plan_launch(request, say=console.tell))
    if as_json:
        console.answer_json(rehearsal.as_json())
        return
    for title, text in rehearsal.chapters():
        console.heading(title)
        console.answer(text.rstrip("\n"))
        console.answer("")
