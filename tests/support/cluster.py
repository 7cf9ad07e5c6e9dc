"""The sandbox cluster as the tests see it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def _hear_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a command of the program ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        value = json.loads(self.out)
        assert value["version"] == 1
        return dict(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The sandbox as the tests see it: from the laptop by the program, from inside as root or another user."""

    home: Path
    engine: str
    instance: str
    program: tuple[str, ...] = (sys.executable, "-m", "dl4mic_hpc")

    def environment(self) -> dict[str, str]:
        return {
            **{key: value for key, value in os.environ.items() if key != "CI"},
            "DL4MIC_HPC_HOME": str(self.home),
            "HOME": str(self.home / "user"),
            "PYTHONUNBUFFERED": "1",
            "TERM": "dumb",
        }

    def cli(self, *argv: str, code: int | None = 0, timeout: float = 900) -> Finished:
        """Runs the program without a terminal; `code` is what it must exit with (None: any)."""
        done = subprocess.run(
            [*self.program, *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.environment(),
            cwd=self.home,
        )
        if code is not None:
            assert done.returncode == code, (
                f"{argv} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        assert "Traceback" not in done.stderr, done.stderr
        return Finished(code=done.returncode, out=done.stdout, err=done.stderr)

    @contextlib.contextmanager
    def held(self, *argv: str) -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
        """`launch` or `attach` with --json, as long as the block lasts: what it answered, and its process."""
        process = self.started(*argv, "--json", "--no-browser")
        assert process.stdout and process.stderr
        try:
            lines: list[str] = []
            for line in process.stdout:
                lines.append(line)
                if line == "}\n":
                    break
            else:
                raise AssertionError(f"{argv}: {process.stderr.read()}")
            yield json.loads("".join(lines)), process
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)

    def started(self, *argv: str, **environment: str) -> subprocess.Popen[str]:
        """The program on its own, without a terminal, to be left by Ctrl-C."""
        return subprocess.Popen(
            [*self.program, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment() | environment,
            cwd=self.home,
            # Where the tests run in the background, a shell has made them and their children deaf to it.
            preexec_fn=_hear_interrupts,
        )

    def inside(self, node: str, *argv: str, user: str = "root", check: bool = True) -> str:
        """A command inside one of the containers, not by way of the program."""
        done = subprocess.run(
            [self.engine, "exec", "--user", user, f"dl4mic-{self.instance}-{node}", *argv],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert not check or done.returncode == 0, f"{argv} on {node}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def jobs(self) -> list[str]:
        """The ids of all pending and running jobs of the sandbox."""
        return self.inside("login", "squeue", "--noheader", "--format=%i").split()

    def wait_until_idle(self) -> None:
        """Until no job waits or runs: Slurm ends what depends on a failed job at its next look."""
        self.inside(
            "login", "timeout", "60", "sh", "-c", 'while [ -n "$(squeue --noheader)" ]; do sleep 0.2; done'
        )

    def session_dirs(self) -> set[str]:
        return set(
            self.inside("login", "sh", "-c", "ls /scratch/ada/dl4mic/sessions 2> /dev/null || true").split()
        )

    def records(self) -> set[str]:
        return {path.stem for path in (self.home / "state" / "sessions").glob("*.json")}
