"""From the words of the command line to checked values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dl4mic_hpc.errors import UsageError

if TYPE_CHECKING:
    from dl4mic_hpc.catalog import NotebookSpec
    from dl4mic_hpc.profile import ClusterProfile


def profile(name: str | None) -> ClusterProfile:
    """The cluster's profile; without a name the only one there is."""
    from dl4mic_hpc import profile as profiles

    if name is None:
        known = profiles.names()
        if len(known) != 1:
            raise UsageError(
                "which cluster?" if known else "no cluster is known yet",
                hint=f"add --cluster with one of: {', '.join(known)}"
                if known
                else "`dl4mic-hpc cluster add NAME` describes yours; `dl4mic-hpc sandbox up` starts one to practise on",
            )
        name = known[0]
    return profiles.load(name)


def notebook(
    name: str | None,
    config: Path | None,
    *,
    notebook_file: Path | None = None,
    requirements: Path | None = None,
) -> NotebookSpec:
    """The notebook of the catalogue, or of the given configuration.yaml, with the files given instead of its own."""
    import dataclasses

    from dl4mic_hpc import catalog

    if (name is None) == (config is None):
        raise UsageError(
            "give a notebook, or a configuration with -c"
            if name is None
            else "a notebook and -c exclude each other",
            hint="`dl4mic-hpc notebook list` shows the notebooks",
        )
    spec = catalog.load_file(config) if config is not None else catalog.load(str(name))
    for option, path in (("-n", notebook_file), ("-r", requirements)):
        if path is not None and not path.is_file():
            raise UsageError(f"there is no file {path}", hint=f"correct the path after {option}")
    if notebook_file is not None:
        spec = dataclasses.replace(spec, notebook=notebook_file.absolute())
    if requirements is not None:
        spec = dataclasses.replace(spec, requirements=requirements.absolute())
    return spec


def tell_state(spec: NotebookSpec) -> None:
    """Said before somebody queues for hours: what is known to be wrong with the notebook, or of who has tried it."""
    from dl4mic_hpc.cli import console

    if spec.state == "broken":
        console.warn(f"{spec.id} is known to be broken. {spec.state_note}")
    elif spec.state == "untested" and spec.state_note:
        console.tell(f"{spec.id} has not been tried with this program. {spec.state_note}")


def gpus(text: str | None) -> str | None:
    from dl4mic_hpc.profile import check_gpus

    if text is None:
        return None
    if text.startswith("-"):
        raise UsageError(
            "-g needs a value", hint="write -g 1 (or -g 0 for none, -g a100:2 for two of a type)"
        )
    try:
        return check_gpus(text)
    except ValueError as error:
        raise UsageError(str(error), hint="write -g 1, -g 0, -g a100:2 or the name of a MIG slice") from error


def time(text: str | None) -> str | None:
    from dl4mic_hpc.profile import check_time

    try:
        return None if text is None else check_time(text)
    except ValueError as error:
        raise UsageError(str(error), hint="write --time 4:00:00 for four hours") from error


def image(text: str) -> str:
    if text not in ("auto", "pull", "build") and not text.startswith("/"):
        raise UsageError(
            f"--image takes auto, pull, build, or the absolute path of a .sif on the cluster, not '{text}'",
            hint="leave --image out: the image is then found, pulled or built",
        )
    return text


def tag(text: str | None, image: str) -> str | None:
    """`-t`, which names a published image and so goes with no other way to one."""
    if text is not None and image not in ("auto", "pull"):
        raise UsageError(
            f"-t names a published image, and --image {image} asks for another", hint="leave one of them out"
        )
    if text is not None and not text.strip():
        raise UsageError("-t needs a tag", hint="write -t TAG, or the full name of an image")
    return text
