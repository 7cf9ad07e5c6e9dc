"""Launching a notebook: planned without touching anything, then done over one connection.

plan_launch   notebook converted, recipe converted, scripts rendered: values, nothing else
submit        the cluster asked once, image build submitted, files staged, data up, job submitted
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from dl4mic_hpc import __version__, notebook, resources, transfer
from dl4mic_hpc.catalog import NotebookSpec
from dl4mic_hpc.catalog.frameworks import Named
from dl4mic_hpc.errors import Dl4micError, SshError, TransferError, UsageError
from dl4mic_hpc.images import weights
from dl4mic_hpc.images.choice import Wish
from dl4mic_hpc.notebook import Converted
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.remote import Remote, Teller, stage
from dl4mic_hpc.sessions import clones, gpu_request, parameters, probe, provide, store, wishes
from dl4mic_hpc.sessions.parameters import HeadlessRequest
from dl4mic_hpc.sessions.probe import ClusterFacts
from dl4mic_hpc.sessions.session import Session, new_id
from dl4mic_hpc.slurm import answers, reasons
from dl4mic_hpc.slurm.job import HeadlessJob, JobSpec, Resources, check_bind_path
from dl4mic_hpc.slurm.render import render_job
from dl4mic_hpc.sources import files as sources

if TYPE_CHECKING:
    from dl4mic_hpc.images.ensure import Making
    from dl4mic_hpc.images.fitness import Fitness


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRequest:
    """What the user asked for, checked. `data`: a folder here, to be copied up; `cluster_data`: one on the cluster.

    `image`: "auto", "pull", "build", or the path of an image on the cluster; `tag`: a published image other than the
    configuration's. `own_requirements`: other ones than the notebook's (-r). `headless`: None for JupyterLab.
    `require_gpu`: the session ends if it would not compute on its GPUs.
    """

    profile: ClusterProfile
    notebook: NotebookSpec
    resources: Resources
    data: Path | None = None
    cluster_data: PurePosixPath | None = None
    results: Path | None = None
    image: str = "auto"
    tag: str | None = None
    own_requirements: bool = False
    local_port: int | None = None
    headless: HeadlessRequest | None = None
    require_gpu: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPlan:
    """Everything that a launch will put on the cluster, as values. `origins`: of notebook, requirements and recipe."""

    request: LaunchRequest
    session: Session
    notebook: Converted
    wish: Wish
    job: JobSpec
    files: dict[str, bytes]
    origins: dict[str, wishes.Origin]
    provenance: dict[str, object]
    software: tuple[Named, ...] = ()


def plan_launch(request: LaunchRequest, *, say: Callable[[str], None] = lambda _: None) -> LaunchPlan:
    """Fetches what is not on this computer yet, converts, renders and names; touches nothing on the cluster.

    NotebookError for what cannot be had or converted, UsageError for parameters that the notebook would refuse.
    """
    profile = request.profile
    check_bind_path(profile.work_dir, what="the work folder")
    gpu_request.check_request(request.resources, profile, require=request.require_gpu)
    if request.data is not None:
        transfer.list_local(request.data)
    if request.cluster_data is not None:
        check_bind_path(request.cluster_data, what="the data folder")
    given_image = request.image not in ("auto", "pull", "build")
    spec = sources.obtain(request.notebook, cache=resources.home("cache"), say=say, parts=("notebook",))
    origins = {"notebook": wishes.origin(request.notebook, spec, "notebook")}
    converted = notebook.convert(
        spec.read_notebook(),
        name=spec.notebook_file,
        sections_to_remove=spec.sections_to_remove,
        provenance={
            "notebook": spec.id,
            "version": spec.version,
            **{key: value for key, value in origins["notebook"].items() if value},
        },
        python=spec.python_version,
    )
    headless, given = _headless(request.headless, converted, spec)
    if given_image:
        path = check_bind_path(PurePosixPath(request.image), what="the image")
        wish = Wish(name=spec.id, way="", path=path, cuda=spec.cuda_version)
    else:
        wish, recipe_origins = wishes.of_notebook(
            request.notebook,
            profile,
            way=request.image,
            tag=request.tag,
            own_requirements=request.own_requirements,
            say=say,
        )
        origins |= recipe_origins
    first = next(wish.places(profile))
    # What another image than the notebook's own computes with, nobody knows here.
    known = request.resources.gpus.count and not given_image and request.tag is None
    software = gpu_request.software(request.notebook, say=say) if known else ()
    session_id = new_id()
    session = Session(
        id=session_id,
        cluster=profile.name,
        notebook=spec.id,
        notebook_file=spec.notebook_file,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        submit_token=secrets.token_hex(8),
        session_dir=profile.work_dir / "sessions" / session_id,
        image=first,
        gpus=str(request.resources.gpus),
        simulated=profile.simulated,
        headless=headless is not None,
        results=request.results or Path.cwd() / f"results-{session_id}",
        local_port=request.local_port,
    )
    job = JobSpec(
        session_id=session.id,
        submit_token=session.submit_token,
        session_dir=session.session_dir,
        image=first,
        apptainer=profile.apptainer,
        resources=request.resources,
        modules=profile.modules,
        pre_script=profile.pre_script,
        data=request.cluster_data,
        headless=headless,
        front_end=headless is None and bool(converted.fields),
        content=bool(converted.report.content_uses),
        simulated=profile.simulated,
        frameworks=tuple(each.module for each in software),
        require_gpu=request.require_gpu,
    )
    provenance = _provenance(session, spec, origins, converted)
    files = {
        f"home/{spec.notebook_file}": converted.notebook,
        **{f"home/{name}": content for name, content in notebook.runtime_files().items()},
        **clones.bring(converted.report.clones, cache=resources.home("cache"), say=say),
        **given,
    }
    return LaunchPlan(
        request=request,
        session=session,
        notebook=converted,
        wish=wish,
        job=job,
        files=files,
        origins=origins,
        provenance=provenance,
        software=software,
    )


def _headless(
    request: HeadlessRequest | None, converted: Converted, spec: NotebookSpec
) -> tuple[HeadlessJob | None, dict[str, bytes]]:
    """What the job runs in place of JupyterLab, and the file with its parameters."""
    if request is None:
        return None, {}
    if notebook.too_old(spec.python_version):
        raise UsageError(
            f"{spec.id} runs on Python {spec.python_version}; a notebook runs by itself on Python 3.7 or newer",
            hint="leave --headless out and run its cells in JupyterLab",
        )
    given = parameters.check(converted.notebook, spec.notebook_file, request)
    job = HeadlessJob(
        notebook_file=spec.notebook_file,
        parameters=parameters.FILE if given else "",
        sections=request.sections,
    )
    files = {f"home/{parameters.FILE}": json.dumps(given, indent=2).encode()} if given else {}
    return job, files


def _provenance(
    session: Session,
    spec: NotebookSpec,
    origins: dict[str, wishes.Origin],
    converted: Converted,
) -> dict[str, object]:
    """What made these results; on simulated GPUs it says so."""
    return {
        "version": 1,
        "program": f"dl4mic-hpc {__version__}",
        "session": session.id,
        "created": session.created,
        "notebook": {
            "id": spec.id,
            "version": spec.version,
            **origins["notebook"],
            "converted_sha256": hashlib.sha256(converted.notebook).hexdigest(),
        },
        **{part: origin for part, origin in origins.items() if part != "notebook"},
        "gpus": session.gpus,
        "gpus_simulated": session.simulated,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSide:
    """What a launch does on this computer: keep its record, read the data, ask registries. A rehearsal does none of it.

    `fit`: what the cluster can do for images, where it need not be asked.
    """

    save: Callable[[Session], None] = store.save
    forget: Callable[[str], None] = store.forget
    upload: Callable[[Remote, Path, PurePosixPath], object]
    look_up: provide.LookUp = provide.look_up
    fit: Fitness | None = None


def submit(remote: Remote, plan: LaunchPlan, teller: Teller, local: LocalSide) -> Session:
    """Puts the plan on the cluster and submits it. When it raises, nothing of it is left there.

    The one exception: if the connection breaks, what could not be cleared away is kept on record, for `ps` and
    `stop`.
    """
    request, profile = plan.request, plan.request.profile
    teller.say(f"looking at {profile.name}")
    facts = probe.probe(
        remote,
        profile,
        images=tuple(plan.wish.places(profile)),
        data=request.cluster_data,
        job_script=render_job(plan.job),
    )
    _check(facts, plan)
    for warning in gpu_request.before_submit(plan.job.resources, plan.software, facts):
        teller.note(f"warning: {warning}")
    provided = provide.choose(remote, profile, plan.wish, facts, teller, look_up=local.look_up)
    session = dataclasses.replace(plan.session, image=provided.choice.image)
    local.save(session)
    with _nothing_left_behind(remote, session, local) as ours:
        brought = weights.provide(
            remote,
            profile,
            request.notebook,
            listed=facts.weights,
            internet=profile.build.internet,
            teller=teller,
        )
        making = provide.make(remote, profile, provided, facts, teller, fit=local.fit)
        if making is not None:
            ours.making = making
            session = dataclasses.replace(
                session, build_job_id=making.job_id, build_dir=making.build_dir, build_ours=making.ours
            )
            local.save(session)
        job = dataclasses.replace(
            plan.job, image=session.image, depends_on=session.build_job_id, weights=brought
        )
        teller.say(f"submitting session {session.id}")
        provenance = json.dumps(
            {**plan.provenance, "image": provided.as_json(), "weights": weights.as_json(brought)}, indent=2
        ).encode()
        files = {
            **plan.files,
            "home/results/provenance.json": provenance,
            "provenance.json": provenance,
            "job.sh": render_job(job).encode(),
            "session.json": json.dumps(session.as_cluster_record(), indent=2).encode(),
        }
        ours.folders.append(session.session_dir)
        folders = ("home", "home/data", "home/results")
        submission = answers.sbatch_command(session.session_dir, "job.sh")
        if request.data is None:
            result = stage(remote, session.session_dir, files, folders=folders, then=submission)
        else:
            stage(remote, session.session_dir, files, folders=folders)
            teller.say(f"copying data from {request.data}")
            _upload(remote, request.data, session, local)
            teller.say("submitting the job")
            result = remote.run(*submission)
        if result.exit_code and job.depends_on is not None and "dependency" in result.stderr.lower():
            # Slurm forgets a job some minutes after its end, and much data takes longer to copy.
            alone = dataclasses.replace(job, depends_on=None)
            provide.require_made(remote, profile, session)
            remote.put(session.paths.job_script, render_job(alone).encode(), mode=0o700)
            result = remote.run(*submission)
        if result.exit_code:
            raise reasons.explain_refusal(result.stderr, plan.job.resources, cluster=profile.name)
        session = dataclasses.replace(session, job_id=answers.parse_sbatch(result.stdout))
        local.save(session)
    return session


def _upload(remote: Remote, data: Path, session: Session, local: LocalSide) -> None:
    try:
        local.upload(remote, data, session.paths.data)
    except TransferError as problem:
        problem.hint = (
            "nothing of this launch was kept there; make room, or copy the data with your site's own tools "
            "and give it as -d cluster:/path"
        )
        raise


def _check(facts: ClusterFacts, plan: LaunchPlan) -> None:
    """Every reason that makes the launch impossible, before anything is written on the cluster."""
    profile = plan.request.profile
    facts.require(profile)
    if not facts.data_there:
        raise probe.data_missing(plan.request.cluster_data, profile.name)
    if facts.refusal is not None:
        raise reasons.explain_refusal(facts.refusal, plan.job.resources, cluster=profile.name)
    too_long = reasons.refuse_time(plan.job.resources, facts.time_limits)
    if too_long is not None:
        raise too_long


@dataclass(slots=True)
class _Ours:
    """What this launch has made on the cluster so far."""

    folders: list[PurePosixPath]
    making: Making | None = None


@contextlib.contextmanager
def _nothing_left_behind(remote: Remote, session: Session, local: LocalSide) -> Iterator[_Ours]:
    """Clears away what `_Ours` names when the block fails, and the record with it.

    A lost connection leaves both: whether the job was accepted is not known then, so it must stay on record.
    """
    ours = _Ours([])
    try:
        yield ours
    except SshError as error:
        error.hint = f"{error.hint}; `dl4mic-hpc ps` shows whether session {session.id} was submitted"
        raise
    except BaseException:
        with contextlib.suppress(Dl4micError):
            # By name too: an interrupt may have come between sbatch's answer and our reading it.
            remote.run("scancel", "--quiet", f"--name={session.job_name}")
            making = ours.making
            ended = (
                making is not None
                and making.ours
                and provide.cancel(remote, making.job_id, making.build_dir, but_for=None)
            )
            if making is not None and ended:
                ours.folders.append(making.build_dir)
            remote.run("rm", "-rf", *map(str, ours.folders))
            local.forget(session.id)
        raise
