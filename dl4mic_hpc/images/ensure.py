"""The image of a session is on the cluster when its job starts: found there, or made by a job of its own.

Who makes an image takes its lock and submits; who comes later waits for the same job. A lock whose job Slurm no
longer has is nobody's.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from dl4mic_hpc import resources
from dl4mic_hpc.errors import Dl4micError, ImageError, RegistryError, RemoteError
from dl4mic_hpc.images import failures, fitness, offline, published, verdicts
from dl4mic_hpc.images.choice import Choice
from dl4mic_hpc.images.fitness import Fitness
from dl4mic_hpc.images.record import Source
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.recipe.bundle import Bundle
from dl4mic_hpc.remote import CommandResult, Remote, Teller, stage
from dl4mic_hpc.slurm import reasons
from dl4mic_hpc.slurm.job import BuildSpec, Resources
from dl4mic_hpc.slurm.render import render_build
from dl4mic_hpc.sources.registry import Found

ROOM_FOR_A_BUILD = 2 * 1024**3
"""Bytes that a compute node must have free for a recipe, of which nobody knows beforehand how much it unpacks."""
_UNPACKED = 3
"""How many times the compressed size of its layers an image needs while it is converted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """The job that makes an image. `ours`: this call has submitted it."""

    job_id: int
    build_dir: PurePosixPath
    ours: bool


def make(
    remote: Remote,
    profile: ClusterProfile,
    choice: Choice,
    *,
    found: Found | None,
    fit: Fitness | None,
    teller: Teller,
    replaces: str = "",
) -> Making | None:
    """Submits the job that makes the chosen image, or joins the one that does; None if it is there meanwhile.

    `found`: the image in its registry, for a pull of one that can be looked up. ImageError where the cluster cannot.
    When it raises, nothing is left on the cluster but blobs that were downloaded whole.
    """
    fit = fit or fitness.look(remote, profile, teller, registries=_registries(choice))
    fetching = fit.fetching(profile)
    teller.note(f"{fetching.what}: {fetching.reason}")
    at_login = fit.pulls(profile) == "login"
    build_dir = profile.work_dir / "builds" / f"{_key(choice)}-{secrets.token_hex(3)}"
    files: dict[str, bytes] = {}
    if choice.kind == "pull":
        spec = _pull_spec(remote, profile, choice, found, fit, teller, build_dir, at_login=at_login)
        login = None if spec.downloaded else published.login_file(profile, choice.wish.published)
    else:
        spec = _build_spec(profile, choice, fit, build_dir, at_login=at_login)
        assert choice.wish.bundle is not None
        files |= {
            str(path): content.read_bytes() if isinstance(content, Path) else content
            for path, content in choice.wish.bundle.contents()
        }
        login = _login_for_bases(profile, choice.wish.bundle)
    spec = replace(spec, replaces=replaces or choice.replaces)
    # The bundle's own script builds for whoever has the folder; here a job does.
    files["build.sh"] = render_build(spec).encode()
    if login is not None:
        files["login"] = login
    what = "fetches" if choice.kind == "pull" else "builds"
    if at_login:
        _on_login_node(remote, spec, files, teller)
        return None
    teller.say(f"submitting the job that {what} the image")
    return _submit(remote, spec, files)


def _on_login_node(remote: Remote, spec: BuildSpec, files: dict[str, bytes], teller: Teller) -> None:
    """Runs the job's script on the login node, as the profile allows it: as the last in line, and while we watch."""
    teller.say("making the image on the login node, as the profile allows it")
    _stage(remote, spec, files)
    script = 'cd "$1" && nice -n 19 bash -l build.sh 2>&1 | tee build.log'
    with remote.start("sh", "-c", script, "build", str(spec.bundle_dir)) as process:
        process.close_stdin()
        while chunk := process.read():
            for line in chunk.decode("utf-8", "replace").split("\n"):
                teller.detail(line.strip())
        with contextlib.suppress(TimeoutError):  # exit.json tells
            process.wait(timeout=60)
    last = remote.get(spec.bundle_dir / "exit.json")
    if last is None or json.loads(last).get("exit_code"):
        log = spec.bundle_dir / "build.log"
        tail = remote.run("tail", "-n", str(failures.LINES), str(log)).stdout
        raise failures.explain(tail, job=None, where=f"{log} on {remote.cluster}")


