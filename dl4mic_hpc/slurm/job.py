"""What is asked of Slurm: values that the templates render, checked when they are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import PurePosixPath

from dl4mic_hpc.errors import UsageError
from dl4mic_hpc.profile import ClusterProfile, check_gpus
from dl4mic_hpc.slurm.weights import WeightsBind


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuRequest:
    """So many GPUs of one node, of one type where the site has several."""

    count: int
    type: str | None = None

    @classmethod
    def parse(cls, text: str) -> GpuRequest:
        """ "0", "2", "a100", "a100:2" or a MIG name; ValueError if it is none of these."""
        check_gpus(text)
        if text.isdigit():
            return cls(count=int(text))
        name, _, count = text.partition(":")
        return cls(count=int(count or 1), type=name)

    def __str__(self) -> str:
        return f"{self.type}:{self.count}" if self.type else str(self.count)

    def option(self, style: str) -> str | None:
        """The sbatch option in the profile's gres_style; None for no GPU (Slurm refuses an empty --gres)."""
        if not self.count:
            return None
        typed = ":".join(str(part) for part in (self.type, self.count) if part is not None)
        return f"--gres=gpu:{typed}" if style == "gres" else f"--{style}={typed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a job asks for; `time` as sbatch takes it, `mem` with Slurm's suffixes."""

    time: str
    mem: str
    cpus: int
    gpus: GpuRequest
    partition: tuple[str, ...] = ()
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    nodelist: str | None = None
    gres_style: str = "gres"
    extra: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        profile: ClusterProfile,
        *,
        gpus: str | None = None,
        time: str | None = None,
        partition: tuple[str, ...] = (),
    ) -> Resources:
        """The profile's resources, with what the command line says instead."""
        return cls(
            time=time or profile.time,
            mem=profile.mem,
            cpus=profile.cpus,
            gpus=GpuRequest.parse(gpus if gpus is not None else profile.default_gpus),
            partition=partition or profile.partition,
            account=profile.account,
            qos=profile.qos,
            constraint=profile.constraint,
            nodelist=profile.nodelist,
            gres_style=profile.gres_style,
            extra=profile.sbatch_extra,
        )

    @classmethod
    def of_build(cls, profile: ClusterProfile) -> Resources:
        """What the job that builds an image asks for: processors and memory, no GPU."""
        return cls(
            time=profile.build.time,
            mem=profile.build.mem,
            cpus=profile.build.cpus,
            gpus=GpuRequest(count=0),
            partition=profile.build.partition or profile.partition,
            account=profile.account,
            qos=profile.qos,
        )

    def options(self) -> tuple[str, ...]:
        """The sbatch options (https://slurm.schedmd.com/sbatch.html), always with nodes, tasks, time and memory."""
        named = {
            "--partition": ",".join(self.partition),
            "--account": self.account,
            "--qos": self.qos,
            "--constraint": self.constraint,
            "--nodelist": self.nodelist,
        }
        gpus = self.gpus.option(self.gres_style)
        return (
            "--nodes=1",
            "--ntasks=1",
            f"--cpus-per-task={self.cpus}",
            f"--mem={self.mem}",
            f"--time={self.time}",
            *(f"{option}={value}" for option, value in named.items() if value),
            *((gpus,) if gpus else ()),
            *self.extra,
        )


