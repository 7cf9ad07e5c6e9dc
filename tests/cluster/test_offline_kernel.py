"""A notebook's shell on a network that drops every packet, name servers' too: no call blocks over 5 s.

The network is a namespace of the shell's own (unshare), in which all that is not the computer itself goes nowhere.
A busy machine makes no difference: time in which a processor was computed on, or waited for, does not count.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from support.bare_kernel import RUNTIME

SECONDS = 5.0

# In the namespace everything is sent to the loopback interface, where what is meant for others is dropped. Nothing
# answers at 192.0.2.53 either (RFC 5737).
WORLD = """\
set -e
ip link set lo up
ip route add default dev lo
mount --bind "$1/resolv.conf" "$(readlink -f /etc/resolv.conf)"
home=$1
shift
code=0
"$@" || code=$?
chown -R --reference="$home" "$home"
exit "$code"
"""

CALLS = """\
import json, os, socket, subprocess, sys, threading, time
os.chdir(sys.argv[1])
threading.Timer(300, os._exit, (9,)).start()
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
from dl4mic_forms import colab, offline
colab.install(shell); offline.install(shell)
def blocked():
    # Seconds since some moment in which this thread waited for something other than a processor.
    computed, queued, _ = open("/proc/thread-self/schedstat").read().split()
    return time.monotonic() - (int(computed) + int(queued)) / 1e9
took = {}
for call in open("calls.txt").read().split("\\n---\\n"):
    before = blocked()
    result = shell.run_cell(call)
    error = result.error_before_exec or result.error_in_exec
    took[call] = [blocked() - before, type(error).__name__ if error else ""]
took["names"] = sorted(name for name in shell.user_ns if name in ("Latest", "after"))
json.dump(took, open("took.json", "w"))
os._exit(0)
"""

LOAD = """\
Notebook_version = '1.15'
Network = 'CARE (2D)'
from dl4mic_forms import read_csv
table = read_csv("https://raw.githubusercontent.com/a/b/Latest_Notebook_versions.csv", dtype=str)
Latest = table.data["Version"][0]
!git clone https://github.com/a/b
!git clone https://gitlab.com/a/b; cd b; pip install .
def after(): pass
"""
# Every one has a host of its own, because what did not answer once is not asked again.
ERRORS = (
    "import urllib.request; urllib.request.urlopen('https://one.org/a')",
    "urllib.request.urlretrieve('http://192.0.2.1/a', 'a')",
    "import requests; requests.get('https://two.org/a')",
    "requests.get('http://192.0.2.2/a', timeout=600)",
    "import socket; socket.create_connection(('three.org', 443))",
    "socket.socket().connect(('192.0.2.3', 80))",
    "import http.client; http.client.HTTPSConnection('2001:db8::1', 443).request('GET', '/')",
    "socket.gethostbyname('four.org')",
    "socket.gethostbyaddr('192.0.2.4')",
)
QUIET = (
    LOAD,
    "!wget https://five.org/a",
    "x = !curl -s https://six.org/a",
    "%%bash\ngit clone git@seven.org:a/b.git",
    "!true || pip install a-package-that-nobody-has",
    "socket.socket().connect_ex(('192.0.2.5', 80))",
    "socket.getfqdn('192.0.2.6')",
)


@pytest.fixture(scope="module")
def took(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[object]]:
    home = tmp_path_factory.mktemp("offline")
    (home / "resolv.conf").write_text("nameserver 192.0.2.53\n", encoding="utf-8")
    (home / "calls.py").write_text(CALLS, encoding="utf-8")
    (home / "calls.txt").write_text("\n---\n".join((*ERRORS, *QUIET)), encoding="utf-8")
    (home / "pandas.py").write_text(
        "from urllib.request import urlopen as read_csv_from\n"
        "def read_csv(address, **options): return read_csv_from(address)\n"
        "class DataFrame:\n    def __init__(self, data): self.data = data\n",
        encoding="utf-8",
    )
    path = os.pathsep.join((str(home), str(RUNTIME.parent)))
    root = [] if os.getuid() == 0 else ["sudo", "-n", "env", f"PATH={os.environ['PATH']}"]
    proxies = {name for name in os.environ if name.lower().endswith("_proxy")}
    world = {name: value for name, value in os.environ.items() if name not in proxies}
    run = subprocess.run(
        [*root, "unshare", "--net", "--mount", "sh", "-c", WORLD, "sh", str(home),
         "env", f"PYTHONPATH={path}", "PIP_INDEX_URL=https://eight.org/simple", f"HOME={home}",
         sys.executable, str(home / "calls.py"), str(home)],
        capture_output=True, text=True, check=False, timeout=600, env=world,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    found: dict[str, list[object]] = json.loads((home / "took.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("call", [*ERRORS, *QUIET])
def test_no_call_blocks(took: dict[str, list[object]], call: str) -> None:
    seconds, _ = took[call]
    assert isinstance(seconds, float)
    longest = SECONDS * (3 if call == LOAD else 1)  # three hosts are asked
    assert seconds <= longest


@pytest.mark.parametrize("call", ERRORS)
def test_what_needs_the_network_fails_as_libraries_expect(took: dict[str, list[object]], call: str) -> None:
    expected = {
        "URLError",
        "ConnectionError",
        "ConnectTimeout",
        "TimeoutError",
        "timeout",
        "gaierror",
        "OSError",
    }
    assert took[call][1] in expected


@pytest.mark.parametrize("call", QUIET)
def test_what_can_go_on_without_goes_on(took: dict[str, list[object]], call: str) -> None:
    assert took[call][1] == ""


def test_a_load_cell_completes(took: dict[str, list[object]]) -> None:
    assert took["names"] == ["Latest", "after"]