def _key(choice: Choice) -> str:
    return choice.image.stem.rpartition("-")[2]


def _spec(profile: ClusterProfile, choice: Choice, *, build_dir: PurePosixPath, facts: str) -> BuildSpec:
    return BuildSpec(
        key=_key(choice),
        bundle_dir=build_dir,
        image=choice.image,
        cache_dir=profile.work_dir / "cache" / "apptainer",
        apptainer=profile.apptainer,
        resources=Resources.of_build(profile),
        facts=facts,
        tmp_dir=profile.build.tmp_dir,
        modules=profile.modules,
        pre_script=profile.pre_script,
        proxies=profile.build.environment.proxies,
        ca_file=profile.build.environment.ca_file,
    )


def _facts(choice: Choice, source: Source, *, cuda: str) -> str:
    """The first part of the record: what is known before the image is made."""
    known = {
        "version": 1,
        "key": _key(choice),
        "name": choice.wish.name,
        "source": {"kind": source.kind, "reference": source.reference, "digest": source.digest},
        "cuda": cuda,
    }
    return json.dumps(known).removesuffix("}")


def _pull_spec(
    remote: Remote,
    profile: ClusterProfile,
    choice: Choice,
    found: Found | None,
    fit: Fitness,
    teller: Teller,
    build_dir: PurePosixPath,
    *,
    at_login: bool,
) -> BuildSpec:
    wanted = published.source(choice.wish.published)
    internet = profile.build.internet if profile.build.internet != "auto" else fit.internet
    source = Source(
        kind=wanted.kind, reference=wanted.reference, digest=found.digest if found is not None else ""
    )
    spec = _spec(profile, choice, build_dir=build_dir, facts=_facts(choice, source, cuda=choice.wish.cuda))
    if found is not None:
        spec = replace(spec, room=found.size * (_UNPACKED if found.kind == "image" else 0))
    if internet == "nodes" or at_login:
        address = found.address if found is not None else wanted.address
        host = wanted.reference.partition("/")[0]
        insecure = found.insecure if found is not None else host in profile.insecure_registries
        return replace(spec, source=address, plain_http=insecure)
    if found is None:
        raise ImageError(
            f"the compute nodes of {profile.name} have no internet, and only they could fetch {wanted.address}",
            hint="fetch it on a computer that has internet (`apptainer pull`), copy it up, and give it with --image",
        )
    folder = profile.work_dir / "cache" / "layouts" / found.digest.replace(":", "-")
    teller.say(f"fetching {wanted.reference}, as the compute nodes of {profile.name} have no internet")
    try:
        offline.fetch(remote, profile, found, internet=internet, folder=folder, teller=teller)
    except RegistryError as problem:
        if problem.reason != "silent" or internet == "laptop":
            raise
        teller.say(f"fetching {wanted.reference} by this computer, as the login node gets no answer")
        offline.fetch(remote, profile, found, internet="laptop", folder=folder, teller=teller)
    if found.kind == "sif":
        return replace(
            spec, source=f"sif:{folder}/blobs/{found.layers[0].digest.replace(':', '/')}", downloaded=folder
        )
    return replace(spec, source=f"oci:{folder}", downloaded=folder)


def _login_for_bases(profile: ClusterProfile, bundle: Bundle) -> bytes | None:
    """Apptainer's variables hold for every registry: they are given only where all base images come from one."""
    references = [base["reference"] for base in json.loads(bundle.manifest)["bases"]]
    return published.login_file(profile, references[0]) if len(_hosts(profile, bundle)) == 1 else None


def _hosts(profile: ClusterProfile, bundle: Bundle) -> set[str]:
    """The registries that a build asks: mirrors in the place of those that have one."""
    names = {
        published.source(base["reference"]).reference.partition("/")[0]
        for base in json.loads(bundle.manifest)["bases"]
    }
    return {profile.registry_mirrors.get(name, name).partition("/")[0] for name in names}


def _registries(choice: Choice) -> tuple[str, ...]:
    """The registry that the image needs beside Docker Hub, which is always looked for."""
    if choice.kind == "build" or published.source(choice.wish.published).kind == "library":
        return ()
    return (published.source(choice.wish.published).reference.partition("/")[0],)


