"""Every error that a user can meet, with its exit code.

    Dl4micError                 (never raised itself)
     ├─ UsageError          2   wrong options; unknown notebook, cluster or session; missing local folder;
     │                          local port taken; an answer needed and no terminal
     ├─ ProfileError        3   the YAML file that describes a cluster
     ├─ SshError            4   unreachable, wrong user or key, lost connection
     │   └─ HostKeyError    4   a host key that has changed or was revoked
     │       └─ UnknownHostKeyError 4  a host key that nobody has accepted yet
     ├─ RemoteError         5   a command on the cluster failed: no Slurm, disk full, quota
     │   └─ SessionGoneError 5  a session whose folder was removed from the cluster
     ├─ JobError            6   refused by sbatch, unknown partition, too many GPUs, FAILED, TIMEOUT, OUT_OF_MEMORY
     ├─ ImageError          7   no Apptainer, pull or build failed
     │   └─ RegistryError   7   an image that a registry does not have, does not give out, or says nothing of
     ├─ NotebookError       8   a notebook, a configuration or a recipe that cannot be converted
     │   └─ RecipeError     8   a Dockerfile's line that cannot be converted
     ├─ TransferError       9   data up, results down
     └─ SandboxError       10   the practice cluster cannot run

0 is done, 1 a bug (the only case that shows a traceback), 130 Ctrl-C. `hint` is the next thing to do: a
command, or the key and file to edit. Errors of libraries are mapped to these where they enter the program;
only `cli.main` catches them and exits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal


class Dl4micError(Exception):
    """What happened, with the real value, and in `hint` what to do next."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(Dl4micError):
    exit_code = 2


class ProfileError(Dl4micError):
    exit_code = 3


class SshError(Dl4micError):
    exit_code = 4


class HostKeyError(SshError):
    """The machine that answered is not known to be the one that was meant."""


class UnknownHostKeyError(HostKeyError):
    """Nobody has accepted this machine's key yet; nothing speaks against it either."""


class RemoteError(Dl4micError):
    exit_code = 5


class SessionGoneError(RemoteError):
    """The session's folder is no longer on the cluster."""


class JobError(Dl4micError):
    exit_code = 6


class ImageError(Dl4micError):
    exit_code = 7


class RegistryError(ImageError):
    """What a registry answered, for callers that can go another way.

    absent: it has no such image (or, which looks the same to a stranger, keeps it for others). refused: it gives the
    image to others only, or knows no such password. busy: it takes no more requests for now. silent: no answer.
    """

    def __init__(
        self, message: str, *, hint: str, reason: Literal["absent", "refused", "busy", "silent"]
    ) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class NotebookError(Dl4micError):
    exit_code = 8


class RecipeError(NotebookError):
    """A recipe says something that cannot be converted exactly; the message begins with file and line."""


class TransferError(Dl4micError):
    exit_code = 9


class SandboxError(Dl4micError):
    exit_code = 10


def perhaps_you_meant(word: str, choices: Iterable[str]) -> str:
    """A sentence naming the closest choice, or all of them if none is close."""
    import difflib  # here: only a mistake needs it, and every start would pay for it

    known = sorted(choices)
    folded = {choice.casefold(): choice for choice in known}
    close = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.5)
    if close:
        return f"perhaps you meant '{folded[close[0]]}'"
    return "there is: " + ", ".join(known) if known else "there is none yet"
