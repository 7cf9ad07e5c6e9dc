"""The Apptainer of a computer through spython's Client, as an ordinary user with a real Apptainer.

This machine need not have one, so the room `images` and a bundle are put into the oracle's container and run there.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import spython
from conformance import oracle
from conformance.oracle import Oracle

import dl4mic_hpc
from dl4mic_hpc.recipe.bundle import convert
from dl4mic_hpc.sources.resolver import Resolver

HOME = "/tmp/local-apptainer"
BASE = "base.example/glibc:1"
RECIPE = f'FROM {BASE}\nLABEL who=me\nCOPY a.txt /a.txt\nRUN echo building && cat /a.txt\nENTRYPOINT ["cat"]\nCMD ["/a.txt"]\n'
PROGRAM = """
import json, sys
from pathlib import Path
from dl4mic_hpc.errors import ImageError
from dl4mic_hpc.images import local
said = []
try:
    found = {what}
    print(json.dumps({{"said": said, "found": found}}))
except ImageError as problem:
    print(json.dumps({{"said": said, "error": problem.message, "hint": problem.hint}}))
"""


class Computer:
    """A folder in the container, with the program in it, owned by an ordinary user."""

    def __init__(self, found: Oracle) -> None:
        self.oracle = found
        self.run("root", "rm", "-rf", HOME)
        self.run("root", "install", "-d", "-o", "ada", HOME)
        for package in (dl4mic_hpc, spython):
            assert package.__file__
            self.put(Path(package.__file__).parent, Path(package.__file__).parent.name)

    def run(self, user: str, *argv: str, stdin: bytes | None = None) -> str:
        words = ("exec", "--interactive", "--user", user, "--workdir", "/", self.oracle.container, *argv)
        done = self.oracle.engine.call(*words, stdin=stdin, timeout=300)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def put(self, folder: Path, name: str) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(folder, name, filter=lambda one: None if "__pycache__" in one.name else one)
        self.run("ada", "tar", "-xf", "-", "-C", HOME, "--no-same-owner", stdin=packed.getvalue())

    def ask(self, what: str, **environment: str) -> dict[str, object]:
        variables = [
            f"{name}={value}" for name, value in {"PYTHONPATH": HOME, "HOME": HOME, **environment}.items()
        ]
        told = self.run("ada", "env", *variables, "python3", "-c", PROGRAM.format(what=what))
        return dict(json.loads(told.splitlines()[-1]))

    def listed(self, name: str = "") -> list[str]:
        return self.run("ada", "ls", "-A", f"{HOME}/{name}").split()


@pytest.fixture(scope="module")
def computer() -> Iterator[Computer]:
    yield Computer(oracle.start(print))
    if os.environ.get("CI"):
        oracle.stop(print)


def bundle(computer: Computer, tmp_path: Path, text: str, name: str) -> str:
    """The bundle of a recipe on the computer; its folder there."""
    (tmp_path / "a.txt").write_text("hello from the context\n")
    resolver = Resolver(
        folder=tmp_path / "cache",
        base_map=computer.oracle.bases(computer.oracle.here),
    )
    made = convert(text, context=tmp_path, build_args={}, outside=resolver)
    made.write(tmp_path / name)
    computer.put(tmp_path / name, name)
    return f"{HOME}/{name}"


def test_a_bundle_is_built_followed_and_looked_into(computer: Computer, tmp_path: Path) -> None:
    folder = bundle(computer, tmp_path, RECIPE, "good")
    image = f"{HOME}/good.sif"
    built = computer.ask(f"local.build(Path('{folder}'), Path('{image}'), said=said.append)")
    assert "error" not in built, built
    said = built["said"]
    assert isinstance(said, list) and "hello from the context" in said
    assert (
        computer.run("ada", "apptainer", "--silent", "run", "--unsquash", image) == "hello from the context\n"
    )

    looked = computer.ask(
        f"[local.inspect(Path('{image}')).labels, local.inspect(Path('{image}')).runscript]"
    )
    labels, runscript = looked["found"]  # type: ignore[misc]
    assert labels["who"] == "me" and "set -- cat" in runscript
    assert [name for name in computer.listed() if name.endswith(".part")] == []


def test_a_build_that_fails_says_why_and_leaves_no_image(computer: Computer, tmp_path: Path) -> None:
    folder = bundle(computer, tmp_path, f"FROM {BASE}\nRUN echo that was it >&2; exit 3\n", "bad")
    built = computer.ask(f"local.build(Path('{folder}'), Path('{HOME}/bad.sif'), said=said.append)")
    assert "bad.sif could not be built" in str(built["error"]) and "that was it" in str(built["error"])
    assert "Dockerfile:2" in str(built["error"])
    assert [name for name in computer.listed() if ".sif" in name and "bad" in name] == []


def test_what_is_no_image_is_said(computer: Computer) -> None:
    looked = computer.ask("local.inspect(Path('/etc/passwd')).labels")
    assert "is no image that Apptainer can read" in str(looked["error"])


def test_an_image_is_pulled(computer: Computer) -> None:
    config = "version: 0.1\nstorage: {inmemory: {}}\nhttp: {addr: '127.0.0.1:5987'}\n"
    computer.run("root", "tee", f"{HOME}/registry.yml", stdin=config.encode())
    engine = computer.oracle.engine
    words = ("exec", "--interactive", computer.oracle.container, "sh", "-c")
    archive = computer.oracle.there / "glibc.tar"
    # The registry lives as long as this script, which waits until it answers (at most 10 s) and then pushes and pulls.
    script = (
        f"docker-registry serve {HOME}/registry.yml > /dev/null 2>&1 & registry=$!; trap 'kill $registry' EXIT; "
        "for turn in $(seq 100); do skopeo --version > /dev/null 2>&1; "
        "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 5987), 1)' 2> /dev/null && break; "
        "python3 -c 'import threading; threading.Event().wait(0.1)'; done; "
        f"id=$(buildah pull --quiet oci-archive:{archive}) && "
        "buildah push --quiet --tls-verify=false $id docker://127.0.0.1:5987/glibc:1 >&2 && "
        'setpriv --reuid ada --regid ada --init-groups env HOME=$0 PYTHONPATH=$0 APPTAINER_NOHTTPS=true python3 -c "$1"'
    )
    asked = f"local.pull('docker://127.0.0.1:5987/glibc:1', Path('{HOME}/pulled.sif'), said=said.append)"
    done = engine.call(*words, script, HOME, PROGRAM.format(what=asked), timeout=300)
    told = json.loads(done.stdout.decode().splitlines()[-1])
    assert "error" not in told, (told, done.stderr.decode()[-2000:])
    assert "pulled.sif" in computer.listed()
    missing = computer.ask(
        "local.pull('docker://127.0.0.1:1/nothing:1', Path('/tmp/x.sif'), said=said.append)"
    )
    assert "could not be pulled" in str(missing["error"])


def test_a_computer_without_apptainer_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dl4mic_hpc.errors import ImageError
    from dl4mic_hpc.images import local

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImageError, match="no Apptainer on this computer") as told:
        local.inspect(tmp_path / "x.sif")
    assert "dl4mic-hpc launch" in told.value.hint
    assert os.environ["PATH"] == str(tmp_path)
