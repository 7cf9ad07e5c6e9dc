"""What a recipe needs from elsewhere, for a launch: asked for only by the recipes that need it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dl4mic_hpc import resources
from dl4mic_hpc.recipe.outside import Outside
from dl4mic_hpc.recipe.steps import BaseImage, Git, Url


@dataclass(frozen=True, kw_only=True)
class OnDemand(Outside):
    """`sources.Resolver`, imported at the first question: the catalogue's recipes ask none, and importing takes time.

    insecure: registries that speak plain HTTP. A mirror of the cluster's is not asked, which the laptop may not reach.
    """

    insecure: frozenset[str] = frozenset()

    @cached_property
    def _resolver(self) -> Outside:
        from dl4mic_hpc.sources.registry import Access
        from dl4mic_hpc.sources.resolver import Resolver

        return Resolver(folder=resources.home("cache"), access=Access(insecure=self.insecure))

    def base(self, reference: str, *, platform: str) -> BaseImage:
        return self._resolver.base(reference, platform=platform)

    def url(self, url: Url) -> Path:
        return self._resolver.url(url)

    def git(self, git: Git) -> Path:
        return self._resolver.git(git)
