"""Where an image on a cluster is not what Docker would build, with the reason for each.

Two kinds: adaptations, which change the image so that it works where nobody is root and it is read-only, and
differences that Apptainer makes. `exact` leaves the adaptations out. All that remain stand in the bundle's manifest.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field

from dl4mic_hpc.recipe import kinds, runtime
from dl4mic_hpc.recipe.steps import BaseImage, Copy, Late, MakeFolder, Recipe, Run, Stage, Url, Value

# The contract of the notebooks: input and output are bound there when a session starts.
BIND_TARGETS = ("/home/data", "/home/results")
# The last release of the form widgets' front end that JupyterLab 3 can load is the one before this.
WIDGET_LIMIT = "jupyterlab_widgets<3.0.17"

_JUPYTERLAB_3 = re.compile(r"jupyterlab\s*(?:==|~=|<=)\s*3\b|jupyterlab\s*<\s*4\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """One difference: its lasting name, what differs, and why."""

    name: str
    what: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """A recipe with what is done to its images beyond its steps.

    portable_modes: of copied files. apt_as_root: while it is built. constraints: lines for pip, while it is built.
    reachable: paths below /root that every user may read. homes: users whose home folder every user may read.
    unset: variables that the image does not set when it runs.
    """

    recipe: Recipe
    deviations: tuple[Deviation, ...]
    portable_modes: bool = False
    apt_as_root: bool = False
    constraints: tuple[str, ...] = ()
    reachable: tuple[str, ...] = ()
    homes: tuple[str, ...] = ()
    unset: frozenset[str] = field(default_factory=frozenset)


def adapt(recipe: Recipe, *, exact: bool = False, dropped: str = "") -> Adapted:
    """The recipe as it is built on a cluster, and how that differs from Docker's image.

    dropped: the name of the stage whose files the image is to do without, "" for none.
    """
    differences = [*_differences(recipe), *_of_stages(recipe, dropped)]
    if exact:
        return Adapted(recipe=recipe, deviations=tuple(differences))
    last = recipe.stages[-1]
    made = tuple(MakeFolder(path=path, line=0, text=f"folder {path}") for path in BIND_TARGETS)
    grown = dataclasses.replace(last, steps=(*last.steps, *made))
    adapted = Adapted(
        recipe=dataclasses.replace(recipe, stages=(*recipe.stages[:-1], grown)),
        deviations=(),
        portable_modes=True,
        apt_as_root=True,
        constraints=(WIDGET_LIMIT,) if _needs_widget_limit(recipe) else (),
        reachable=_below_root(last),
        homes=_users(recipe),
        unset=frozenset({"HOME"}.intersection(name for name, _ in last.config.environment)),
    )
    return dataclasses.replace(adapted, deviations=(*_adaptations(adapted), *differences))


def _runs(recipe: Recipe) -> list[Run]:
    return [step for stage in recipe.stages for step in stage.steps if isinstance(step, Run)]


def _copies(recipe: Recipe) -> list[Copy]:
    return [step for stage in recipe.stages for step in stage.steps if isinstance(step, Copy)]


def _needs_widget_limit(recipe: Recipe) -> bool:
    """JupyterLab 3 is asked for by a RUN, and pip is not limited by the recipe itself."""
    runs = _runs(recipe)
    if any(name == "PIP_CONSTRAINT" for run in runs for name, _ in run.environment):
        return False
    return any(_JUPYTERLAB_3.search(word) for run in runs for word in run.argv)


def _below_root(stage: Stage) -> tuple[str, ...]:
    """The places below /root that a variable of the image names."""
    values = (part for _, value in stage.config.environment for part in _literals(value))
    paths = {path.rstrip("/") for value in values for path in value.split(":") if path.startswith("/root/")}
    return tuple(sorted(path for path in paths if ".." not in path.split("/") and path != "/root"))


def _literals(value: Value) -> tuple[str, ...]:
    return value.parts[::2] if isinstance(value, Late) else (value,)


def _users(recipe: Recipe) -> tuple[str, ...]:
    """Who the last stage's commands run as, and its image, without root."""
    last = recipe.stages[-1]
    named = [step.user for step in last.steps if isinstance(step, Run)] + [last.config.user]
    return tuple(sorted({user.partition(":")[0] for user in named} - {"", "0", "root"}))


