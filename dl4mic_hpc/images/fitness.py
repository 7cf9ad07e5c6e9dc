"""What the cluster can do for images: looked at once, remembered in the work folder, decided by."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from dl4mic_hpc.errors import Dl4micError
from dl4mic_hpc.images import looking, verdicts
from dl4mic_hpc.images.place import Place
from dl4mic_hpc.images.verdicts import Verdict
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.remote import Remote, Teller

Internet = Literal["nodes", "login", "laptop"]
Pulls = Literal["node", "node from login", "node from laptop", "login"]

VERSION = 1
KEPT = 30 * 24 * 3600.0
"""Seconds for which a look is good."""
KEPT_WITHOUT_NODE = 3600.0
"""The same where no compute node has answered, as one will another time."""
PATIENCE = 60.0
"""Seconds that a look waits for a compute node."""

_PLATFORMS = {"x86_64": "amd64", "aarch64": "arm64"}
_HUB = "docker.io"
_ADDRESSES = {_HUB: "registry-1.docker.io"}
"""Where a registry answers elsewhere than its name says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why something cannot be done on this cluster, and what to do about it."""

    reason: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitness:
    """The login node and a compute node; `no_node` says why none answered. `looked`: seconds since the epoch.

    `corrected`: from where registries can be reached, as a job found out that was told otherwise; "" if none was.
    """

    login: Place
    node: Place | None
    looked: float
    no_node: str = ""
    corrected: Literal["", "nodes", "login", "laptop"] = ""

    @property
    def builder(self) -> Place:
        """The machine whose facts count for jobs: the compute node, or the login node as long as none has answered."""
        return self.node or self.login

    @property
    def internet(self) -> Internet:
        """From where registries can be reached; `build: internet` in the profile goes before it.

        A registry that nobody reaches says nothing, it may be down, unless it is the only one. As long as no compute
        node has answered, they are taken to reach what the login node does; the job notices if not (`correct`).
        """
        if self.corrected:
            return self.corrected
        on_login, on_node = self.login.reached, self.builder.reached
        up = {name for name in (*on_login, *on_node) if on_login.get(name) or on_node.get(name)}
        if up and all(on_node.get(name) for name in up):
            return "nodes"
        if up and all(on_login.get(name) for name in up):
            return "login"
        return "laptop"

    @property
    def platform(self) -> str:
        """The platform of the compute nodes as registries name it, such as "linux/amd64"."""
        machine = self.builder.machine or "x86_64"
        return f"linux/{_PLATFORMS.get(machine, machine)}"

    @property
    def build_options(self) -> tuple[str, ...]:
        """The options of `apptainer build` with which a job can build a recipe; none where it cannot."""
        return verdicts.recipes(self.builder).options

    def refuses_builds(self) -> Refusal | None:
        """Why no recipe can be built by a job, or None if it can."""
        verdict = verdicts.recipes(self.builder).verdict
        return None if self.build_options else Refusal(reason=verdict.reason, hint=verdict.hint)

    def explain(self, profile: ClusterProfile) -> list[Verdict]:
        """Everything in words, in the order in which a launch meets it."""
        return [
            verdicts.program(self.node) if self.node else _no_node(self.no_node),
            self.fetching(profile),
            verdicts.unpacking(self.builder, profile.build.tmp_dir)[1],
            verdicts.recipes(self.builder).verdict,
            verdicts.start(self.builder),
            verdicts.space(self.login, profile.work_dir),
        ]

    def pulls(self, profile: ClusterProfile) -> Pulls:
        """Who fetches and converts a published image.

        The job on a compute node does both, or only converts what the login node or this computer has fetched; the
        login node does both only where the profile allows it and compute nodes have no internet.
        """
        internet = self.internet if profile.build.internet == "auto" else profile.build.internet
        if internet == "nodes":
            return "node"
        if internet == "login":
            return "login" if profile.build.on_login_node else "node from login"
        return "node from laptop"

    def fetching(self, profile: ClusterProfile) -> Verdict:
        """Who fetches images, and why, in words."""
        what, pulls = "fetching images", self.pulls(profile)
        reason = _PULLS[pulls]
        if profile.build.internet != "auto":
            reason = f"{reason}, as the profile says (build: internet)"
        elif self.corrected:
            reason = f"{reason}, as a job has found out"
        elif self.node is None:
            reason = f"{reason}, as far as the login node knows"
        unreached = [name for name, reached in self.builder.reached.items() if not reached]
        if unreached:
            reason = f"{reason}; not reached from {self.builder.node}: {', '.join(unreached)}"
        if pulls == "node":
            return Verdict(what=what, grade="ok", reason=reason)
        return Verdict(
            what=what,
            grade="warning",
            reason=f"{reason}; recipes cannot be built by a job",
            hint="if the site has a proxy, name it in `build: environment: proxies` of the profile",
        )

    def as_json(self) -> dict[str, Any]:
        """As it is remembered."""
        return {"version": VERSION, **dataclasses.asdict(self)}


_PULLS: dict[Pulls, str] = {
    "node": "by the job on a compute node",
    "node from login": "by the login node, for the job: compute nodes have no internet",
    "node from laptop": "by this computer, for the job: the cluster has no internet",
    "login": "on the login node, as the profile allows: compute nodes have no internet",
}


def _no_node(why: str) -> Verdict:
    return Verdict(
        what="a compute node",
        grade="not checked",
        reason=f"{why}; what the login node says is taken for it",
        hint="`dl4mic-hpc cluster check --fresh` asks again",
    )


def path(profile: ClusterProfile) -> PurePosixPath:
    """Where it is remembered."""
    return profile.work_dir / "cluster.json"


def recall(text: str, *, apptainer: str = "", now: float | None = None) -> Fitness | None:
    """What is remembered, from the text of cluster.json; None if it is damaged, of another version or too old.

    `apptainer`: the login node's version line of today, where it is known: another one than then is a new cluster.
    """
    import pydantic  # here: not every launch has to look

    try:
        values = json.loads(text)
        if not isinstance(values, dict) or values.pop("version", None) != VERSION:
            return None
        found = pydantic.TypeAdapter(Fitness).validate_python(values)
    except ValueError:
        return None
    age = (time.time() if now is None else now) - found.looked
    sure = found.node is not None and not found.corrected
    if not -3600 < age < (KEPT if sure else KEPT_WITHOUT_NODE):
        return None
    return None if apptainer and apptainer != found.login.version else found


def registries(profile: ClusterProfile, *others: str) -> dict[str, str]:
    """The address of every registry to ask for: Docker Hub's and the `others`, or their mirrors by the profile."""
    found = {}
    for name in (_HUB, *others):
        host = profile.registry_mirrors.get(name, name).partition("/")[0]
        scheme = "http" if host in profile.insecure_registries else "https"
        found[host] = f"{scheme}://{_ADDRESSES.get(host, host)}/v2/"
    return found


