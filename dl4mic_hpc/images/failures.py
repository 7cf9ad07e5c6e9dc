"""Why an image could not be made, in plain words: from the end of the job's log and from Slurm's word.

The patterns are what Apptainer 1.0 to 1.5, SingularityCE, curl, apt and pip print for these failures.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dl4mic_hpc.errors import ImageError

LINES = 60
"""How many lines of the log are looked at; the last `_SHOWN` of them are shown."""
_SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    pattern: str
    words: str
    hint: str
    network: bool = False


_FAILURES = (
    _Failure(
        pattern=r"^error: (?:no folder of|the folder) \S+ .*GiB free",
        words="no disk of the compute node has room to unpack it",
        hint="name a folder on a large disk of the compute nodes as `build.tmp_dir` in the profile",
    ),
    _Failure(
        pattern=r"^error: (?:a module of the profile|Apptainer was not found)",
        words="the compute node is not set up as the profile says",
        hint="correct `modules` and `apptainer` in the profile; `dl4mic-hpc cluster check --fresh` asks a compute node",
    ),
    _Failure(
        pattern=r"no space left on device|disk quota exceeded|EDQUOT|ENOSPC|not enough free space",
        words="there is no space left",
        hint="free some space in the work folder (`dl4mic-hpc image prune`), or name a larger disk of the compute "
        "nodes as `build.tmp_dir` in the profile",
    ),
    _Failure(
        pattern=r"toomanyrequests|too many requests|(?:status|http|code)\D{0,10}\b429\b",
        words="the registry lets no more through for now (too many requests)",
        hint="log in to it (`docker login` or `podman login` on this computer), or try again in an hour or two",
    ),
    _Failure(
        pattern=r"unauthorized|authentication required|access to the resource is denied"
        r"|(?<!permission )denied: (?:requested|access|not|forbidden)"
        r"|\b403 forbidden|invalid username/password",
        words="the registry does not give the image out to you",
        hint="log in to it with `docker login` or `podman login` on this computer, and look for a typing error in the name",
    ),
    _Failure(
        pattern=r"manifest unknown|manifest for \S+ not found|name unknown|repository name not known"
        r"|reading manifest .* not found|failed to resolve reference .*not found",
        words="the registry has no such image, or no longer",
        hint="`dl4mic-hpc image pull --refresh` asks for the tag anew; `--image build` builds from the recipe instead",
    ),
    _Failure(
        pattern=r"fakeroot: (?:error|.*failed|.*not found)|newuidmap|/etc/subuid|no mapping entry found"
        r"|user namespace.*(?:disabled|not permitted|denied)|failed to create (?:new )?namespace|max_user_namespaces",
        words="the compute node does not let ordinary users build images (fakeroot was refused)",
        hint="ask the cluster's support for a range in /etc/subuid and /etc/subgid or for user namespaces; or build "
        "elsewhere: dl4mic-hpc image build NOTEBOOK --here",
    ),
    _Failure(
        pattern=r"no such host|network is unreachable|no route to host|could not resolve|name or service not known"
        r"|temporary failure (?:in name resolution|resolving)|connection timed out|i/o timeout|connection refused"
        r"|failed to establish a new connection|could not connect to|unable to connect to",
        words="the compute node did not reach the internet",
        hint="try again: it is then fetched by the login node or by this computer; if compute nodes need a proxy, name "
        "it as `build.environment.proxies` in the profile",
        network=True,
    ),
    _Failure(
        pattern=r"x509|certificate (?:signed by|verify failed|has expired)|tls: ",
        words="the registry's certificate is not trusted on the compute node",
        hint="name your site's certificates as `build.environment.ca_file` in the profile, or ask the cluster's support",
    ),
    _Failure(
        pattern=r"signal: killed|oom[-_ ]kill|out of memory|cannot allocate memory|^\S*:? ?line \d+: +\d+ Killed|^Killed$",
        words="it was killed, most likely for memory",
        hint="raise `build.mem` in the profile",
    ),
)
_STATES = {
    "TIMEOUT": ("it ran into its time limit", "raise `build.time` in the profile"),
    "OUT_OF_MEMORY": ("it needed more memory than it asked for", "raise `build.mem` in the profile"),
    "NODE_FAIL": ("its compute node failed", "launch again; Slurm will choose another node"),
    "PREEMPTED": ("it had to make room for another job", "launch again"),
    "CANCELLED": ("it was cancelled", "launch again"),
}


def explain(
    log: str, *, job: int | None, state: str = "", where: str, what: str = "the image could not be made"
) -> ImageError:
    """The error for a job that ended without an image. `state`: Slurm's word, if it has one; `where` the log lies."""
    lines = [line for line in log.splitlines() if line.strip()]
    shown = "\n".join(lines[-_SHOWN:]) or "(nothing)"
    words, hint = _STATES.get(state, ("", ""))
    failure = None if words else _find(lines)
    if failure is not None:
        words, hint = failure.words, failure.hint
    told = f": {words}" if words else ""
    number = f" (job {job})" if job else ""
    return ImageError(
        f"{what}{told}{number}. Its last words:\n{shown}",
        hint=f"{hint}; the whole log lies in {where}" if hint else f"the whole log lies in {where}",
    )


def no_network(log: str) -> bool:
    """Whether a job failed because its node reaches no registry: by Apptainer's own word, not by a recipe's programs."""
    own = [line for line in log.splitlines() if line.startswith("FATAL:")]
    failure = _find(own)
    return failure is not None and failure.network


def _find(lines: list[str]) -> _Failure | None:
    """The first that a late line speaks of: what comes last is nearest to the cause."""
    for line in reversed(lines):
        for failure in _FAILURES:
            if re.search(failure.pattern, line, re.I):
                return failure
    return None
