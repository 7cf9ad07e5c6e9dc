"""What follows from a machine's facts: whether recipes can be built there, where to unpack, how images start.

The rules are Apptainer's own (https://apptainer.org/docs/user/latest/fakeroot.html, and of the administrators' guide
"User Namespaces & Fakeroot" and "Installing Apptainer"; SingularityCE: https://docs.sylabs.io/guides/3.8/user-guide/fakeroot.html).
Values only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from dl4mic_hpc.images.place import SUBUIDS, Folder, Place

ROOM = 40 * 1024**3
"""Bytes in which the largest image of the catalogue (12 GB) is unpacked and packed again."""

_OLDEST = {True: (1, 0), False: (3, 8)}
"""The oldest versions that are supported: of Apptainer, of Singularity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One answer in words. `warning`: it works, but not as well as it could, or not everything of it."""

    what: str
    grade: Literal["ok", "warning", "failed", "not checked"]
    reason: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipes:
    """How Apptainer builds a definition there; `options`: those of `build` that lead to it.

    subuid: with ids of the user's own, as root would. root-mapped: as one user who looks like root; with fakeroot,
    programs that change owners believe that they did. suid: by fakeroot alone. none: not at all.
    """

    mode: Literal["subuid", "root-mapped with fakeroot", "root-mapped", "suid", "none"]
    options: tuple[str, ...]
    verdict: Verdict


def program(place: Place) -> Verdict:
    """Whether there is an Apptainer or Singularity that is new enough."""
    what = f"Apptainer on {place.node}"
    if not place.version:
        because = f"; the module {place.module_error} could not be loaded" if place.module_error else ""
        return Verdict(
            what=what,
            grade="failed",
            reason=f"it was not found there{because}",
            hint="add its module to `modules`, or its path as `apptainer`, in the profile",
        )
    oldest = _OLDEST[place.is_apptainer]
    if place.release < oldest:
        return Verdict(
            what=what,
            grade="failed",
            reason=f"{place.version} is older than {oldest[0]}.{oldest[1]}",
            hint="look with `module avail` whether there is a newer one, or ask the cluster's support",
        )
    said = f"{place.version}, {place.system or 'Linux'} {place.machine}"
    if "mksquashfs" not in place.programs:
        return Verdict(
            what=what,
            grade="warning",
            reason=f"{said}; there is no mksquashfs, without which no image can be made there",
            hint="ask the cluster's support to install squashfs-tools on the compute nodes",
        )
    return Verdict(what=what, grade="ok", reason=said)


def recipes(place: Place) -> Recipes:
    """Whether and how an image can be built from a recipe there."""
    what = f"building recipes on {place.node}"
    fakeroot = _has_fakeroot(place)
    enough = min(place.subuids, place.subgids) >= SUBUIDS
    newer = place.is_apptainer and place.release >= (1, 1)
    if place.user_namespaces and enough and (place.suid or place.newuidmap):
        return Recipes(
            mode="subuid",
            options=("--fakeroot",),
            verdict=Verdict(what=what, grade="ok", reason="with a range of subordinate user ids"),
        )
    options = ("--fakeroot", "--ignore-subuid") if place.subuids else ("--fakeroot",)
    if newer and place.user_namespaces and fakeroot:
        return Recipes(
            mode="root-mapped with fakeroot",
            options=options,
            verdict=Verdict(what=what, grade="ok", reason="in a user namespace, with the program fakeroot"),
        )
    if newer and place.user_namespaces:
        return Recipes(
            mode="root-mapped",
            options=options,
            verdict=Verdict(
                what=what,
                grade="warning",
                reason="in a user namespace with one user: recipes that give files to other users fail",
                hint=f"ask the cluster's support for {_RANGE}, or to install the program fakeroot on the compute nodes",
            ),
        )
    if newer and place.suid and fakeroot:
        return Recipes(
            mode="suid",
            options=options,
            verdict=Verdict(
                what=what,
                grade="warning",
                reason="by the program fakeroot alone: recipes whose C library is older or newer than the node's may fail",
                hint="ask the cluster's support to allow unprivileged user namespaces",
            ),
        )
    return Recipes(
        mode="none",
        options=(),
        verdict=Verdict(
            what=what,
            grade="warning",
            reason=f"not possible: {_why_none(place, newer=newer)}",
            hint=_to_ask(newer=newer),
        ),
    )


_RANGE = f"{SUBUIDS} subordinate user and group ids for you in /etc/subuid and /etc/subgid"


def _has_fakeroot(place: Place) -> bool:
    return bool({"fakeroot", "fakeroot-sysv"} & set(place.programs))


def _why_none(place: Place, *, newer: bool) -> str:
    reasons = []
    if not place.user_namespaces:
        reasons.append("user namespaces are not allowed")
    if not newer or place.user_namespaces:
        if min(place.subuids, place.subgids) < SUBUIDS:
            reasons.append("you have no range of subordinate user ids")
        elif not (place.suid or place.newuidmap):
            reasons.append("newuidmap does not work")
    if newer and not place.suid:
        reasons.append("Apptainer is installed without its set-user-ID part")
    elif newer and not _has_fakeroot(place):
        reasons.append("there is no program fakeroot")
    return " and ".join(reasons)


def _to_ask(*, newer: bool) -> str:
    ask = "unprivileged user namespaces on the compute nodes" + ("" if newer else f", and {_RANGE}")
    return f"ask the cluster's support for {ask}; published images are not concerned"


def start(place: Place) -> Verdict:
    """How an image becomes a container's file system each time that a session starts."""
    what = f"starting images on {place.node}"
    if place.suid:
        return Verdict(what=what, grade="ok", reason="bound by the kernel (set-user-ID installation)")
    if not place.user_namespaces:
        return Verdict(
            what=what,
            grade="failed",
            reason="no image starts: user namespaces are not allowed, and there is no set-user-ID installation",
            hint="ask the cluster's support for unprivileged user namespaces on the compute nodes",
        )
    mounts = place.release >= ((1, 1) if place.is_apptainer else (4, 1))
    if (
        mounts
        and place.fuse
        and {"squashfuse_ll", "squashfuse"} & set(place.programs)
        and place.kernel_release >= (4, 18)
    ):
        return Verdict(what=what, grade="ok", reason="bound by squashfuse")
    lacking = (
        "this version cannot do without"
        if not mounts
        else "there is no squashfuse"
        if not {"squashfuse_ll", "squashfuse"} & set(place.programs)
        else "/dev/fuse cannot be used"
        if not place.fuse
        else f"the kernel {place.kernel} is older than 4.18"
    )
    return Verdict(
        what=what,
        grade="warning",
        reason=f"the whole image is unpacked at each start, which takes minutes ({lacking})",
        hint="ask the cluster's support for squashfuse and /dev/fuse on the compute nodes, or a set-user-ID installation",
    )


