"""What a transfer will do, decided from listings alone; `--dry-run` shows these values."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from dl4mic_hpc.transfer.listing import LONGEST_NAME, OWN_PREFIX, Entry, Kind, Listing, Skipped

# Half-done uploads lie here, inside the folder that they fill: on its file system, under its quota and rights.
PARTIAL = PurePosixPath(OWN_PREFIX + "-partial")


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPlan:
    """What an upload will do in the target folder; paths are relative to it.

    `adopt` maps files that an earlier, interrupted upload left whole to where they lie. `aside` are things on the
    cluster that differ from what takes their place: they are moved out of the target folder, never overwritten.
    `stale` are the folders of earlier uploads, removed once this one is whole.
    """

    send: tuple[Entry, ...] = ()
    adopt: Mapping[PurePosixPath, PurePosixPath]
    folders: tuple[PurePosixPath, ...] = ()
    aside: tuple[PurePosixPath, ...] = ()
    stale: tuple[PurePosixPath, ...] = ()
    unchanged: int = 0
    skipped: tuple[Skipped, ...] = ()

    @property
    def size(self) -> int:
        """The bytes to send."""
        return sum(entry.size for entry in self.send)

    @property
    def empty(self) -> bool:
        """Whether everything is there already."""
        return not (self.send or self.adopt or self.folders or self.stale)


def plan_upload(local: Listing, far: Listing) -> UploadPlan:
    """What to send so that the far folder holds everything in `local`; what else lies there stays."""
    partial, stale = _partial(far)
    send, adopt, folders, aside, skipped, unchanged = [], {}, [], [], list(local.skipped), 0
    for path, entry in local.entries.items():
        if reason := _unfit(path):
            skipped.append(Skipped(path=path, reason=reason))
            continue
        there = far.entries.get(path)
        if there is not None and entry.same(there):
            unchanged += entry.kind is Kind.FILE
            continue
        if there is not None:
            aside.append(path)
        if entry.kind is Kind.FOLDER:
            folders.append(path)
        elif stage := next((stage for stage, left in partial.get(path, ()) if entry.same(left)), None):
            adopt[path] = stage
        else:
            send.append(entry)
    return UploadPlan(
        send=tuple(send),
        adopt=adopt,
        folders=tuple(folders),
        aside=tuple(aside),
        stale=stale,
        unchanged=unchanged,
        skipped=tuple(skipped),
    )


def _partial(
    far: Listing,
) -> tuple[dict[PurePosixPath, list[tuple[PurePosixPath, Entry]]], tuple[PurePosixPath, ...]]:
    """The files that earlier uploads left, by where they belong, and these uploads' folders."""
    files: dict[PurePosixPath, list[tuple[PurePosixPath, Entry]]] = {}
    stages = []
    for path, entry in far.entries.items():
        if path.parts[0] != str(PARTIAL) or len(path.parts) < 2:
            continue
        stage, inside = PurePosixPath(*path.parts[:2]), path.parts[2:]
        if not inside:
            stages.append(stage)
        elif inside[0] == FILES and len(inside) > 1 and entry.kind is Kind.FILE:
            files.setdefault(PurePosixPath(*inside[1:]), []).append((stage, entry))
    return files, tuple(stages)


# What a stage holds: the files, where each is to go, and the folders to make.
FILES, MOVES, FOLDERS = "files", "moves", "folders"


