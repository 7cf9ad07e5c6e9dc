"""The laptop's records: one JSON file per session, 0600, written by temporary file and replace."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from dl4mic_hpc import resources
from dl4mic_hpc.errors import UsageError, perhaps_you_meant
from dl4mic_hpc.sessions.session import Session


def folder() -> Path:
    return resources.home("state") / "sessions"


def save(session: Session) -> None:
    """Writes the record so that a crash leaves the old one or the new one, never half of one."""
    folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=folder(), prefix=".", suffix=".part")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(session.as_record(), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder() / f"{session.id}.json")
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def forget(session_id: str) -> None:
    (folder() / f"{session_id}.json").unlink(missing_ok=True)


def every() -> list[Session]:
    """All records, the newest last."""
    found = [_read(path) for path in folder().glob("*.json")] if folder().is_dir() else []
    return sorted(found, key=lambda session: session.created)


def find(session_id: str) -> Session | None:
    path = folder() / f"{session_id}.json"
    return _read(path) if session_id.isalnum() and path.is_file() else None


def unknown(session_id: str, *, known: list[str]) -> UsageError:
    return UsageError(
        f"there is no session '{session_id}'",
        hint=f"{perhaps_you_meant(session_id, known)}; `dl4mic-hpc ps --cluster NAME` asks the cluster itself",
    )


def _read(path: Path) -> Session:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UsageError(
            f"the record {path} cannot be read: {error}",
            hint="move it away; the session itself is on the cluster: `dl4mic-hpc ps --cluster NAME`",
        ) from error
    return Session.from_record(record, where=str(path))
