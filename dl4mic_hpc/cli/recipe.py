"""`recipe`: Dockerfiles become Apptainer definitions that build the same image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dl4mic_hpc.cli import console
from dl4mic_hpc.errors import UsageError

if TYPE_CHECKING:
    from dl4mic_hpc.recipe.bundle import Bundle

app = typer.Typer(
    help="Turn a Dockerfile into an Apptainer definition that builds the same image.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Dockerfile = Annotated[Path, typer.Argument(help="The recipe: a Dockerfile.")]
BuildArgOption = Annotated[
    list[str] | None,
    typer.Option("--build-arg", metavar="NAME=VALUE", help="A value for an ARG; may be given several times."),
]
TargetOption = Annotated[
    str | None, typer.Option("--target", metavar="STAGE", help="The stage to end with. Without it: the last.")
]
ContextOption = Annotated[
    Path | None,
    typer.Option("--context", help="The folder that COPY takes from. Without it: the Dockerfile's own."),
]
PlatformOption = Annotated[
    str, typer.Option("--platform", help="The system and processor that the image is for.")
]
BaseMapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--base-map",
        metavar="IMAGE=KIND:FILE",
        help="Take a base image from a file instead of a registry; KIND is oci-archive, docker-archive, sif, or "
        "json for its configuration alone. May be given several times.",
    ),
]
InsecureOption = Annotated[
    list[str] | None,
    typer.Option(
        "--insecure-registry", metavar="HOST[:PORT]", help="A registry that is spoken to without TLS."
    ),
]
MirrorOption = Annotated[
    list[str] | None,
    typer.Option(
        "--registry-mirror",
        metavar="REGISTRY=MIRROR",
        help="Fetch the images of one registry from another, such as docker.io=mirror.myuni.edu/hub.",
    ),
]
ExactOption = Annotated[
    bool, typer.Option("--exact", help="Leave out the changes that make an image fit for a cluster.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer as JSON on standard output.")]


@app.command(epilog="Example: dl4mic-hpc recipe convert Dockerfile --build-arg PYTHON_VERSION=3.11 -o bundle")
def convert(
    dockerfile: Dockerfile,
    build_arg: BuildArgOption = None,
    target: TargetOption = None,
    context: ContextOption = None,
    platform: PlatformOption = "linux/amd64",
    base_map: BaseMapOption = None,
    insecure_registry: InsecureOption = None,
    registry_mirror: MirrorOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="BUNDLE", help="The folder to write. Without it: NAME-KEY, here."
        ),
    ] = None,
    build: Annotated[
        Path | None,
        typer.Option(metavar="IMAGE.sif", help="Also build the image, with the Apptainer of this computer."),
    ] = None,
    exact: ExactOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the bundle (definition, files, manifest) that builds a Dockerfile's image with Apptainer."""
    if build is not None and build.exists():
        raise UsageError(f"{build} is there already", hint="give another name, or remove it first")
    bundle = _bundle(
        dockerfile, build_arg, target, context, platform, base_map, insecure_registry, registry_mirror, exact
    )
    folder = output or Path(f"{dockerfile.absolute().parent.name or 'recipe'}-{bundle.key}")
    bundle.write(folder)
    if build is not None:
        _build(folder, build)
    if as_json:
        answer = {"bundle": str(folder), "image": str(build) if build else None}
        console.answer_json({"version": 1, **answer, **_facts(bundle)})
        return
    _tell(bundle)
    console.answer(str(folder))
    if build is not None:
        console.answer(str(build))
    else:
        console.tell(f"build it where Apptainer is:  {folder / 'build.sh'} IMAGE.sif")


@app.command(epilog="Example: dl4mic-hpc recipe check Dockerfile")
def check(
    dockerfile: Dockerfile,
    build_arg: BuildArgOption = None,
    target: TargetOption = None,
    context: ContextOption = None,
    platform: PlatformOption = "linux/amd64",
    base_map: BaseMapOption = None,
    insecure_registry: InsecureOption = None,
    registry_mirror: MirrorOption = None,
    exact: ExactOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say whether a Dockerfile can be converted, and how the image will differ from Docker's."""
    bundle = _bundle(
        dockerfile, build_arg, target, context, platform, base_map, insecure_registry, registry_mirror, exact
    )
    if as_json:
        console.answer_json({"version": 1, **_facts(bundle)})
        return
    _tell(bundle)
    console.answer(f"{dockerfile} can be converted")


def _bundle(
    dockerfile: Path,
    build_args: list[str] | None,
    target: str | None,
    context: Path | None,
    platform: str,
    base_map: list[str] | None,
    insecure: list[str] | None,
    mirrors: list[str] | None,
    exact: bool,
) -> Bundle:
    from dl4mic_hpc import resources
    from dl4mic_hpc.recipe.bundle import convert
    from dl4mic_hpc.sources.registry import Access
    from dl4mic_hpc.sources.resolver import Resolver

    folder = dockerfile.parent if context is None else context
    if not folder.is_dir():
        raise UsageError(
            f"there is no folder {folder}", hint="--context DIR names the folder that COPY takes from"
        )
    access = Access(insecure=frozenset(insecure or ()), mirrors=_pairs("--registry-mirror", mirrors))
    mapped = _pairs("--base-map", base_map)
    bundle = convert(
        dockerfile,
        context=folder,
        build_args=_pairs("--build-arg", build_args),
        target=target,
        platform=platform,
        outside=Resolver(folder=resources.home("cache"), base_map=mapped, access=access, say=console.tell),
        pin=True,
        exact=exact,
    )
    _warn_of_idle_maps(mapped, bundle)
    return bundle


def _warn_of_idle_maps(mapped: dict[str, str], bundle: Bundle) -> None:
    """A file for an image that the recipe does not use is a slip of the pen more often than not."""
    from dl4mic_hpc.sources.reference import parse

    used = {parse(base["reference"]) for base in _facts(bundle)["bases"]}
    for name in mapped:
        if parse(name) not in used:
            console.warn(f"--base-map {name} does nothing: no stage that is built stands on that image")


def _pairs(option: str, words: list[str] | None) -> dict[str, str]:
    found = {}
    for word in words or ():
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UsageError(
                f"{option} {word} is not of the form NAME=VALUE", hint=f"write {option} NAME=VALUE"
            )
        found[name] = value
    return found


def _build(bundle: Path, image: Path) -> None:
    from dl4mic_hpc.images import local

    with console.Steps() as steps:
        steps.say(f"building {image} …")
        local.build(bundle, image, said=steps.detail)


def _facts(bundle: Bundle) -> dict[str, Any]:
    import json

    manifest = json.loads(bundle.manifest)
    return {name: manifest[name] for name in ("key", "bases", "deviations", "notes")}


def _tell(bundle: Bundle) -> None:
    facts = _facts(bundle)
    for base in facts["bases"]:
        console.tell(f"base image  {base['reference']}  {base['digest'] or 'digest not known'}")
    for note in facts["notes"]:
        console.warn(note)
    for one in bundle.deviations:
        console.tell(f"differs     {one.what} ({one.reason})")
