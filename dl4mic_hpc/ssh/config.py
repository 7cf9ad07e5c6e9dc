"""What the profile and the SSH configuration say: the servers to pass on the way to the login node.

`~/.ssh/config` and then the system's ssh_config are read as OpenSSH does (ssh_config(5)); the profile's own
keys win. Paramiko reads `Host`, `Match` and the `%` tokens; `Include`, comments behind a value and
`Match final all` it does not know, so they are resolved here first, file by file, with line numbers.
"""

from __future__ import annotations

import fnmatch
import getpass
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko

from dl4mic_hpc.errors import SshError
from dl4mic_hpc.profile import ClusterProfile

_DEPTH = 16  # of Include within Include, as OpenSSH has it
_LINE = re.compile(r"(\w+)(?:\s*=\s*|\s+)(.+)")
_TARGET = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@]+)@)?(?P<host>\[[^]]+\]|[^:@]+|[^@]*:[^@]*:[^@]*)(?::(?P<port>\d+))?"
)
_CRITERIA = {"all", "canonical", "final", "exec", "host", "originalhost", "user", "localuser"}
_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk")
_DEFAULT_TIMEOUT = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One SSH server to pass. The last hop is the login node, those before it are jump hosts.

    `known_as` is its name in known_hosts files. `chosen`: the user named the identity files; otherwise they
    are OpenSSH's default ones. `connect_timeout` in seconds.
    """

    host: str
    port: int
    user: str
    identity_files: tuple[Path, ...]
    chosen: bool
    identities_only: bool
    proxy_command: str | None
    known_as: str
    known_hosts: tuple[Path, ...]
    connect_timeout: float

    def __str__(self) -> str:
        return f"{self.user}@{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    host: str
    user: str | None = None
    port: int | None = None
    identity_file: Path | None = None


def hops(profile: ClusterProfile) -> tuple[Hop, ...]:
    """The servers from here to the login node, in order. SshError names the file that is wrong."""
    if profile.identity_file and not profile.identity_file.expanduser().is_file():
        raise SshError(
            f"identity_file {profile.identity_file} does not exist",
            hint=f"edit identity_file in {profile.path or f'the profile of {profile.name}'}",
        )
    target = _parse_target(profile.host)
    return tuple(
        _way(
            _Target(
                host=target.host,
                user=profile.user or target.user,
                port=profile.port or target.port,
                identity_file=profile.identity_file,
            ),
            passed=(),
        )
    )


def _way(target: _Target, *, passed: tuple[str, ...]) -> list[Hop]:
    if target.host in passed:
        circle = " -> ".join((*passed, target.host))
        raise SshError(f"ProxyJump goes in a circle: {circle}", hint=f"edit {_user_file()}")
    options = _lookup(target.host)
    hop = _hop(target, options)
    jumps = str(options.get("proxyjump", "none"))
    if "proxycommand" in options or jumps.lower() == "none":
        return [hop]
    first, *rest = (_parse_target(jump.strip()) for jump in jumps.split(","))
    way = _way(first, passed=(*passed, target.host))
    # As in OpenSSH, only the first jump host is reached as its own section says.
    way += [_hop(jump, {**_lookup(jump.host), "proxycommand": None}) for jump in rest]
    return [*way, hop]


def _hop(target: _Target, options: dict[str, object]) -> Hop:
    def text(key: str) -> str | None:
        value = options.get(key)
        return value if isinstance(value, str) else None

    host = text("hostname") or target.host
    port = target.port or _number(text("port") or "22", "Port")
    if not 0 < port < 65536:
        raise SshError(f"{host} cannot have the port {port}", hint=f"edit {_user_file()}")
    listed = options.get("identityfile")
    named = [str(path) for path in listed] if isinstance(listed, list) else []
    if target.identity_file:
        named = [str(target.identity_file)]
    folder = Path.home() / ".ssh"
    files = [Path(name).expanduser() for name in named if name.lower() != "none"]
    return Hop(
        host=host,
        port=port,
        user=target.user or text("user") or getpass.getuser(),
        identity_files=tuple(files if named else [folder / name for name in _DEFAULT_KEYS]),
        chosen=bool(named),
        identities_only=target.identity_file is not None or text("identitiesonly") == "yes",
        proxy_command=text("proxycommand"),
        known_as=text("hostkeyalias") or known_name(host, port),
        known_hosts=(
            *_files(text("userknownhostsfile"), folder / "known_hosts", folder / "known_hosts2"),
            *_files(text("globalknownhostsfile"), _system_folder() / "ssh_known_hosts"),
        ),
        connect_timeout=float(_number(text("connecttimeout") or "0", "ConnectTimeout") or _DEFAULT_TIMEOUT),
    )


def known_name(host: str, port: int) -> str:
    """A server's name in known_hosts (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
    return host.lower() if port == 22 else f"[{host.lower()}]:{port}"


