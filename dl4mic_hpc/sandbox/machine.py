"""What builds on the practice cluster need to reach package registries from this machine.

The cluster's nodes sit behind this machine, so they need what it needs: its certificate bundle, its pip
configuration, its Debian mirror, its proxies. Nothing of it is written anywhere but into the instance.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

BASE_SUITE = "trixie"
_PIP_KEYS = ("index-url", "extra-index-url", "trusted-host", "default-timeout", "timeout", "retries", "proxy")
_PROXY = re.compile(r"(?i)(https?|ftp|all|no)_proxy")
_PACKAGES = "Identifier: Packages"
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """ca: the certificate bundle, PEM, or None. pip: text of a pip.conf, "" if the defaults do. mirror: where
    this machine gets Debian from, or None. apt: text of an apt.conf. hosts: names that only /etc/hosts knows.
    """

    ca: bytes | None = None
    pip: str = ""
    mirror: str | None = None
    apt: str = ""
    proxies: dict[str, str] = field(default_factory=dict)
    hosts: dict[str, str] = field(default_factory=dict)


def look() -> Machine:
    """This machine's own settings."""
    targets = (
        "apt-get",
        "indextargets",
        "--format",
        "$(ORIGIN)|$(LABEL)|$(REPO_URI)|$(COMPONENT)",
        _PACKAGES,
    )
    asked = [(sys.executable, "-m", "pip", "config", "list"), targets, ("apt-config", "dump")]
    with ThreadPoolExecutor(len(asked)) as pool:
        pip_list, targets_list, apt_dump = pool.map(_output, asked)
    pip = pip_settings(pip_list or _output(("pip", "config", "list")))
    mirror = debian_mirror(targets_list)
    proxies = proxy_settings(dict(os.environ))
    urls = " ".join([mirror or "", *pip.values(), *proxies.values()])
    wanted = {host for word in urls.split() if (host := urlsplit(word).hostname)}
    table = Path("/etc/hosts")
    return Machine(
        ca=_bundle(),
        pip=pip_configuration(pip),
        mirror=mirror,
        apt=apt_options(apt_dump),
        proxies=proxies,
        hosts=hosts_entries(table.read_text(errors="replace") if table.is_file() else "", wanted),
    )


def pip_settings(listing: str) -> dict[str, str]:
    """`pip config list` -> the settings that mean something on another machine; local folders are left out.

    Values from the environment win over those from files, as in pip
    (https://pip.pypa.io/en/stable/topics/configuration/).
    """
    found: dict[str, str] = {}
    for line in sorted(listing.splitlines(), key=lambda line: line.startswith(":env:")):
        name, separator, value = line.partition("=")
        key = name.rpartition(".")[2]
        if not separator or key not in _PIP_KEYS:
            continue
        try:
            text = str(ast.literal_eval(value))
        except (ValueError, SyntaxError):
            continue
        words = [word for word in text.split() if not word.startswith(("file:", "/", "."))]
        if words:
            found[key] = " ".join(words)
    return found


def pip_configuration(settings: dict[str, str]) -> str:
    """The text of a pip.conf with `settings`."""
    if not settings:
        return ""
    lines = [f"{key} = {value.replace(' ', chr(10) + '    ')}" for key, value in sorted(settings.items())]
    return "[global]\n" + "\n".join(lines) + "\n"


def debian_mirror(targets: str) -> str | None:
    """The address of Debian's main archive among apt's own sources (`apt-get indextargets`), if there is one."""
    for line in targets.splitlines():
        origin, label, uri, component = (*line.split("|"), "", "", "", "")[:4]
        if (origin, label, component) == ("Debian", "Debian", "main") and uri.startswith(
            ("http://", "https://")
        ):
            return uri.rstrip("/")
    return None


def apt_options(dump: str) -> str:
    """The lines of `apt-config dump` that say how to reach a mirror; the certificate bundle comes apart."""
    kept = []
    for line in dump.splitlines():
        if re.match(r'Acquire::(https?::(Proxy\b|Timeout)|Retries|Check-Valid-Until)\S* ".+";', line):
            kept.append(line)
    return "".join(f"{line}\n" for line in kept)


def proxy_settings(environ: dict[str, str]) -> dict[str, str]:
    """The *_proxy variables, but for a proxy on this machine's loopback, which containers cannot reach."""
    found = {name: value for name, value in environ.items() if value and _PROXY.fullmatch(name)}
    usable = {
        name: value
        for name, value in found.items()
        if name.lower() == "no_proxy" or urlsplit(value).hostname not in _LOOPBACK
    }
    return usable if any(name.lower() != "no_proxy" for name in usable) else {}


def hosts_entries(table: str, wanted: set[str]) -> dict[str, str]:
    """Those of the `wanted` names that /etc/hosts (`table`) gives an address that is not loopback."""
    found = {}
    for line in table.splitlines():
        address, *hosts = line.partition("#")[0].split() or [""]
        if address.startswith("127.") or address == "::1":
            continue
        found.update({host: address for host in hosts if host in wanted})
    return found


def _bundle() -> bytes | None:
    for path in (
        "/etc/ssl/certs/ca-certificates.crt",
        os.environ.get("SSL_CERT_FILE"),
        ssl.get_default_verify_paths().cafile,
    ):
        if path and Path(path).is_file():
            return Path(path).read_bytes()
    return None


def _output(argv: Sequence[str]) -> str:
    """Standard output of a program of this machine, "" where it is missing or fails."""
    if shutil.which(argv[0]) is None:
        return ""
    try:
        done = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""