def _adaptations(adapted: Adapted) -> list[Deviation]:
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
    ]
    if adapted.reachable:
        found.append(
            Deviation(
                name="reachable-root",
                what=f"every user can go through /root and read {', '.join(adapted.reachable)}",
                reason="the image's variables name these places, and in a session nobody is root",
            )
        )
    if adapted.homes:
        found.append(
            Deviation(
                name="readable-homes",
                what=f"every user can read the home folder of {', '.join(adapted.homes)}",
                reason="a session runs as the person who starts it, not as the recipe's USER",
            )
        )
    if adapted.unset:
        found.append(
            Deviation(
                name="home-variable",
                what="HOME is not set by the image",
                reason="it would point into the read-only image instead of the session's own folder",
            )
        )
    if adapted.constraints:
        found.append(
            Deviation(
                name="widget-front-end",
                what=f"while the image is built, pip is limited to {', '.join(adapted.constraints)}",
                reason="JupyterLab 3 cannot load the form widgets' front end of later releases",
            )
        )
    return found + _adapted_files(adapted.recipe)


def _adapted_files(recipe: Recipe) -> list[Deviation]:
    found = []
    if any(step.mode == "" for step in _copies(recipe)):
        found.append(
            Deviation(
                name="portable-modes",
                what="copied files have the mode 0644, or 0755 for folders and programs",
                reason="every user can read them, and every laptop, whatever its umask or system, builds the same image",
            )
        )
    if any(isinstance(source.origin, Url) for step in _copies(recipe) for source in step.sources):
        found.append(
            Deviation(
                name="fetched-modes",
                what="files that ADD fetches have the mode 0644 instead of 0600",
                reason="in a session nobody is root, who alone could read them",
            )
        )
    return found


def _differences(recipe: Recipe) -> list[Deviation]:
    found = [
        Deviation(
            name="owners",
            what="all files of the finished image belong to root, or to who runs it",
            reason="Apptainer packs an image so where nobody is root; while it is built owners are Docker's, but for"
            " a base image's links and what is copied from an image in a registry",
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
    if _copies(recipe):
        found.append(
            Deviation(
                name="times",
                what="copied files are dated 1980-01-02",
                reason="the same files give the same bundle",
            )
        )
    if any(mount.kind == "bind" for run in _runs(recipe) for mount in run.mounts):
        found.append(
            Deviation(
                name="writable-mounts",
                what="what RUN --mount=type=bind shows can be written to, as with rw; it is not kept",
                reason="who builds without root rights cannot bind everywhere, so it is a copy",
            )
        )
    return found + _of_bases(recipe) + _of_configuration(recipe)


def _of_bases(recipe: Recipe) -> list[Deviation]:
    bases = [stage.base for stage in recipe.stages if isinstance(stage.base, BaseImage)]
    unread = list(dict.fromkeys(base.reference for base in bases if base.config is None))
    if not unread:
        return []
    return [
        Deviation(
            name="base-configuration",
            what=f"SHELL and ONBUILD of {', '.join(unread)} are presumed not to be set",
            reason="nothing else in the recipe depends on what the base image says of itself, so it was not read",
        )
    ]


def _of_configuration(recipe: Recipe) -> list[Deviation]:
    config = recipe.stages[-1].config
    found = []
    if config.user not in ("", "0", "root"):
        found.append(
            Deviation(
                name="user",
                what=f"the image does not start as the user {config.user}",
                reason="Apptainer runs an image as the person who starts it",
            )
        )
    docker_only = {
        "EXPOSE": config.ports,
        "HEALTHCHECK": config.health,
        "ONBUILD": config.onbuild,
        "STOPSIGNAL": config.stop_signal,
        "VOLUME": config.volumes,
    }
    said = [name for name, value in docker_only.items() if value]
    if said:
        found.append(
            Deviation(
                name="docker-only",
                what=f"{', '.join(said)} are kept in /.dl4mic-hpc/recipe.json and have no effect",
                reason="Apptainer has nothing of the kind",
            )
        )
    if not kinds.has_shell(recipe, len(recipe.stages) - 1):
        found.append(
            Deviation(
                name="no-shell",
                what="where the image holds no /bin/sh, `apptainer run` does not start it; `apptainer exec` does",
                reason="Apptainer's start script is a shell's",
            )
        )
    if lost := runtime.lost_labels(recipe):
        found.append(
            Deviation(
                name="labels",
                what=f"these labels stand on one line without blanks around it, or not at all: {', '.join(map(repr, lost))}",
                reason="Apptainer keeps neither blanks in a label's name nor lines in its value, and a shell writes them",
            )
        )
    return found


def _of_stages(recipe: Recipe, dropped: str) -> list[Deviation]:
    found = []
    why = "the notebook lies in the session's own folder, so that a new version of it builds no image"
    if dropped:
        what = f"what COPY takes from the stage '{dropped}' is not in the image: the notebook"
        found.append(Deviation(name="notebook-left-out", what=what, reason=why))
    if recipe.left_out:
        names = ", ".join(f"'{name}'" if name else "one without a name" for name in recipe.left_out)
        what = f"the image ends with the stage '{recipe.stages[-1].name}'; later stages are left out: {names}"
        found.append(Deviation(name="target", what=what, reason=why))
    return found
