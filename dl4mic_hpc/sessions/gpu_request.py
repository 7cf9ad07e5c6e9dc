"""What is known of a session's GPUs before it is submitted: what cannot be, and what may go wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dl4mic_hpc import resources
from dl4mic_hpc.catalog import NotebookSpec, frameworks, gpus
from dl4mic_hpc.catalog.frameworks import Named
from dl4mic_hpc.errors import Dl4micError, JobError, UsageError
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.sessions.probe import ClusterFacts
from dl4mic_hpc.slurm.job import Resources
from dl4mic_hpc.slurm.site import parse_gres
from dl4mic_hpc.sources import files as sources


def software(notebook: NotebookSpec, *, say: Callable[[str], None] = lambda _: None) -> tuple[Named, ...]:
    """The frameworks that the notebook computes with; none where its requirements cannot be had."""
    try:
        spec = sources.obtain(notebook, cache=resources.home("cache"), say=say, parts=("requirements",))
        text = spec.read_requirements().decode("utf-8", "replace")
    except Dl4micError:
        return ()
    return frameworks.used(text, notebook.framework, notebook)


def check_request(asked: Resources, profile: ClusterProfile, *, require: bool) -> None:
    """UsageError or JobError for a --require-gpu that nothing could fulfil."""
    if require and not asked.gpus.count:
        raise UsageError(
            "--require-gpu and -g 0 exclude each other", hint="leave one of them out; -g 1 asks for a GPU"
        )
    if require and profile.simulated:
        raise JobError(
            f"--require-gpu: the GPUs of {profile.name} are simulated, nothing is computed on them",
            hint="leave it out here; on a real cluster it ends a session that would compute on the processor",
        )


def types(asked: Resources, facts: ClusterFacts) -> tuple[str, ...]:
    """The GPU types that the session may get; () if nobody knows."""
    if asked.gpus.type:
        return (asked.gpus.type,)
    default = tuple(name[:-1] for name in facts.time_limits if name.endswith("*"))
    found = {
        kind
        for name in asked.partition or default
        for text in facts.gres.get(name, ())
        for kind in parse_gres(text)
    }
    return () if "" in found else tuple(sorted(found))


def before_submit(asked: Resources, named: Iterable[Named], facts: ClusterFacts) -> tuple[str, ...]:
    """Warnings for before the job waits; JobError if its software computes on none of the GPUs it may get."""
    if not asked.gpus.count:
        return ()
    named, possible = tuple(named), types(asked, facts)
    problem = gpus.refusal(possible, named)
    if problem is not None:
        raise problem
    return tuple(gpus.warnings(possible, named, drivers=facts.drivers))
