"""Batch scripts: values -> text, by the templates job.sh.j2 and build.sh.j2.

Every value that a template prints is quoted for the shell, without the template asking for it, so that
quoting cannot be forgotten; `| verbatim` is the visible exception (the profile's own pre_script).
"""

from __future__ import annotations

import re
import shlex
from functools import cache

import jinja2

from dl4mic_hpc import __version__, resources
from dl4mic_hpc.errors import UsageError
from dl4mic_hpc.slurm import sizes
from dl4mic_hpc.slurm.job import BuildExit, BuildSpec, JobExit, JobSpec

FRONT_END_PATIENCE = 30
"""Seconds that a JupyterLab which is ready waits for the word that it can show forms."""

DRIVER_PATIENCE = 3
"""The same for what the GPU's driver says, which ends its own search after half of that."""

_IN_THE_BROWSER = {
    "what": "JupyterLab in a container, for its owner alone.",
    "program": "JupyterLab",
    "state": "starting",
    "log": "jupyter.log",
}
_HEADLESS = {
    "what": "a notebook run from top to bottom in a container.",
    "program": "the notebook",
    "state": "running",
    "log": "run.log",
}

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class _Verbatim(str):
    """Text that goes into the script as it is."""


def _quote(value: object) -> str:
    if isinstance(value, _Verbatim):
        return value
    text = str(value)
    if _CONTROL.search(text):
        raise UsageError(
            f"a value for the batch script holds a control character: {text!r}",
            hint="retype it without line breaks or tabs",
        )
    return shlex.quote(text)


def _template_source(name: str) -> str:
    return resources.data("templates", name).read_text(encoding="utf-8")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template_source),
        undefined=jinja2.StrictUndefined,
        finalize=_quote,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["verbatim"] = _Verbatim
    return environment


def render_job(spec: JobSpec) -> str:
    """The batch script of a session."""
    options = [
        f"--job-name={spec.name}",
        f"--comment=dl4mic-hpc:{spec.submit_token}",
        f"--chdir={spec.session_dir}",
        f"--output={_pattern(f'{spec.session_dir}/job.log')}",
        "--open-mode=append",
        "--no-requeue",
        "--export=NONE",
        *spec.resources.options(),
    ]
    if spec.depends_on is not None:
        options += [f"--dependency=afterok:{spec.depends_on}", "--kill-on-invalid-dep=yes"]
    return (
        _environment()
        .get_template("job.sh.j2")
        .render(
            spec=spec,
            options=options,
            version=__version__,
            codes=JobExit,
            patience=FRONT_END_PATIENCE,
            driver_patience=DRIVER_PATIENCE,
            **(_HEADLESS if spec.headless else _IN_THE_BROWSER),
        )
    )


def render_build(spec: BuildSpec) -> str:
    """The batch script of the job that makes an image.

    `singleton` lets two jobs for one image run one after the other, should there ever be two.
    """
    options = [
        f"--job-name={spec.name}",
        "--comment=dl4mic-hpc",
        f"--chdir={spec.bundle_dir}",
        f"--output={_pattern(f'{spec.bundle_dir}/build.log')}",
        "--open-mode=append",
        "--no-requeue",
        "--export=NONE",
        "--dependency=singleton",
        *spec.resources.options(),
    ]
    return (
        _environment()
        .get_template("build.sh.j2")
        .render(
            spec=spec,
            options=options,
            version=__version__,
            codes=BuildExit,
            megabytes=sizes.megabytes(spec.resources.mem),
            what="Fetches one image" if spec.source else "Builds one image",
        )
    )


def _pattern(path: str) -> str:
    """A path where Slurm expands %-patterns (sbatch(1), "filename pattern")."""
    return path.replace("%", "%%")
