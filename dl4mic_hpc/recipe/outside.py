"""What a recipe needs from outside its build context, as the room sees it: somebody else fetches.

`dl4mic_hpc.sources` carries it out; `Nothing` is for where no network is asked, such as the key of an image.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.steps import BaseImage, Git, Url


class Outside(Protocol):
    """Each method raises RecipeError, without file and line (the caller puts them before it)."""

    def base(self, reference: str, *, platform: str) -> BaseImage:
        """The image, with its configuration; with `config` None and a reason if it cannot be reached.

        platform: "linux/amd64" and the like. RecipeError if the registry says that there is no such image.
        """
        ...

    def url(self, url: Url) -> Path:
        """The file, fetched and checked; it stays as it is until the conversion is over."""
        ...

    def git(self, git: Git) -> Path:
        """The folder with the repository's files, likewise."""
        ...


class Nothing:
    """No network: base images stay unknown, addresses are refused."""

    def base(self, reference: str, *, platform: str) -> BaseImage:
        return BaseImage(reference=reference, platform=platform, unknown="no registry was asked")

    def url(self, url: Url) -> Path:
        raise RecipeError(f"{url.address} is not fetched here", hint="convert where there is a network")

    def git(self, git: Git) -> Path:
        raise RecipeError(f"{git.repository} is not fetched here", hint="convert where there is a network")
