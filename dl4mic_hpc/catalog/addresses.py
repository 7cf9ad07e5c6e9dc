"""Addresses of notebooks and requirements: which ones are files, and where they stand at one revision.

Taken apart as text: this room touches no network, and the addresses of GitHub have a fixed form
(https://docs.github.com/en/repositories/working-with-files/using-files/viewing-and-understanding-files).
"""

from __future__ import annotations

import re

_RAW = re.compile(
    r"https?://raw\.githubusercontent\.com/(?P<owner>[^/]+)/(?P<name>[^/]+)/(?:refs/heads/)?[^/]+/(?P<path>.+)"
)
_RAW_BY_PAGE = re.compile(
    r"https?://github\.com/(?P<owner>[^/]+)/(?P<name>[^/]+)/raw/(?:refs/heads/)?[^/]+/(?P<path>.+)"
)
_PAGE = re.compile(
    r"https?://(?:github\.com|colab\.research\.google\.com/github)/"
    r"(?P<owner>[^/]+)/(?P<name>[^/]+)/blob/(?P<branch>[^/]+)/(?P<path>[^?#]+)"
)


def is_address(text: str) -> bool:
    return "://" in text


def mistake(address: str) -> str:
    """What is wrong with an address, "" if it may be that of a file."""
    if not re.fullmatch(r"https?://[^/\s]+/\S+", address):
        return f"'{address}' is no address of a file; it has to begin with https:// or http://"
    if page := _PAGE.fullmatch(address):
        raw = "https://raw.githubusercontent.com/{owner}/{name}/{branch}/{path}".format(**page.groupdict())
        return f"'{address}' is a web page about the file; the file itself is {raw}"
    return ""


def at(address: str, revision: str) -> str | None:
    """The address of the file as it was at a git commit; None if that cannot be told from the address."""
    found = _RAW.fullmatch(address) or _RAW_BY_PAGE.fullmatch(address)
    if found is None:
        return None
    return f"https://raw.githubusercontent.com/{found['owner']}/{found['name']}/{revision}/{found['path']}"


def shown(address: str) -> str:
    """Owner, repository and revision of a file on GitHub; any other address as it is."""
    found = re.fullmatch(
        r"https?://raw\.githubusercontent\.com/([^/]+/[^/]+)/(?:refs/heads/)?([^/]+)/.+", address
    )
    if found is None:
        return address
    revision = found[2][:7] if re.fullmatch(r"[0-9a-f]{40}", found[2]) else found[2]
    return f"github.com/{found[1]} at {revision}"


def file_name(address: str) -> str:
    """The file's name, with %20 and the like read; never one that leaves its folder."""
    last = re.split(r"[?#]", address, maxsplit=1)[0].rstrip("/").rsplit("/", 1)[-1]
    name = re.sub(rb"%([0-9A-Fa-f]{2})", lambda code: bytes.fromhex(code[1].decode()), last.encode())
    plain = re.sub(r"[/\\\x00-\x1f]", "_", name.decode("utf-8", "replace"))
    return plain if plain.strip(".") else "file"
