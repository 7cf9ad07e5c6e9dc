"""Two observations of one recipe -> what differs, as lines for people. Pure.

What is not compared, and why, is all in this module; docs/reference/conformance.md says it in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Observation = Mapping[str, Any]
Outcome = Literal["equal", "refused", "different", "left out"]
Converter = Literal["ours", "spython"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a case in one mode. `told`: the differences, or the reason of a refusal."""

    case: str
    converter: Converter
    mode: str
    outcome: Outcome
    told: tuple[str, ...] = ()
    log: str = ""


OUTSIDE = ("/dev", "/proc", "/sys", "/tmp", "/var/tmp", "/.singularity.d", "/.dl4mic-hpc")
"""Not part of an image: made by the kernel, bound by Apptainer, or where Apptainer and the converter keep their own."""

OWN = frozenset(
    {"/.exec", "/.run", "/.shell", "/.singularity.d", "/.test", "/environment", "/singularity"}
    | {"/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/run/.containerenv", "/run/secrets"}
)
"""Links into /.singularity.d, and files that every run of a container binds over."""

ALWAYS_MADE = frozenset(
    {"/dev", "/etc", "/home", "/proc", "/root", "/run", "/sys", "/tmp", "/var", "/var/tmp"}
)
"""Folders that one builder or the other makes in an image which has none."""

ADDED = ("APPTAINER", "SINGULARITY")
ADDED_NAMES = frozenset(
    {
        "_",
        "HOME",
        "HOSTNAME",
        "LANG",
        "LD_LIBRARY_PATH",
        "OLDPWD",
        "PATH",
        "PROMPT_COMMAND",
        "PS1",
        "PWD",
        "SHLVL",
        "TERM",
    }
    | {"USER_PATH"}
)
"""Variables that Apptainer adds where the image has none; where it has one they are compared."""

BOOKKEEPING = "user.rootlesscontainers"
"""What Apptainer's unpacking notes at files whose owner it could not give them."""

LIBRARIES = "/.singularity.d/libs"
DEFAULT_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
OTHERS_LABELS = ("io.buildah.", "org.label-schema.", "org.opencontainers.image.base.")
CONFIG = (
    "Env",
    "Entrypoint",
    "Cmd",
    "WorkingDir",
    "User",
    "Labels",
    "ExposedPorts",
    "Volumes",
    "StopSignal",
    "OnBuild",
    "Shell",
)
"""What is compared of Docker's configuration, which the image keeps."""


def noise(first: Observation, second: Observation) -> frozenset[str]:
    """Paths that differ between two builds of one recipe by one builder."""
    one, two = first.get("tree", {}), second.get("tree", {})
    return frozenset(path for path in {*one, *two} if one.get(path) != two.get(path))


def differences(
    docker: Observation, ours: Observation, *, ignored: frozenset[str] = frozenset(), fakeroot: bool = False
) -> list[str]:
    """All that differs between the image that Docker makes and ours, the first the gravest. [] if they are equal.

    ignored: paths that nothing is said of. fakeroot: ours was built under that program, which may leave root
    the rights to a file on disk, whatever the mode that it shows.
    """
    if docker["built"] != ours["built"]:
        builds, fails, log = (
            ("Docker", "Apptainer", ours["log"])
            if docker["built"]
            else ("Apptainer", "Docker", docker["log"])
        )
        return [f"{builds} builds, {fails} fails: {tail(log)}"]
    if not docker["built"]:
        return []
    return [
        *_trees(docker["tree"], ours["tree"], ignored, fakeroot),
        *_environments(docker["config"], ours["environment"]),
        *_runs(docker["runs"], ours["runs"]),
        *_mapping("label", _labels(docker["config"].get("Labels") or {}), _labels(ours["labels"])),
        *(_configs(docker["config"], ours["config"]) if ours["config"] is not None else ()),
    ]


