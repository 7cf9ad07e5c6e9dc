"""What a recipe of these shapes comes to, worked out another way than the converter does: /bin/sh expands.

It knows just enough for DL4MicEverywhere's recipes and refuses everything else with a ValueError: no flags but
COPY --from, no here-documents, one variable to an ENV.
"""

from __future__ import annotations

import posixpath
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

STEPS = ("RUN", "ADD", "COPY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """RUN: `text` and `environment`. ADD and COPY: `sources` and `target`; `stage` of COPY --from."""

    keyword: str
    text: str = ""
    folder: str = "/"
    environment: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    target: str = ""
    stage: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One stage. environment: what the image keeps. command: None if the recipe says none."""

    name: str
    base: str
    steps: tuple[Step, ...]
    environment: Mapping[str, str]
    folder: str
    command: tuple[str, ...] | None


def images(dockerfile: str, given: Mapping[str, str], bases: Mapping[str, Mapping[str, str]]) -> list[Image]:
    """All stages. bases: from a base image's name, without its tag, to its variables."""
    at_the_top: dict[str, str] = {}
    groups: list[list[tuple[str, str]]] = []
    for keyword, rest in _instructions(dockerfile):
        if keyword == "FROM":
            groups.append([(keyword, rest)])
        elif groups:
            groups[-1].append((keyword, rest))
        else:
            _argument(rest, given, {}, at_the_top)
    return [_image(group, given, bases, at_the_top) for group in groups]


def _instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Comments are dropped, inside an instruction too; a backslash at a line's end, blanks or not after it, joins."""
    found: list[str] = []
    goes_on = False
    for line in dockerfile.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        joined = re.fullmatch(r"(.*)\\[ \t]*", line)
        text = joined[1] if joined else line
        if goes_on:
            found[-1] += text
        else:
            found.append(text.lstrip())
        goes_on = joined is not None
    split = [instruction.strip().split(maxsplit=1) for instruction in found]
    return [(keyword.upper(), rest) for keyword, rest in split]


def _image(
    group: list[tuple[str, str]],
    given: Mapping[str, str],
    bases: Mapping[str, Mapping[str, str]],
    at_the_top: Mapping[str, str],
) -> Image:
    reference, _, name = group[0][1].partition(" AS ")
    base = _expanded(reference, at_the_top)
    kept = dict(bases[base.partition(":")[0]])
    seen, folder, steps = dict(kept), "/", []
    command = None
    for keyword, rest in group[1:]:
        match keyword:
            case "ARG":
                _argument(rest, given, at_the_top, seen)
            case "ENV":
                key, value = re.split(r"[= ]", rest, maxsplit=1)
                seen[key] = kept[key] = _expanded(value, seen)
            case "WORKDIR":
                folder = posixpath.join(folder, _expanded(rest, seen))
            case "RUN" if not rest.startswith(("[", "<<", "--")):
                steps.append(Step(keyword=keyword, text=rest, folder=folder, environment=dict(seen)))
            case "ADD" | "COPY":
                steps.append(_copy(keyword, rest, folder, seen))
            case "CMD" if not rest.startswith("["):
                command = ("/bin/sh", "-c", rest)
            case _:
                raise ValueError(f"this is not known here: {keyword} {rest}")
    return Image(name=name, base=base, steps=tuple(steps), environment=kept, folder=folder, command=command)


def _argument(
    rest: str, given: Mapping[str, str], at_the_top: Mapping[str, str], seen: dict[str, str]
) -> None:
    name, has_default, default = rest.partition("=")
    if name in given:
        seen[name] = given[name]
    elif has_default:
        seen[name] = _expanded(default, seen)
    elif name in at_the_top:
        seen[name] = at_the_top[name]


def _copy(keyword: str, rest: str, folder: str, seen: Mapping[str, str]) -> Step:
    words = rest.split()
    stage = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else ""
    *sources, target = (_expanded(word, seen) for word in words)
    return Step(
        keyword=keyword,
        sources=tuple(sources),
        target=posixpath.normpath(posixpath.join(folder, target)),
        stage=stage,
    )


def _expanded(word: str, variables: Mapping[str, str]) -> str:
    """`word` as the shell that Docker's rules follow expands it in an assignment: no splitting, no patterns."""
    if re.search(r"[`;&|<>()\n]|\$\(", word):
        raise ValueError(f"this is for no shell: {word}")
    script = f"VALUE={word}\nprintf '%s.' \"$VALUE\""
    done = subprocess.run(
        ["/bin/sh", "-c", script], env=dict(variables), capture_output=True, text=True, check=True
    )
    return done.stdout.removesuffix(".")
