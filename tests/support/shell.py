"""shellcheck (https://www.shellcheck.net) of a script that is made at run time."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path


def shellcheck(script: str, *options: str) -> str:
    """What shellcheck says about `script`; nothing if it is in order."""
    program = Path(sysconfig.get_path("scripts")) / "shellcheck"
    done = subprocess.run(
        [program, "--norc", "--format=gcc", *options, "-"], input=script.encode(), capture_output=True
    )
    return (done.stdout + done.stderr).decode()
