"""Everything that builds an image, as a value: definition, files, manifest, and the key that it is found by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe import context as build_context
from dl4mic_hpc.recipe import stages
from dl4mic_hpc.recipe.adapt import Deviation, adapt
from dl4mic_hpc.recipe.context import Packed
from dl4mic_hpc.recipe.definition import serialise, template
from dl4mic_hpc.recipe.evaluate import evaluate
from dl4mic_hpc.recipe.parser import parse
from dl4mic_hpc.recipe.steps import Copy, MakeFolder, Recipe, Run

# Part of every key: another number whenever the same recipe gives another image than before.
CONVERTER = 1
# The stage that the notebooks' recipes end an image with; what follows puts a notebook in, for Docker alone.
ENVIRONMENT_STAGE = "environment"
KEY_LENGTH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A folder's worth of text and bytes: `apptainer build IMAGE image.def`, run in it, builds the image.

    definition: image.def. files: what lies beside it, by relative path. manifest: manifest.json. key: hexadecimal,
    a hash of the evaluated recipe, the copied files, the base image's name and the converter; the same on every
    laptop, needing no network, and blind to comments, line numbers and registry mirrors.
    """

    definition: str
    files: Mapping[PurePosixPath, bytes]
    manifest: bytes
    key: str
    deviations: tuple[Deviation, ...]


def convert(
    dockerfile: Path | str,
    *,
    context: Path,
    build_args: Mapping[str, str],
    target: str | None = None,
    base_reference: Callable[[str], str] = str,
) -> Bundle:
    """The bundle of a Dockerfile (a file, or its text) with the build context in the folder `context`.

    target: the stage to end with, None for the last. base_reference: from a base image's name to where this
    cluster gets it; what it returns stands in the definition and in no key. RecipeError, with file and line, for
    everything that is not converted exactly; docs/reference/recipes.md lists it.
    """
    name, data = _read(dockerfile)
    recipe, deviations = adapt(evaluate(parse(data, name=name), build_args=build_args, target=target))
    packed = {
        at: build_context.pack(step, context=context, name=name, portable_modes=True)
        for at, step in enumerate(recipe.steps)
        if isinstance(step, Copy)
    }
    key = _key(recipe, packed)
    source = stages.check_reference(
        base_reference(recipe.base), where=f"the registry mirror for {recipe.base}"
    )
    definition = serialise(recipe, base=source, packed=packed)
    files = {
        PurePosixPath("ctx/recipe.json"): _json(
            {
                "version": 1,
                "key": key,
                "converter": CONVERTER,
                "base": recipe.base,
                "config": recipe.config.as_docker(),
            }
        ),
        PurePosixPath("ctx/site/README"): template("site-readme.txt").encode(),
    }
    for at, each in packed.items():
        files[PurePosixPath(f"ctx/copy/{at:03d}.tar")] = each.archive
        files[PurePosixPath(f"ctx/copy/{at:03d}.folders")] = each.folders
    manifest = {
        "version": 1,
        "key": key,
        "converter": CONVERTER,
        "recipe": name,
        "stage": recipe.stage,
        "build_args": dict(sorted(build_args.items())),
        "bases": [{"reference": recipe.base, "source": source}],
        "sha256": {
            "image.def": hashlib.sha256(definition.encode()).hexdigest(),
            **{str(path): hashlib.sha256(content).hexdigest() for path, content in files.items()},
        },
        "deviations": [asdict(deviation) for deviation in deviations],
    }
    return Bundle(
        definition=definition, files=files, manifest=_json(manifest), key=key, deviations=deviations
    )


def convert_environment(
    dockerfile: Path,
    *,
    context: Path,
    offered: Mapping[str, str],
    base_reference: Callable[[str], str] = str,
) -> Bundle:
    """The bundle of what a notebook runs in: the stage `environment` where there is one, else the whole recipe.

    offered: build arguments that every notebook's recipe may use; those that it has no ARG for are left out.
    """
    name, data = _read(dockerfile)
    parsed = parse(data, name=name)
    declared = stages.arguments_of(parsed)
    return convert(
        dockerfile,
        context=context,
        build_args={key: value for key, value in offered.items() if key in declared},
        target=ENVIRONMENT_STAGE if ENVIRONMENT_STAGE in stages.names_of(parsed) else None,
        base_reference=base_reference,
    )


def _read(dockerfile: Path | str) -> tuple[str, bytes]:
    if isinstance(dockerfile, str):
        return "Dockerfile", dockerfile.encode("utf-8", "surrogateescape")
    try:
        return dockerfile.name, dockerfile.read_bytes()
    except OSError as error:
        hint = "name the recipe's file"
        raise RecipeError(f"the recipe {dockerfile} cannot be read: {error.strerror}", hint=hint) from error


def _key(recipe: Recipe, packed: dict[int, Packed]) -> str:
    steps: list[object] = []
    for at, step in enumerate(recipe.steps):
        match step:
            case Run():
                steps.append(["run", step.argv, dict(step.environment), step.folder])
            case MakeFolder():
                steps.append(["folder", step.path])
            case Copy():
                files = packed[at]
                digest = hashlib.sha256(files.archive).hexdigest()
                steps.append(["copy", digest, files.folders.decode(), files.member, step.destination])
    inputs = [CONVERTER, recipe.base, steps, recipe.config.as_docker()]
    return hashlib.sha256(_json(inputs)).hexdigest()[:KEY_LENGTH]


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
