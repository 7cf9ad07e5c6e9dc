"""The image of a session: chosen by what the cluster has, and made if it has to be.

What asks registries is imported only where an image is missing: a launch with its image there need not wait for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from dl4mic_hpc.errors import RegistryError, RemoteError, UsageError
from dl4mic_hpc.images import choice as choices
from dl4mic_hpc.images.choice import Choice, Wish
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.remote import Remote, Teller
from dl4mic_hpc.sessions import listing
from dl4mic_hpc.sessions.probe import ClusterFacts
from dl4mic_hpc.sessions.session import Session
from dl4mic_hpc.slurm import answers

if TYPE_CHECKING:
    from dl4mic_hpc.images.ensure import Making
    from dl4mic_hpc.images.fitness import Fitness
    from dl4mic_hpc.sources.registry import Found

ROOM = 2 * 1024**3
"""Bytes that must be free in the work folder before an image is made; finished images take 0.5 to 12 GB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provided:
    """`found`: what the registry says, where it was asked."""

    choice: Choice
    found: Found | None = None

    def as_json(self) -> dict[str, Any]:
        """For the provenance: what is known of the image before the job runs."""
        record = self.choice.record
        source = record.source if record is not None else None
        reference = (
            source.reference if source else self.choice.wish.published if self.choice.kind == "pull" else ""
        )
        digest = source.digest if source else self.found.digest if self.found else ""
        return {
            "file": self.choice.image.name,
            "how": self.choice.kind,
            "reason": self.choice.reason,
            "reference": reference or None,
            "digest": digest or None,
            "sha256": record.sha256 if record is not None else None,
        }


LookUp = Callable[[Remote, ClusterProfile, str, str], "Found | None"]
"""From a reference and the nodes' platform to what a registry says of it."""


def look_up(remote: Remote, profile: ClusterProfile, reference: str, platform: str) -> Found | None:
    """None where an image cannot be asked for before the pull (library://)."""
    from dl4mic_hpc.images import published

    if published.source(reference).kind == "library":
        return None
    return published.look_up(remote, profile, reference, platform=platform)


def choose(
    remote: Remote,
    profile: ClusterProfile,
    wish: Wish,
    facts: ClusterFacts,
    teller: Teller,
    *,
    look_up: LookUp = look_up,
) -> Provided:
    """Which image, told to the user with its reason. ImageError where none can be had."""
    found: list[Found | None] = []

    def ask(reference: str) -> str:
        from dl4mic_hpc.images import fitness, published

        teller.say(f"asking the registry for {reference}")
        known = fitness.recall(facts.fitness)
        platform = known.platform if known is not None else published.PLATFORM
        try:
            found.append(look_up(remote, profile, reference, platform))
        except RegistryError as problem:
            if problem.reason == "absent":
                return problem.message
            raise
        return ""

    choice = choices.choose(wish, facts.images, profile, user=facts.user, ask=ask)
    for note in choice.notes:
        teller.note(note)
    if choice.kind == "there":
        teller.note(f"image: {choice.image.name}, {choice.reason}")
    if choice.kind != "there" and facts.free_bytes is not None and facts.free_bytes < ROOM:
        raise RemoteError(
            f"the work folder {profile.work_dir} has {facts.free_bytes / 1024**3:.1f} GiB free; "
            f"an image needs {ROOM / 1024**3:.0f} GiB or more",
            hint="`dl4mic-hpc image prune` clears away old ones; or choose another `work_dir` in "
            f"{profile.path or 'the profile'}",
        )
    return Provided(choice=choice, found=found[0] if found else None)


def make(
    remote: Remote,
    profile: ClusterProfile,
    provided: Provided,
    facts: ClusterFacts,
    teller: Teller,
    *,
    fit: Fitness | None = None,
    replaces: str = "",
) -> Making | None:
    """The job that the session has to wait for; None if its image is there.

    `replaces`: "SIZE:TIME" of an image that is there and to be made anew.
    """
    choice = provided.choice
    if choice.kind == "there":
        return None
    what = "pulled" if choice.kind == "pull" else "built from its recipe"
    teller.note(f"image: {choice.image.name} is not there yet; it is {what}: {choice.reason}")
    from dl4mic_hpc.images import ensure, fitness

    if choice.replaces:
        refuse_if_used(remote, profile, choice.image)
    making = ensure.make(
        remote,
        profile,
        choice,
        found=provided.found,
        fit=fit
        or fitness.recall(
            facts.fitness, apptainer="" if facts.apptainer == "there" else facts.apptainer or ""
        ),
        teller=teller,
        replaces=replaces,
    )
    if making is not None and not making.ours:
        teller.note(f"job {making.job_id} is already making the image")
    return making


def cancel(remote: Remote, job: int, build_dir: PurePosixPath | None, *, but_for: int | None) -> bool:
    """Cancels the job that makes an image, unless another session waits for it, or nobody can tell.

    A launch that joined it may still be copying its data: it has left a mark in the job's folder.
    """
    answer = remote.run(*answers.DEPENDENTS_COMMAND)
    joined = build_dir is not None and remote.run("test", "-e", f"{build_dir}/joined").exit_code == 0
    if answer.exit_code or joined or answers.parse_dependents(answer.stdout, job) - {but_for}:
        return False
    remote.run("scancel", "--quiet", str(job))
    if build_dir is not None:
        remote.run("rm", "-f", f"{build_dir}/login")
    return True


def refuse_if_used(remote: Remote, profile: ClusterProfile, image: PurePosixPath) -> None:
    """On a network disk a file that is replaced under a running session is lost to it."""
    rows = [row for row in listing.states(remote, profile) if row.state != "gone"]
    users = [row.session.id for row in rows if row.session.image == image]
    if users:
        raise UsageError(
            f"the image {image.name} is in use by session {', '.join(users)}, and would be replaced",
            hint=f"end it first: dl4mic-hpc stop {users[0]}",
        )


def require_made(remote: Remote, profile: ClusterProfile, session: Session) -> None:
    """ImageError, with the job's own words, if the job that made the session's image did not end well."""
    from dl4mic_hpc.images import failures

    last = remote.get(PurePosixPath(f"{session.build_dir}/exit.json"))
    if last is not None and json.loads(last).get("exit_code") == 0:
        return
    log = f"{session.build_dir}/build.log"
    tail = remote.run("tail", "-n", str(failures.LINES), log).stdout
    raise failures.explain(tail, job=session.build_job_id, where=f"{log} on {profile.name}")