def look(
    remote: Remote,
    profile: ClusterProfile,
    teller: Teller,
    *,
    registries: tuple[str, ...] = (),
    patience: float = PATIENCE,
) -> Fitness:
    """Asks the login node and a compute node, for which it waits at most about `patience` seconds, and remembers it.

    `registries`: names as in references ("ghcr.io"), beside Docker Hub; mirrors of the profile take their place.
    RemoteError if the login node does not answer or the work folder cannot be written to.
    """
    teller.say("asking the cluster what it can do for images")
    asked = looking.ask(remote, profile, teller, _addresses(profile, *registries), patience=patience)
    found = Fitness(login=asked.login, node=asked.node, no_node=asked.no_node, looked=time.time())
    _remember(remote, profile, found)
    return found


_addresses = registries


def correct(remote: Remote, profile: ClusterProfile, *, internet: Internet) -> Fitness | None:
    """Remembers that registries are reached from there, as a job that could not reach any has found out.

    It counts for an hour: what was down may be up again. None where nothing is remembered: then the next launch looks
    anyway.
    """
    text = remote.get(path(profile))
    found = recall(text.decode("utf-8", "replace")) if text else None
    if found is None:
        return None
    found = dataclasses.replace(found, corrected=internet, looked=time.time())
    _remember(remote, profile, found)
    return found


def _remember(remote: Remote, profile: ClusterProfile, found: Fitness) -> None:
    """What cannot be remembered is asked again."""
    with contextlib.suppress(Dl4micError):
        remote.put(path(profile), json.dumps(found.as_json(), separators=(",", ":")).encode() + b"\n")
