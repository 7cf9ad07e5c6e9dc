"""A session: one launched notebook, from submit to results collected."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

from dl4mic_hpc.errors import UsageError

RECORD_VERSION = 1

# Without vowels and look-alikes: an id is read aloud, typed, and seen by others in squeue.
_ALPHABET = "bcdfghjkmnpqrstvwxz23456789"


def new_id() -> str:
    """Six characters that say nothing of people or data; the first is a letter."""
    return secrets.choice(_ALPHABET[:19]) + "".join(secrets.choice(_ALPHABET) for _ in range(5))


@dataclass(frozen=True, slots=True)
class SessionPaths:
    """Where a session's files lie on the cluster; the folder is 0700."""

    root: PurePosixPath

    @property
    def job_script(self) -> PurePosixPath:
        return self.root / "job.sh"

    @property
    def job_id(self) -> PurePosixPath:
        """sbatch's answer, written there by the same command that submits."""
        return self.root / "job.id"

    @property
    def home(self) -> PurePosixPath:
        """/home in the container."""
        return self.root / "home"

    @property
    def data(self) -> PurePosixPath:
        return self.home / "data"

    @property
    def results(self) -> PurePosixPath:
        return self.home / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What is known of a session. The last three fields are the laptop's alone.

    `created` is UTC in ISO 8601. `gpus` as asked for. `job_id` is None between the record's first writing,
    which is before sbatch, and sbatch's answer; `build_job_id` where an image had to be made for it, `build_ours`
    if its own launch submitted that job. `headless`: it runs its notebook by itself, without JupyterLab. `ended`:
    `stop` was here; the record stays for `results`.
    """

    id: str
    cluster: str
    notebook: str
    notebook_file: str
    created: str
    submit_token: str
    session_dir: PurePosixPath
    image: PurePosixPath
    gpus: str
    simulated: bool
    headless: bool = False
    build_dir: PurePosixPath | None = None
    build_job_id: int | None = None
    build_ours: bool = False
    job_id: int | None = None
    results: Path | None = None
    local_port: int | None = None
    ended: bool = False

    @property
    def paths(self) -> SessionPaths:
        return SessionPaths(self.session_dir)

    @property
    def job_name(self) -> str:
        return f"dl4mic-{self.id}"

    @property
    def gpus_in_words(self) -> str:
        """The GPUs asked for; a stand-in is never passed off as a GPU."""
        if self.gpus == "0":
            return "no GPU"
        return (
            f"{self.gpus} GPU, SIMULATED: nothing is computed on a GPU"
            if self.simulated
            else f"{self.gpus} GPU"
        )

    def as_record(self) -> dict[str, Any]:
        """The laptop's record."""
        values = {
            key: str(value) if isinstance(value, PurePosixPath | Path) else value
            for key, value in asdict(self).items()
        }
        return {"version": RECORD_VERSION, **values}

    def as_cluster_record(self) -> dict[str, Any]:
        """The same facts for the session's folder on the cluster, without the laptop's own."""
        record = self.as_record()
        for key in ("results", "local_port", "ended", "cluster"):
            del record[key]
        return record

    @classmethod
    def from_record(cls, record: dict[str, Any], *, where: str) -> Session:
        """A session from its record; UsageError where a later version of the program wrote it."""
        if record.get("version") != RECORD_VERSION:
            raise UsageError(
                f"{where} was written by another version of dl4mic-hpc (record version {record.get('version')})",
                hint="update dl4mic-hpc, then try again",
            )
        known = {field.name for field in fields(cls)}
        values = {key: value for key, value in record.items() if key in known}
        for key in ("session_dir", "image", "build_dir"):
            if values.get(key) is not None:
                values[key] = PurePosixPath(values[key])
        if values.get("results") is not None:
            values["results"] = Path(values["results"])
        try:
            return cls(**values)
        except TypeError as error:
            raise UsageError(
                f"{where} is damaged: {error}",
                hint=f"move {where} away; the session itself is on the cluster",
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class JupyterEndpoint:
    """Where a session's JupyterLab listens on its compute node. The token is in no repr."""

    node: str
    port: int
    token: str

    def __repr__(self) -> str:
        return f"JupyterEndpoint(node={self.node!r}, port={self.port})"
