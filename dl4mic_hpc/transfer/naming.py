"""Names that this computer can store for the paths of a Linux cluster, where nearly every byte is allowed."""

from __future__ import annotations

import hashlib
import re
import secrets
import sys
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dl4mic_hpc.transfer.listing import LONGEST_NAME, OWN_PREFIX

# https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file
_FORBIDDEN = re.compile(r'[<>:"|?*\\\x00-\x1f]')
_RESERVED = re.compile(r"(?i)(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³])( *\..*)?")
_NO_UNICODE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class NameRules:
    """What a local folder can store.

    `windows`: some characters and names are forbidden. `unicode_only`: a name that is no text is refused (Windows,
    macOS). Without `case_sensitive`, Image.tif and image.tif, or an é written in two ways, are one name.
    """

    windows: bool = False
    unicode_only: bool = False
    case_sensitive: bool = True


def rules_of(folder: Path) -> NameRules:
    """The rules of an existing folder, tried out with a file that is removed at once. OSError if it is not writable."""
    probe = folder / f"{OWN_PREFIX}-Case-{secrets.token_hex(4)}"
    probe.touch(exist_ok=False)
    try:
        case_sensitive = not probe.with_name(probe.name.upper()).exists()
    finally:
        probe.unlink()
    windows = sys.platform == "win32"
    return NameRules(
        windows=windows, unicode_only=windows or sys.platform == "darwin", case_sensitive=case_sensitive
    )


def local_names(paths: Iterable[PurePosixPath], rules: NameRules) -> dict[PurePosixPath, PurePosixPath]:
    """The local path of each path on the cluster, the same at every call for the same paths; no two share one.

    `paths` holds the folders too. A name that cannot be stored, or the second of two that would be one, gets a tag
    made from its path: "a:b.tif" becomes "a_b (1f3c).tif".
    """
    names: dict[PurePosixPath, PurePosixPath] = {}
    taken: set[tuple[PurePosixPath, str]] = set()
    for path in sorted(paths, key=lambda path: path.parts):
        folder = names.get(path.parent, path.parent)
        name = _storable(path.name, rules)
        fit = name if name == path.name else _tagged(name, path, 4)
        length = 4
        while (folder, _key(fit, rules)) in taken:
            fit = _tagged(name, path, length)
            length += 4
        taken.add((folder, _key(fit, rules)))
        names[path] = folder / fit
    return names


def _storable(name: str, rules: NameRules) -> str:
    if rules.unicode_only:
        name = _NO_UNICODE.sub("_", name)
    if rules.windows:
        name = _FORBIDDEN.sub("_", name).rstrip(". ") or "_"
        if _RESERVED.fullmatch(name):
            name = f"_{name}"
    return name


def _tagged(name: str, path: PurePosixPath, length: int) -> str:
    digest = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()
    return extended(name, digest[:length])


def extended(name: str, remark: str) -> str:
    """The file name with a remark in brackets before its suffix, cut where it would be too long for a file system."""
    stem, suffix = PurePosixPath(name).stem, PurePosixPath(name).suffix
    while len(f"{stem} ({remark}){suffix}".encode("utf-8", "surrogateescape")) > LONGEST_NAME and stem:
        stem = stem[:-1]
    return f"{stem} ({remark}){suffix}"


def _key(name: str, rules: NameRules) -> str:
    return name if rules.case_sensitive else unicodedata.normalize("NFC", name).casefold()
