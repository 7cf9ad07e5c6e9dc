"""Reads what a shell line fetches from the internet, and where to. Python 3.7 syntax only."""

from __future__ import annotations

import re
import shlex
from configparser import ConfigParser
from dataclasses import dataclass, field
from os import environ
from pathlib import Path, PurePosixPath
from sys import prefix
from typing import Iterator, Sequence
from urllib.parse import urlsplit

PORTS = {"http": 80, "https": 443, "ftp": 21, "ssh": 22, "git": 9418}
PIP_FILES = ("/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf", f"{prefix}/pip.conf")

_PREFIXES = ("sudo", "time", "nohup", "env", "command", "exec", "then", "do", "else", "if", "!")
_SCP_LIKE = re.compile(r"(?:[\w.-]+@)([\w.-]+):(?!//)(.*)")  # git@host:folder/repository.git
_BARE = re.compile(r"[\w-]+(?:\.[\w-]+)+(?::\d+)?/\S*")  # host.org/file, which wget and curl take for http

# Options that are followed by a value, as the programs' manuals list them.
_CLONE_VALUES = (
    "-b", "--branch", "--depth", "-o", "--origin", "-c", "--config", "--reference", "-j", "--jobs", "--filter",
    "-u", "--upload-pack", "--template", "--separate-git-dir", "--shallow-since", "--shallow-exclude", "--server-option",
)  # fmt: skip
_GIT_VALUES = ("-C", "-c", "--git-dir", "--work-tree", "--namespace")
_PIP_VALUES = (
    "-i", "--index-url", "--extra-index-url", "-f", "--find-links", "-r", "--requirement", "-c", "--constraint",
    "-t", "--target", "--prefix", "--root", "--trusted-host", "--proxy", "--timeout", "--retries", "--src", "--platform",
)  # fmt: skip
_FILE_OPTIONS = {
    "wget": ("-O", "--output-document"),
    "curl": ("-o", "--output"),
    "gdown": ("-O", "--output"),
    "aria2c": ("-o", "--out"),
}
_FOLDER_OPTIONS = {"wget": ("-P", "--directory-prefix"), "curl": ("--output-dir",), "aria2c": ("-d", "--dir")}


@dataclass(frozen=True)
class Fetch:
    """One thing that a command asks the network for: program "git", "pip", "wget" …, and the file or folder it writes.

    `address` is written out for a file.
    """

    program: str
    scheme: str
    host: str
    port: int
    target: str = ""
    address: str = field(default="", compare=False)


@dataclass(frozen=True)
class Clone:
    """A repository that a command clones: its address as written, a branch or tag or "", and the folder it makes."""

    repository: str
    branch: str
    folder: str


def fetches(line: str) -> tuple[list[Fetch], bool]:
    """What a line fetches, and whether it does nothing else: `git clone A; cd A` does more than one thing."""
    commands = list(_commands(_words(line)))
    found = [fetch for command in commands for fetch in _of_command(command)]
    return found, len(commands) == 1 and len(found) == 1


def _words(line: str) -> list[str]:
    joined = line.replace("\\\n", " ").replace("\n", " ; ")
    lexer = shlex.shlex(joined, posix=True, punctuation_chars=True)
    lexer.commenters = ""
    lexer.wordchars += "".join(set(joined) - set(lexer.wordchars) - set(" \t\r;&|()<>\"'\\"))
    try:
        return list(lexer)
    except ValueError:  # an apostrophe in a comment, say
        return re.findall(r"[;&|()<>]+|[^\s;&|()<>\"']+", joined)


def _commands(words: Sequence[str]) -> Iterator[list[str]]:
    """The commands of a line, without redirections and what only precedes a command."""
    command: list[str] = []
    redirected = False
    for word in [*words, ";"]:
        operator = bool(word) and not set(word) - set(";&|()<>")
        if redirected and not operator:
            redirected = False
        elif operator and set(word) & set("<>"):
            redirected = True
            if command and command[-1] in ("1", "2"):
                command.pop()
        elif operator:
            while command and (command[0] in _PREFIXES or re.match(r"\w+=", command[0])):
                command.pop(0)
            if command:
                yield command
            command = []
        else:
            command.append(word)


