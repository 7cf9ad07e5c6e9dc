"""A real OpenSSH server on a loopback port, for whoever runs the tests: root or an ordinary user.

Each connection gets an `sshd -i` of its own, as inetd did it: the port is open before the first test asks.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path

from dl4mic_hpc.profile import ClusterProfile

PLACES = "/usr/sbin:/sbin:/usr/local/sbin"


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:{PLACES}")
    assert found, f"{name} is missing: install openssh-server and openssh-client"
    return found


def make_key(
    path: Path, *, kind: str = "ed25519", passphrase: str = "", options: tuple[str, ...] = ()
) -> str:
    """A key pair; the public half as one line without a comment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    words = [program("ssh-keygen"), "-q", "-t", kind, "-N", passphrase, "-C", "", "-f", str(path), *options]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    return path.with_name(path.name + ".pub").read_text().strip()


class Sshd:
    """One server. `home` is what its users find as $HOME, `settings` are lines of its sshd_config."""

    def __init__(
        self, folder: Path, *, key_kinds: tuple[str, ...] = ("ed25519",), settings: str = ""
    ) -> None:
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where a root's sshd wants to separate its privileges
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self.host_keys = {kind: make_key(folder / f"host_{kind}", kind=kind) for kind in key_kinds}
        self.log = folder / "log"
        self._closing = False
        self._authorized = folder / "authorized_keys"
        self._authorized.touch()
        self._config = folder / "sshd_config"
        self._config.write_text(
            settings
            + "".join(f"HostKey {folder}/host_{kind}\n" for kind in key_kinds)
            + f"AuthorizedKeysFile {self._authorized}\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\n"
            f"PermitRootLogin yes\nPidFile none\nLogLevel VERBOSE\nSetEnv HOME={self.home}\n"
        )
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._children: list[subprocess.Popen[bytes]] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def known_as(self) -> str:
        return f"[127.0.0.1]:{self.port}"

    def known_line(self, kind: str = "ed25519") -> str:
        return f"{self.known_as} {self.host_keys[kind]}\n"

    def authorize(self, *public: str) -> None:
        self._authorized.write_text("".join(f"{key}\n" for key in public))

    def profile(self, **values: object) -> ClusterProfile:
        given = {
            "name": "myuni",
            "host": "127.0.0.1",
            "port": self.port,
            "user": getpass.getuser(),
            "work_dir": "/scratch/me",
        }
        return ClusterProfile.model_validate(given | values)

    def hang_up(self) -> None:
        """Ends all connections as a crash of the server would."""
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # with the unprivileged half that holds the connection
            child.wait()
        self._children.clear()

    def close(self) -> None:
        self._closing = True
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port)).close()  # wakes the accepting thread
        self._thread.join()
        self._listener.close()
        self.hang_up()

    def _serve(self) -> None:
        command = [program("sshd"), "-i", "-e", "-f", str(self._config)]
        while True:
            connection, _ = self._listener.accept()
            if self._closing:
                connection.close()
                return
            with connection, self.log.open("ab") as log:
                self._children.append(
                    subprocess.Popen(
                        command, stdin=connection, stdout=connection, stderr=log, start_new_session=True
                    )
                )
