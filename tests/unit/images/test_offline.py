"""Images fetched into a layout, by the login node's curl or from here: whole, resumed, and never with a wrong byte."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Literal

import pytest
from support.images import DOCKER_MANIFEST, OCI_MANIFEST, digest_of
from support.local_remote import LocalRemote, connection_lost
from support.registry import Registry
from support.web_server import Answer, Asked, WebServer

from dl4mic_hpc.errors import ImageError, RegistryError, RemoteError, SshError
from dl4mic_hpc.images import offline, published
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.remote import CommandResult, RemoteProcess
from dl4mic_hpc.sources.registry import Found

pytestmark = pytest.mark.posix

Way = Literal["login", "laptop"]
WAYS: tuple[Way, ...] = ("login", "laptop")
LAYERS = (b"small", hashlib.shake_256(b"large").digest(3_000_000))
PROFILE = ClusterProfile.model_validate(
    {"name": "myuni", "host": "login.myuni.edu", "work_dir": "/scratch/me"}
)


class Heard:
    def __init__(self) -> None:
        self.details: list[str] = []

    def say(self, text: str) -> None: ...

    def note(self, text: str) -> None: ...

    def detail(self, text: str) -> None:
        self.details.append(text)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "_PAUSE", 0)


@pytest.fixture
def held(server: WebServer) -> Registry:
    held = Registry(server)
    held.push(held.held.manifest(layers=LAYERS))
    return held


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "lay out's"


def look_up(held: Registry) -> Found:
    return published.look_up(LocalRemote(), PROFILE, f"{held.server.host}/lab/x:1")


def fetch(held: Registry, folder: Path, way: Way, remote: LocalRemote | None = None) -> Found:
    found = look_up(held)
    offline.fetch(
        remote or LocalRemote(), PROFILE, found, internet=way, folder=PurePosixPath(folder), teller=Heard()
    )
    return found


def blob(folder: Path, digest: str) -> Path:
    return folder / "blobs" / digest.replace(":", "/")


def gets(held: Registry) -> list[Asked]:
    """The requests for the large layer's content, not those that only see where it lies."""
    path = f"/blobs/{digest_of(LAYERS[1])}"
    return [a for a in held.server.asked if a.path.endswith(path) and a.headers.get("range") != "bytes=0-0"]