def _of_command(words: list[str]) -> list[Fetch]:
    program, arguments = PurePosixPath(words[0]).name, words[1:]
    if program == "git":
        return _git(arguments)
    if re.fullmatch(r"python[\d.]*", program) and arguments[:2] == ["-m", "pip"]:
        program, arguments = "pip", arguments[2:]
    if re.fullmatch(r"pip[\d.]*", program):
        return _pip(arguments)
    if program not in _FILE_OPTIONS:
        return []
    addresses = [address for address in map(_address, arguments) if address is not None]
    if not addresses and program == "gdown":
        addresses = [("https", "drive.google.com", 443, "")]
    elif not addresses:
        bare = [argument for argument in arguments if _BARE.fullmatch(argument)]
        addresses = [address for address in (_address("http://" + one) for one in bare[:1]) if address]
    folder = _value(arguments, _FOLDER_OPTIONS.get(program, ()))
    named = _value(arguments, _FILE_OPTIONS[program])
    found = []
    for scheme, host, port, file in addresses:
        kept = named or ("" if program == "curl" and "-O" not in arguments else PurePosixPath(file).name)
        target = str(PurePosixPath(folder, kept)) if kept else ""
        found.append(Fetch(program, scheme, host, port, target, _written(arguments, scheme, host)))
    return found


def _written(arguments: list[str], scheme: str, host: str) -> str:
    """The one argument that is an address of this host, as it was written; "" if there are several."""
    found = [one for one in arguments if (_address(one) or ("", ""))[:2] == (scheme, host)]
    return found[0] if len(found) == 1 else ""


def clones(line: str) -> list[Clone]:
    """The repositories that a line clones, in its order."""
    commands = (words for words in _commands(_words(line)) if PurePosixPath(words[0]).name == "git")
    return [clone for clone in (_clone(words[1:]) for words in commands) if clone is not None]


def _clone(arguments: list[str]) -> Clone | None:
    rest = _positional(arguments, _GIT_VALUES, first=True)
    named = _positional(rest[1:], _CLONE_VALUES) if rest[:1] == ["clone"] else []
    address = _address(named[0]) if named else None
    if address is None:
        return None
    folder = named[1] if len(named) > 1 else PurePosixPath(address[3]).name
    branch = _value(rest, ("-b", "--branch"))
    return Clone(named[0], branch, folder[:-4] if folder.endswith(".git") else folder)


def _git(arguments: list[str]) -> list[Fetch]:
    clone = _clone(arguments)
    address = _address(clone.repository) if clone else None
    return [Fetch("git", *address[:3], clone.folder)] if clone and address else []


def _pip(arguments: list[str]) -> list[Fetch]:
    if arguments[:1] not in (["install"], ["download"], ["wheel"]):
        return []
    found = []
    for argument in _positional(arguments[1:], _PIP_VALUES):
        address = _address(argument.rpartition(" @ ")[2].replace("git+", "", 1))
        if address is not None:
            found.append(Fetch("address for pip", *address[:3]))
    if "--no-index" in arguments:
        return found
    index = _address(_value(arguments, ("-i", "--index-url")) or _index())
    return found + ([Fetch("pip", *index[:3])] if index else [])


def _index() -> str:
    """The package index that pip is set to use: its environment, else its files, the nearest first, else pip's own."""
    if environ.get("PIP_INDEX_URL"):
        return environ["PIP_INDEX_URL"]
    settings = ConfigParser(interpolation=None, strict=False)
    files = [*PIP_FILES, environ.get("PIP_CONFIG_FILE", "")]
    settings.read([Path(file).expanduser() for file in files if file], encoding="utf-8")
    chosen = settings.get("install", "index-url", fallback=settings.get("global", "index-url", fallback=""))
    return chosen or _pips_own_index()


def _pips_own_index() -> str:
    try:
        from pip._internal.models.index import PyPI
    except ImportError:  # without pip nothing is fetched
        return ""
    address: str = PyPI.simple_url
    return address


def _address(word: str) -> tuple[str, str, int, str] | None:
    """Scheme, host, port and path of a word that names something on the network."""
    like_scp = _SCP_LIKE.fullmatch(word)
    if like_scp is not None:
        return "ssh", like_scp.group(1), PORTS["ssh"], like_scp.group(2)
    try:
        parts = urlsplit(word.partition("=")[2] if word.startswith("--") else word)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in PORTS or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, port or PORTS[parts.scheme], parts.path


def _positional(arguments: Sequence[str], with_value: Sequence[str], *, first: bool = False) -> list[str]:
    """The arguments that are no options; with `first` all from the first such on."""
    found: list[str] = []
    skip = False
    for position, argument in enumerate(arguments):
        if skip:
            skip = False
        elif argument.startswith("-"):
            skip = argument in with_value
        elif first:
            return list(arguments[position:])
        else:
            found.append(argument)
    return found


def _value(arguments: Sequence[str], names: Sequence[str]) -> str:
    """The value of an option, written `-O file`, `-Ofile` or `--option=file`; empty if it is not given."""
    for position, argument in enumerate(arguments):
        for name in names:
            if argument == name:
                return arguments[position + 1] if position + 1 < len(arguments) else ""
            if argument.startswith(name + "=" if name.startswith("--") else name):
                return argument[len(name) :].lstrip("=")
    return ""
