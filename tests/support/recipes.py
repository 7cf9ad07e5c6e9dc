"""Dockerfiles evaluated on bases of the test's own making."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.evaluate import evaluate
from dl4mic_hpc.recipe.outside import Nothing, Outside
from dl4mic_hpc.recipe.parser import parse
from dl4mic_hpc.recipe.steps import (
    BaseImage,
    Copy,
    Git,
    ImageConfig,
    MakeFolder,
    Mount,
    Recipe,
    Run,
    Stage,
    Url,
)

PLAIN = ImageConfig(environment=(("PATH", "/bin"),))


class Bases:
    """Base images by their references; every other reference is an image that sets nothing but PATH.

    asked: the references and platforms that were asked for.
    """

    def __init__(self, configs: Mapping[str, ImageConfig | RecipeError] | None = None) -> None:
        self.configs = configs or {}
        self.asked: list[tuple[str, str]] = []

    def base(self, reference: str, *, platform: str) -> BaseImage:
        self.asked.append((reference, platform))
        config = self.configs.get(reference, PLAIN)
        if isinstance(config, RecipeError):
            raise config
        return BaseImage(reference=reference, platform=platform, digest="sha256:" + "0" * 64, config=config)

    def url(self, url: Url) -> Path:
        raise AssertionError(url)

    def git(self, git: Git) -> Path:
        raise AssertionError(git)


def known(
    text: str,
    config: ImageConfig = PLAIN,
    *,
    target: str | None = None,
    outside: Outside | None = None,
    **args: str,
) -> Recipe:
    """The recipe of a Dockerfile whose base `base` is known and has this configuration."""
    outside = outside or Bases({"base": config})
    return evaluate(parse(text.encode()), build_args=args, target=target, outside=outside)


def unknown(text: str, *, target: str | None = None, **args: str) -> Recipe:
    """The recipe of a Dockerfile where no base is known."""
    return evaluate(parse(text.encode()), build_args=args, target=target, outside=Nothing())


def last(recipe: Recipe) -> Stage:
    return recipe.stages[-1]


def runs(recipe: Recipe) -> list[Run]:
    return [step for step in last(recipe).steps if isinstance(step, Run)]


def copies(recipe: Recipe) -> list[Copy]:
    return [step for step in last(recipe).steps if isinstance(step, Copy)]


def folders(recipe: Recipe) -> list[MakeFolder]:
    return [step for step in last(recipe).steps if isinstance(step, MakeFolder)]


def mounts(recipe: Recipe) -> list[Mount]:
    return [mount for run in runs(recipe) for mount in run.mounts]
