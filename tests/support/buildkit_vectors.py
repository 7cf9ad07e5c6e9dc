"""BuildKit's own test vectors, which `.ci/buildkit-vectors` fetches from a Debian or Ubuntu package."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def buildkit_vectors() -> Path:
    """The folder with `parser` and `shell`. Where it is not there yet it is fetched; without it the test fails."""
    script = ROOT / ".ci" / "buildkit-vectors"
    done = subprocess.run([script], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        pytest.fail(
            f"BuildKit's test vectors are missing, and .ci/buildkit-vectors says: {done.stderr.strip()}"
        )
    return ROOT / ".cache" / "buildkit-vectors"
