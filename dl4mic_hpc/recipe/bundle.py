"""Everything that builds an image, as a value: definition, files, manifest, and the key that it is found by."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe import context as build_context
from dl4mic_hpc.recipe import stages
from dl4mic_hpc.recipe.adapt import Adapted, Deviation, adapt
from dl4mic_hpc.recipe.base import as_docker
from dl4mic_hpc.recipe.context import Packed
from dl4mic_hpc.recipe.definition import Written, serialise, template
from dl4mic_hpc.recipe.evaluate import evaluate
from dl4mic_hpc.recipe.key import CONVERTER, key_of
from dl4mic_hpc.recipe.loads import loads_of
from dl4mic_hpc.recipe.outside import Nothing, Outside
from dl4mic_hpc.recipe.parser import Dockerfile, parse
from dl4mic_hpc.recipe.steps import BaseImage, Copy, Recipe

# The stage that the notebooks' recipes end an image with; what follows puts a notebook in, for Docker alone.
ENVIRONMENT_STAGE = "environment"
# The stage of DL4MicEverywhere's recipes that fetches and rewrites the notebook, which is done on the laptop instead.
NOTEBOOK_STAGE = "notebook_autoconversion"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A folder's worth of text and bytes: `./build.sh IMAGE.sif`, run in it, builds the image.

    definition: image.def. files: what lies beside it, by relative path; a Path for a big file that is copied from
    there. manifest: manifest.json. key: hexadecimal, a hash of the evaluated recipe, the copied files, the base
    images' names and the converter; the same on every laptop, needing no network, and blind to comments, line numbers
    and registry mirrors.
    """

    definition: str
    files: Mapping[PurePosixPath, bytes | Path]
    manifest: bytes
    key: str
    deviations: tuple[Deviation, ...]

    def write(self, folder: Path) -> None:
        """All of it, as `folder`; an earlier bundle there is replaced.

        RecipeError if something else is there, or if it cannot be written; then nothing is.
        """
        if folder.exists() and not (folder / "manifest.json").is_file() and any(_listed(folder)):
            raise RecipeError(f"{folder} is there and is no bundle", hint="name another folder with -o")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
            try:
                self._write_into(made)
                if folder.exists():
                    shutil.rmtree(folder)
                made.rename(folder)
            except BaseException:
                shutil.rmtree(made, ignore_errors=True)
                raise
        except OSError as error:
            what = f"the bundle {folder} cannot be written: {error.strerror or error}"
            raise RecipeError(what, hint="name another folder with -o, or make room") from error

    def _write_into(self, folder: Path) -> None:
        folder.chmod(0o755)
        for path, content in self.contents():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, target)
            else:
                target.write_bytes(content)
            target.chmod(0o755 if path.suffix == ".sh" else 0o644)

    def contents(self) -> Iterator[tuple[PurePosixPath, bytes | Path]]:
        """All files of the folder."""
        yield PurePosixPath("image.def"), self.definition.encode("utf-8", "surrogateescape")
        yield PurePosixPath("manifest.json"), self.manifest
        yield from self.files.items()


def _listed(folder: Path) -> Iterator[object]:
    return folder.iterdir() if folder.is_dir() else iter([folder])


def convert(
    dockerfile: Path | str,
    *,
    context: Path,
    build_args: Mapping[str, str],
    target: str | None = None,
    base_reference: Callable[[str], str] = str,
    outside: Outside | None = None,
    pin: bool = False,
    platform: str = "linux/amd64",
    exact: bool = False,
    without: str = "",
) -> Bundle:
    """The bundle of a Dockerfile (a file, or its text) with the build context in the folder `context`.

    target: the stage to end with, None for the last. base_reference: from a base image's name to where this
    cluster gets it; what it returns stands in the definition and in no key. outside: asked for base images only if
    something depends on one, or if `pin` wants their digests. exact: without the adaptations for clusters. RecipeError,
    with file and line, for everything that is not converted exactly; docs/reference/recipes.md lists it.
    """
    name, data = _read(dockerfile)
    written = parse(data, name=name)
    parsed = stages.without(written, without) if without else written
    fetched = outside or Nothing()
    beside = dockerfile.parent if isinstance(dockerfile, Path) else None
    packer = _Packer(context=context, name=name, beside=beside, outside=fetched, portable=not exact)

    recipe = _evaluate(parsed, build_args, target, Nothing(), platform)
    key = key_of(recipe, pack=packer, context_digest=packer.context_digest, exact=exact)
    if recipe.needs or pin:
        recipe = _evaluate(parsed, build_args, target, fetched, platform)
    for need in recipe.needs:
        raise need

    adapted = adapt(recipe, exact=exact, dropped=without if parsed != written else "")
    bases = _bases(recipe, base_reference)
    definition = serialise(
        adapted,
        packed=packer.all_of(adapted.recipe),
        bases=bases,
        kept={"recipe.json": _recipe_json(recipe, key)},
        platform=platform,
    )
    files = {PurePosixPath("build.sh"): template("build.sh").encode(), **definition.files}
    manifest = _manifest(adapted, definition, files, key=key, build_args=build_args, bases=bases, exact=exact)
    return Bundle(
        definition=definition.text, files=files, manifest=manifest, key=key, deviations=adapted.deviations
    )


