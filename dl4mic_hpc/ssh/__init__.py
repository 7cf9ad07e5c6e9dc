"""SSH to a cluster: the only room that knows paramiko.

connection  commands and small files on the login node (`remote.Remote`)
connecting  the same in the background, while a launch is planned
way         the servers to pass, one transport through the other
config      what the profile and ~/.ssh/config say about them
hostkeys    known_hosts; trust: accepting a key
login       keys, passwords, codes; keys: which keys; userauth: the protocol under it
command     the line that the login shell gets; process: the running command
routes      hop or step to a compute node; step: the SSH server in the job
tunnel      a local port that leads there
socks       a local port that leads wherever the login node gets to
transport   paramiko's transport, tuned; proxy: ProxyCommand
failures    paramiko's exceptions in plain words
"""

from __future__ import annotations

from dl4mic_hpc.ssh.connecting import Connecting
from dl4mic_hpc.ssh.connection import Connection, connect
from dl4mic_hpc.ssh.hostkeys import HostKeyQuestion
from dl4mic_hpc.ssh.login import Asker
from dl4mic_hpc.ssh.routes import Route
from dl4mic_hpc.ssh.trust import trust
from dl4mic_hpc.ssh.tunnel import Tunnel, reserve_local_port
from dl4mic_hpc.ssh.way import TrustedKey

__all__ = [
    "Asker",
    "Connecting",
    "Connection",
    "HostKeyQuestion",
    "Route",
    "TrustedKey",
    "Tunnel",
    "connect",
    "reserve_local_port",
    "trust",
]
