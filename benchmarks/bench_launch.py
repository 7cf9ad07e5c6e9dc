"""A launch with a cached image on an idle node, over a 50 ms link, against the bare minimum by hand.

The minimum is a shell script with OpenSSH: one ControlMaster connection, sbatch, wait for the port, `ssh -L`, first
answer of /api/status. It checks no host, copies no notebook, keeps no record. Both run through the same delaying
proxy, in turn. Bar: at most 1.2 times, by the median of the ratios. Needs a sandbox: brings it up.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import yaml
from delay import delayed

from dl4mic_hpc import profile as profiles
from dl4mic_hpc import resources, sandbox

RUNS = 7
BAR = 1.2
ONE_WAY = 0.025

JOB = """#!/bin/bash
#SBATCH --job-name=minimum --output=/dev/null --nodes=1 --ntasks=1 --cpus-per-task=2 --mem=4G --time=10
#SBATCH --partition=a100 --gres=gpu:1
umask 077
port=$((20000 + SLURM_JOB_ID % 20000))
(until (exec 3<> /dev/tcp/127.0.0.1/$port) 2> /dev/null; do sleep 0.1; done; echo "$port" > "$1") &
exec apptainer exec --contain --cleanenv --nv --home "$2:/home" --pwd /home "$3" \\
    jupyter lab --no-browser --ip=0.0.0.0 --port=$port --IdentityProvider.token=minimum
"""

MINIMUM = """
set -eu
ssh="ssh -F none -q -S $FOLDER/control -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -i $KEY -p $PORT"
$ssh -M -f -N ada@127.0.0.1
trap '$ssh -O exit ada@127.0.0.1 2> /dev/null' EXIT
job=$($ssh ada@127.0.0.1 "rm -f $WORK/port; sbatch --parsable $WORK/minimum.sh $WORK/port $WORK/home $IMAGE")
until port=$($ssh ada@127.0.0.1 "cat $WORK/port 2> /dev/null"); do sleep 0.1; done
$ssh -O forward -L "$LOCAL:gpu01:$port" ada@127.0.0.1
until curl -sf -H 'Authorization: token minimum' "http://127.0.0.1:$LOCAL/api/status" > /dev/null; do sleep 0.1; done
echo "$job"
"""


def seconds(argv: list[str], env: dict[str, str]) -> tuple[float, str]:
    start = time.perf_counter()
    done = subprocess.run(argv, env=env, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - start, done.stdout


async def main() -> None:
    program = str(Path(sysconfig.get_path("scripts")) / "dl4mic-hpc")
    status = sandbox.up(say=lambda text: print(text, file=sys.stderr))
    profile = profiles.load("sandbox")
    assert profile.port and profile.identity_file and profile.path
    login = f"dl4mic-{status.instance}-login"

    def inside(script: str, *argv: str) -> str:
        command = [
            status.engine or "podman",
            "exec",
            "-i",
            "-u",
            "ada",
            login,
            "bash",
            "-lc",
            script,
            "bash",
            *argv,
        ]
        return subprocess.run(command, check=True, capture_output=True, text=True, input=JOB).stdout

    def end(job: str) -> None:
        inside('scancel "$1"; while [ -n "$(squeue -h -j "$1" 2> /dev/null)" ]; do sleep 0.2; done', job)

    launch = [
        program,
        "launch",
        "pixel_segmentation",
        "--partition",
        "a100",
        "--until-ready",
        "--no-browser",
        "--json",
    ]
    first = json.loads(seconds([*launch, "--cluster", "sandbox"], dict(os.environ))[1])
    end(str(first["job_id"]))
    image = json.loads(inside('cat "$1/session.json"', first["session_dir"]))["image"]
    work = "/scratch/ada/benchmark"
    inside('mkdir -p "$1/home" && cat > "$1/minimum.sh"', work)

    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with delayed("127.0.0.1", profile.port, delay=ONE_WAY) as port:
            values = yaml.safe_load(profile.path.read_text()) | {"port": port}
            (folder / "config" / "clusters").mkdir(parents=True)
            (folder / "config" / "clusters" / "sandbox.yaml").write_text(yaml.safe_dump(values))
            known = (resources.home("config") / "known_hosts").read_text()
            (folder / "config" / "known_hosts").write_text(known.replace(f":{profile.port} ", f":{port} "))
            our_env = os.environ | {"DL4MIC_HPC_HOME": name}
            their_env = os.environ | {
                "FOLDER": name,
                "KEY": str(profile.identity_file),
                "PORT": str(port),
                "WORK": work,
                "IMAGE": image,
                "LOCAL": "28888",
            }
            for _ in range(RUNS):
                took, said = await asyncio.to_thread(seconds, [*launch, "--cluster", "sandbox"], our_env)
                ours.append(took)
                end(str(json.loads(said)["job_id"]))
                took, said = await asyncio.to_thread(seconds, ["bash", "-c", MINIMUM], their_env)
                theirs.append(took)
                end(said.strip())
                print(f"  {ours[-1]:.2f} s  {theirs[-1]:.2f} s", file=sys.stderr)
    with contextlib.suppress(subprocess.CalledProcessError):
        inside('rm -rf "$1"', work)
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    print(f"launch, 50 ms link   {statistics.median(ours):.2f} s")
    print(f"bare minimum by hand {statistics.median(theirs):.2f} s")
    print(
        f"ratio                {statistics.median(ratios):.2f} (bar: {BAR}; {RUNS} pairs, {min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    asyncio.run(main())
