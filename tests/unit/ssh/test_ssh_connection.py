"""Commands and files over a real SSH connection."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import paramiko
import pytest
from support.person import Person, know
from support.ssh_server import Rules, Server
from support.sshd import Sshd, program

from dl4mic_hpc.errors import RemoteError, SshError
from dl4mic_hpc.ssh import Connection, connect

pytestmark = pytest.mark.posix

MEGA = 1024 * 1024
SHELLS = ["sh", "bash", "zsh", "tcsh", *(["dash", "fish"] if sys.platform == "linux" else [])]


def test_a_command_answers_with_exit_code_and_both_streams(connection: Connection) -> None:
    result = connection.run("sh", "-c", "echo out; echo err >&2; exit 3")
    assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "err\n")
    assert connection.run("true").exit_code == 0


def test_words_arrive_as_they_are(connection: Connection) -> None:
    words = ["a b", "it's", "$HOME", "!x", "two\nlines\n", "back\\slash\\\\", "", "*", "ü", "=ls"]
    assert connection.run("printf", "%s|", *words).stdout == "".join(f"{word}|" for word in words)


def test_a_program_that_is_not_there_is_an_answer(connection: Connection) -> None:
    result = connection.run("no-such-program")
    assert result.exit_code == 127
    assert "no-such-program" in result.stderr


def test_a_command_that_a_signal_ended_has_no_exit_code(connection: Connection) -> None:
    assert connection.run("sh", "-c", "kill -9 $$").exit_code == -1


def test_noise_of_the_start_up_files_is_cut_off(server: Sshd, connection: Connection) -> None:
    noise = 'echo "Welcome to the cluster"; echo "quota exceeded" >&2\n'
    (server.home / ".bashrc").write_text(noise)
    (server.home / ".bash_profile").write_text(noise)
    (server.home / ".profile").write_text(noise)
    for _ in range(2):  # the command that learns the environment, and one that has it
        result = connection.run("sh", "-c", "echo out; echo err >&2")
        assert (result.stdout, result.stderr) == ("out\n", "err\n")


def test_the_login_shells_path_is_used(server: Sshd, connection: Connection) -> None:
    tools = server.home / "tools"
    tools.mkdir()
    (tools / "sbatch").write_text("#!/bin/sh\necho $SLURM_CONF\n")
    (tools / "sbatch").chmod(0o700)
    (server.home / ".bash_profile").write_text(f"export PATH={tools}:$PATH SLURM_CONF=/etc/slurm/x.conf\n")
    for _ in range(2):
        assert connection.run("sbatch").stdout == "/etc/slurm/x.conf\n"


def test_a_start_up_file_does_not_eat_the_commands_input(server: Sshd, connection: Connection) -> None:
    (server.home / ".bash_profile").write_text("cat > /dev/null\n")
    assert connection.run("cat", stdin=b"all of it").stdout == "all of it"


def test_large_streams_both_ways_do_not_stall(connection: Connection) -> None:
    script = f"head -c {10 * MEGA} /dev/zero; head -c {10 * MEGA} /dev/zero >&2; wc -c"
    result = connection.run("sh", "-c", script, stdin=bytes(10 * MEGA))
    assert len(result.stderr) == 10 * MEGA
    assert result.stdout == "\0" * (10 * MEGA) + f"{10 * MEGA}\n"


def test_input_that_nobody_reads_does_no_harm(connection: Connection) -> None:
    assert connection.run("true", stdin=bytes(20 * MEGA)).exit_code == 0


def test_a_command_that_does_not_answer_in_time(connection: Connection) -> None:
    with pytest.raises(RemoteError, match="gave no answer within"):
        connection.run("sleep", "60", timeout=0.2)
    assert connection.run("echo", "still there").stdout == "still there\n"


def test_the_first_command_may_be_a_streamed_one(connection: Connection) -> None:
    with connection.start("cat") as process:
        process.write(b"first ")
        assert process.read() == b"first "
        process.write(b"second")
        assert process.wait().stdout == "second"


def test_waiting_has_a_time_limit_and_can_go_on(connection: Connection) -> None:
    with connection.start("cat") as process:
        with pytest.raises(TimeoutError):
            process.read(timeout=0.1)
        process.write(b"late")
        assert process.read() == b"late"


def test_writing_to_a_command_that_has_ended(connection: Connection) -> None:
    with connection.start("true") as process:
        assert process.read() == b""
        assert process.finish()[0] == 0
        with pytest.raises(BrokenPipeError):
            process.write(bytes(10 * MEGA))


def test_several_threads_share_a_connection(connection: Connection) -> None:
    answers: dict[int, str] = {}

    def ask(number: int) -> None:
        for _ in range(5):
            answers[number] = connection.run("echo", str(number)).stdout

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: f"{number}\n" for number in range(6)}


def test_files_are_written_and_read(connection: Connection, tmp_path: Path) -> None:
    path = tmp_path / "it's a file"
    content = bytes(range(256)) * 1000
    connection.put(PurePosixPath(path), content)
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o600
    connection.put(PurePosixPath(path), b"new", mode=0o700)
    assert path.stat().st_mode & 0o777 == 0o700
    assert connection.get(PurePosixPath(path)) == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_file_is_private_from_its_first_byte(server: Sshd, connection: Connection) -> None:
    tools = server.home / "tools"
    tools.mkdir()
    (tools / "chmod").write_text(f'#!/bin/sh\nls -l "$2" > {server.home}/seen\nexec /bin/chmod "$@"\n')
    (tools / "chmod").chmod(0o700)
    (server.home / ".bash_profile").write_text(f"umask 022\nexport PATH={tools}:$PATH\n")
    connection.put(PurePosixPath(server.home / "file"), b"x", mode=0o640)
    assert (server.home / "seen").read_text().startswith("-rw------- ")
    assert (server.home / "file").stat().st_mode & 0o777 == 0o640


def test_a_file_that_is_not_there(connection: Connection, tmp_path: Path) -> None:
    assert connection.get(PurePosixPath(tmp_path / "none")) is None
    with pytest.raises(RemoteError, match="Is a directory"):
        connection.get(PurePosixPath(tmp_path))


def test_a_file_that_cannot_be_written(connection: Connection, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RemoteError, match=r"writing .*/file/below on myuni failed: .*below") as caught:
        connection.put(PurePosixPath(tmp_path / "file" / "below"), b"")
    assert "work_dir" in caught.value.hint


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("cat: write error: No space left on device", "free some space"),
        ("cat: write error: Disk quota exceeded", "free some space"),
        ("sh: 1: cannot create /x: Permission denied", "a folder that you may write to"),
    ],
)
def test_a_full_disk_and_a_closed_folder_have_a_hint(
    server: Sshd, user_key: tuple[Path, str], person: Person, said: str, advice: str
) -> None:
    stand_in = server.home / "bin" / "chmod"
    stand_in.parent.mkdir()
    stand_in.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    stand_in.chmod(0o700)
    (server.home / ".bash_profile").write_text(f"export PATH={stand_in.parent}:$PATH\n")
    target = server.home / "job.sh"
    with (
        connect(server.profile(identity_file=user_key[0]), ask=person) as connection,
        pytest.raises(RemoteError, match=f"writing {target} on myuni failed: {said}") as caught,
    ):
        connection.put(PurePosixPath(target), b"x")
    assert advice in caught.value.hint
    assert sorted(entry.name for entry in server.home.iterdir()) == [".bash_profile", "bin"]


def test_a_lost_connection_is_told_as_one(server: Sshd, connection: Connection) -> None:
    with connection.start("cat") as process:
        process.write(b"x")
        assert process.read() == b"x"
        server.hang_up()
        with pytest.raises(SshError, match="closed the connection"):
            process.read()
    with pytest.raises(SshError, match="closed the connection") as caught:
        connection.run("true")
    assert "jobs on the cluster go on" in caught.value.hint


def test_a_connection_that_is_lost_after_the_output_is_no_end_of_the_command(
    server: Sshd, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connection.start("sh", "-c", "exec >&- 2>&-; exec sleep 60") as process:
        assert process.read() == b""
        ended = process._channel.status_event
        wait = ended.wait

        def wait_for_exit_code(timeout: float | None) -> bool:
            server.hang_up()
            return wait(timeout)

        monkeypatch.setattr(ended, "wait", wait_for_exit_code)
        with pytest.raises(SshError, match="closed the connection"):
            process.finish(timeout=10)


def test_fewer_sessions_than_commands(
    user_key: tuple[Path, str], person: Person, new_server: Callable[..., Sshd]
) -> None:
    server = new_server(settings="MaxSessions 1\n")
    know(server.known_line())
    with connect(server.profile(identity_file=user_key[0]), ask=person) as connection:
        for number in range(3):
            assert connection.run("echo", str(number)).stdout == f"{number}\n"
        with connection.start("cat"):
            with pytest.raises(SshError, match="no further command") as caught:
                connection.run("true")
            assert "MaxSessions" in caught.value.hint
        assert connection.run("echo", "again").stdout == "again\n"


def test_a_server_that_runs_no_commands(
    new_server: Callable[..., Sshd], user_key: tuple[Path, str], person: Person
) -> None:
    server = new_server(settings='ForceCommand echo "This account is for file transfer only"; exit 1\n')
    know(server.known_line())
    with (
        connect(server.profile(identity_file=user_key[0]), ask=person) as connection,
        pytest.raises(
            SshError, match="did not run the command; it said: This account is for file transfer only"
        ),
    ):
        connection.run("true")


def test_a_server_that_refuses_the_request(person: Person) -> None:
    class NoCommands(Rules):
        def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
            return False

    with Server(NoCommands) as server:
        know(server.known_line)
        person.answers = ["right"]
        with (
            connect(server.profile(), ask=person) as connection,
            pytest.raises(SshError, match="does not run commands"),
        ):
            connection.run("true")


@pytest.mark.parametrize("shell", SHELLS)
def test_any_login_shell(
    new_server: Callable[..., Sshd], user_key: tuple[Path, str], person: Person, shell: str
) -> None:
    server = new_server(settings=f'ForceCommand {program(shell)} -c "$SSH_ORIGINAL_COMMAND"\n')
    know(server.known_line())
    words = ["!x", "two\nlines", "=ls", "%1", "it's", "\\\\", "$HOME", "~", "x" * 20_000]
    with connect(server.profile(identity_file=user_key[0]), ask=person) as connection:
        for _ in range(2):
            assert connection.run("printf", "%s|", *words).stdout == "".join(f"{word}|" for word in words)
