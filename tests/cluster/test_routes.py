"""SSH to the sandbox: commands, files, and both routes to its compute nodes."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest
from support.person import Person

from dl4mic_hpc.errors import RemoteError, SshError
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.ssh import Connection, Tunnel, connect, trust
from dl4mic_hpc.ssh.hostkeys import own_file

pytestmark = pytest.mark.usefixtures("at_cluster")

Serve = Callable[[str], tuple[int, int]]


@pytest.fixture
def person() -> Person:
    return Person()


@pytest.fixture
def connection(sandbox_profile: ClusterProfile, at_cluster: None, person: Person) -> Iterator[Connection]:
    with connect(sandbox_profile, ask=person) as connection:
        yield connection


@pytest.fixture
def folder(connection: Connection) -> Iterator[PurePosixPath]:
    """A folder on the shared disk."""
    made = connection.run("mktemp", "-d", "/scratch/ada/routes-XXXXXX").stdout.strip()
    yield PurePosixPath(made)
    connection.run("rm", "-rf", made)


@pytest.fixture
def serve(connection: Connection, folder: PurePosixPath) -> Iterator[Serve]:
    """Runs a job on a node that greets whoever connects to a port of the node's loopback: (job id, port)."""
    jobs: list[str] = []

    def start(node: str) -> tuple[int, int]:
        script = (
            "#!/bin/bash -l\n"
            "exec python3 - <<'END'\n"
            "import socket\n"
            "with socket.create_server(('127.0.0.1', 0)) as server, open('port', 'w') as file:\n"
            "    print(server.getsockname()[1], file=file, flush=True)\n"
            "    while True:\n"
            "        with server.accept()[0] as connection:\n"
            "            connection.sendall(b'hello from ' + socket.gethostname().encode())\n"
            "END\n"
        )
        words = ["sbatch", "--parsable", "--partition=gpu", f"--nodelist={node}", "--mem=100M", "--time=5"]
        submitted = connection.run(*words, f"--chdir={folder}", "--output=job.log", stdin=script.encode())
        jobs.append(submitted.check("sbatch", hint="").stdout.strip())
        wait = 'until [ -s "$1/port" ]; do sleep 0.1; done; cat "$1/port"'
        return int(jobs[-1]), int(connection.run("sh", "-c", wait, "sh", str(folder), timeout=120).stdout)

    yield start
    for job in jobs:
        connection.run("scancel", job)


def greet(tunnel: Tunnel) -> bytes:
    with socket.create_connection(("127.0.0.1", tunnel.local_port), timeout=30) as sock:
        return b"".join(iter(lambda: sock.recv(1000), b""))


def test_slurm_and_apptainer_are_found(connection: Connection) -> None:
    assert connection.run("sbatch", "--version").stdout.startswith("slurm")
    assert "version" in connection.run("apptainer", "--version").stdout


def test_leaving_a_stream_hangs_up_its_command(connection: Connection, folder: PurePosixPath) -> None:
    # The shell complains about a child that a signal ended, which must not be the end of itself.
    script = f"exec 2> /dev/null; trap 'echo bye > {folder}/bye; exit' HUP; echo ready; while :; do sleep 0.1; done"
    with connection.start("sh", "-c", script) as process:
        assert process.read() == b"ready\n"
    wait = f"until [ -s {folder}/bye ]; do sleep 0.1; done; cat {folder}/bye"
    assert connection.run("sh", "-c", wait, timeout=30).stdout == "bye\n"


def test_a_full_disk_is_told_in_its_own_words(connection: Connection) -> None:
    path = PurePosixPath("/tiny/too-large")
    with pytest.raises(
        RemoteError, match=r"writing /tiny/too-large on sandbox failed: .*No space left on device"
    ) as caught:
        connection.put(path, bytes(4_000_000))
    assert "free some space" in caught.value.hint
    assert connection.run("sh", "-c", "ls /tiny/too-large*").exit_code != 0


def test_a_folder_of_others_is_told_in_its_own_words(connection: Connection) -> None:
    with pytest.raises(RemoteError, match="Permission denied") as caught:
        connection.put(PurePosixPath("/etc/mine"), b"")
    assert "a folder that you may write to" in caught.value.hint
    with pytest.raises(RemoteError, match="Permission denied"):
        connection.get(PurePosixPath("/etc/shadow"))


