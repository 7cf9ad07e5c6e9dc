"""What a recipe comes to once everything in it is evaluated: the form between a Dockerfile and a definition.

No variable is left in it. `line` says where in the Dockerfile a step comes from; it is for people and never
part of an image's key.
"""

from __future__ import annotations

from dataclasses import dataclass

Variables = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A program run while the image is built, as root. `environment`: what ARG and ENV add to the base image's."""

    argv: tuple[str, ...]
    environment: Variables
    folder: str
    line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """Files of the build context put into the image.

    sources: paths in the context, clean and relative ("." is all of it). destination: absolute; it ends with /
    exactly if the recipe names a folder.
    """

    sources: tuple[str, ...]
    destination: str
    refuse_archives: bool
    line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeFolder:
    """A folder made with mode 0755 where there is none; `line` is 0 for one that no line asks for."""

    path: str
    line: int
    text: str


Step = Run | Copy | MakeFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """What the image says about itself (https://github.com/opencontainers/image-spec/blob/main/config.md).

    entrypoint None: neither ENTRYPOINT nor CMD is set and the base image's stand. folder None: no WORKDIR is.
    """

    environment: Variables
    labels: Variables
    entrypoint: tuple[str, ...] | None
    command: tuple[str, ...]
    folder: str | None

    def as_docker(self) -> dict[str, object]:
        """The same in the keys of Docker's image configuration; what the base image decides is left out."""
        config: dict[str, object] = {
            "Env": [f"{name}={value}" for name, value in self.environment],
            "Labels": dict(self.labels),
        }
        if self.entrypoint is not None:
            config |= {"Entrypoint": list(self.entrypoint), "Cmd": list(self.command)}
        if self.folder is not None:
            config["WorkingDir"] = self.folder
        return config


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One image: its base, the steps in order, its configuration.

    presumed: names of which an expansion presumed that the base image gives them no value; the build looks.
    stage: the stage that was asked for by name. left_out: the names of the stages after it, "" for an unnamed one.
    """

    name: str
    base: str
    steps: tuple[Step, ...]
    config: ImageConfig
    presumed: tuple[str, ...]
    stage: str
    left_out: tuple[str, ...]
