"""Asking one machine of the cluster what it has: the login node directly, a compute node by a small job.

The same script runs on both. The job asks for one processor and two minutes; if it has not answered in time it is
cancelled, and nothing of it stays.
"""

from __future__ import annotations

import contextlib
import secrets
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from dl4mic_hpc import resources
from dl4mic_hpc.errors import Dl4micError, RemoteError
from dl4mic_hpc.images import place as places
from dl4mic_hpc.images.place import Place
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.remote import Remote, Teller, stage
from dl4mic_hpc.slurm import answers, reasons
from dl4mic_hpc.slurm.job import Resources

_SUBMIT = 'umask 077; cd "$1" && shift && sbatch --parsable "$@"'

# A look at the folder makes a network file system see what another machine has written there.
_WAIT = """\
cd "$1" || exit
end=$(($(date +%s) + $2))
shift 2
while :; do
    ls -a > /dev/null
    ! grep -qs "^end" answer || break
    [ "$(date +%s)" -lt "$end" ] || { "$@" 2> /dev/null; break; }
    sleep 0.2
done
printf '%s\\n' --answer
cat answer 2> /dev/null
"""
_ROUND = 10
"""Seconds between two questions to Slurm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What both machines said; `node` None with the reason in `no_node`."""

    login: Place
    node: Place | None
    no_node: str = ""


def script(profile: ClusterProfile, registries: dict[str, str], *, in_job: bool) -> str:
    """What runs on a machine: the profile's modules, in a job its own set-up, then the questions.

    `registries`: address by name. The proxies of the profile's build environment are set as in the build itself.
    """
    words = (
        str(profile.work_dir),
        profile.apptainer,
        str(profile.build.tmp_dir or ""),
        *(f"{name}={address}" for name, address in registries.items()),
    )
    modules = (
        f"module load {shlex.quote(name)} || printf 'module_failed\\t%s\\n' {shlex.quote(name)}"
        for name in profile.modules
    )
    proxies = (
        f"export {name}={shlex.quote(value)}" for name, value in profile.build.environment.proxies.items()
    )
    questions = resources.data("templates", "fitness.sh").read_text(encoding="utf-8")
    return "\n".join(
        (
            "#!/bin/bash -l",
            *modules,
            *((profile.pre_script,) if in_job else ()),
            *proxies,
            f"set -- {shlex.join(words)}",
            questions,
        )
    )


def ask(
    remote: Remote, profile: ClusterProfile, teller: Teller, registries: dict[str, str], *, patience: float
) -> Asked:
    """Asks the login node while the job waits for a compute node, of which at most `patience` seconds are given."""
    token = secrets.token_hex(4)
    folder = profile.work_dir / "builds" / f"probe-{token}"
    asked = replace(Resources.of_build(profile), cpus=1, mem="1G", time="00:02:00")
    submit = (
        "sh", "-c", _SUBMIT, "submit", str(folder),
        f"--job-name=dl4mic-probe-{token}", "--comment=dl4mic-hpc", f"--output={str(folder / 'answer').replace('%', '%%')}",
        "--no-requeue", "--export=NONE", *asked.options(), "node.sh",
    )  # fmt: skip
    files = {
        "login.sh": script(profile, registries, in_job=False).encode(),
        "node.sh": script(profile, registries, in_job=True).encode(),
    }
    with _cleared_away(remote, folder, f"dl4mic-probe-{token}"):
        submitted = stage(remote, folder, files, then=submit)
        said = remote.run("bash", "-l", str(folder / "login.sh"), timeout=120)
        login = places.parse(said.stdout)
        if login is None:
            said.check("looking at the login node", hint=_AGAIN)
            raise RemoteError("the login node's answer was cut short", hint=_AGAIN)
        if submitted.exit_code:
            refusal = reasons.explain_refusal(submitted.stderr, asked, cluster=remote.cluster)
            return Asked(login=login, node=None, no_node=f"{refusal.message}; {refusal.hint}")
        job = answers.parse_sbatch(submitted.stdout)
        teller.say("asking a compute node what it can do for images")
        node, why_not = _answer(remote, folder, job, teller, patience)
        return Asked(login=login, node=node, no_node=why_not)


_AGAIN = "try again; if it lasts, look whether ~/.bash_profile or ~/.profile on the cluster ends the shell"


def _answer(
    remote: Remote, folder: PurePosixPath, job: int, teller: Teller, patience: float
) -> tuple[Place | None, str]:
    """The compute node's answer, or why there is none."""
    end = time.monotonic() + patience
    over = False
    while True:
        left = max(end - time.monotonic(), 0.0)
        said = remote.run(
            "sh", "-c", _WAIT, "wait", str(folder), str(int(min(left, _ROUND))), *answers.squeue_command([job]), timeout=120
        ).stdout  # fmt: skip
        queue, _, answer = said.partition("--answer\n")
        node = places.parse(answer)
        if node is not None:
            return node, ""
        status = answers.parse_squeue(queue).get(job)
        if status is None or status.is_over:
            # A network file system may show late what the job has written.
            if over or left == 0:
                last = (answer.strip().splitlines() or ["it said nothing"])[-1]
                return None, f"the job that asks ended without an answer: {last}"
            over = True
            continue
        waits = reasons.explain_pending(status) if status.is_pending else f"it runs on {status.node}"
        if left <= _ROUND:
            return None, f"none has answered within {patience:.0f} seconds ({waits})"
        teller.detail(waits)


@contextlib.contextmanager
def _cleared_away(remote: Remote, folder: PurePosixPath, name: str) -> Iterator[None]:
    """By name, as an interrupt may come between sbatch's answer and our reading it."""
    try:
        yield
    finally:
        with contextlib.suppress(Dl4micError):
            remote.run("sh", "-c", 'scancel --quiet --name="$1"; rm -rf "$2"', "clear", name, str(folder))