@pytest.mark.parametrize(
    ("node", "asked", "taken", "reason"),
    [
        ("gpu01", "auto", "hop", "gpu01 lets you log in"),
        ("gpu01", "hop", "hop", "pinned"),
        ("gpu01", "step", "step", "pinned"),
        ("gpu02", "auto", "step", "gpu02 cannot be logged in to: nothing answers"),
        ("gpu02", "step", "step", "pinned"),
    ],
)
def test_a_tunnel_leads_to_the_node(
    connection: Connection,
    folder: PurePosixPath,
    serve: Serve,
    node: str,
    asked: str,
    taken: str,
    reason: str,
) -> None:
    job_id, port = serve(node)
    said: list[str] = []
    with connection.open_route(
        asked,  # type: ignore[arg-type]
        node=node,
        job_id=job_id,
        session_dir=folder,
        say=said.append,
    ) as route:
        assert route.name == taken
        assert reason in route.reason
        with Tunnel(route, port) as tunnel:
            assert greet(tunnel) == greet(tunnel) == f"hello from {node}".encode()
    assert said


def test_a_step_leaves_nothing_on_the_node(
    connection: Connection, folder: PurePosixPath, serve: Serve
) -> None:
    job_id, _ = serve("gpu02")
    look = ["srun", f"--jobid={job_id}", "--overlap", "--quiet", "sh", "-c"]
    files = [*look, "find /tmp -maxdepth 1 -user ada -name 'tmp.*' -newer $0", f"{folder}/port"]
    with connection.open_route("step", node="gpu02", job_id=job_id, session_dir=folder, say=str):
        processes = connection.run(*look, "pgrep -u ada -a sshd").stdout
        assert "sshd" in processes
        assert connection.run(*files).stdout == ""
    wait = 'while pgrep -u ada -f "$0"; do sleep 0.1; done'
    assert connection.run(*look, wait, "sshd -i -e -f /proc/[0-9]*/fd/9", timeout=60).exit_code == 0


def test_a_step_needs_a_running_job(connection: Connection, folder: PurePosixPath) -> None:
    with pytest.raises(
        SshError, match=r"no step of job 999999 could be started on gpu01: .*[Ii]nvalid job id"
    ):
        connection.open_route("step", node="gpu01", job_id=999999, session_dir=folder, say=str)


def test_a_pinned_hop_to_a_closed_node(connection: Connection, folder: PurePosixPath) -> None:
    with pytest.raises(SshError, match="gpu02 cannot be reached by hop: nothing answers") as caught:
        connection.open_route("hop", node="gpu02", job_id=1, session_dir=folder, say=str)
    assert "route: step" in caught.value.hint


def test_the_end_of_the_job_ends_the_tunnel(
    connection: Connection, folder: PurePosixPath, serve: Serve
) -> None:
    job_id, port = serve("gpu02")
    with connection.open_route("step", node="gpu02", job_id=job_id, session_dir=folder, say=str) as route:
        with Tunnel(route, port) as tunnel:
            assert greet(tunnel)
            connection.run("scancel", str(job_id))
            assert tunnel.failed.wait(60)
        assert "the connection to gpu02 is lost" in route.loss


def test_host_keys_of_login_node_and_compute_node_are_checked(
    sandbox_profile: ClusterProfile, person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DL4MIC_HPC_HOME", str(tmp_path))
    with (
        pytest.raises(SshError, match="is not known: ssh-ed25519 SHA256:"),
        connect(sandbox_profile, ask=person),
    ):
        pass
    person.trusts = True
    assert trust(sandbox_profile, ask=person).outcome == "added"
    person.trusts = False
    with connect(sandbox_profile, ask=person) as connection:
        with pytest.raises(SshError, match="the host key of gpu01 is not known"):
            connection.open_route("hop", node="gpu01", job_id=1, session_dir=PurePosixPath("/tmp"), say=str)
        person.trusts = True
        assert trust(sandbox_profile, "gpu01", ask=person).outcome == "added"
        text = own_file().read_text()
        own_file().write_text(re.sub(r"(gpu01@sandbox \S+ ).*", r"\1" + text.split()[2], text))
        with pytest.raises(SshError, match="the host key of gpu01 has changed") as caught:
            connection.open_route("auto", node="gpu01", job_id=1, session_dir=PurePosixPath("/tmp"), say=str)
        assert caught.value.hint.endswith("cluster trust sandbox gpu01 --replace")
    assert trust(sandbox_profile, "gpu01", ask=person, replace=True).outcome == "replaced"
