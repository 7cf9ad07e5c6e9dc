"""The line that the login shell gets."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from dl4mic_hpc.ssh.command import learned, line

pytestmark = pytest.mark.posix

# What csh, fish or zsh take for something else inside or outside of quotes.
TRAPS = re.compile(rb"[!\n]|\\\\|\\'|[^ -~]")


@pytest.mark.parametrize(
    "word", ["!x", "a\nb", "a\\b", "\\'", "ü", "\x7f", "tab\t", "=ls", "%1", "it's", "", "a  b"]
)
@pytest.mark.parametrize("environment", [None, ["PATH=/bin"]])
def test_no_shell_sees_what_it_would_misread(word: str, environment: list[str] | None) -> None:
    sent = line(["printf", "%s", word], marker="MARK", environment=environment)
    assert not TRAPS.search(sent)
    assert re.fullmatch(rb"""('[^']*'|"'"| )+""", sent)


def test_plain_words_are_readable_on_the_cluster() -> None:
    sent = line(["squeue", "--job=1"], marker="MARK", environment=["PATH=/opt/slurm/bin"]).decode()
    assert sent.endswith("'MARK' 'PATH=/opt/slurm/bin' 'squeue' '--job=1'")


def test_bytes_that_are_no_utf8_arrive_as_they_are() -> None:
    word = os.fsdecode(b"\xff\xfe file")
    sent = line(["printf", "%s", word], marker="MARK", environment=["PATH=/bin:/usr/bin"])
    done = subprocess.run(["sh", "-c", sent], capture_output=True, check=True)
    assert done.stdout == b"MARKMARK\xff\xfe file"
    assert done.stderr == b"MARK"


def test_the_first_command_learns_the_login_environment() -> None:
    sent = line(["sh", "-c", "echo $SLURM_CONF"], marker="MARK", environment=None)
    given = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "SLURM_CONF": "/etc/my slurm.conf",
        "OTHER": "x",
    }
    done = subprocess.run(["sh", "-c", sent], capture_output=True, check=True, env=given)
    noise, environment, output = done.stdout.decode().split("MARK")
    assert (noise, output) == ("", "/etc/my slurm.conf\n")
    words = learned(environment)
    assert "SLURM_CONF=/etc/my slurm.conf" in words
    assert [word.partition("=")[0] for word in words] == ["PATH", "SLURM_CONF"]


def test_without_bash_the_command_runs_all_the_same(tmp_path: Path) -> None:
    for name in ("sh", "env", "printf"):
        (tmp_path / name).symlink_to(f"/bin/{name}" if name == "sh" else f"/usr/bin/{name}")
    sent = line(["printf", "%s", "ran"], marker="MARK", environment=None)
    done = subprocess.run(
        ["/bin/sh", "-c", sent], capture_output=True, check=True, env={"PATH": str(tmp_path)}
    )
    assert done.stdout == b"MARKMARKran"
