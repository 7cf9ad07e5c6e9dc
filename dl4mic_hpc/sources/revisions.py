"""The files of the checkout that one works in, as they were at another revision."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dl4mic_hpc.errors import UsageError

_NONE = re.compile(r"0*")


def names_one(revision: str) -> bool:
    """Whether `revision` names any: GitHub writes zeros where there was none before."""
    return not _NONE.fullmatch(revision)


@contextlib.contextmanager
def tree(revision: str) -> Iterator[Path]:
    """A folder with all files of `revision`, for the time of the block.

    UsageError if this folder lies in no git repository, or if it has no such revision.
    """
    try:
        commit = _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        top = _git("rev-parse", "--show-toplevel").decode().strip()
        packed = _git("-C", top, "archive", "--format=tar", commit.decode().strip())
    except (OSError, subprocess.CalledProcessError) as error:
        raise UsageError(
            f"there is no revision '{revision}' here",
            hint="run this in a checkout of the repository; in a workflow, check it out with fetch-depth: 0",
        ) from error
    with tempfile.TemporaryDirectory(prefix="dl4mic-revision-") as name:
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(name, filter="data")
        yield Path(name)


def _git(*words: str) -> bytes:
    return subprocess.run(["git", *words], stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout
