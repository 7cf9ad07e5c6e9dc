"""The route through the job itself: an SSH server that `srun` starts on the node, for one tunnel.

It needs no right and no open port on the node: `sshd -i` (sshd(8), inetd mode) runs as the user inside a step
of the job and speaks over the step's standard input and output, which Slurm carries to the login node. Its
host key is made there and told over that same, already verified connection; the client's key is made for
this tunnel alone and never leaves the memory.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

import paramiko

from dl4mic_hpc.errors import SshError
from dl4mic_hpc.ssh.failures import FOREIGN, words
from dl4mic_hpc.ssh.process import Process
from dl4mic_hpc.ssh.transport import SshTransport
from dl4mic_hpc.ssh.userauth import UserAuth

_PATIENCE = 30.0  # seconds: srun answers in 0.04 s, but not on a busy controller
_MANY = 1000  # lines of noise
_NO_SSHD = 41
_NO_KEY = 42
_NO_FOLDER = 43
_REASONS = {_NO_KEY: "ssh-keygen made no key", _NO_FOLDER: "there is no room for temporary files"}

# $1 marks the line with the host key, $2 is the client's public key. The three files are gone before the server
# starts: it reads them through the shell that still has them open, so that nothing is left behind, however the
# job ends. The shell waits for the server and does not become it, for sshd closes all files at its start.
_SCRIPT = f"""\
umask 077
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin:/usr/lib/openssh:/usr/libexec/openssh
sshd=$(command -v sshd) || exit {_NO_SSHD}
folder=$(mktemp -d) || exit {_NO_FOLDER}
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
for kind in ed25519 ecdsa; do
  ssh-keygen -q -t "$kind" -N '' -C '' -f "$folder/key" </dev/null >/dev/null 2>&1 && break
done
public=$(cat "$folder/key.pub") || exit {_NO_KEY}
printf '%s\\n' "$2" > "$folder/authorized_keys"
cat > "$folder/config" <<END
HostKey /proc/$$/fd/7
AuthorizedKeysFile /proc/$$/fd/8
AuthenticationMethods publickey
PasswordAuthentication no
UsePAM no
StrictModes no
PidFile none
AllowTcpForwarding local
PermitOpen 127.0.0.1:*
AllowAgentForwarding no
AllowStreamLocalForwarding no
X11Forwarding no
PermitTTY no
PermitTunnel no
PermitUserRC no
PermitUserEnvironment no
MaxSessions 0
Banner none
PrintMotd no
ClientAliveInterval 30
ClientAliveCountMax 4
LogLevel ERROR
END
exec 7< "$folder/key" 8< "$folder/authorized_keys" 9< "$folder/config"
rm -rf "$folder"
printf '%s %s\\n' "$1" "$public"
"$sshd" -i -e -f /proc/$$/fd/9
"""


def command(
    *, node: str, job_id: int, session_dir: PurePosixPath, marker: str, public_key: str
) -> tuple[str, ...]:
    """The srun that starts the server. See https://slurm.schedmd.com/srun.html for its options.

    --overlap shares the job's resources with what runs in it; --gres=none leaves the GPUs out of the step;
    --chdir because the home folder may not exist on the node, while the session's folder does.
    """
    return (
        "srun",
        f"--jobid={job_id}",
        f"--nodelist={node}",
        "--overlap",
        "--nodes=1",
        "--ntasks=1",
        "--gres=none",
        "--mpi=none",
        "--unbuffered",
        "--quiet",
        "--job-name=tunnel",
        f"--chdir={session_dir}",
        "/bin/sh",
        "-c",
        _SCRIPT,
        "tunnel",
        marker,
        public_key,
    )


@contextlib.contextmanager
def open_step(
    start: Callable[..., Process], *, user: str, node: str, job_id: int, session_dir: PurePosixPath
) -> Iterator[SshTransport]:
    """A transport to the node through a step of the job; the step ends on leaving. SshError says why not."""
    key = paramiko.ECDSAKey.generate()
    marker = f"dl4mic-{secrets.token_hex(8)}"
    argv = command(
        node=node,
        job_id=job_id,
        session_dir=session_dir,
        marker=marker,
        public_key=f"{key.get_name()} {key.get_base64()}",
    )
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(start(*argv))
        late = threading.Event()

        def give_up() -> None:
            late.set()
            process.close()

        timer = threading.Timer(_PATIENCE, give_up)  # for all of it, whichever part hangs
        timer.daemon = True
        stack.callback(timer.cancel)
        timer.start()
        try:
            transport = _log_in(_Stdio(process), user, key, marker, stack)
        except (_FailedError, *FOREIGN) as error:
            why = str(error) if isinstance(error, _FailedError) else words(error)
            if late.is_set():
                why = f"nothing came of it within {_PATIENCE:g} s"
            raise _error(error, why, process.said(), node=node, job_id=job_id) from error
        timer.cancel()
        yield transport


class _FailedError(Exception):
    """The step ended, or what answered is not the server that was started; `exit_code` is srun's, if it ended."""

    def __init__(self, why: str, exit_code: int = 0) -> None:
        super().__init__(why)
        self.exit_code = exit_code


def _log_in(
    stdio: _Stdio, user: str, key: paramiko.PKey, marker: str, stack: contextlib.ExitStack
) -> SshTransport:
    host_key = _host_key(stdio, marker)
    transport = SshTransport(stdio, timeout=_PATIENCE)
    stack.callback(transport.close)
    shown = transport.handshake((host_key.split()[0],))
    if f"{shown.get_name()} {shown.get_base64()}" != host_key:
        raise _FailedError("what answers there shows another host key than the one that was made for it")
    if not UserAuth(transport, user).offer_key(key).accepted:
        raise _FailedError("the server there refuses the login")
    return transport


def _host_key(stdio: _Stdio, marker: str) -> str:
    """Type and base64 of the host key, from the first line that begins with the marker."""
    for _ in range(_MANY):
        line = stdio.readline()
        if not line:
            break
        fields = line.decode("utf-8", "replace").split()
        if len(fields) >= 3 and fields[0] == marker:
            return f"{fields[1]} {fields[2]}"
    code = stdio.process.wait(timeout=_PATIENCE).exit_code
    raise _FailedError(_REASONS.get(code, f"srun ended with exit code {code}"), code)


def _error(error: Exception, why: str, said: str, *, node: str, job_id: int) -> SshError:
    if isinstance(error, _FailedError) and error.exit_code == _NO_SSHD:
        return SshError(
            f"{node} has no SSH server program (sshd), which the route 'step' needs",
            hint="ask the cluster's support to install openssh-server there, or set `route: hop` in the profile",
        )
    return SshError(
        f"no step of job {job_id} could be started on {node}: {why}{f'; it says: {said}' if said else ''}",
        hint="`dl4mic-hpc ps` shows whether the job still runs",
    )


class _Stdio:
    """The step's standard input and output as a socket, as far as a transport needs one."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._ahead = b""
        self._timeout: float | None = None
        self._closed = False

    def readline(self) -> bytes:
        """One line with its end; b"" at the end of the stream."""
        while b"\n" not in self._ahead and (data := self.process.read()):
            self._ahead += data
        line, end, self._ahead = self._ahead.partition(b"\n")
        return line + end

    def recv(self, size: int) -> bytes:
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
            return data
        return self.process.read(size, timeout=self._timeout)

    def send(self, data: bytes) -> int:
        self.process.write(data)
        return len(data)

    def settimeout(self, timeout: float | None) -> None:
        self._timeout = timeout

    def close(self) -> None:
        self._closed = True
        self.process.close()
