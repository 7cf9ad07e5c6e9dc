"""One look at the folders with images: one command on the cluster, and its answer as a `Shelf`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from dl4mic_hpc import resources
from dl4mic_hpc.errors import RemoteError
from dl4mic_hpc.images import record as records
from dl4mic_hpc.images.record import Entry
from dl4mic_hpc.images.shelf import Folder, Image, Leftover, Shelf, User
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.remote import Remote

DAY = 24 * 3600
"""Seconds for which a leftover that names no job is left alone: somebody may still be filling it."""

LOCKED = 300
"""Seconds after which a lock that names no job holds nobody back: a launch submits its job in less."""

QUIET = 600
"""Seconds for which half an image has to rest: on a login node a process makes it, of which Slurm knows nothing."""

_NAME = re.compile(r"(?P<name>.+)-(?P<key>[0-9a-f]{16})\.(?P<rest>.+)")
_SLURM_HINT = "try again in some minutes; if it lasts, ask the cluster's support"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A pending or running job of the user's, as squeue tells it."""

    job_id: int
    name: str
    state: str


def script(remote: Remote, *words: str, what: str) -> str:
    """What templates/images.sh answers; RemoteError if it fails."""
    text = resources.data("templates", "images.sh").read_text(encoding="utf-8")
    result = remote.run("sh", "-c", text, "images", *words, timeout=600)
    return result.check(what, hint=_SLURM_HINT if result.exit_code == 97 else "look there with ls -l").stdout


def look(remote: Remote, profile: ClusterProfile, *, unread_for: int | None = None) -> Shelf:
    """Everything about the images of `profile`, in one command. `unread_for`: seconds, for `Shelf.cache_old`."""
    others = [str(folder) for folder in profile.image_folders if folder != profile.work_dir / "images"]
    limit = "" if unread_for is None else str(unread_for)
    words = ("look", str(profile.work_dir), limit, *dict.fromkeys(others))
    return parse(script(remote, *words, what="looking at the images"), profile)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What was said of everything, by path. `jobs`: None where Slurm does not answer."""

    now: int
    jobs: dict[int, Job] | None
    records: dict[PurePosixPath, str]
    links: dict[PurePosixPath, list[Entry]]
    locks: dict[PurePosixPath, str]
    builds: dict[PurePosixPath, str]
    downloads: dict[PurePosixPath, str]
    sessions: list[tuple[tuple[PurePosixPath, ...], User]]


def parse(text: str, profile: ClusterProfile) -> Shelf:
    """The answer as values; RemoteError if the end of it is missing."""
    blocks: dict[str, list[list[str]]] = {}
    for block in text.split("\x1d")[1:]:
        kind, *fields = block.split("\x1e")
        blocks.setdefault(kind, []).append(fields)
    if "end" not in blocks:
        raise RemoteError("the cluster's answer was cut short", hint="try again")
    [[code, said]], [[now, user]] = blocks["jobs"], blocks["now"]
    jobs = {job.job_id: job for job in _jobs(said)} if code == "0" else None

    def named(kind: str) -> dict[PurePosixPath, str]:
        return {PurePosixPath(path): value for path, value in blocks.get(kind, ())}

    facts = _Facts(
        now=int(now),
        jobs=jobs,
        records=named("record"),
        links={path: list(_entries(lines)) for path, lines in named("link").items()},
        locks={path: job.strip() for path, job in named("lock").items()},
        builds={path: job.strip() for path, job in named("build").items()},
        downloads=named("download"),
        sessions=[found for fields in blocks.get("session", ()) if (found := _session(fields, jobs))],
    )
    folders, images, leftovers = [], [], []
    for path, inside, above in blocks["folder"]:
        own = PurePosixPath(path) == profile.work_dir / "images"
        entries = {entry.path: entry for entry in _entries(inside)}
        parents = list(_entries(above))
        folders.append(Folder(path=PurePosixPath(path), own=own, there=bool(parents)))
        for entry in entries.values():
            if entry.path.suffix == ".sif":
                around = [*parents, *facts.links.get(entry.path, ())]
                chain = [
                    entries[one] for one in (entry.path, entry.path.with_suffix(".json")) if one in entries
                ]
                trusted = profile.trusted_owners
                distrust = "" if own else records.distrust([*chain, *around], user=user, trusted=trusted)
                images.append(_image(entry, entries, facts, own=own, distrust=distrust))
        if own:
            [[sizes_of_builds, sizes_of_downloads]] = blocks["sizes"]
            leftovers += [*_beside(entries, facts), *_builds(_sizes(sizes_of_builds), facts)]
            leftovers += _downloads(_sizes(sizes_of_downloads), facts)
    [[cache, cache_old]] = blocks["cache"]
    return Shelf(
        cluster=profile.name,
        now=facts.now,
        user=user,
        folders=tuple(folders),
        images=tuple(sorted(images, key=lambda one: (not one.own, str(one.path)))),
        leftovers=tuple(sorted(leftovers, key=lambda one: str(one.path))),
        cache=int(cache or 0),
        cache_old=int(cache_old or 0),
        slurm_error="" if jobs is not None else said.strip() or "no answer within 30 seconds",
        building=jobs is None or any(job.name.startswith("dl4mic-build-") for job in jobs.values()),
    )


def _image(
    entry: Entry, entries: dict[PurePosixPath, Entry], facts: _Facts, *, own: bool, distrust: str
) -> Image:
    match = _NAME.fullmatch(entry.path.name)
    key = match["key"] if match else ""
    found = records.parse(facts.records.get(entry.path.with_suffix(".json"), ""))
    used, lock = (entries.get(entry.path.with_suffix(suffix)) for suffix in (".used", ".lock"))
    job = facts.locks.get(entry.path.with_suffix(".lock"), "")
    return Image(
        entry=entry,
        own=own,
        name=match["name"] if match else entry.path.stem,
        key=key,
        record=found,
        fault=distrust or records.changed(found, entry),
        used=used.modified if used else None,
        users=tuple(user for paths, user in facts.sessions if entry.path in paths),
        built_by=_builder(key, job, facts.jobs) if own else None,
        busy=own and lock is not None and not job and facts.now - lock.modified <= LOCKED,
    )


def _entries(text: str) -> Iterator[Entry]:
    return (entry for line in text.splitlines() if (entry := Entry.parse(line)) is not None)


def _jobs(text: str) -> Iterator[Job]:
    for line in text.splitlines():
        job, _, rest = line.strip().partition("|")
        name, _, state = rest.rpartition("|")
        if job.isdigit():
            yield Job(job_id=int(job), name=name, state=state)


def _session(fields: list[str], jobs: dict[int, Job] | None) -> tuple[tuple[PurePosixPath, ...], User] | None:
    """The paths of a session's image, as it was named and without links, and the session; None if its job is over."""
    answer, real, text = fields
    try:
        record = json.loads(text)
        image, session = str(record["image"]), str(record["id"])
    except (ValueError, TypeError, KeyError):
        return None
    paths = tuple({PurePosixPath(path) for path in (image, real) if path})
    number, _, elsewhere = answer.strip().partition(";")
    if not number.isdigit():
        return paths, User(session=session, state="not submitted", job_id=None)
    job = int(number)
    if jobs is not None and job in jobs:
        return paths, User(session=session, state=jobs[job].state.lower(), job_id=job)
    if jobs is None or elsewhere:
        return paths, User(session=session, state="unknown", job_id=job)
    return None


