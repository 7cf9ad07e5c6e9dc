"""What a stage hands to a later one (COPY --from), as shell text: chosen by the rules of COPY, inside the image."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from dl4mic_hpc.recipe.shell import words
from dl4mic_hpc.recipe.steps import Copy

_PART = re.compile(r"\*\*/?|\*|\?|\[\^?(?:\\.|[^]\\])+\]|\\.|.", re.DOTALL)
_WILD = {"**/": "(.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def offered(copy: Copy, folder: str, *, root: str) -> Iterator[str]:
    """Lines that put the files of `copy` into archives in `folder`. root: where the image is that has them."""
    left_out = _expression(copy.exclude)
    for source in copy.sources:
        path = posixpath.normpath("/" + source.path)
        if copy.parents:
            base, pivot, below = source.path.partition("/./")
            base, below = (f"/{base}", below) if pivot else ("/", source.path)
            yield f"dl4mic_offer_parents {words([folder, root, base, _shell_pattern(below), left_out])}\n"
        elif source.glob:
            pattern = _shell_pattern(posixpath.normpath(source.path))
            yield f"dl4mic_offer_matching {words([folder, root, '', pattern, left_out])}\n"
        else:
            yield f"dl4mic_offer {words([folder, root, path, left_out])}\n"
        if copy.parents or source.glob:
            yield f"dl4mic_offered {words([folder, path])}\n"


def _shell_pattern(pattern: str) -> str:
    """Go's wildcards as a shell's."""
    return re.sub(r"(\\.)|\[\^", lambda found: found.group(1) or "[!", pattern, flags=re.DOTALL)


def _expression(patterns: tuple[str, ...]) -> str:
    """Patterns of --exclude as one extended regular expression (POSIX) for paths that begin with `./`, "" for none."""
    alternatives = [
        "".join(map(_part, _PART.findall(posixpath.normpath(each.strip("/"))))) for each in patterns
    ]
    return f"^\\./({'|'.join(alternatives)})(/.*)?$" if alternatives else ""


def _part(part: str) -> str:
    if part in _WILD:
        return _WILD[part]
    if part.startswith("[") and len(part) > 1:
        return part
    char = part[-1]
    return f"\\{char}" if char in "[].^$*+?(){}|\\" else char