def tail(log: str, lines: int = 3) -> str:
    return " | ".join(line for line in log.strip().splitlines()[-lines:] if line.strip())


def _trees(
    docker: Mapping[str, Any], ours: Mapping[str, Any], ignored: frozenset[str], fakeroot: bool
) -> Iterator[str]:
    for path in sorted({*docker, *ours}):
        if path in ignored or path in OWN or _is_outside(path):
            continue
        theirs, mine = docker.get(path), ours.get(path)
        if mine is None or theirs is None:
            there = mine or theirs
            if not (path in ALWAYS_MADE and there and there["kind"] == "folder"):
                whose = "Docker's" if mine is None else "our"
                yield f"{path} is only in {whose} image"
            continue
        for key in sorted({*theirs, *mine}):
            if key == "owner" and mine[key] is None:
                continue
            here, there = _said(key, mine), _said(key, theirs)
            if key == "mode" and fakeroot and int(here, 8) & 0o7077 == int(there, 8) & 0o7077:
                continue
            if here != there:
                yield f"{path}: {key} is {there} in Docker's image, {here} in ours"


def _said(key: str, node: Mapping[str, Any]) -> Any:
    if key == "xattrs":
        return {name: value for name, value in node.get(key, {}).items() if name != BOOKKEEPING}
    return node.get(key)


def _is_outside(path: str) -> bool:
    return any(path == folder or path.startswith(folder + "/") for folder in OUTSIDE)


def _environments(config: Mapping[str, Any], ours: Mapping[str, str]) -> Iterator[str]:
    wanted = dict(entry.split("=", 1) for entry in config.get("Env") or [])
    for name in sorted({*wanted, *ours}):
        theirs, mine = wanted.get(name), ours.get(name)
        if theirs is None:
            if not name.startswith(ADDED) and name not in ADDED_NAMES:
                yield f"environment: {name}={mine!r} is only in ours"
        elif mine is None or not _same_value(name, theirs, mine):
            yield f"environment: {name} is {theirs!r} in Docker's image, {mine!r} in ours"


def _same_value(name: str, theirs: str, mine: str) -> bool:
    if name == "LD_LIBRARY_PATH":
        return mine in (theirs, f"{theirs}:{LIBRARIES}", f"{theirs}{LIBRARIES}")
    if name == "PATH":
        missing = [part for part in DEFAULT_PATH if part not in theirs.split(":")]
        return mine == theirs or (
            mine.startswith(theirs + ":") and set(mine[len(theirs) + 1 :].split(":")) <= set(missing)
        )
    return theirs == mine


def _runs(docker: list[Mapping[str, Any]], ours: list[Mapping[str, Any]]) -> Iterator[str]:
    for number, (theirs, mine) in enumerate(zip(docker, ours, strict=True), start=1):
        # None: it could not be started, for which every engine has exit codes of its own.
        same = mine["code"] != 0 if theirs["code"] is None else theirs["code"] == mine["code"]
        if not same or theirs["out"] != mine["out"]:
            told = f"{theirs['code']} {theirs['out']!r} in Docker's image, {mine['code']} {mine['out']!r} in ours"
            yield f"run {number} gives {told} {mine['err'][-200:]!r}"


def _labels(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if not name.startswith(OTHERS_LABELS)}


def _mapping(what: str, docker: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted({*docker, *ours}):
        if docker.get(name) != ours.get(name):
            yield f"{what} {name}: {docker.get(name)!r} in Docker's image, {ours.get(name)!r} in ours"


def _configs(docker: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    return _mapping("configuration", _comparable(docker), _comparable(ours))


def _comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """Without what says nothing: an absent value, an empty one and the default are the same."""
    found = {key: config.get(key) or None for key in CONFIG}
    if found["Env"]:
        found["Env"] = sorted(found["Env"])
    if found["Labels"]:
        found["Labels"] = _labels(found["Labels"]) or None
    if found["WorkingDir"] == "/":
        found["WorkingDir"] = None
    return found
