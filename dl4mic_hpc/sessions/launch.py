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

from dl4mic_hpc import __version__, notebook, resources, transfer
from dl4mic_hpc.catalog import NotebookSpec, Pinned
from dl4mic_hpc.errors import Dl4micError, RemoteError, SshError, TransferError, UsageError
from dl4mic_hpc.images import ensure
from dl4mic_hpc.images.ensure import ImagePlan
from dl4mic_hpc.notebook import Converted
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.recipe import bundle as recipe_bundle
from dl4mic_hpc.remote import Remote, stage
from dl4mic_hpc.sessions import clones, parameters, probe, store
from dl4mic_hpc.sessions.outside import OnDemand
from dl4mic_hpc.sessions.parameters import HeadlessRequest
from dl4mic_hpc.sessions.probe import ClusterFacts
from dl4mic_hpc.sessions.session import Session, new_id
from dl4mic_hpc.sessions.watch import Teller
from dl4mic_hpc.slurm import answers, reasons
from dl4mic_hpc.slurm.job import HeadlessJob, JobSpec, Resources, check_bind_path
from dl4mic_hpc.slurm.render import render_job
from dl4mic_hpc.sources import files as sources

ROOM_FOR_A_BUILD = 2 * 1024**3
"""Bytes that must be free in the work folder before a build is submitted; finished images take 0.5 to 12 GB."""


Origin = dict[str, str | None]
"""Of a file: `url` and `revision` where it was fetched, else None; `file`, its name; `sha256`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRequest:
    """What the user asked for, checked. `data`: a folder here, to be copied up; `cluster_data`: one on the cluster.

    `image`: "auto" (cached, else built), "build" (built again), or the path of an image on the cluster. `headless`:
    None for JupyterLab.
    """

    profile: ClusterProfile
    notebook: NotebookSpec
    resources: Resources
    data: Path | None = None
    cluster_data: PurePosixPath | None = None
    results: Path | None = None
    image: str = "auto"
    local_port: int | None = None
    headless: HeadlessRequest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPlan:
    """Everything that a launch will put on the cluster, as values. `origins`: of notebook, requirements and recipe."""

    request: LaunchRequest
    session: Session
    notebook: Converted
    image: ImagePlan
    job: JobSpec
    files: dict[str, bytes]
    origins: dict[str, Origin]


def plan_launch(request: LaunchRequest, *, say: Callable[[str], None] = lambda _: None) -> LaunchPlan:
    """Fetches what is not on this computer yet, converts, renders and names; touches nothing on the cluster.

    NotebookError for what cannot be had or converted, UsageError for parameters that the notebook would refuse.
    """
    profile = request.profile
    check_bind_path(profile.work_dir, what="the work folder")
    if request.data is not None:
        transfer.list_local(request.data)
    if request.cluster_data is not None:
        check_bind_path(request.cluster_data, what="the data folder")
    to_build = request.image in ("auto", "build")
    parts = sources.PARTS if to_build else ("notebook",)
    spec = sources.obtain(request.notebook, cache=resources.home("cache"), say=say, parts=parts)
    origins = {part: _origin(request.notebook, spec, part) for part in parts}
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
    if to_build:
        with spec.recipe_context() as context:
            bundle = recipe_bundle.convert_environment(
                context / "Dockerfile",
                context=context,
                offered=spec.build_args(),
                base_reference=lambda reference: _mirrored(reference, profile),
                outside=OnDemand(insecure=frozenset(profile.insecure_registries)),
            )
        image = ensure.plan(profile, name=spec.id, bundle=bundle)
    else:
        image = ImagePlan(image=check_bind_path(PurePosixPath(request.image), what="the image"))
    session_id = new_id()
    session = Session(
        id=session_id,
        cluster=profile.name,
        notebook=spec.id,
        notebook_file=spec.notebook_file,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        submit_token=secrets.token_hex(8),
        session_dir=profile.work_dir / "sessions" / session_id,
        image=image.image,
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
        image=image.image,
        apptainer=profile.apptainer,
        resources=request.resources,
        modules=profile.modules,
        pre_script=profile.pre_script,
        data=request.cluster_data,
        headless=headless,
        front_end=headless is None and bool(converted.fields),
        content=bool(converted.report.content_uses),
        simulated=profile.simulated,
    )
    provenance = json.dumps(_provenance(session, spec, origins, converted, image), indent=2).encode()
    files = {
        f"home/{spec.notebook_file}": converted.notebook,
        **{f"home/{name}": content for name, content in notebook.runtime_files().items()},
        **clones.bring(converted.report.clones, cache=resources.home("cache"), say=say),
        **given,
        "home/results/provenance.json": provenance,
        "provenance.json": provenance,
    }
    return LaunchPlan(
        request=request,
        session=session,
        notebook=converted,
        image=image,
        job=job,
        files=files,
        origins=origins,
    )


def _origin(wanted: NotebookSpec, spec: NotebookSpec, part: str) -> Origin:
    """Where the notebook, its requirements or the recipe came from, and the hash of what came."""
    file, address = getattr(spec, part), getattr(wanted, part)
    fetched = isinstance(address, Pinned)
    return {
        "url": sources.shown(address) if fetched else None,
        "revision": (spec.revision or None) if fetched and part == "notebook" else None,
        "file": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }


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


def _mirrored(reference: str, profile: ClusterProfile) -> str:
    """The reference by way of the profile's mirror of its registry, if there is one."""
    registry, _, rest = reference.partition("/")
    if not rest or not ("." in registry or ":" in registry or registry == "localhost"):
        registry, rest = "docker.io", reference if "/" in reference else f"library/{reference}"
    mirror = profile.registry_mirrors.get(registry)
    return f"{mirror}/{rest}" if mirror else f"{registry}/{rest}"