def _files(listed: str | None, *default: Path) -> Iterator[Path]:
    if listed is None:
        yield from default
        return
    for name in _words(listed):
        if name.lower() != "none":
            yield Path(name).expanduser()


def _words(value: str) -> list[str]:
    """The words of a setting; a word with blanks stands in double quotes, and a backslash is a character."""
    return [word.strip('"') for word in re.findall(r'"[^"]*"|[^\s"]+', value)]


def _number(text: str, key: str) -> int:
    if text.lower() == "none":
        return 0
    if not text.isdecimal():
        raise SshError(
            f"the SSH configuration says '{key} {text}', which is no number", hint=f"edit {_user_file()}"
        )
    return int(text)


def _parse_target(text: str) -> _Target:
    match = _TARGET.fullmatch(text)
    if not match:
        raise SshError(f"'{text}' is no SSH server", hint="write host, user@host or user@host:port")
    port = match["port"]
    return _Target(host=match["host"].strip("[]"), user=match["user"], port=int(port) if port else None)


def _user_file() -> Path:
    return Path.home() / ".ssh" / "config"


def _system_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("PROGRAMDATA", r"C:\ProgramData")) / "ssh"
    return Path("/etc/ssh")


def _lookup(alias: str) -> dict[str, object]:
    user = _user_file()
    lines = list(_flatten(user, alias, folder=user.parent, block="Host *", depth=0))
    system = _system_folder() / "ssh_config"
    lines += ["Host *", *_flatten(system, alias, folder=system.parent, block="Host *", depth=0)]
    try:
        return dict(paramiko.SSHConfig.from_text("\n".join(lines)).lookup(alias))
    except (paramiko.SSHException, KeyError, ValueError, OSError) as error:
        raise SshError(
            f"the SSH configuration for '{alias}' cannot be used: {error}", hint=f"edit {user}"
        ) from error


def _flatten(path: Path, alias: str, *, folder: Path, block: str, depth: int) -> Iterator[str]:
    """The file's settings with every Include replaced by what it names."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise SshError(f"{path} cannot be read: {error.strerror}", hint=f"make {path} readable") from error
    outer = block
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if '"' not in line:
            line = re.split(r"\s#", line, maxsplit=1)[0].rstrip()
        match = _LINE.fullmatch(line)
        if not match:
            raise SshError(f"{path}:{number}: '{line}' is no SSH setting", hint=f"edit {path}")
        key, value = match[1].lower(), match[2]
        if key in ("host", "match"):
            if not _applies(outer, alias, where=f"{path}:{number}"):
                return
            block = f"Host {value}" if key == "host" else _match(value, f"{path}:{number}")
            yield block
        elif key == "include":
            if depth == _DEPTH:
                raise SshError(
                    f"{path}:{number}: Include goes deeper than {_DEPTH} files", hint=f"edit {path}"
                )
            for included in _included(value, folder):
                yield from _flatten(included, alias, folder=folder, block=block, depth=depth + 1)
                yield block
        else:
            yield line


def _included(value: str, folder: Path) -> Iterator[Path]:
    for name in _words(value):
        pattern = Path(name).expanduser()
        base = Path(pattern.anchor) if pattern.is_absolute() else folder
        relative = pattern.relative_to(base) if pattern.is_absolute() else pattern
        yield from sorted(base.glob(str(relative)))


def _applies(block: str, alias: str, *, where: str) -> bool:
    """Whether the block that includes a file of blocks is for `alias`."""
    kind, _, value = block.partition(" ")
    if kind == "Match":
        if value in ("all", "final"):
            return True
        raise SshError(
            f"{where}: this file of Host and Match blocks is included by 'Match {value}', which is not understood",
            hint="move that Include to the top of the SSH configuration",
        )
    patterns = _words(value)
    if any(fnmatch.fnmatch(alias, pattern[1:]) for pattern in patterns if pattern.startswith("!")):
        return False
    return any(fnmatch.fnmatch(alias, pattern) for pattern in patterns)


def _match(value: str, where: str) -> str:
    words = _words(value)
    criteria = [word.lstrip("!").lower() for word in words]
    if criteria in (["final", "all"], ["canonical", "all"]):
        return f"Match {words[0]}"
    position = 0
    while position < len(criteria):
        if criteria[position] not in _CRITERIA:
            raise SshError(
                f"{where}: this program does not understand 'Match {words[position]}'",
                hint="name the server in the profile itself (host, user, port, identity_file), without the alias",
            )
        position += 1 if criteria[position] in ("all", "canonical", "final") else 2
    return f"Match {value}"
