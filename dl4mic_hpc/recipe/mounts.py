"""RUN --mount: what a command finds while it runs and the image does not keep.

The keys are those of https://docs.docker.com/reference/dockerfile/#run---mount; variables are expanded in all of
them but `from`.
"""

from __future__ import annotations

import csv
import posixpath
import re
from collections.abc import Callable, Mapping

from dl4mic_hpc.errors import perhaps_you_meant
from dl4mic_hpc.recipe.commands import Command
from dl4mic_hpc.recipe.steps import Context, FromStage, Mount, Source

_KINDS = ("bind", "cache", "secret", "ssh", "tmpfs")
_SAME_KEY = {"src": "source", "dst": "target", "destination": "target", "readonly": "ro", "readwrite": "rw"}
_KEYS = (
    "env",
    "from",
    "gid",
    "id",
    "mode",
    "required",
    "ro",
    "rw",
    "sharing",
    "size",
    "source",
    "target",
    "type",
    "uid",
)
# Keys that may stand without a value, and then mean yes.
_SWITCHES = ("required", "ro", "rw")
_ONLY_FOR = {
    "env": ("secret",),
    "gid": ("cache", "secret"),
    "mode": ("cache", "secret"),
    "required": ("secret",),
    "sharing": ("cache",),
    "size": ("tmpfs",),
    "uid": ("cache", "secret"),
}
_FORMS = {
    "gid": r"[0-9]{1,10}",
    "mode": r"[0-7]{1,6}",
    "required": r"1|t|true|0|f|false",
    "ro": r"1|t|true|0|f|false",
    "rw": r"1|t|true|0|f|false",
    "sharing": r"shared|private|locked",
    "size": r"[0-9]+(\.[0-9]+)?\s*[kmgtp]?(i?b)?",
    "uid": r"[0-9]{1,10}",
}


def origins(command: Command) -> tuple[str, ...]:
    """The stages and images that the command's mounts show."""
    found = []
    for written in command.options.all("mount"):
        origin = dict(_fields(command, written)).get("from")
        if origin and "$" in origin[:-1]:
            what = f"--mount from={origin} holds a variable"
            raise command.refuse(what, hint=f"name a stage: FROM {origin} AS NAME, and from=NAME")
        if origin:
            found.append(origin)
    return tuple(found)


def read(
    command: Command,
    *,
    text: Callable[[str], str],
    path: Callable[[str], str],
    places: Mapping[str, int],
) -> tuple[Mount, ...]:
    """The mounts of a RUN. text: expands a word. path: makes a path absolute. places: of stages, by their names."""
    return tuple(
        _mount(command, written, text=text, path=path, places=places)
        for written in command.options.all("mount")
    )


def _mount(
    command: Command,
    written: str,
    *,
    text: Callable[[str], str],
    path: Callable[[str], str],
    places: Mapping[str, int],
) -> Mount:
    said = {key: text(value) if key != "from" else value for key, value in _fields(command, written)}
    kind = said.get("type", "bind").lower()
    if kind not in _KINDS:
        raise command.refuse(
            f"RUN knows no --mount of the type '{kind}'", hint=perhaps_you_meant(kind, _KINDS)
        )
    if kind == "ssh":
        hint = "fetch what is needed into the build context, or use --mount=type=secret"
        raise command.refuse("RUN --mount=type=ssh is not converted: a build job has no SSH agent", hint=hint)
    for key, value in said.items():
        _check(command, kind, key, value)
    if kind == "secret":
        return _secret(command, said, path)
    target = path(said.get("target", "")).rstrip("/")
    if not target:
        raise command.refuse("RUN --mount has the target /", hint="write target=FOLDER")
    if kind == "cache" and said.get("from"):
        hint = f"put the files there: COPY --from={said['from']}"
        raise command.refuse("RUN --mount=type=cache with from is not converted", hint=hint)
    return Mount(
        kind=kind,
        target=target,
        source=_source(command, said, places) if kind == "bind" else None,
        id=said.get("id", "") if kind == "cache" else "",
        owner=_owner(said),
        mode=said.get("mode", ""),
    )


def _secret(command: Command, said: Mapping[str, str], path: Callable[[str], str]) -> Mount:
    given, source, target = said.get("id", ""), said.get("source", ""), said.get("target", "")
    name = source or given or posixpath.basename(target)
    if not name:
        raise command.refuse("RUN --mount=type=secret names no secret", hint="write id=NAME")
    if source and given:
        raise command.refuse("RUN --mount=type=secret has both source and id", hint="write id=NAME only")
    if "from" in said:
        raise command.refuse("RUN --mount=type=secret takes no from", hint="delete it")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        what = f"'{name}' cannot name a secret here"
        raise command.refuse(what, hint="use letters, digits, - _ and .")
    variable = said.get("env", "")
    if not target and "env" not in said:
        target = f"/run/secrets/{name}"
    return Mount(
        kind="secret",
        target=path(target).rstrip("/") if target else "",
        id=name,
        owner=_owner(said),
        mode=said.get("mode", ""),
        required=said.get("required", "false").lower() in ("1", "t", "true"),
        variable=variable or (name if "env" in said else ""),
    )


def _source(command: Command, said: Mapping[str, str], places: Mapping[str, int]) -> Source:
    origin, written = said.get("from", ""), said.get("source", "")
    if not origin and posixpath.normpath(written.lstrip("/") or ".").startswith(".."):
        what = f"the mounted {written} leads out of the build context"
        raise command.refuse(what, hint="move the file into the recipe's folder")
    path = posixpath.normpath("/" + written).lstrip("/") or "."
    return Source(origin=FromStage(stage=places[origin]) if origin else Context(), path=path)


def _owner(said: Mapping[str, str]) -> str:
    if "uid" not in said and "gid" not in said:
        return ""
    return f"{int(said.get('uid', '0'))}:{int(said.get('gid', '0'))}"


def _fields(command: Command, written: str) -> list[tuple[str, str]]:
    """The KEY=VALUE of a --mount, each key by its first name."""
    fields: list[tuple[str, str]] = []
    try:
        rows = list(csv.reader([written], strict=True))
    except csv.Error as error:
        raise command.refuse(f"--mount={written}: {error}", hint="mend the quotes") from error
    for field in rows[0] if rows else []:
        key, equals, value = field.partition("=")
        key = _SAME_KEY.get(key.lower(), key.lower())
        if key not in _KEYS:
            raise command.refuse(f"--mount knows no '{field}'", hint=perhaps_you_meant(key, _KEYS))
        if not equals and key not in _SWITCHES:
            raise command.refuse(f"--mount has {key} without a value", hint=f"write {key}=VALUE")
        fields.append((key, value if equals else "true"))
    return fields


def _check(command: Command, kind: str, key: str, value: str) -> None:
    if kind not in _ONLY_FOR.get(key, _KINDS):
        raise command.refuse(f"--mount=type={kind} takes no {key}", hint=f"delete {key}")
    form = _FORMS.get(key)
    if form and not re.fullmatch(form, value, re.ASCII | re.IGNORECASE):
        hint = "docs.docker.com/reference/dockerfile/#run---mount lists the values"
        raise command.refuse(f"--mount has {key}={value}, which is no value for it", hint=hint)
