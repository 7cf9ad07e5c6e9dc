"""What earlier downloads wrote into a folder: by this a download tells its own files from the user's.

The file `.dl4mic-hpc.json` lies in the folder itself, so that it moves with it. If it is lost or unreadable, nothing
is: every local file then counts as the user's and is set aside before another takes its name.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from dl4mic_hpc.transfer.listing import OWN_PREFIX
from dl4mic_hpc.transfer.plan import Record

MANIFEST = OWN_PREFIX + ".json"

_VERSION = 1

Records = dict[PurePosixPath, Record]


def load(folder: Path, source: str) -> Records:
    """The records of downloads from `source` ("CLUSTER:/path") into `folder`, by path on the cluster."""
    records = {}
    for path, fields in _read(folder).get(source, {}).items():
        with contextlib.suppress(KeyError, TypeError, ValueError):
            records[PurePosixPath(path)] = Record(
                local=PurePosixPath(fields["local"]),
                size=int(fields["size"]),
                mtime_ns=int(fields["mtime_ns"]),
                local_mtime_ns=int(fields["local_mtime_ns"]),
            )
    return records


def save(folder: Path, source: str, records: Mapping[PurePosixPath, Record]) -> None:
    """Replaces the records of `source`, keeping those of other sources. OSError if the folder cannot be written."""
    files = {
        str(path): {
            "local": str(record.local),
            "size": record.size,
            "mtime_ns": record.mtime_ns,
            "local_mtime_ns": record.local_mtime_ns,
        }
        for path, record in records.items()
    }
    content = {"version": _VERSION, "sources": _read(folder) | {source: files}}
    temporary = folder / f"{OWN_PREFIX}-{secrets.token_hex(4)}.part"
    try:
        with temporary.open("x", encoding="ascii") as file:
            json.dump(content, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / MANIFEST)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _read(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="ascii"))
        sources = content["sources"] if content["version"] == _VERSION else {}
        return {source: files for source, files in sources.items() if isinstance(files, dict)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
