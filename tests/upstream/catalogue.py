"""The configurations of DL4MicEverywhere's catalogue, and the build arguments that its launcher makes of one."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

# The launcher's name of the recipe, by whether there is a GPU.
DOCKERFILES = {False: "Dockerfile", True: "Dockerfile.gpu"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One notebook. facts: its `config: dl4miceverywhere:`, "" for what is left open."""

    name: str
    facts: Mapping[str, str]

    def arguments(self, *, gpu: bool) -> dict[str, str]:
        """What `docker build` is given. CACHEBUST, the time of day, is left at the recipe's own default."""
        facts = self.facts
        always = {
            "UBUNTU_VERSION": facts["ubuntu_version"],
            "GPU_FLAG": str(int(gpu)),
            "PYTHON_VERSION": facts["python_version"],
            "PATH_TO_NOTEBOOK": facts["notebook_url"],
            "PATH_TO_REQUIREMENTS": facts["requirements_url"],
            "NOTEBOOK_NAME": posixpath.basename(facts["notebook_url"]),
            "SECTIONS_TO_REMOVE": facts.get("sections_to_remove", ""),
        }
        if not gpu:
            return always
        return always | {"CUDA_VERSION": facts["cuda_version"], "CUDNN_VERSION": facts["cudnn_version"]}


def configurations(clone: Path) -> list[Configuration]:
    """All of them, by name."""
    found = [_read(file) for file in clone.glob("notebooks/*/*/configuration.yaml")]
    return sorted(found, key=lambda configuration: configuration.name.lower())


def _read(file: Path) -> Configuration:
    said = yaml.safe_load(file.read_text(encoding="utf-8"))["config"]["dl4miceverywhere"]
    facts = {key: "" if value is None else str(value) for key, value in said.items()}
    return Configuration(name=file.parent.name, facts=facts)
