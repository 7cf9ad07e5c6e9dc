"""The image of a session: found on the cluster, or built there by a job of its own.

The key is computed here from what goes into the image (recipe, context, base references), so finding a
cached image needs no network and no question to a registry.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.recipe.bundle import Bundle
from dl4mic_hpc.remote import Remote, stage
from dl4mic_hpc.slurm import answers, reasons
from dl4mic_hpc.slurm.job import BuildSpec, Resources
from dl4mic_hpc.slurm.render import render_build


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePlan:
    """An image and how it comes to be: `bundle` is what a build needs, None for an image that is simply there."""

    image: PurePosixPath
    bundle: Bundle | None = None

    @property
    def build_name(self) -> str:
        """The name of the job that builds it; two launches find each other's build by it."""
        return f"dl4mic-build-{self.bundle.key}" if self.bundle else ""


def plan(profile: ClusterProfile, *, name: str, bundle: Bundle) -> ImagePlan:
    """The image that `bundle` gives, at its place in the work folder."""
    return ImagePlan(image=profile.work_dir / "images" / f"{name}-{bundle.key}.sif", bundle=bundle)


def build_spec(
    profile: ClusterProfile, image: ImagePlan, *, build_dir: PurePosixPath, again: bool
) -> BuildSpec:
    """The build job of an image, with the site's build environment given from outside."""
    assert image.bundle is not None
    environment = profile.build.environment
    site_files = {
        "ca-certificates.crt": environment.ca_file,
        "pip.conf": environment.pip_config,
        _apt_sources_name(environment.apt_sources): environment.apt_sources,
        "apt.conf": environment.apt_options,
    }
    return BuildSpec(
        key=image.bundle.key,
        bundle_dir=build_dir,
        image=image.image,
        cache_dir=profile.work_dir / "cache" / "apptainer",
        apptainer=profile.apptainer,
        resources=Resources.of_build(profile),
        manifest_sha256=hashlib.sha256(image.bundle.manifest).hexdigest(),
        modules=profile.modules,
        pre_script=profile.pre_script,
        site_files={name: path for name, path in site_files.items() if path is not None},
        proxies=environment.proxies,
        insecure=bool(profile.insecure_registries),
        again=again,
    )


def _apt_sources_name(path: PurePosixPath | None) -> str:
    """apt tells its two formats apart by the name (sources.list(5))."""
    return "sources.list" if path is not None and path.suffix == ".list" else "apt.sources"


def submit_build(remote: Remote, spec: BuildSpec, bundle: Bundle) -> int:
    """Stages the bundle and submits the job that builds it; its job id."""
    files = {
        str(path): content.read_bytes() if isinstance(content, Path) else content
        for path, content in bundle.contents()
    }
    # The bundle's own script builds for whoever has the folder; here a job does.
    files["build.sh"] = render_build(spec).encode()
    folders = tuple(sorted({str(path.parent) for path in bundle.files} - {"."}))
    then = answers.sbatch_command(spec.bundle_dir, "build.sh")
    result = stage(remote, spec.bundle_dir, files, folders=folders, then=then)
    if result.exit_code:
        remote.run("rm", "-rf", str(spec.bundle_dir))
        raise reasons.explain_refusal(result.stderr, spec.resources, cluster=remote.cluster)
    return answers.parse_sbatch(result.stdout)
