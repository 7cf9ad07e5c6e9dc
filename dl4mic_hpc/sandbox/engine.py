"""The container engine: podman or docker, found, probed and spoken to by its command line.

Only what both understand is used; where they differ, the difference is here and nowhere else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from dl4mic_hpc.errors import SandboxError

ENGINES = ("podman", "docker")
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """`prefix`: how the program is called. `runtime`, `ulimits`: what this machine needs (see `probe`)."""

    kind: str
    prefix: tuple[str, ...]
    runtime: str | None = None
    ulimits: tuple[str, ...] = ()

    def argv(self, *words: str) -> list[str]:
        runtime = ["--runtime", self.runtime] if self.runtime and self.kind == "podman" else []
        return [*self.prefix, *runtime, *words]

    def call(
        self, *words: str, stdin: bytes = b"", timeout: float = 60.0
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs the engine; a non-zero exit code is an answer. SandboxError after `timeout` seconds."""
        try:
            return subprocess.run(self.argv(*words), input=stdin, capture_output=True, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise SandboxError(
                f"{self.kind} {words[0]} did not answer within {timeout:.0f} s",
                hint=f"see whether `{' '.join(self.prefix)} ps` answers, then try again",
            ) from error

    def run(self, *words: str, stdin: bytes = b"", timeout: float = 60.0) -> str:
        """Standard output of a call that has to succeed; else SandboxError with the engine's own words."""
        result = self.call(*words, stdin=stdin, timeout=timeout)
        if result.returncode:
            raise SandboxError(
                f"{self.kind} {words[0]} failed: {tail(result.stderr or result.stdout)}",
                hint="`dl4mic-hpc sandbox down`, then `dl4mic-hpc sandbox up` starts afresh",
            )
        return result.stdout.decode(errors="replace")

    def lines(self, *words: str) -> list[str]:
        return [line for line in self.run(*words).splitlines() if line.strip()]

    def create_options(self) -> list[str]:
        """What every container of this machine is created with."""
        runtime = ["--runtime", self.runtime] if self.runtime and self.kind == "docker" else []
        return ["--privileged", *runtime, *(word for limit in self.ulimits for word in ("--ulimit", limit))]

    def build_options(self) -> list[str]:
        """Builds run in the machine's own network: the sandbox's is not there yet, mirrors may be local.

        podman's chroot isolation needs no runtime, so it builds wherever root can (podman-build(1)).
        """
        isolation = ["--isolation", "chroot"] if self.kind == "podman" else []
        return ["--network", "host", *isolation]

    def network_options(self) -> list[str]:
        """Names come from /etc/hosts, so podman needs no name server of its own; docker always has one."""
        return ["--disable-dns"] if self.kind == "podman" else []


def tail(output: bytes, lines: int = 6) -> str:
    """The last lines of what a program said."""
    said = output.decode(errors="replace").strip().splitlines()
    return "\n".join(said[-lines:]) or "it said nothing"


def find(wanted: str | None = None) -> Engine:
    """The engine to use: `wanted`, else podman where it can work, else docker where its daemon answers.

    SandboxError with the reason for each engine if there is none.
    """
    if wanted is not None and wanted not in ENGINES:
        raise SandboxError(f"'{wanted}' is no container engine", hint="write podman or docker")
    reasons = []
    for kind in ENGINES if wanted is None else (wanted,):
        found = _podman() if kind == "podman" else _docker()
        if isinstance(found, Engine):
            return found
        reasons.append(found)
    raise SandboxError("no container engine works here: " + "; ".join(reasons), hint=_how_to_install())


def root_prefix() -> tuple[str, ...] | None:
    """The words that make a command run as root: none if this is root, sudo's if it asks no password, else None.

    The proxy settings come along: builds and pulls need them.
    """
    if sys.platform == "win32":
        return None
    if os.geteuid() == 0:
        return ()
    if shutil.which("sudo") and _answers("sudo", "-n", "true"):
        return ("sudo", "-n", f"--preserve-env={','.join(PROXIES)}")
    return None


def _podman() -> Engine | str:
    if shutil.which("podman") is None:
        return "podman is not installed"
    if sys.platform != "linux":
        return Engine(kind="podman", prefix=("podman",))
    # Slurm starts jobs as other users, and device nodes are made: both take root.
    prefix = root_prefix()
    if prefix is None:
        return "podman is installed, but the sandbox needs it as root, and sudo asks for a password: type `sudo -v` first"
    return Engine(kind="podman", prefix=(*prefix, "podman"))


def _docker() -> Engine | str:
    if shutil.which("docker") is None:
        return "docker is not installed"
    if _answers("docker", "version", "--format", "{{.Server.Version}}"):
        return Engine(kind="docker", prefix=("docker",))
    return "docker is installed, but its daemon does not answer"


def _answers(*argv: str) -> bool:
    try:
        return subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _how_to_install() -> str:
    if sys.platform == "linux":
        return "`sudo apt-get install podman netavark` (Debian, Ubuntu), then `dl4mic-hpc sandbox up` again"
    return "install Docker Desktop or Podman, start it, then `dl4mic-hpc sandbox up` again"


def probe(engine: Engine, image: str) -> Engine:
    """`engine` with the options that a privileged container needs to start on this machine.

    Some machines forbid raising limits even to root (then podman's own defaults cannot be set), some have
    control groups that the default runtime refuses. SandboxError if nothing works.
    """
    said = b""
    for runtime in (None, "runc", "crun"):
        if runtime and shutil.which(runtime) is None:
            continue
        for ulimits in ((), _own_limits(), ("nofile=1024:1024", "nproc=1024:1024")):
            candidate = replace(engine, runtime=runtime, ulimits=ulimits)
            result = candidate.call(*_try(candidate, image, "true"), timeout=120)
            if result.returncode == 0:
                return candidate
            said = said or result.stderr
    raise SandboxError(
        f"{engine.kind} cannot start a privileged container here: {tail(said)}",
        hint=f"`{' '.join(engine.prefix)} run --rm --privileged --entrypoint=true {image}` shows it; installing runc often helps",
    )


def _try(engine: Engine, image: str, *command: str) -> tuple[str, ...]:
    entry = f"--entrypoint={command[0]}"
    return ("run", "--rm", "--network", "none", *engine.create_options(), entry, image, *command[1:])


def probe_namespaces(engine: Engine, image: str) -> None:
    """SandboxError if an ordinary user in a container cannot do what Apptainer does: mount in a user namespace.

    Some systems forbid it by a kernel setting, whatever rights the container has
    (https://apptainer.org/docs/admin/main/user_namespace.html).
    """
    user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    mounts = ("unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt")
    result = engine.call(*_try(engine, image, *user, *mounts), timeout=120)
    if result.returncode == 0:
        return
    settings = {
        "kernel.apparmor_restrict_unprivileged_userns": "0",
        "kernel.unprivileged_userns_clone": "1",
        "user.max_user_namespaces": "10000",
    }
    wrong = []
    for name, good in settings.items():
        path = Path("/proc/sys", *name.split("."))
        if path.is_file() and (path.read_text().strip() == "0") != (good == "0"):
            wrong.append(f"sysctl -w {name}={good}")
    raise SandboxError(
        f"ordinary users cannot make user namespaces here, and Apptainer needs them: {tail(result.stderr, 2)}",
        hint=f"as root, until the next start of the machine: {' && '.join(wrong)}"
        if wrong
        else "see https://apptainer.org/docs/admin/main/user_namespace.html",
    )


def _own_limits() -> tuple[str, ...]:
    """This process's hard limits; of processes never more than there can be (podman lowers its own to that)."""
    if sys.platform == "win32":
        return ()
    import resource

    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    processes = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    most = Path("/proc/sys/kernel/pid_max")
    ceiling = int(most.read_text()) if most.is_file() else 32768
    files = 1048576 if files == resource.RLIM_INFINITY else min(files, 1048576)
    processes = ceiling if processes == resource.RLIM_INFINITY else min(processes, ceiling)
    return (f"nofile={files}:{files}", f"nproc={processes}:{processes}")
