"""What recipes need from outside, fetched: the one thing of this room that conversions use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dl4mic_hpc.recipe.base import config_from_docker
from dl4mic_hpc.recipe.outside import Outside
from dl4mic_hpc.recipe.steps import BaseImage, Git, Url
from dl4mic_hpc.sources import archives, registry
from dl4mic_hpc.sources.cache import Cache
from dl4mic_hpc.sources.downloads import download
from dl4mic_hpc.sources.git import checkout
from dl4mic_hpc.sources.manifests import Image
from dl4mic_hpc.sources.reference import Reference, parse, without_tag
from dl4mic_hpc.sources.registry import Access
from dl4mic_hpc.sources.web import UnansweredError


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver(Outside):
    """`Outside` with a network, for one conversion: the same question gets the same answer throughout.

    folder: the cache. base_map: for images by any of their names, "KIND:FILE" with one of `archives.KINDS`, or
    "FILE". access: how registries are reached. say: is told in a sentence what takes time and what is not as new as
    it could be.
    """

    folder: Path
    base_map: Mapping[str, str] = field(default_factory=dict)
    access: Access = field(default_factory=Access)
    say: Callable[[str], None] = lambda _: None
    _images: dict[tuple[Reference, str], BaseImage] = field(default_factory=dict, init=False, repr=False)
    _files: dict[Url, Path] = field(default_factory=dict, init=False, repr=False)
    _trees: dict[Git, Path] = field(default_factory=dict, init=False, repr=False)

    def base(self, reference: str, *, platform: str) -> BaseImage:
        """The image from the file that `base_map` gives for it, else from its registry.

        Its digest is that of the platform's manifest, also where the recipe names an index. If the registry does not
        answer, what it said the last time counts, and `say` is told so. If it never said anything, `config` is None
        where the network is out of reach, and a fault of the registry is a RecipeError.
        """
        image = parse(reference)
        key = (image, platform)
        if key not in self._images:
            self._images[key] = self._mapped(image, platform) or self._registered(image, platform)
        return replace(self._images[key], reference=without_tag(reference))

    def url(self, url: Url) -> Path:
        if url not in self._files:
            self._files[url] = download(url, cache=self._cache, say=self.say)
        return self._files[url]

    def git(self, git: Git) -> Path:
        if git not in self._trees:
            self._trees[git] = checkout(git, cache=self._cache, say=self.say)
        return self._trees[git]

    @property
    def _cache(self) -> Cache:
        return Cache(folder=self.folder)

    def _mapped(self, image: Reference, platform: str) -> BaseImage | None:
        files = [file for name, file in self.base_map.items() if parse(name) == image]
        if not files:
            return None
        return archives.base(archives.archive(files[-1]), reference=str(image), platform=platform)

    def _registered(self, image: Reference, platform: str) -> BaseImage:
        try:
            found = registry.resolve(image, platform, cache=self._cache, access=self.access)
        except UnansweredError as error:
            remembered = self._remembered(image, platform, error)
            if remembered is None:
                unknown = f"{image.registry} could not be reached: {error.why}"
                return BaseImage(reference=str(image), platform=platform, unknown=unknown)
            found = remembered
        config = config_from_docker(found.config)
        return BaseImage(reference=str(image), platform=platform, digest=found.digest, config=config)

    def _remembered(self, image: Reference, platform: str, error: UnansweredError) -> Image | None:
        found = registry.remembered(image, platform, cache=self._cache)
        if found is not None:
            self.say(
                f"{image.registry} gave no answer ({error.why}): "
                f"{image} is taken as it was when it last did, {found.digest}"
            )
        elif error.reached:
            raise error.refused(f"{image.registry} does not say what {image} is") from error
        return found