def _builder(key: str, lock: str | None, jobs: dict[int, Job] | None) -> int | None:
    """The living job that makes the image: by its name, or as the lock says."""
    for job in (jobs or {}).values():
        if key and job.name == f"dl4mic-build-{key}":
            return job.job_id
    if lock and lock.isdigit() and (jobs is None or int(lock) in jobs):
        return int(lock)
    return None


def _dead(job: str, jobs: dict[int, Job] | None, *, old: bool) -> bool:
    """Whether the job that works with a leftover is over; where none is named: whether the leftover is old."""
    if jobs is None or ";" in job:
        return False
    return int(job) not in jobs if job.isdigit() else old


def _beside(entries: dict[PurePosixPath, Entry], facts: _Facts) -> Iterator[Leftover]:
    """What lies beside the images of the work folder and belongs to none."""
    jobs = facts.jobs
    for entry in entries.values():
        match = _NAME.fullmatch(entry.path.name)
        kind = match["rest"] if match else ""
        if not match or kind == "sif":
            continue
        idle = facts.now - entry.modified
        size = entry.size
        if kind in ("json", "used"):
            if entry.path.with_suffix(".sif") in entries:
                continue
            what = "belongs to an image that is gone"
            dead = jobs is not None and _builder(match["key"], None, jobs) is None
        elif kind.startswith("lock"):
            job, size = facts.locks.get(entry.path, ""), 0
            what = f"a lock, for job {job}" if job else "a lock"
            dead = _dead(job, jobs, old=idle > (LOCKED if kind == "lock" else DAY))
        elif kind.startswith("gone"):
            what = "an image whose removal was broken off"
            holder = entries.get(entry.path.with_name(f"{match['name']}-{match['key']}.lock"))
            dead = jobs is not None and (holder is None or facts.now - holder.modified > LOCKED)
        else:
            job = kind.removesuffix(".part").rpartition(".")[2]
            what = f"half an image, by job {job}" if job.isdigit() else "half an image"
            dead = idle > QUIET and _dead(job, jobs, old=idle > DAY)
        yield Leftover(path=entry.path, what=what, size=size, dead=dead)


def _sizes(text: str) -> dict[str, tuple[int, int]]:
    """Of each folder by its name: its bytes, and when something in it was last written."""
    return {
        name: (int(size), int(last)) for name, size, last in (line.split("\t") for line in text.splitlines())
    }


def _builds(measured: dict[str, tuple[int, int]], facts: _Facts) -> Iterator[Leftover]:
    """The folders of builds; one whose job has just ended stays a day, for its log tells why a build failed."""
    for path, job in facts.builds.items():
        size, modified = measured.get(path.name, (0, facts.now))
        old = facts.now - modified > DAY
        what = f"the folder of build job {job}" if job else "the folder of a build that was not submitted"
        yield Leftover(path=path, what=what, size=size, dead=old and _dead(job, facts.jobs, old=old))


def _downloads(measured: dict[str, tuple[int, int]], facts: _Facts) -> Iterator[Leftover]:
    """Images that were downloaded for nodes without internet. A launch goes on with them, so they have to be old."""
    for path, jobs in facts.downloads.items():
        size, written = measured.get(path.name, (0, facts.now))
        rested = facts.now - written > DAY
        dead = (
            rested
            and facts.jobs is not None
            and all(_dead(job, facts.jobs, old=False) for job in jobs.split())
        )
        what = "a downloaded image that no job needs" if dead else "a downloaded image"
        yield Leftover(path=path, what=what, size=size, dead=dead, written=written)
