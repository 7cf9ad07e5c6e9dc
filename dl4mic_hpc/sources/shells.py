"""Whether an image in a file has a shell, seen from the names in its layers."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from typing import IO

_SHELLS = ("bin/sh", "usr/bin/sh")


def has_shell(layers: Iterable[IO[bytes] | None]) -> bool | None:
    """Whether one of them brings a /bin/sh; None if there is none or one cannot be read (missing, packed as zstd).

    Ends with the first that does, which in most images is the first of all.
    """
    seen = None
    try:
        for layer in layers:
            if layer is None:
                return None
            with tarfile.open(fileobj=layer) as members:
                if any(member.name.removeprefix("./").lstrip("/") in _SHELLS for member in members):
                    return True
            seen = False
    except (OSError, EOFError, tarfile.TarError):
        return None
    return seen
