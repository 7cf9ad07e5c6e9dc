"""Sources of ADD that somebody else fetches: files at an address, and git repositories.

A repository is written as BuildKit reads it: REPOSITORY#REF:FOLDER or REPOSITORY?ref=…&subdir=… with https://….git,
git://…, ssh://… or USER@HOST:PATH (https://docs.docker.com/reference/dockerfile/#add).
"""

from __future__ import annotations

import posixpath
import re
from typing import TypeVar

from dl4mic_hpc.recipe.commands import Command
from dl4mic_hpc.recipe.steps import Git, Url

_T = TypeVar("_T")
_ADDRESS = re.compile(r"https?://")
_SCHEME = re.compile(r"(https?|git|ssh)://", re.IGNORECASE)
_LOGIN = re.compile(r"[A-Za-z0-9_-]+@[A-Za-z0-9.-]+:")
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")
_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNNAMED = "__unnamed__"
_BOOLEANS = {"1": True, "t": True, "true": True, "": True, "0": False, "f": False, "false": False}
# What only says how to fetch, or how files are dated.
_WITHOUT_EFFECT = ("fetch-by-commit", "mtime")


def is_git(text: str) -> bool:
    """Whether ADD would fetch it as a git repository."""
    if scheme := _SCHEME.match(text):
        path = re.split(r"[?#]", text, maxsplit=1)[0]
        return path.endswith(".git") or not scheme.group(1).lower().startswith("http")
    return bool(_LOGIN.match(text))


def is_url(text: str) -> bool:
    """Whether ADD would fetch it as a file."""
    return bool(_ADDRESS.match(text)) and not is_git(text)


def url(command: Command, text: str, *, checksum: str) -> tuple[Url, str]:
    """The file at an address, and the name that it gets in a folder. RecipeError for no checksum's form."""
    if checksum and not _CHECKSUM.fullmatch(checksum):
        what = f"'{checksum}' is no checksum of a file"
        raise command.refuse(what, hint="write --checksum=sha256: and 64 hexadecimal digits")
    path = re.split(r"[?#]", text, maxsplit=1)[0].partition("://")[2].partition("/")[2]
    name = posixpath.basename(_unescaped(path).rstrip("/"))
    if name in (".", "..") or "\0" in name:
        name = ""
    return Url(address=text, checksum=checksum), name or _UNNAMED


def git(command: Command, text: str, *, keep_git: bool | None, checksum: str) -> Git:
    """The repository. RecipeError for what it says twice, or for what is not converted."""
    before, _, fragment = text.partition("#")
    repository, _, query = before.partition("?")
    ref, _, folder = fragment.partition(":")
    said = _query(command, query)
    keep = said.pop("keep-git-dir", None)
    if keep is not None:
        keep_git = _agreed(command, "keep-git-dir", keep_git, _boolean(command, "keep-git-dir", keep))
    if not _boolean(command, "submodules", said.pop("submodules", "true")):
        what = f"{text} leaves the submodules out, which is not converted"
        raise command.refuse(what, hint="fetch it in a RUN: git clone")
    for key, prefix in (("ref", ""), ("tag", "refs/tags/"), ("branch", "refs/heads/")):
        if key in said:
            value = said.pop(key)
            ref = _agreed(command, "ref", ref, value if value.startswith(prefix) else prefix + value)
    folder = _agreed(command, "subdir", folder, said.pop("subdir", ""))
    for key in ("checksum", "commit"):
        checksum = _agreed(command, "checksum", checksum, said.pop(key, ""))
    for key in said:
        if key not in _WITHOUT_EFFECT:
            hint = "write ref, tag, branch, subdir, checksum or keep-git-dir"
            raise command.refuse(f"'{key}' in {text} says nothing about a repository", hint=hint)
    inside = posixpath.normpath("/" + folder).lstrip("/")
    return Git(repository=repository, ref=ref, folder=inside, keep_git=bool(keep_git), checksum=checksum)


def _query(command: Command, query: str) -> dict[str, str]:
    said: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        key, _, value = pair.partition("=")
        if key in said:
            raise command.refuse(f"'{key}' stands twice in the address", hint="write it once")
        said[key] = _unescaped(value.replace("+", " "))
    return said


def _agreed(command: Command, what: str, one: _T, other: _T) -> _T:
    if one and other and one != other:
        raise command.refuse(
            f"the repository's {what} is said twice: {one} and {other}", hint="write it once"
        )
    return other or one


def _boolean(command: Command, key: str, value: str) -> bool:
    if value.lower() not in _BOOLEANS:
        raise command.refuse(f"{key}={value} is neither true nor false", hint=f"write {key}=true")
    return _BOOLEANS[value.lower()]


def _unescaped(text: str) -> str:
    """`text` with its %XX taken away; as it stands if that is no text."""
    found = _ESCAPED.sub(lambda match: bytes([int(match.group(1), 16)]), text.encode())
    try:
        return found.decode()
    except UnicodeDecodeError:
        return text