def unpacking(
    place: Place, tmp_dir: PurePosixPath | None, *, room: int = ROOM
) -> tuple[Folder | None, Verdict]:
    """The first folder that does, in the order in which the job goes through them; `tmp_dir`: the profile's."""
    what = f"unpacking images on {place.node}"
    asked = [one for one in place.folders if tmp_dir is None or one.name == str(tmp_dir)]
    fit = [one for one in asked if one.writable and one.runs and not one.on_network]
    with_room = [one for one in fit if one.free is None or one.free >= room]
    best = next(iter(with_room), None) or max(fit, key=lambda one: one.free or 0, default=None)
    if best is None:
        named = ", ".join(f"{one.name} ({_why_unfit(one)})" for one in asked) or str(
            tmp_dir or "none was found"
        )
        return None, Verdict(
            what=what,
            grade="warning",
            reason=f"no folder does: {named}",
            hint="ask the cluster's support for the compute nodes' own disk, and name it as `build: tmp_dir` in the profile",
        )
    free = f", {best.free / 1024**3:.1f} GiB free" if best.free is not None else ""
    place_of = f"{best.path}, its {best.name}" if best.name != best.path else best.path
    said = f"in {place_of} ({best.kind or 'unknown file system'}{free})"
    if best.in_memory:
        return best, Verdict(
            what=what,
            grade="warning",
            reason=f"{said}, which is memory of the job",
            hint="raise `build: mem` in the profile to three times the size of the image, or name a disk as `build: tmp_dir`",
        )
    if best not in with_room:
        return best, Verdict(
            what=what,
            grade="warning",
            reason=f"{said}: the largest images need {room / 1024**3:.0f} GiB",
            hint="name a folder with more room as `build: tmp_dir` in the profile",
        )
    return best, Verdict(what=what, grade="ok", reason=said)


def _why_unfit(folder: Folder) -> str:
    if not folder.writable:
        return "not writable"
    if folder.on_network:
        return f"on the network: {folder.kind}"
    return "no program can be started there"


def space(place: Place, work_dir: PurePosixPath) -> Verdict:
    """Space and quota of the work folder."""
    what = "space for images"
    used, limit = place.quota or (0, 0)
    left = [number for number in (place.free, limit - used if place.quota else None) if number is not None]
    if not left:
        return Verdict(what=what, grade="not checked", reason=f"{work_dir} does not tell")
    least = max(min(left), 0)
    said = f"{least / 1024**3:.1f} GiB in {work_dir}" + (
        f" (quota: {used / 1024**3:.1f} of {limit / 1024**3:.1f} GiB used)" if place.quota else ""
    )
    if place.free_inodes is not None and 0 < place.free_inodes < 10000:
        said = f"{said}, but only {place.free_inodes} more files"
    elif least >= _ENOUGH:
        return Verdict(what=what, grade="ok", reason=said)
    return Verdict(
        what=what,
        grade="warning",
        reason=f"{said}; an image takes up to 12 GB",
        hint="free some space there, or choose another `work_dir` in the profile",
    )


_ENOUGH = 20 * 1024**3
