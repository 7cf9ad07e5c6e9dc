"""The transfers themselves are tested against GNU tar, find and mv, as login nodes have them."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.local_remote import LocalRemote
from support.transfers import RecordedProgress

# Left out elsewhere, not skipped: what is tested there is the cluster's side, which is always Linux.
collect_ignore = [] if sys.platform == "linux" else ["test_upload.py", "test_download.py"]


@pytest.fixture
def progress() -> RecordedProgress:
    return RecordedProgress()


@pytest.fixture
def remote() -> LocalRemote:
    return LocalRemote()


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The folder on the laptop."""
    return _folder(tmp_path, "laptop")


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The folder on the cluster."""
    return _folder(tmp_path, "cluster")


@pytest.fixture
def stand_ins(tmp_path: Path) -> Path:
    """The folder of programs that a `LocalRemote(path=…)` finds before the real ones."""
    return _folder(tmp_path, "stand-ins")


@pytest.fixture
def ordinary_user(tmp_path: Path) -> Iterator[tuple[LocalRemote, Path]]:
    """A remote whose commands have no special rights, and a folder of this user that they can enter."""
    if os.getuid() != 0:
        yield LocalRemote(), tmp_path
        return
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield (
            LocalRemote(prefix=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")),
            Path(folder),
        )