def convert_environment(
    dockerfile: Path,
    *,
    context: Path,
    offered: Mapping[str, str],
    base_reference: Callable[[str], str] = str,
    outside: Outside | None = None,
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
        outside=outside,
        without=NOTEBOOK_STAGE,
    )


def _read(dockerfile: Path | str) -> tuple[str, bytes]:
    if isinstance(dockerfile, str):
        return "Dockerfile", dockerfile.encode("utf-8", "surrogateescape")
    try:
        return dockerfile.name, dockerfile.read_bytes()
    except OSError as error:
        hint = "name the recipe's file"
        raise RecipeError(f"the recipe {dockerfile} cannot be read: {error.strerror}", hint=hint) from error


def _evaluate(
    parsed: Dockerfile, build_args: Mapping[str, str], target: str | None, outside: Outside, platform: str
) -> Recipe:
    return evaluate(parsed, build_args=build_args, target=target, outside=outside, platform=platform)


class _Packer:
    """Packs the files of copies, each once."""

    def __init__(
        self, *, context: Path, name: str, beside: Path | None, outside: Outside, portable: bool
    ) -> None:
        self.context, self.name, self.beside = context, name, beside
        self.outside, self.portable = outside, portable
        self.done: dict[Copy, Packed] = {}

    def __call__(self, copy: Copy) -> Packed:
        if copy not in self.done:
            self.done[copy] = build_context.pack(
                copy,
                context=self.context,
                name=self.name,
                outside=self.outside,
                portable_modes=self.portable,
                beside=self.beside,
            )
        return self.done[copy]

    def context_digest(self) -> bytes:
        return build_context.context_digest(self.context, self.name, beside=self.beside)

    def all_of(self, recipe: Recipe) -> dict[tuple[int, str], Packed]:
        """By the place of the stage and the load's id."""
        return {
            (at, load.id): self(load.copy)
            for at, stage in enumerate(recipe.stages)
            for load in loads_of(stage)
            if load.stage is None
        }


def _bases(recipe: Recipe, base_reference: Callable[[str], str]) -> dict[int, str]:
    """Where a registry has the base images, each pinned by its digest if that is known, by the stage's place."""
    found = {}
    for at, stage in enumerate(recipe.stages):
        if isinstance(stage.base, BaseImage) and not stage.base.file:
            known = stage.base.digest and "@" not in stage.base.reference
            pinned = stage.base.reference + (f"@{stage.base.digest}" if known else "")
            where = f"the registry mirror for {stage.base.reference}"
            found[at] = stages.check_reference(base_reference(pinned), where=where)
    return found


def _recipe_json(recipe: Recipe, key: str) -> bytes:
    """What stays in the image: what it was made from and what Docker would know of it."""
    return _json(
        {
            "version": 1,
            "key": key,
            "converter": CONVERTER,
            "bases": _references(recipe),
            "config": as_docker(recipe.stages[-1].config),
        }
    )


def _references(recipe: Recipe) -> list[str]:
    bases = [stage.base for stage in recipe.stages if isinstance(stage.base, BaseImage)]
    return list(dict.fromkeys(base.reference for base in bases))


def _manifest(
    adapted: Adapted,
    written: Written,
    files: Mapping[PurePosixPath, bytes | Path],
    *,
    key: str,
    build_args: Mapping[str, str],
    bases: Mapping[int, str],
    exact: bool,
) -> bytes:
    recipe = adapted.recipe
    digests = {str(path): _digest(content) for path, content in files.items()}
    return _json(
        {
            "version": 2,
            "key": key,
            "converter": CONVERTER,
            "recipe": recipe.name,
            "stage": recipe.stages[-1].name,
            "exact": exact,
            "build_args": dict(sorted(build_args.items())),
            "bases": [
                {"reference": base.reference, "digest": base.digest, "source": bases.get(at, base.agent)}
                for at, base in _images(recipe)
            ],
            "sha256": {"image.def": _digest(written.text.encode("utf-8", "surrogateescape")), **digests},
            "deviations": [asdict(deviation) for deviation in adapted.deviations],
            "notes": list(recipe.notes),
        }
    )


def _images(recipe: Recipe) -> list[tuple[int, BaseImage]]:
    return [(at, stage.base) for at, stage in enumerate(recipe.stages) if isinstance(stage.base, BaseImage)]


def _digest(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode(
        "utf-8", "surrogateescape"
    )
