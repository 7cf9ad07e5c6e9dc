"""The failures of a transfer in plain words, each with the reason that the computer gave."""

from __future__ import annotations

import errno
from pathlib import Path, PurePosixPath

from dl4mic_hpc.errors import TransferError
from dl4mic_hpc.remote import CommandResult
from dl4mic_hpc.transfer.plan import PARTIAL
from dl4mic_hpc.transfer.summary import amount

AGAIN = "run the same command again: what has arrived is not sent twice"

_SPEAKERS = (
    "tar:",
    "mv:",
    "mkdir:",
    "find:",
    "xargs:",
    "sort:",
    "head:",
    "rm:",
    "dl4mic-hpc:",
    "bash:",
    "cd:",
)
_AFTERMATH = ("Exiting with failure status", "Error is not recoverable", "Terminated")

_MEANINGS = (
    (("No space left on device",), "the disk there is full", "make room there, or choose another work_dir"),
    (("Disk quota exceeded",), "your quota there is used up", "make room there, or ask the site for more"),
    (("File too large",), "files of that size are not allowed there", "ask the site about that limit"),
    (
        ("Permission denied", "Operation not permitted", "Read-only file system"),
        "you have no right to use that folder",
        "choose a folder that is yours: key 'work_dir' of the profile, or another path",
    ),
    (
        ("Input/output error", "Stale file handle"),
        "the cluster's file system has a fault",
        "tell the site's support",
    ),
    (
        ("command not found", "unrecognized option"),
        "bash, GNU tar or GNU find is missing",
        "ask the site for GNU tar and find",
    ),
)


def reason_of(stderr: str) -> str:
    """The line that says what went wrong; login shells say other things there too."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    spoken = [
        line for line in lines if line.startswith(_SPEAKERS) and not any(word in line for word in _AFTERMATH)
    ]
    telling = [line for line in spoken if _meaning(line)[0]]
    return (telling or spoken or lines[-1:] or [""])[0]


def _meaning(reason: str) -> tuple[str, str]:
    """What the words of an error mean for the user, and what to do; empty if they say nothing known."""
    found = (row[1:] for row in _MEANINGS if any(word in reason for word in row[0]))
    return next(found, ("", ""))


def far_failure(what: str, result: CommandResult, *, sent: str = "") -> TransferError:
    """The failure of a command of this room on the cluster; `sent` tells how far it had come."""
    reason = reason_of(result.stderr) or f"the command ended with exit code {result.exit_code}"
    progress = f" after {sent}" if sent else ""
    meaning, advice = _meaning(reason)
    if meaning:
        return TransferError(
            f"{what} stopped{progress}: {meaning} ({reason})", hint=f"{advice}; then {AGAIN}"
        )
    return TransferError(f"{what} stopped{progress}: {reason}", hint=AGAIN)


def missing_there(path: PurePosixPath, cluster: str) -> TransferError:
    return TransferError(
        f"there is no file or folder {path} on {cluster}",
        hint="check the path; `dl4mic-hpc ps` lists the sessions whose results are there",
    )


def no_room_there(need: int, free: int, path: PurePosixPath, cluster: str, *, left: int) -> TransferError:
    """`left`: the bytes that earlier, interrupted uploads hold there."""
    room = "make room there, or choose another work_dir in the profile; nothing was sent"
    if left:
        room += f"; {path / PARTIAL} holds {amount(left)} of an interrupted upload and can be removed"
    return TransferError(
        f"the data does not fit on {cluster}: {amount(need)} to send, {amount(free)} free at {path}",
        hint=room,
    )


def no_room_here(need: int, free: int, path: Path) -> TransferError:
    return TransferError(
        f"the results do not fit on this computer: {amount(need)} to fetch, {amount(free)} free at {path}",
        hint="make room here, or name a folder on another disk with -o; on the cluster they stay as they are",
    )


def unreadable(path: PurePosixPath, error: OSError) -> TransferError:
    return TransferError(
        f"'{path}' cannot be read to its end: {error.strerror}",
        hint=f"look whether its disk or network drive is there, or move that file away; then {AGAIN}",
    )


def local_failure(path: Path, error: OSError) -> TransferError:
    """Something could not be written on this computer; what is on the cluster is untouched."""
    said = error.strerror or str(error)
    hint = "then run the same command again: what is here already is not fetched twice"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TransferError(
            f"{path} cannot be written: the disk of this computer is full ({said})", hint=f"make room, {hint}"
        )
    if isinstance(error, PermissionError):
        return TransferError(
            f"{path} cannot be written: {said}",
            hint=f"close the program that has it open, or name a folder that is yours with -o, {hint}",
        )
    return TransferError(f"{path} cannot be written: {said}", hint=f"name another folder with -o, {hint}")


def garbled(cluster: str, error: Exception) -> TransferError:
    return TransferError(
        f"{cluster} answered something that is no listing or archive: {error}",
        hint=f"{AGAIN}; if it stays, look at what `ssh` to {cluster} prints at login",
    )