def _unfit(path: PurePosixPath) -> str:
    try:
        longest = max(len(part.encode("utf-8", "surrogateescape")) for part in path.parts)
    except UnicodeEncodeError:
        return "its name holds a character that the cluster cannot store: rename it"
    return f"its name is longer than {LONGEST_NAME} bytes: shorten it" if longest > LONGEST_NAME else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One rename on the cluster, from folder to folder; the name stays."""

    source: str
    target: str
    name: str


def moves(
    plan: UploadPlan, landed: Collection[PurePosixPath], *, stage: PurePosixPath, kept: PurePosixPath
) -> Iterator[Move]:
    """The renames that put files in place once `landed` of those to send lie whole in `stage`.

    What is in the way goes to the folder `kept` first, and only for what has really come. Neighbours in a folder
    come one after the other, so that one `mv` moves many.
    """
    arriving = {*landed, *plan.adopt, *plan.folders}
    for path in plan.aside:
        if path in arriving:
            yield _move(PurePosixPath(), kept, path)
    origins = {**plan.adopt, **dict.fromkeys(landed, stage)}
    for path in sorted(origins, key=lambda path: (str(origins[path]), str(path.parent), path.name)):
        yield _move(origins[path] / FILES, PurePosixPath(), path)


def _move(source: PurePosixPath, target: PurePosixPath, path: PurePosixPath) -> Move:
    return Move(source=_dotted(source / path.parent), target=_dotted(target / path.parent), name=path.name)


def _dotted(folder: PurePosixPath) -> str:
    """A folder's path as a command takes it: one that starts with a dash would be read as an option."""
    return str(folder) if folder.is_absolute() else f"./{folder}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What an earlier download wrote: the local path, and the facts of the file on the cluster and here."""

    local: PurePosixPath
    size: int
    mtime_ns: int
    local_mtime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """A file to bring home. `aside`: something else that lies in its place here is set aside first."""

    entry: Entry
    local: PurePosixPath
    aside: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadPlan:
    """What a download will do. Local paths are relative to the target folder; `folders` are local ones.

    `renamed` maps paths on the cluster to names that this computer can store.
    """

    take: tuple[Take, ...] = ()
    folders: tuple[PurePosixPath, ...] = ()
    unchanged: tuple[Entry, ...] = ()
    renamed: Mapping[PurePosixPath, PurePosixPath]
    skipped: tuple[Skipped, ...] = ()

    @property
    def size(self) -> int:
        """The bytes to bring home."""
        return sum(take.entry.size for take in self.take)


def plan_download(
    far: Listing,
    local: Mapping[PurePosixPath, Entry],
    names: Mapping[PurePosixPath, PurePosixPath],
    records: Mapping[PurePosixPath, Record],
) -> DownloadPlan:
    """What to bring home so that the local folder holds everything in `far`; what else lies there stays.

    All keys are paths on the cluster: `local` gives what lies here in a path's place, `names` the local path,
    `records` what earlier downloads of the same folder wrote.
    """
    take, folders, unchanged, skipped = [], [], [], list(far.skipped)
    for path, entry in far.entries.items():
        if path.parts[0].startswith(OWN_PREFIX):
            continue
        if entry.kind not in (Kind.FILE, Kind.FOLDER):
            link = entry.kind is Kind.LINK
            reason = "a link: links are not followed" if link else "neither a file nor a folder"
            skipped.append(Skipped(path=path, reason=reason))
            continue
        here, record = local.get(path), records.get(path)
        if entry.kind is Kind.FOLDER:
            if here is None or here.kind is not Kind.FOLDER:
                folders.append(names[path])
        elif here is not None and is_current(entry, here, record):
            unchanged.append(entry)
        else:
            take.append(Take(entry=entry, local=names[path], aside=is_in_the_way(here, record)))
    return DownloadPlan(
        take=tuple(take),
        folders=tuple(folders),
        unchanged=tuple(unchanged),
        renamed={path: names[path] for path in far.entries if names.get(path, path) != path},
        skipped=tuple(skipped),
    )


def is_current(far: Entry, here: Entry, record: Record | None) -> bool:
    """Whether the file here is the one on the cluster: by an earlier download's record, else by size and time."""
    if record is not None and _untouched(here, record):
        return (far.size, far.mtime_ns) == (record.size, record.mtime_ns)
    return here.same(far)


def is_in_the_way(here: Entry | None, record: Record | None) -> bool:
    """Whether something lies here that no earlier download wrote: replaced, it would be lost."""
    return here is not None and (record is None or not _untouched(here, record))


def _untouched(here: Entry, record: Record) -> bool:
    """Whether the file here is still as the download left it."""
    return here.kind is Kind.FILE and (here.size, here.mtime_ns) == (record.size, record.local_mtime_ns)
