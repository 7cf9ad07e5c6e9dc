"""Virtual environments with other packages than the tests' own, made once and kept in .cache/."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def environment(name: str, *requirements: str, index: str | None) -> Path:
    """The folder of an environment of this Python's version that holds `requirements`; made if it is not there."""
    words = [sys.version.split()[0], *requirements]
    key = hashlib.sha256("\n".join(words).encode()).hexdigest()[:12]
    folder = ROOT / ".cache" / "environments" / f"{name}-{key}"
    if not folder.is_dir():
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        uv = str(Path(sysconfig.get_path("scripts"), "uv"))
        env = os.environ | ({"UV_DEFAULT_INDEX": index} if index else {})
        for step in (
            ["venv", "--relocatable", "--python", sys.executable, str(part)],
            ["pip", "install", "--python", str(part), *requirements],
        ):
            subprocess.run([uv, *step, "--quiet"], check=True, env=env)
        part.replace(folder)
    return folder
