"""What images cost: a launch whose image is there, and the pull of one of a gigabyte.

1. With its image there, `launch` (--image auto) against the same with --image PATH.sif: the commands on the cluster,
   counted, and the time of `launch --detach`. Bar: no command more.
2. `image pull` against `apptainer pull --no-https` by hand, each as a Slurm job with the same processors and memory on
   the same node, from the same registry, with an empty cache of blobs, in turn. The time is the job's own, from its
   start to its end; what it waited in the queue and the whole command are shown beside it. Bar: at most 1.10 times.
   `image pull` packs at gzip's lowest level, a bare pull at its highest. What checksum and checks cost by themselves is
   seen against `apptainer build` with the same packing; it has no bar.

Needs podman or docker: has a sandbox of its own, which it removes.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import large_image
import yaml

from dl4mic_hpc import catalog, sandbox, ssh
from dl4mic_hpc import profile as profiles
from dl4mic_hpc.cli.ask import TerminalAsker
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.remote import Remote
from dl4mic_hpc.sandbox import instance
from dl4mic_hpc.sessions import launch
from dl4mic_hpc.slurm.job import Resources

RUNS = 5
BAR = 1.10
SIZE = 1_050_000_000
"""Bytes of the large image's layers in the registry."""
NAME = "benchmark/large"
PARTITION = "a100"  # one node: both run on the same
BARE = "/scratch/ada/bare"

