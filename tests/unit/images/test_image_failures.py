"""A job that made no image: why, in words. The lines are those that the programs print."""

from __future__ import annotations

import pytest

from dl4mic_hpc.images import failures

LAST = "error: the image could not be built; the lines above say why"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "FATAL:   While performing build: while creating squashfs: write /scratch/x: no space left on device",
            "no space",
        ),
        ("tar: wheel.so: Cannot write: Disk quota exceeded", "no space"),
        (
            "FATAL:   While performing build: conveyor failed to get: unable to retrieve auth token: invalid "
            "username/password: unauthorized: authentication required",
            "does not give the image out",
        ),
        (
            "FATAL:   While performing build: conveyor failed to get: reading manifest latest in docker.io/x/y: "
            "toomanyrequests: You have reached your pull rate limit",
            "too many requests",
        ),
        (
            "FATAL:   While performing build: conveyor failed to get: reading manifest sha256:0 in registry:5000/x: "
            "manifest unknown",
            "has no such image",
        ),
        (
            'FATAL:   While performing build: conveyor failed to get: pinging container registry: Get "https://x/v2/": '
            "dial tcp: lookup x: no such host",
            "did not reach the internet",
        ),
        ("E: Failed to fetch http://x/y  Temporary failure resolving 'x'", "did not reach the internet"),
        (
            "FATAL:   --remote, --fakeroot, or the proot command are required to build this source as a non-root user: "
            "/etc/subuid has no entry",
            "fakeroot was refused",
        ),
        (
            'Get "https://x/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority',
            "certificate",
        ),
        ("FATAL:   While performing build: while running mksquashfs: signal: killed", "for memory"),
    ],
)
def test_what_the_programs_say_is_told_in_words(line: str, words: str):
    problem = failures.explain(
        f"INFO:    Starting build...\n{line}\n{LAST}\n", job=7, where="/w/build.log on uni"
    )
    assert words in problem.message and line in problem.message and "job 7" in problem.message
    assert "/w/build.log on uni" in problem.hint
    assert problem.exit_code == 7


def test_slurms_word_goes_before_the_log():
    problem = failures.explain("signal: killed", job=7, state="TIMEOUT", where="x")
    assert "time limit" in problem.message and "build.time" in problem.hint


def test_the_last_cause_counts():
    problem = failures.explain("connection refused\nretrying\nno space left on device\n", job=7, where="x")
    assert "no space" in problem.message


def test_what_is_not_known_is_shown():
    problem = failures.explain("so it goes", job=None, where="x")
    assert "so it goes" in problem.message and problem.hint == "the whole log lies in x"


def test_a_node_without_network_is_told_apart():
    said = "FATAL:   While performing build: conveyor failed to get: pinging container registry x: dial tcp: i/o timeout"
    assert failures.no_network(f"INFO:    Starting build...\n{said}\n{LAST}\n")
    assert not failures.no_network("FATAL:   manifest unknown")
    # What a recipe's programs did not reach says nothing of the node.
    assert not failures.no_network("fatal: unable to access 'https://x/': Could not resolve host: x")


@pytest.mark.parametrize(
    "line",
    [
        "ERROR: Could not install packages: [Errno 13] Permission denied: '/usr/local/lib'",
        "Get:429 http://example.org/debian trixie/main amd64 libx all 1.0 [429 kB]",
        "the worker was killed by its parent, trying again",
    ],
)
def test_what_only_looks_like_it_is_not_explained(line: str):
    assert failures.explain(f"{line}\n{LAST}\n", job=7, where="x").hint == "the whole log lies in x"