def check(folder: Path, found: Found) -> None:
    """The layout is what the specification says, holds this image and nothing half."""
    assert json.loads((folder / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads((folder / "index.json").read_text())["manifests"]
    assert entry == {"mediaType": found.media_type, "digest": found.digest, "size": len(found.manifest)}
    files = {path.name: path.read_bytes() for path in folder.rglob("*") if path.parent.name == "sha256"}
    assert set(files) == {
        digest.partition(":")[2] for digest in (found.digest, found.config.digest, *map(digest_of, LAYERS))
    }
    assert all(hashlib.sha256(content).hexdigest() == name for name, content in files.items())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_a_layout_of_the_image(held: Registry, folder: Path, way: Way, kind: str) -> None:
    held.push(held.held.manifest(kind, layers=LAYERS))
    found = fetch(held, folder, way)
    check(folder, found)
    assert found.media_type == kind


@pytest.mark.parametrize("way", WAYS)
def test_what_is_there_is_not_fetched_again(held: Registry, folder: Path, way: Way) -> None:
    fetch(held, folder, way)
    held.server.asked.clear()
    check(folder, fetch(held, folder, way))
    assert [asked.path for asked in held.server.asked] == ["/v2/lab/x/manifests/1"]


@pytest.mark.parametrize("way", WAYS)
def test_a_layout_that_is_gone_on_with_is_no_old_one(held: Registry, folder: Path, way: Way) -> None:
    """Else `image prune` would remove it while its parts are read."""
    fetch(held, folder, way)
    os.utime(folder, (1, 1))
    remote, times = LocalRemote(), []
    remote.on_start = lambda argv: times.append(folder.stat().st_mtime)
    fetch(held, folder, way, remote)
    assert times[0] == 1 and times[1] > 1


@pytest.mark.parametrize("way", WAYS)
def test_damage_is_mended(held: Registry, folder: Path, way: Way) -> None:
    fetch(held, folder, way)
    blob(folder, digest_of(LAYERS[1])).write_bytes(b"x" * len(LAYERS[1]))
    check(folder, fetch(held, folder, way))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("part", "begins"),
    [
        (LAYERS[1][:1_000_000], 1_000_000),
        (LAYERS[1], None),
        (LAYERS[1] + b"too much", 0),
        (b"x" * 1_000_000, 1_000_000),
    ],
    ids=["good", "whole", "too much", "other content"],
)
def test_what_was_cut_short_goes_on_where_it_ended(
    held: Registry, folder: Path, way: Way, part: bytes, begins: int | None
) -> None:
    rest = blob(folder, digest_of(LAYERS[1]))
    rest.parent.mkdir(parents=True)
    rest.with_name(rest.name + ".part").write_bytes(part)
    check(folder, fetch(held, folder, way))
    first = gets(held)[0].headers.get("range", "bytes=0-") if gets(held) else None
    assert first == (None if begins is None else f"bytes={begins}-")


@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_sends_all_or_nothing(held: Registry, folder: Path, way: Way) -> None:
    held.ranges = False
    rest = blob(folder, digest_of(LAYERS[1]))
    rest.parent.mkdir(parents=True)
    rest.with_name(rest.name + ".part").write_bytes(LAYERS[1][:1_000_000])
    check(folder, fetch(held, folder, way))


@pytest.mark.parametrize("way", WAYS)
def test_a_connection_that_breaks_each_time_a_bit_later(held: Registry, folder: Path, way: Way) -> None:
    answer = held.answer

    def breaking(asked: Asked) -> Answer:
        given = answer(asked)
        if len(given.body) > 500_000:
            return Answer(
                status=given.status, headers=given.headers, body=given.body[:500_000], length=len(given.body)
            )
        return given

    held.server.answer = breaking
    check(folder, fetch(held, folder, way))
    begins = [int(asked.headers.get("range", "bytes=0-")[6:-1]) for asked in gets(held)]
    assert len(begins) >= 6
    assert begins == sorted(set(begins))


@pytest.mark.parametrize("way", WAYS)
def test_a_connection_that_comes_no_further(held: Registry, folder: Path, way: Way) -> None:
    answer = held.answer

    def stuck(asked: Asked) -> Answer:
        given = answer(asked)
        if asked.path.endswith(digest_of(LAYERS[1])):
            return Answer(status=given.status, headers=given.headers, length=len(given.body))
        return given

    held.server.answer = stuck
    with pytest.raises(RegistryError, match="cannot be fetched whole") as silent:
        fetch(held, folder, way)
    assert silent.value.reason == "silent"
    assert not (folder / "index.json").exists()


@pytest.mark.parametrize("way", WAYS)
def test_other_content_than_the_digest_says_is_never_taken(held: Registry, folder: Path, way: Way) -> None:
    held.held.content[digest_of(LAYERS[1])] = b"y" * len(LAYERS[1])
    with pytest.raises(ImageError, match="another hash"):
        fetch(held, folder, way)
    assert len(gets(held)) == 2
    assert not blob(folder, digest_of(LAYERS[1])).exists()
    assert not (folder / "index.json").exists()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("status", "reason"), [(404, "absent"), (403, "refused")])
def test_a_layer_that_is_gone(held: Registry, folder: Path, way: Way, status: int, reason: str) -> None:
    answer, known = held.answer, look_up(held)
    held.server.answer = lambda asked: Answer(status=status) if "/blobs/" in asked.path else answer(asked)
    with pytest.raises(RegistryError) as refused:
        offline.fetch(
            LocalRemote(), PROFILE, known, internet=way, folder=PurePosixPath(folder), teller=Heard()
        )
    assert refused.value.reason == reason


@pytest.mark.parametrize("way", WAYS)
def test_a_lost_connection_leaves_what_has_arrived(held: Registry, folder: Path, way: Way) -> None:
    remote = LocalRemote()

    def lost(argv: tuple[str, ...]) -> None:
        if digest_of(LAYERS[1]).partition(":")[2] in argv:
            raise connection_lost()

    remote.on_start = lost
    with pytest.raises(SshError):
        fetch(held, folder, way, remote)
    assert blob(folder, digest_of(LAYERS[0])).read_bytes() == LAYERS[0]
    check(folder, fetch(held, folder, way))


