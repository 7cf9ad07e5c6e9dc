"""Where an image on a cluster is not what Docker would build, with the reason for each.

Two kinds: adaptations, which change the recipe so that it works where nobody is root and the image is read-only,
and differences that Apptainer or a build without the base image's configuration make. All of them stand in the
bundle's manifest.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from dl4mic_hpc.recipe.steps import Copy, MakeFolder, Recipe

# The contract of the notebooks: input and output are bound there when a session starts.
BIND_TARGETS = ("/home/data", "/home/results")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """One difference: its lasting name, what differs, and why."""

    name: str
    what: str
    reason: str


def adapt(recipe: Recipe) -> tuple[Recipe, tuple[Deviation, ...]]:
    """The recipe as it is built on a cluster, and how that differs from Docker's image."""
    made = tuple(MakeFolder(path=path, line=0, text=f"folder {path}") for path in BIND_TARGETS)
    adapted = dataclasses.replace(recipe, steps=recipe.steps + made)
    return adapted, tuple(_deviations(recipe))


def _deviations(recipe: Recipe) -> list[Deviation]:
    found = [
        Deviation(
            name="bind-targets",
            what=f"the folders {' and '.join(BIND_TARGETS)} exist in the image",
            reason="data and results are bound there, and an image is read-only when it runs",
        ),
        Deviation(
            name="apt-sandbox",
            what="while the image is built, apt downloads as root: APT_CONFIG names a file that says so",
            reason="a build without root rights cannot become apt's own user everywhere",
        ),
        Deviation(
            name="base-configuration",
            what="USER, SHELL and ONBUILD of the base image are not followed",
            reason="the base image's configuration is not read; steps run as root by /bin/sh",
        ),
        Deviation(
            name="temporary-folders",
            what="what the recipe leaves in /tmp and /var/tmp is not in the image",
            reason="Apptainer binds folders of the node there; the build job gives it empty ones of its own",
        ),
        Deviation(
            name="library-path",
            what="LD_LIBRARY_PATH ends with /.singularity.d/libs when the image runs",
            reason="Apptainer puts the GPU driver's libraries there",
        ),
    ]
    if recipe.left_out:
        names = ", ".join(f"'{name}'" if name else "one without a name" for name in recipe.left_out)
        found.append(
            Deviation(
                name="target",
                what=f"the image ends with the stage '{recipe.stage}'; later stages are left out: {names}",
                reason="the notebook lies in the session's own folder, so that a new version of it builds no image",
            )
        )
    if any(isinstance(step, Copy) for step in recipe.steps):
        found += [
            Deviation(
                name="portable-modes",
                what="copied files have the mode 0644, or 0755 for folders and programs",
                reason="every user can read them, and every laptop, whatever its umask or system, builds the same image",
            ),
            Deviation(
                name="times",
                what="copied files are dated 1980-01-02",
                reason="the same files give the same bundle",
            ),
        ]
    return found