CONFIGURATION = """\
config:
  dl4miceverywhere:
    notebook_url: Small.ipynb
    requirements_url: requirements.txt
    docker_hub_image: small
    description: A recipe that takes seconds
"""
NOTEBOOK = json.dumps(
    {
        "cells": [{"cell_type": "markdown", "source": "# Small", "metadata": {}}],
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
)
RECIPE = "FROM debian:trixie-slim AS environment\nUSER root\nWORKDIR /home\nRUN true\n"

BARE_PULL = """#!/bin/bash -l
export APPTAINER_CACHEDIR=$1/cache APPTAINER_TMPDIR=/tmp
shift
exec apptainer "$@"
"""
PROGRAM = str(Path(sysconfig.get_path("scripts")) / "dl4mic-hpc")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def timed(*argv: str) -> tuple[float, str]:
    start = time.perf_counter()
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(f"error: {argv} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return time.perf_counter() - start, done.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginNode:
    """The sandbox's login node as ada sees it, not by way of the program."""

    engine: str
    container: str

    def sh(self, script: str, *argv: str) -> str:
        command = (self.engine, "exec", "-u", "ada", self.container, "bash", "-lc", script, "bash", *argv)
        return timed(*command)[1].strip()

    def end_all(self) -> None:
        self.sh('scancel -u ada; while [ -n "$(squeue -h)" ]; do sleep 0.2; done')


class Counted:
    """A cluster whose commands are counted as they are asked for."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self.commands: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name in ("run", "start", "put", "get", "proxy"):
            self.commands.append(name)
        return getattr(self._remote, name)


class Silent:
    def say(self, text: str) -> None: ...

    def detail(self, text: str) -> None: ...

    def note(self, text: str) -> None: ...


def no_upload(*_: object) -> None:
    raise AssertionError("there is no data to copy")


def commands(profile: ClusterProfile, configuration: Path, image: str) -> int:
    """How many commands a launch without data runs on the cluster, from the connection to the submitted job."""
    request = launch.LaunchRequest(
        profile=profile,
        notebook=catalog.load_file(configuration),
        resources=Resources.of(profile),
        image=image,
    )
    with ssh.connect(profile, ask=TerminalAsker()) as connection:
        counted = Counted(connection)
        launch.submit(counted, launch.plan_launch(request), Silent(), launch.LocalSide(upload=no_upload))
    return len(counted.commands)


def there(login: LoginNode, profile: ClusterProfile, folder: Path) -> None:
    """The first part. The image holds no JupyterLab: its jobs are ended as soon as they are submitted."""
    for name, text in {
        "configuration.yaml": CONFIGURATION,
        "Small.ipynb": NOTEBOOK,
        "requirements.txt": "",
        "Dockerfile": RECIPE,
    }.items():
        (folder / name).write_text(text)
    configuration = folder / "configuration.yaml"
    image = json.loads(timed(PROGRAM, "image", "build", "-c", str(configuration), "--json")[1])["image"]
    ways = {"auto": "auto", "PATH.sif": image}
    counts: dict[str, int] = {}
    times: dict[str, list[float]] = {way: [] for way in ways}
    for way, given in ways.items():
        counts[way] = commands(profile, configuration, given)
        login.end_all()
    for _ in range(RUNS):
        for way, given in ways.items():
            argv = (PROGRAM, "launch", "-c", str(configuration), "--image", given, "--detach")
            times[way].append(timed(*argv)[0])
            login.end_all()
        say("  " + "  ".join(f"{way} {taken[-1]:.2f} s" for way, taken in times.items()))
    ratios = [a / b for a, b in zip(times["auto"], times["PATH.sif"], strict=True)]
    for way in ways:
        median = statistics.median(times[way])
        print(f"launch --image {way:<11} {counts[way]} commands on the cluster, {median:.2f} s to submit")
    print(
        f"ratio                      {statistics.median(ratios):.2f} "
        f"({RUNS} pairs, {min(ratios):.2f} to {max(ratios):.2f}; bar: as many commands)",
        flush=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """Seconds of one pull: the whole command, in the queue, and the job's own. `size`: bytes of the SIF."""

    command: float
    queued: int
    job: int
    size: int


WAIT = """
export SLURM_TIME_FORMAT=%s
until said=$(sacct -X -n -P -j "$1" -o Submit,Start,End,State) && [[ ${said##*|} =~ ^[A-Z_]+ ]] &&
    [[ ${said##*|} != @(RUNNING|PENDING|COMPLETING) ]]; do sleep 0.5; done
echo "$said"
"""


def ended(login: LoginNode, job: str) -> tuple[int, int, int]:
    """When the job was submitted, began and ended, in whole seconds, as soon as Slurm's accounting has heard of it."""
    *times, state = login.sh(WAIT, job).split("|")
    assert state == "COMPLETED", f"job {job}: {state}"
    submit, start, end = map(int, times)
    return submit, start, end


def told(login: LoginNode, times: tuple[int, int, int], command: float, image: str) -> Pull:
    submit, start, end = times
    size = int(login.sh('stat --format=%s "$1"', image))
    return Pull(command=command, queued=start - submit, job=end - start, size=size)


def our_pull(login: LoginNode, profile: ClusterProfile) -> Pull:
    login.sh('rm -rf "$1"/cache "$1"/images/large*', str(profile.work_dir))
    took, said = timed(PROGRAM, "image", "pull", f"docker.io/{NAME}:1", "--json")
    facts = json.loads(said)
    assert facts["state"] == "made", facts
    return told(login, ended(login, str(facts["job_id"])), took, facts["image"])


def bare_pull(login: LoginNode, profile: ClusterProfile, verb: str = "pull", *options: str) -> Pull:
    login.sh(f'mkdir -p {BARE} && rm -rf {BARE}/* && printf %s "$1" > {BARE}/pull.sh', BARE_PULL)
    asked = Resources.of_build(profile).options()
    submission = ("sbatch", "--parsable", f"--output={BARE}/log", *asked, f"{BARE}/pull.sh")
    argv = (verb, "--no-https", *options, f"{BARE}/large.sif", f"docker://registry:5000/{NAME}:1")
    start = time.perf_counter()
    times = ended(login, login.sh('"$@"', *submission, BARE, *argv))
    return told(login, times, time.perf_counter() - start, f"{BARE}/large.sif")


def packed_as_ours(login: LoginNode, profile: ClusterProfile) -> Pull:
    return bare_pull(login, profile, "build", "--mksquashfs-args", "-comp gzip -Xcompression-level 1")


WAYS = {
    "image pull": our_pull,
    "apptainer pull": bare_pull,
    "the same, packed as ours": packed_as_ours,
}


def pulled(login: LoginNode, profile: ClusterProfile, registry: str) -> None:
    """The second part."""
    say("packing the large image …")
    packed, unpacked = large_image.push(registry, "library/debian:trixie-slim", NAME, size=SIZE)
    # What a first pull finds out of the cluster is remembered.
    timed(PROGRAM, "image", "pull", "debian:trixie-slim")
    pulls: dict[str, list[Pull]] = {name: [] for name in WAYS}
    names = list(WAYS)
    for number in range(RUNS):
        # Who goes first changes, as what the one has read lies in memory for the next.
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            pulls[name].append(WAYS[name](login, profile))
            login.end_all()
        say("  " + "  ".join(f"{name} {taken[-1].job} s" for name, taken in pulls.items()))
    print(
        f"the image                 {packed / 1e9:.2f} GB in the registry, {unpacked / 1e9:.2f} GB unpacked"
    )
    for name, taken in pulls.items():
        job, queued, command, size = (
            statistics.median(getattr(pull, what) for pull in taken)
            for what in ("job", "queued", "command", "size")
        )
        print(
            f"{name:<25} {job:.0f} s of the job; {queued:.0f} s queued, {command:.0f} s the command; "
            f"SIF of {size / 1e9:.2f} GB"
        )
    ours, *others = names
    for name in others:
        ratios = [a.job / b.job for a, b in zip(pulls[ours], pulls[name], strict=True)]
        bar = f"bar: {BAR:.2f}; " if WAYS[name] is bare_pull else ""
        print(
            f"ratio to {name:<24}  {statistics.median(ratios):.2f} "
            f"({bar}{RUNS} rounds, {min(ratios):.2f} to {max(ratios):.2f})"
        )


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name, "home")
        os.environ["DL4MIC_HPC_HOME"] = str(home)
        try:
            status = sandbox.up(say=say)
            assert status.engine and status.profile
            values = yaml.safe_load(status.profile.read_text())
            values["build"]["partition"] = PARTITION
            status.profile.write_text(yaml.safe_dump(values))
            profile = profiles.load("sandbox")
            login = LoginNode(engine=status.engine, container=f"dl4mic-{status.instance}-login")
            there(login, profile, Path(name))
            record = instance.load(instance.current())
            assert record
            pulled(login, profile, f"127.0.0.1:{record.registry_port}")
        finally:
            sandbox.down(purge=False, say=say)


if __name__ == "__main__":
    main()