class JobExit(IntEnum):
    """With what job.sh ends where that means more than that something failed. Slurm takes 0 to 255."""

    NO_JUPYTERLAB = 70
    UNFIT = 78
    """The image's JupyterLab cannot show the notebook's forms."""
    CELL_FAILED = 81
    REFUSED = 82
    """The parameters or sections of a headless run, before anything of it was run."""
    NO_GPU = 83
    """The session computes on no GPU, or not on all, and was to end then (--require-gpu)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadlessJob:
    """A notebook that is run from top to bottom, without JupyterLab.

    `parameters`: a file beside the notebook, "" for the values in the notebook. `sections`: such as "1-3,5", "" for
    all.
    """

    notebook_file: str
    parameters: str = ""
    sections: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """The arguments of `python -m dl4mic_forms`, which runs it."""
        options = {"--parameters": self.parameters, "--sections": self.sections}
        # As one word each: a value may begin with a dash.
        return (
            *(f"{option}={value}" for option, value in options.items() if value),
            "--",
            self.notebook_file,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One session's job: everything that job.sh says.

    `data`: a folder of the cluster to be bound read-only at /home/data, or None where the data lies in the
    session. `depends_on`: the job that builds the image, if it has yet to be built. `headless`: None for JupyterLab.
    `front_end`: whether JupyterLab must be able to show forms. `content`: whether the notebook needs Colab's /content.
    `simulated`: whether the cluster's GPUs are there for Slurm only, which the notebook then says. `weights`: None if
    the notebook fetches none. `frameworks`: modules that have to compute on the GPUs ("tensorflow", "torch"); those
    that are installed if none is named. `require_gpu`: the session ends if they do not.
    """

    session_id: str
    submit_token: str
    session_dir: PurePosixPath
    image: PurePosixPath
    apptainer: str
    resources: Resources
    modules: tuple[str, ...] = ()
    pre_script: str = ""
    data: PurePosixPath | None = None
    depends_on: int | None = None
    headless: HeadlessJob | None = None
    front_end: bool = False
    content: bool = False
    simulated: bool = False
    weights: WeightsBind | None = None
    frameworks: tuple[str, ...] = ()
    require_gpu: bool = False

    @property
    def name(self) -> str:
        return f"dl4mic-{self.session_id}"


class BuildExit(IntEnum):
    """With what build.sh ends; its last line says why."""

    MODULE = 71
    NO_APPTAINER = 72
    NO_BUNDLE = 73
    NO_ROOM = 74
    FAILED = 78


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSpec:
    """The job that makes one image: from the bundle in `bundle_dir`, or by fetching `source`.

    `source`: what is fetched (docker://…, oras://…, library://…), or has been downloaded to the folder `downloaded`
    (oci:FOLDER, sif:FILE); None for a bundle, which `options` of `apptainer build` are for.
    `facts`: the first part of the image's record, JSON without its closing brace. `room`: bytes that unpacking needs,
    `plenty`: with which the first folder is taken rather than the one with most.
    `tmp_dir`: where, None for the first folder of the node that does. `plain_http`: the registry speaks no TLS.
    `site_files`: what the site's build environment gives (CA certificates, pip configuration, apt sources), path on
    the cluster by the name that the definition reads it under; `proxies`: the *_proxy variables; `ca_file`: the
    certificates that Apptainer itself trusts. None of them leaves a trace in the image. `replaces`: "SIZE:TIME" of
    an image (bytes, seconds since 1970) that is there and to be replaced; any other that is there will do.
    """

    key: str
    bundle_dir: PurePosixPath
    image: PurePosixPath
    cache_dir: PurePosixPath
    apptainer: str
    resources: Resources
    facts: str
    source: str | None = None
    downloaded: PurePosixPath | None = None
    options: tuple[str, ...] = ("--fakeroot",)
    room: int = 0
    plenty: int = 0
    tmp_dir: PurePosixPath | None = None
    plain_http: bool = False
    modules: tuple[str, ...] = ()
    pre_script: str = ""
    site_files: Mapping[str, PurePosixPath] = field(default_factory=dict)
    proxies: Mapping[str, str] = field(default_factory=dict)
    ca_file: PurePosixPath | None = None
    replaces: str = ""

    @property
    def name(self) -> str:
        return f"dl4mic-build-{self.key}"


def check_bind_path(path: PurePosixPath, *, what: str) -> PurePosixPath:
    """`path` if Apptainer can bind it: `:` and `,` separate the parts of a bind."""
    if ":" in str(path) or "," in str(path):
        raise UsageError(
            f"{what} {path} holds ':' or ',', which Apptainer cannot bind",
            hint="rename the folder on the cluster, or use another one",
        )
    return path