def _provenance(
    session: Session,
    spec: NotebookSpec,
    origins: dict[str, Origin],
    converted: Converted,
    image: ImagePlan,
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
        "image": {"file": image.image.name, "key": image.bundle.key if image.bundle else None},
        "gpus": session.gpus,
        "gpus_simulated": session.simulated,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSide:
    """What a launch does on this computer: keep its record, read the data. A rehearsal does neither."""

    save: Callable[[Session], None] = store.save
    forget: Callable[[str], None] = store.forget
    upload: Callable[[Remote, Path, PurePosixPath], object]


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
        image=plan.image.image,
        build_name=plan.image.build_name,
        data=request.cluster_data,
        job_script=render_job(plan.job),
    )
    _check(facts, plan)
    session = plan.session
    local.save(session)
    with _nothing_left_behind(remote, session, local) as ours:
        session = _provide_image(remote, plan, facts, teller, ours)
        if session.build_job_id is not None:
            local.save(session)
        job = dataclasses.replace(plan.job, depends_on=session.build_job_id)
        teller.say(f"submitting session {session.id}")
        files = {
            **plan.files,
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
    if facts.image_there:
        return
    if plan.image.bundle is None:
        raise probe.image_missing(plan.image.image, profile.name)
    if facts.free_bytes is not None and facts.free_bytes < ROOM_FOR_A_BUILD:
        raise RemoteError(
            f"the work folder {profile.work_dir} has {facts.free_bytes / 1024**3:.1f} GiB free; "
            f"building an image needs {ROOM_FOR_A_BUILD / 1024**3:.0f} GiB",
            hint=f"free some space there, or choose another `work_dir` in {profile.path or 'the profile'}",
        )


@dataclass(slots=True)
class _Ours:
    """What this launch has made on the cluster so far."""

    folders: list[PurePosixPath]
    jobs: list[int]


@contextlib.contextmanager
def _nothing_left_behind(remote: Remote, session: Session, local: LocalSide) -> Iterator[_Ours]:
    """Clears away what `_Ours` names when the block fails, and the record with it.

    A lost connection leaves both: whether the job was accepted is not known then, so it must stay on record.
    """
    ours = _Ours([], [])
    try:
        yield ours
    except SshError as error:
        error.hint = f"{error.hint}; `dl4mic-hpc ps` shows whether session {session.id} was submitted"
        raise
    except BaseException:
        with contextlib.suppress(Dl4micError):
            # By name too: an interrupt may have come between sbatch's answer and our reading it.
            remote.run("scancel", "--quiet", f"--name={session.job_name}")
            if ours.jobs:
                remote.run("scancel", "--quiet", *map(str, ours.jobs))
            remote.run("rm", "-rf", *map(str, ours.folders))
            local.forget(session.id)
        raise


def _provide_image(
    remote: Remote, plan: LaunchPlan, facts: ClusterFacts, teller: Teller, ours: _Ours
) -> Session:
    """The session with the job that its image waits for, if it has to wait for one."""
    session = plan.session
    if plan.image.bundle is None or (facts.image_there and plan.request.image != "build"):
        teller.detail(f"image {plan.image.image.name} is there")
        return session
    if facts.build_job is not None and facts.build_dir is not None:
        teller.detail(f"job {facts.build_job} is already building the image")
        return dataclasses.replace(session, build_job_id=facts.build_job, build_dir=facts.build_dir)
    profile = plan.request.profile
    build_dir = profile.work_dir / "builds" / f"{plan.image.bundle.key}-{session.id}"
    teller.say("submitting the build of the image")
    ours.folders.append(build_dir)
    spec = ensure.build_spec(profile, plan.image, build_dir=build_dir, again=plan.request.image == "build")
    job = ensure.submit_build(remote, spec, plan.image.bundle)
    ours.jobs.append(job)
    return dataclasses.replace(session, build_job_id=job, build_dir=build_dir)
