"""What a bundle's definition does, read back from its text and its files.

The shell's own rules give the words: what stands in `%post` is taken apart as a shell would, and nothing is run but
`%environment` and `%runscript`, whose only programs are the shell's own.
"""

from __future__ import annotations

import hashlib
import io
import re
import shlex
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from support import apptainer_reader
from support.apptainer_reader import Definition

from dl4mic_hpc.recipe.bundle import Bundle

# All that may stand in `%files`: the bundle's own folder, what one stage has ready for another, a whole image.
_FILES = re.compile(
    r"ctx/s\d+/\.dl4mic-hpc /|/\.dl4mic-hpc-out/s\d+ /\.dl4mic-hpc-in/s\d+|/ (/|/\.dl4mic-hpc-in/s\d+)"
)
_HEADER = {"bootstrap", "from", "stage"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """RUN: `argv`, `folder`, `environment`. COPY: `files` (sha256 by name) or `taken` paths, and `target`."""

    keyword: str
    argv: tuple[str, ...] = ()
    folder: str = ""
    environment: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    taken: tuple[str, ...] = ()
    target: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One stage of the definition."""

    base: str
    steps: tuple[Step, ...]
    definition: Definition


def images(bundle: Bundle) -> list[Image]:
    """All stages. ValueError for a definition that holds anything that it should not."""
    # Apptainer cuts the file here, inside a section too.
    texts = re.split(r"(?im)^(?=bootstrap:)", bundle.definition)
    stages = [apptainer_reader.read(text) for text in texts if text]
    for stage in stages:
        _check_form(stage)
    offers = {taker: paths for stage in stages for taker, paths in _offers(stage)}
    return [_image(at, stage, offers, bundle.files) for at, stage in enumerate(stages)]


def environment(image: Image, base: Mapping[str, str]) -> dict[str, str]:
    """What a program finds in the running image, on a base image with these variables."""
    script = f"{image.definition.sections['environment']}\nenv -0"
    done = subprocess.run(
        ["/bin/sh", "-ec", script], env=dict(base), capture_output=True, text=True, check=True
    )
    pairs = (entry.split("=", 1) for entry in done.stdout.split("\0") if entry)
    return {name: value for name, value in pairs if name not in ("PWD", "OLDPWD", "SHLVL", "_")}


def started(image: Image, *arguments: str) -> list[str]:
    """The folder and the words of what `apptainer run IMAGE ARGUMENTS…` starts."""
    script = image.definition.sections["runscript"]
    if 'exec "$@"' not in script:
        raise ValueError(f"this %runscript starts nothing: {script}")
    shown = "cd() { printf '%s\\0' \"$2\"; }\n" + script.replace('exec "$@"', "printf '%s\\0' \"$@\"")
    done = subprocess.run(
        ["/bin/sh", "-ec", shown, "sh", *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.split("\0")[:-1]


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _check_form(stage: Definition) -> None:
    if unknown := set(stage.header) - _HEADER:
        raise ValueError(f"foreign keys in the header: {', '.join(sorted(unknown))}")
    for line in stage.sections.get("files", "").splitlines():
        if line.strip() and not _FILES.fullmatch(line.strip()):
            raise ValueError(f"a foreign line in %files: {line}")
    for name in ("post", "environment", "runscript", "startscript"):
        checked = subprocess.run(
            ["/bin/sh", "-n"], input=stage.sections.get(name, ""), capture_output=True, text=True
        )
        if checked.returncode:
            raise ValueError(f"%{name} is no shell script: {checked.stderr.strip()}")


def _commands(post: str) -> Iterator[list[str]]:
    """The simple commands of `%post`, each as its words."""
    words = shlex.shlex(post, posix=True, punctuation_chars="();<>|&\n")
    words.whitespace, words.whitespace_split, words.commenters = " \t", True, ""
    command: list[str] = []
    for word in words:
        if word and set(word) <= set("();<>|&\n"):
            if command:
                yield command
            command = []
        else:
            command.append(word)
    if command:
        yield command


def _offers(stage: Definition) -> Iterator[tuple[str, list[str]]]:
    """By the folder that another stage finds them in: the paths that this one makes ready."""
    found: dict[str, list[str]] = {}
    for command in _commands(stage.sections.get("post", "")):
        if command[0] == "dl4mic_offer":
            _, folder, root, path, _ = command
            found.setdefault(folder.removeprefix("/.dl4mic-hpc-out/"), []).append(root + path)
    yield from found.items()


def _image(
    at: int, stage: Definition, offers: Mapping[str, list[str]], files: Mapping[PurePosixPath, bytes | Path]
) -> Image:
    steps: list[Step] = []
    variables: dict[str, str] = {}
    where = PurePosixPath(f"ctx/s{at}/.dl4mic-hpc")
    for command in _commands(stage.sections.get("post", "")):
        match command:
            case ["set", "--", "$@", *pairs]:
                variables |= dict(pair.split("=", 1) for pair in pairs)
            case ["set", "--"]:
                variables.clear()
            case ["dl4mic_enter", _, folder]:
                entered = folder
            case ["dl4mic_as", "env", "$@", *argv]:
                said = tuple(sorted(variables.items()))
                steps.append(Step(keyword="RUN", argv=tuple(argv), folder=entered, environment=said))
            case ["dl4mic_copy" | "dl4mic_copy_file" as function, name, *rest]:
                target = rest[1] if function == "dl4mic_copy_file" else rest[0]
                content = files[where / f"copy/{name}.tar"]
                assert isinstance(content, bytes)
                steps.append(Step(keyword="COPY", files=_members(content), target=target))
            case ["dl4mic_take", folder, target, *_]:
                stage_and_id = f"s{at}/{folder.rpartition('/')[2]}"
                steps.append(Step(keyword="COPY", taken=tuple(offers[stage_and_id]), target=target))
    return Image(base=stage.header.get("from", ""), steps=tuple(steps), definition=stage)


def _members(archive: bytes) -> tuple[tuple[str, str], ...]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        read = ((member.name, members.extractfile(member)) for member in members if member.isfile())
        return tuple(
            (name, hashlib.sha256(file.read()).hexdigest()) for name, file in read if file is not None
        )