@pytest.mark.parametrize("way", WAYS)
def test_a_disk_that_is_full(held: Registry, folder: Path, way: Way) -> None:
    part = blob(folder, digest_of(LAYERS[1]) + ".part")
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    with pytest.raises(RemoteError, match=r"(?i)no space left|failure writing"):
        fetch(held, folder, way)


def test_a_login_node_without_curl(
    held: Registry, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "mkdir", "wc", "tr", "sha256sum", "rm", "cat"):
        place = next(
            Path(way, name) for way in os.environ["PATH"].split(os.pathsep) if Path(way, name).exists()
        )
        (programs / name).symlink_to(place)
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(ImageError, match="no curl on the login node") as missing:
        fetch(held, folder, "login")
    assert "build.internet: laptop" in missing.value.hint


@pytest.mark.parametrize("way", WAYS)
def test_several_at_once_fetch_each_part_once(held: Registry, folder: Path, way: Way) -> None:
    found = look_up(held)
    with ThreadPoolExecutor(max_workers=4) as several:
        ended = [several.submit(fetch, held, folder, way) for _ in range(4)]
        assert [one.result() for one in ended] == [found] * 4
    check(folder, found)
    if way == "login":
        assert len(gets(held)) == 1


# ---- Tokens ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_the_token_goes_to_the_registry_alone_and_onto_no_command_line(
    held: Registry, other_server: WebServer, folder: Path, way: Way
) -> None:
    held.token = "canary-t0ken"
    answer = held.answer

    def elsewhere(asked: Asked) -> Answer:
        given = answer(asked)
        if "/blobs/" in asked.path and given.status in (200, 206):
            name = asked.path.rpartition("/")[2]
            return Answer(status=307, headers={"Location": f'{other_server.url}/{name}?signed="yes\\'})
        return given

    held.server.answer = elsewhere
    other_server.answer = lambda asked: Answer(body=held.held.content[asked.path[1:]])
    (Path.home() / ".curlrc").write_text("location\n")
    remote = LocalRemote()
    check(folder, fetch(held, folder, way, remote))
    assert len(other_server.asked) == 4  # the look-up's configuration, and three parts
    assert not [asked for asked in other_server.asked if "authorization" in asked.headers]
    assert held.token not in repr(remote.commands)
    assert not [
        path for path in folder.rglob("*") if path.is_file() and held.token.encode() in path.read_bytes()
    ]


def test_each_part_has_a_token_of_its_own(held: Registry, folder: Path) -> None:
    held.token = "first"
    answer = held.answer

    def short_lived(asked: Asked) -> Answer:
        given = answer(asked)
        if asked.headers["user-agent"].startswith("curl") and asked.headers.get("range") != "bytes=0-0":
            held.token += "x"
        return given

    held.server.answer = short_lived
    found = look_up(held)
    held.server.asked.clear()
    check(folder, fetch(held, folder, "login"))
    # Docker Hub counts what is asked of manifests by GET: those are the look-up's alone.
    counted = [a for a in held.server.asked if "/manifests/" in a.path and a.method == "GET"]
    assert [asked.path for asked in counted if "authorization" in asked.headers] == ["/v2/lab/x/manifests/1"]
    assert held.token == "firstxxx"
    assert found == look_up(held)


def test_a_login_node_that_never_ends(held: Registry, folder: Path) -> None:
    class Endless(LocalRemote):
        @contextlib.contextmanager
        def start(self, *argv: str) -> Iterator[RemoteProcess]:
            with super().start(*argv) as process:
                if "get" in argv:

                    def wait(timeout: float | None = None) -> CommandResult:
                        raise TimeoutError

                    process.wait = wait  # type: ignore[method-assign]
                yield process

    with pytest.raises(RemoteError, match="gave no answer") as problem:
        fetch(held, folder, "login", Endless())
    assert problem.value.hint


def test_how_far_it_is(held: Registry, folder: Path) -> None:
    heard = Heard()
    offline.fetch(
        LocalRemote(), PROFILE, look_up(held), internet="login", folder=PurePosixPath(folder), teller=heard
    )
    assert heard.details
    assert all(text.endswith(" of 0.00 GB fetched") for text in heard.details)
