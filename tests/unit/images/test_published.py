"""Where a published image is asked for, and who is told this person's password."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.local_remote import LocalRemote
from support.registry import Registry
from support.web_server import Answer, WebServer

from dl4mic_hpc.errors import ImageError, RegistryError
from dl4mic_hpc.images import published
from dl4mic_hpc.images.published import Source
from dl4mic_hpc.profile import ClusterProfile

PERSON = ("ada", "canary-s3cret")


class Login(LocalRemote):
    """A login node on this machine. proxied: how often somebody wanted to get out from it."""

    proxied = 0

    @contextlib.contextmanager
    def proxy(self) -> Iterator[str]:
        self.proxied += 1
        yield ""


@pytest.fixture
def held(server: WebServer) -> Registry:
    held = Registry(server)
    held.push(held.held.manifest(layers=(b"a layer",)))
    return held


def profile(**values: object) -> ClusterProfile:
    return ClusterProfile.model_validate(
        {"name": "myuni", "host": "login.myuni.edu", "work_dir": "/scratch/me"} | values
    )


def log_in(host: str, user: str = PERSON[0], password: str = PERSON[1]) -> None:
    file = Path.home() / ".docker/config.json"
    file.parent.mkdir(exist_ok=True)
    packed = base64.b64encode(f"{user}:{password}".encode()).decode()
    file.write_text(json.dumps({"auths": {host: {"auth": packed}}}))


# ---- Names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "reference"),
    [
        ("ubuntu", "registry", "docker.io/library/ubuntu:latest"),
        ("docker://henriqueslab/dl4miceverywhere:care_2d-gpu", "registry", "docker.io/henriqueslab/dl4miceverywhere:care_2d-gpu"),
        (f"ghcr.io/a/b:1@sha256:{'0' * 64}", "registry", f"ghcr.io/a/b@sha256:{'0' * 64}"),
        ("oras://ghcr.io/a/b:1", "oras", "ghcr.io/a/b:1"),
        ("library://lab/tools/care:1.0", "library", "lab/tools/care:1.0"),
        ("library:///care", "library", "care"),
        ("library://lib.myuni.edu:8080/lab/tools/care", "library", "lib.myuni.edu:8080/lab/tools/care"),
    ],
)  # fmt: skip
def test_a_name_of_an_image(text: str, kind: str, reference: str) -> None:
    assert published.source(text) == Source(kind=kind, reference=reference)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "a//b", "oras://", "shub://a/b", "https://a/b.sif", "library://a b", "library://a/b/c/d/e", "docker://oras://a"]
)  # fmt: skip
def test_what_names_no_image(text: str) -> None:
    with pytest.raises(ImageError):
        published.source(text)


def test_the_key_is_that_of_the_full_name() -> None:
    full = "published\0docker.io/library/ubuntu:latest"
    assert published.source("docker://ubuntu").key == hashlib.sha256(full.encode()).hexdigest()[:16]
    kinds = ("docker://ubuntu", "oras://ubuntu", "library://ubuntu")
    assert len({published.source(text).key for text in kinds}) == 3


# ---- Where it is asked -----------------------------------------------------------------------------------------------


def test_a_registry_that_answers_here_is_asked_here(held: Registry) -> None:
    remote = Login()
    found = published.look_up(remote, profile(), f"{held.server.host}/lab/x:1")
    assert (found.by_login_node, remote.proxied) == (False, 0)
    assert found.size == 7


def test_a_mirror_is_asked_from_the_login_node(held: Registry) -> None:
    remote = Login()
    mirrored = profile(registry_mirrors={"docker.io": held.server.host})
    found = published.look_up(remote, mirrored, "lab/x:1")
    assert (found.by_login_node, remote.proxied) == (True, 1)
    assert found.address.startswith(f"docker://{held.server.host}/lab/x@sha256:")


def test_a_registry_that_does_not_answer_here_is_asked_from_the_login_node(held: Registry) -> None:
    remote = Login()
    answer = held.answer
    held.server.answer = lambda asked: answer(asked) if remote.proxied else Answer(status=503)
    found = published.look_up(remote, profile(), f"{held.server.host}/lab/x:1")
    assert found.by_login_node


def test_a_registry_that_answers_nobody(held: Registry) -> None:
    held.server.answer = lambda _: Answer(status=503)
    with pytest.raises(RegistryError, match="asked from the login node of local") as silent:
        published.look_up(Login(), profile(), f"{held.server.host}/lab/x:1")
    assert silent.value.reason == "silent"


@pytest.mark.parametrize(("status", "reason"), [(404, "absent"), (403, "refused"), (429, "busy")])
def test_an_answer_is_not_asked_for_twice(held: Registry, status: int, reason: str) -> None:
    remote = Login()
    held.server.answer = lambda _: Answer(status=status, headers={"Retry-After": "3600"})
    with pytest.raises(RegistryError) as refused:
        published.look_up(remote, profile(), f"{held.server.host}/lab/x:1")
    assert (refused.value.reason, remote.proxied) == (reason, 0)


def test_a_container_image_is_no_sif(held: Registry) -> None:
    with pytest.raises(ImageError, match="is no SIF but a container image"):
        published.look_up(Login(), profile(), f"oras://{held.server.host}/lab/x:1")


def test_a_library_is_not_asked() -> None:
    with pytest.raises(ImageError, match="cannot be asked before it is pulled"):
        published.look_up(Login(), profile(), "library://lab/tools/care:1")


# ---- Passwords -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "host"),
    [
        ("lab/x:1", "https://index.docker.io/v1/"),
        ("registry.myuni.edu/lab/x:1", "registry.myuni.edu"),
        ("oras://registry.myuni.edu:5000/lab/x:1", "registry.myuni.edu:5000"),
        ("ghcr.io/lab/x:1", "mirror.myuni.edu"),
    ],
)
def test_who_is_logged_in_here_is_so_in_the_job(image: str, host: str) -> None:
    log_in(host)
    known = profile(registry_mirrors={"ghcr.io": "mirror.myuni.edu/hub"})
    assert published.login_file(known, image) == b"ada\ncanary-s3cret\n"


@pytest.mark.parametrize(
    ("image", "host"),
    [
        ("lab/x:1", "ghcr.io"),
        ("ghcr.io/lab/x:1", "ghcr.io"),  # its mirror is another
        ("plain.myuni.edu/lab/x:1", "plain.myuni.edu"),
        ("localhost:5000/lab/x:1", "localhost:5000"),
        ("127.0.0.1:5000/lab/x:1", "127.0.0.1:5000"),
        ("10.1.2.3/lab/x:1", "10.1.2.3"),
        ("172.31.0.9:5000/lab/x:1", "172.31.0.9:5000"),
        ("lab.local/lab/x:1", "lab.local"),
        ("library://lab/tools/x:1", "ghcr.io"),
    ],
)
def test_a_password_goes_to_no_other_host_and_not_in_plain_http(image: str, host: str) -> None:
    log_in(host)
    known = profile(registry_mirrors={"ghcr.io": "mirror.myuni.edu"}, insecure_registries=["plain.myuni.edu"])
    assert published.login_file(known, image) is None


@pytest.mark.parametrize("password", ["two\nlines", "a\0b", "a\rb"])
def test_a_password_that_no_line_can_hold(password: str) -> None:
    log_in("ghcr.io", password=password)
    assert published.login_file(profile(), "ghcr.io/lab/x") is None
