"""What the recipes fetch, from the clones; and the base images' configurations, which stand beside this file.

Those are written after the images' public recipes, with the variables, entry point and command of one version: what
a registry says of another differs in numbers, not in names.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.base import config_from_docker
from dl4mic_hpc.recipe.steps import BaseImage, Git, Url

BASES = Path(__file__).parent / "bases"
OWNER = "HenriquesLab"
NAMES = ("DL4MicEverywhere", "ZeroCostDL4Mic")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clones:
    """Answers for a registry and the network (`dl4mic_hpc.recipe.outside.Outside`).

    folder: holds the clones. elsewhere: for the stand-ins of files from other repositories; `stood_in` names them.
    """

    folder: Path
    elsewhere: Path
    stood_in: set[str] = field(default_factory=set)

    def missing(self) -> list[str]:
        return [name for name in NAMES if not (self.folder / name).is_dir()]

    def base(self, reference: str, *, platform: str) -> BaseImage:
        document = json.loads(self.configuration(reference).read_text(encoding="utf-8"))
        return BaseImage(reference=reference, platform=platform, config=config_from_docker(document))

    def configuration(self, reference: str) -> Path:
        """The file with the configuration of a base image."""
        file = BASES / f"{reference.partition(':')[0].replace('/', '_')}.json"
        if not file.is_file():
            raise RecipeError(f"nobody wrote the configuration of {reference}", hint=f"put it into {BASES}")
        return file

    def url(self, url: Url) -> Path:
        return self.fetch(url.address)

    def fetch(self, address: str) -> Path:
        parts = urlsplit(address)
        owner, repository, _, *path = re.sub("/refs/heads/", "/", parts.path).lstrip("/").split("/")
        if parts.netloc != "raw.githubusercontent.com" or owner != OWNER or repository not in NAMES:
            return self.stand_in(address)
        file = self.folder.joinpath(repository, *path)
        if not file.is_file():
            raise RecipeError(f"{repository} has no {'/'.join(path)}", hint="bring the clones up to date")
        return file

    def stand_in(self, address: str) -> Path:
        self.stood_in.add(address)
        file = self.elsewhere / hashlib.sha256(address.encode()).hexdigest()
        file.write_text(f"stands for {address}\n", encoding="utf-8")
        return file

    def git(self, git: Git) -> Path:
        raise RecipeError(f"{git.repository} is not fetched", hint="these recipes add no repository")
