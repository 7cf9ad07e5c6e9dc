"""An image made for its own sake, with no session that waits for it: submitted, followed to its end, or built here."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from dl4mic_hpc import resources
from dl4mic_hpc.images import choice as choices
from dl4mic_hpc.images import ensure, failures
from dl4mic_hpc.images.choice import Wish
from dl4mic_hpc.images.ensure import Making
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.remote import Remote, Teller
from dl4mic_hpc.sessions import probe, provide
from dl4mic_hpc.sessions.probe import ClusterFacts
from dl4mic_hpc.sessions.watch import job_states


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """`making`: None for an image that is there."""

    image: PurePosixPath
    making: Making | None


def begin(remote: Remote, profile: ClusterProfile, wish: Wish, teller: Teller, *, renew: bool) -> Begun:
    """Submits the job that makes the image, if it is not there. `renew`: also if it is, unless it would be the same."""
    facts = _look(remote, profile, wish, teller)
    old = (
        next(filter(None, (facts.images.get(place) for place in wish.places(profile))), None)
        if renew
        else None
    )
    if renew:
        facts = replace(facts, images={})
    provided = provide.choose(remote, profile, wish, facts, teller)
    digest = provided.found.digest if provided.found is not None else ""
    if old is not None and old.path == provided.choice.image:
        same = bool(digest) and old.record is not None and old.record.source.digest == digest
        if same and not choices.unusable(old, profile, user=facts.user):
            teller.note(f"the tag still stands for {digest}")
            return Begun(image=old.path, making=None)
        provide.refuse_if_used(remote, profile, old.path)
    making = provide.make(
        remote, profile, provided, facts, teller, replaces=old.stamp if old is not None else ""
    )
    return Begun(image=provided.choice.image, making=making)


def follow(remote: Remote, profile: ClusterProfile, begun: Begun, write: Callable[[bytes], None]) -> None:
    """Hands on what the job prints, to its end. ImageError if it ends without the image."""
    making = begun.making
    assert making is not None
    last = _follow(remote, making, write)
    if last is not None and last.get("exit_code") == 0:
        return
    state = job_states(remote, [making.job_id]).get(making.job_id)
    log = making.build_dir / "build.log"
    tail = remote.run("tail", "-n", str(failures.LINES), str(log)).stdout
    ensure.heard(remote, profile, tail)
    raise failures.explain(
        tail,
        job=making.job_id,
        state=state.state if state is not None else "",
        where=f"{log} on {remote.cluster}",
    )


def _follow(remote: Remote, making: Making, write: Callable[[bytes], None]) -> dict[str, object] | None:
    script = resources.data("templates", "logs.sh").read_text(encoding="utf-8")
    words = (str(making.build_dir), "", "follow", str(making.job_id), "build.log")
    with remote.start("sh", "-c", script, "logs", *words) as process:
        process.close_stdin()
        while chunk := process.read():
            write(chunk)
        with contextlib.suppress(TimeoutError):  # exit.json tells
            process.wait(timeout=60)
    last = remote.get(making.build_dir / "exit.json")
    return dict(json.loads(last)) if last else None


def here(
    remote: Remote, profile: ClusterProfile, wish: Wish, teller: Teller, *, again: bool
) -> tuple[PurePosixPath, bool]:
    """Builds the image on this computer and copies it to the cluster; its place, and whether that was necessary."""
    from dl4mic_hpc.images import local, upload

    facts = _look(remote, profile, wish, teller)
    assert wish.bundle is not None
    image = next(wish.places(profile))
    seen = facts.images.get(image)
    if seen is not None and not again and not choices.unusable(seen, profile, user=facts.user):
        return image, False
    if seen is not None:
        provide.refuse_if_used(remote, profile, image)
    with tempfile.TemporaryDirectory(prefix="dl4mic-hpc-") as folder:
        file = Path(folder, image.name)
        teller.say("building the image on this computer")
        local.build_bundle(wish.bundle, file, said=teller.detail)
        teller.say(f"copying the image to {profile.name}")
        upload.image(remote, file, image, wish=wish, apptainer=local.version(), teller=teller)
    return image, True


def _look(remote: Remote, profile: ClusterProfile, wish: Wish, teller: Teller) -> ClusterFacts:
    teller.say(f"looking at {profile.name}")
    facts = probe.probe(remote, profile, images=tuple(wish.places(profile)))
    facts.require(profile)
    return facts