def _build_spec(
    profile: ClusterProfile, choice: Choice, fit: Fitness, build_dir: PurePosixPath, *, at_login: bool
) -> BuildSpec:
    """The job for a recipe, with the site's build environment given from outside. ImageError where none can be run."""
    internet = profile.build.internet if profile.build.internet != "auto" else fit.internet
    name = choice.wish.name
    if internet != "nodes" and not at_login:
        raise ImageError(
            f"the image of {name} cannot be built on {profile.name}: its compute nodes have no internet, "
            "and a recipe installs its programs from there",
            hint=f"on a computer with Apptainer and internet: dl4mic-hpc image build {name} --here --cluster {profile.name}; "
            f"if they do have internet: dl4mic-hpc cluster check {profile.name} --fresh",
        )
    refused = None if at_login else fit.refuses_builds()
    if refused:
        raise ImageError(
            f"the image of {name} cannot be built on {profile.name}: {refused.reason}", hint=refused.hint
        )
    bundle = choice.wish.bundle
    assert bundle is not None
    environment = profile.build.environment
    site_files = {
        "ca-certificates.crt": environment.ca_file,
        "pip.conf": environment.pip_config,
        _apt_sources_name(environment.apt_sources): environment.apt_sources,
        "apt.conf": environment.apt_options,
    }
    digest = f"sha256:{hashlib.sha256(bundle.manifest).hexdigest()}"
    facts = _facts(choice, Source(kind="recipe", digest=digest), cuda=choice.wish.cuda)
    return replace(
        _spec(profile, choice, build_dir=build_dir, facts=facts),
        site_files={name: path for name, path in site_files.items() if path is not None},
        plain_http=any(host in profile.insecure_registries for host in _hosts(profile, bundle)),
        options=verdicts.recipes(fit.login).options if at_login else fit.build_options,
        room=ROOM_FOR_A_BUILD,
        plenty=verdicts.ROOM,
    )


def _apt_sources_name(path: PurePosixPath | None) -> str:
    """apt tells its two formats apart by the name (sources.list(5))."""
    return "sources.list" if path is not None and path.suffix == ".list" else "apt.sources"


def _submit(remote: Remote, spec: BuildSpec, files: dict[str, bytes]) -> Making | None:
    """Stages the job's folder, takes the lock and submits; or joins the job that has the lock."""
    script = resources.data("templates", "image_lock.sh").read_text(encoding="utf-8")
    lock = ("bash", "-c", script, "image_lock", str(spec.image), str(spec.bundle_dir))
    result = _stage(remote, spec, files, then=(*lock, spec.replaces))
    if result.exit_code:
        remote.run("rm", "-rf", str(spec.bundle_dir))
        if result.exit_code in _LOCKED:
            raise RemoteError(
                f"the image cannot be made: {result.stderr.strip()}",
                hint=f"see that nobody has {spec.image.parent} write-protected, then try again",
            )
        raise reasons.explain_refusal(result.stderr, spec.resources, cluster=remote.cluster)
    for line in reversed(result.stdout.splitlines()):
        state, *words = line.split("\t")
        if state == "there":
            return None
        if state in ("submitted", "building") and len(words) == 2 and words[0].isdigit():
            folder = PurePosixPath(words[1] or spec.bundle_dir)
            return Making(job_id=int(words[0]), build_dir=folder, ours=state == "submitted")
    raise RemoteError(
        f"the cluster's answer was cut short: {result.stdout.strip()[-200:]!r}",
        hint="`dl4mic-hpc ps` shows whether the job was submitted; try again",
    )


_LOCKED = (97, 98)


def _stage(
    remote: Remote, spec: BuildSpec, files: dict[str, bytes], then: tuple[str, ...] = ()
) -> CommandResult:
    folders = tuple(sorted({str(PurePosixPath(name).parent) for name in files} - {"."}))
    try:
        return stage(remote, spec.bundle_dir, files, folders=folders, then=then)
    except BaseException:
        with contextlib.suppress(Dl4micError):
            # Unless Slurm has taken the job: then its log will be wanted.
            remote.run("sh", "-c", '[ -e "$1/job.id" ] || rm -rf "$1"', "sh", str(spec.bundle_dir))
        raise


def heard(remote: Remote, profile: ClusterProfile, log: str) -> None:
    """Remembers what the log of a failed job tells of the cluster: that its node reached no network."""
    if failures.no_network(log):
        with contextlib.suppress(Dl4micError):
            fitness.correct(remote, profile, internet="login")
