"""A conversation with a registry in this process, and with its faults."""

from __future__ import annotations

import base64
import errno
import json
import os
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.images import DOCKER_MANIFEST, OCI_MANIFEST
from support.registry import Registry
from support.web_server import Answer, Asked, WebServer

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.sources import registry, web
from dl4mic_hpc.sources.cache import Cache
from dl4mic_hpc.sources.reference import parse
from dl4mic_hpc.sources.registry import Access

PERSON = ("ada", "s3cret-w0rd")
BASIC = "Basic " + base64.b64encode(":".join(PERSON).encode()).decode()


@pytest.fixture
def held(server: WebServer) -> Registry:
    return Registry(server)


def refuse(held: Registry, cache: Cache, name: str = "lab/x:1") -> str:
    with pytest.raises(RecipeError) as refused:
        held.resolve(cache, name)
    return f"{refused.value}\n{refused.value.hint}"


def silence(held: Registry, cache: Cache) -> web.UnansweredError:
    with pytest.raises(web.UnansweredError) as silent:
        held.resolve(cache)
    return silent.value


def log_in(
    *, path: str = ".docker/config.json", host: str, user: str = PERSON[0], password: str = PERSON[1]
) -> None:
    packed = base64.b64encode(f"{user}:{password}".encode()).decode()
    file = Path.home() / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"auths": {host: {"auth": packed}}}))


# ---- What it finds ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [None, DOCKER_MANIFEST, OCI_MANIFEST])
@pytest.mark.parametrize("names_kinds", [True, False])
def test_an_image_with_its_digest_and_configuration(
    held: Registry, cache: Cache, kind: str | None, names_kinds: bool
) -> None:
    held.names_kinds = names_kinds
    digest = held.push(held.held.image(kind=kind, Cmd=["a"]))
    found = held.resolve(cache)
    assert found.digest == digest
    assert found.config["config"]["Cmd"] == ["a"]
    assert OCI_MANIFEST in held.server.asked[0].headers["accept"]


def test_an_index_is_pinned_by_the_manifest_of_the_platform(held: Registry, cache: Cache) -> None:
    arm, amd = held.held.image("linux/arm64"), held.held.image("linux/amd64")
    index = held.push(held.held.index(("linux/arm64", arm), ("linux/amd64", amd)))
    assert held.resolve(cache).digest == amd
    assert held.resolve(cache, platform="linux/arm64").digest == arm
    assert held.resolve(cache, f"lab/x@{index}").digest == amd


def test_a_tag_is_asked_for_anew_and_documents_are_fetched_once(held: Registry, cache: Cache) -> None:
    held.push(held.held.index(("linux/amd64", held.held.image())))
    first = held.resolve(cache)
    asked = len(held.server.asked)
    assert held.resolve(cache) == first
    assert held.server.paths()[asked:] == ["/v2/lab/x/manifests/1"]
    assert held.push(held.held.image(Cmd=["newer"])) == held.resolve(cache).digest


def test_what_a_digest_stands_for_is_not_asked_twice(held: Registry, cache: Cache) -> None:
    digest = held.held.image()
    first = held.resolve(cache, f"lab/x@{digest}")
    held.server.asked.clear()
    assert held.resolve(cache, f"lab/x:whatever@{digest}") == first
    assert held.server.asked == []


def test_damage_in_the_cache_is_mended(held: Registry, cache: Cache) -> None:
    digest = held.held.image()
    first = held.resolve(cache, f"lab/x@{digest}")
    cache.place(digest).write_bytes(b"{}")
    assert held.resolve(cache, f"lab/x@{digest}") == first
    assert held.resolve(cache, f"lab/x@{digest}") == first


def test_a_mirror_is_asked_in_the_registry_s_place(held: Registry, cache: Cache) -> None:
    digest = held.push(held.held.image())
    mirrors = {"docker.io": f"{held.server.host}/lab"}
    held.tags["latest"] = digest
    image = parse("x.y/x")
    found = registry.resolve(
        image, "linux/amd64", cache=cache, access=Access(mirrors={"x.y": mirrors["docker.io"]})
    )
    assert found.digest == digest


def test_docker_hub_has_another_host_than_its_name() -> None:
    assert Access().where(parse("ubuntu")) == ("registry-1.docker.io", "library/ubuntu")
    mirrored = Access(mirrors={"docker.io": "mirror.org:5000/hub"})
    assert mirrored.where(parse("ubuntu")) == ("mirror.org:5000", "hub/library/ubuntu")
    assert mirrored.where(parse("ghcr.io/a/b")) == ("ghcr.io", "a/b")


def test_plain_http_only_where_it_is_allowed(plain_server: WebServer, cache: Cache) -> None:
    held = Registry(plain_server)
    digest = held.push(held.held.image())
    assert held.resolve(cache, insecure=frozenset({plain_server.host})).digest == digest
    plain_server.asked.clear()
    assert "does not prove who it is" in refuse(held, cache)
    assert plain_server.asked == []


# ---- Logging in ------------------------------------------------------------------------------------------------------


def test_anybody_gets_a_token(held: Registry, cache: Cache) -> None:
    held.token = "t0ken"
    digest = held.push(held.held.image())
    assert held.resolve(cache).digest == digest
    token = next(asked for asked in held.server.asked if asked.path == "/token")
    assert token.query == {"service": ["here"], "scope": ["repository:lab/x:pull"]}
    assert "authorization" not in token.headers


@pytest.mark.parametrize("path", [".docker/config.json", ".config/containers/auth.json", "elsewhere"])
@pytest.mark.parametrize("form", ["{}", "https://{}"])
def test_who_has_logged_in_gets_a_token_of_their_own(
    held: Registry, cache: Cache, path: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path == "elsewhere":
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(Path.home() / path))
    log_in(path=path, host=form.format(held.server.host))
    held.token = "t0ken"
    held.push(held.held.image())
    held.resolve(cache)
    assert [asked.headers.get("authorization") for asked in held.server.asked if asked.path == "/token"] == [
        BASIC
    ]


@pytest.mark.posix
def test_a_program_that_keeps_passwords_is_asked(
    held: Registry, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "docker-credential-vault"
    program.write_text(
        f'#!{sys.executable}\nimport json, sys\nassert sys.argv[1:] == ["get"]\n'
        f'asked = sys.stdin.read()\nassert asked == "{held.server.host}", asked\n'
        f'print(json.dumps({{"ServerURL": asked, "Username": "{PERSON[0]}", "Secret": "{PERSON[1]}"}}))\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    file = Path.home() / ".docker/config.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"credHelpers": {held.server.host: "vault"}}))
    held.token = "t0ken"
    held.push(held.held.image())
    held.resolve(cache)
    assert BASIC in [asked.headers.get("authorization") for asked in held.server.asked]


@pytest.mark.parametrize(
    "content",
    [
        *(
            "",
            "[]",
            "{",
            '{"auths": []}',
            '{"auths": {"HOST": {"auth": "%%%"}}}',
            '{"auths": {"HOST": {"auth": 3}}}',
        ),
        *(
            '{"auths": {"HOST": {}}}',
            '{"credsStore": "no-such"}',
            '{"credsStore": "../x"}',
            '{"credHelpers": 3}',
        ),
    ],
)
def test_a_file_of_passwords_that_cannot_be_used_counts_as_none(
    held: Registry, cache: Cache, content: str
) -> None:
    file = Path.home() / ".docker/config.json"
    file.parent.mkdir()
    file.write_text(content.replace("HOST", held.server.host))
    held.token = "t0ken"
    held.push(held.held.image())
    held.resolve(cache)
    assert not [a for a in held.server.asked if a.headers.get("authorization", "Bearer").startswith("Basic")]


def test_netrc_does_not_push_the_token_aside(held: Registry, cache: Cache) -> None:
    netrc = Path.home() / ("_netrc" if sys.platform == "win32" else ".netrc")
    netrc.write_text("machine 127.0.0.1 login eve password other\n")
    netrc.chmod(0o600)
    held.token = "t0ken"
    held.push(held.held.image())
    held.resolve(cache)


def test_blobs_from_another_host_are_fetched_without_the_token(
    held: Registry, other_server: WebServer, cache: Cache
) -> None:
    held.token = "t0ken"
    digest = held.push(held.held.image())
    other_server.answer = lambda asked: Answer(body=held.held.content[asked.path[1:]])

    def answer(asked: Asked) -> Answer:
        if "/blobs/" in asked.path and asked.headers.get("authorization"):
            place = f"{other_server.url}/{asked.path.rpartition('/')[2]}"
            return Answer(status=307, headers={"Location": place})
        return held.answer(asked)

    held.server.answer = answer
    assert held.resolve(cache).digest == digest
    assert len(other_server.asked) == 1
    assert "authorization" not in other_server.asked[0].headers


def test_another_host_that_asks_for_a_password_gets_none(
    held: Registry, other_server: WebServer, cache: Cache
) -> None:
    log_in(host=other_server.host)
    log_in(path=".config/containers/auth.json", host=held.server.host)
    challenge = {"WWW-Authenticate": f'Bearer realm="{other_server.url}/token",service="there"'}
    other_server.answer = lambda asked: Answer(status=401, headers=challenge)
    held.server.answer = lambda asked: Answer(status=307, headers={"Location": other_server.url + "/x"})
    assert "does not give out" in refuse(held, cache)
    assert [asked.path for asked in other_server.asked] == ["/x"]


# ---- What it refuses -------------------------------------------------------------------------------------------------


def test_an_image_that_is_not_there(held: Registry, cache: Cache) -> None:
    said = refuse(held, cache)
    assert f"the registry {held.server.host} has no image {held.server.host}/lab/x:1" in said


@pytest.mark.parametrize("status", [401, 403])
def test_an_image_that_is_not_for_us(held: Registry, cache: Cache, status: int) -> None:
    log_in(host=held.server.host)

    def answer(asked: Asked) -> Answer:
        return Answer(status=status) if asked.path == "/token" else held.answer(asked)

    held.token = "t0ken"
    held.server.answer = answer
    said = refuse(held, cache)
    assert "does not exist, or it is not for everybody" in said
    assert "podman login" in said
    assert PERSON[1] not in said
    assert held.token not in said


def test_no_password_over_plain_http(plain_server: WebServer, cache: Cache) -> None:
    held = Registry(plain_server)
    held.token = "t0ken"
    log_in(host=plain_server.host)
    with pytest.raises(RecipeError, match="plain HTTP"):
        held.resolve(cache, insecure=frozenset({plain_server.host}))
    assert [asked.path for asked in plain_server.asked] == ["/v2/lab/x/manifests/1"]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=401),
        Answer(status=401, headers={"WWW-Authenticate": "Bearer"}),
        Answer(status=401, headers={"WWW-Authenticate": "Bearer service=x"}),
        Answer(status=401, headers={"WWW-Authenticate": 'Bearer realm="{url}/token"'}),
        Answer(status=401, headers={"WWW-Authenticate": '"""'}),
    ],
)
@pytest.mark.parametrize("token", [b"", b"[]", b"{}", b'{"token": 3}'])
def test_a_log_in_that_nobody_understands(held: Registry, cache: Cache, answer: Answer, token: bytes) -> None:
    headers = {name: value.replace("{url}", held.server.url) for name, value in answer.headers.items()}
    held.server.answer = lambda asked: (
        Answer(body=token) if asked.path == "/token" else Answer(status=401, headers=headers)
    )
    assert "log-in of a kind that is not known" in refuse(held, cache)


def test_other_content_than_the_digest_says(held: Registry, cache: Cache) -> None:
    digest = held.held.image()
    held.held.content[digest] = held.held.content[held.held.image(Cmd=["other"])]
    assert "other content than its hash" in refuse(held, cache, f"lab/x@{digest}")
    assert not cache.place(digest).exists()


def test_a_configuration_that_is_too_large(
    held: Registry, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dl4mic_hpc.sources.manifests.LARGEST", 4096)
    held.push(held.held.image(Cmd=["x" * 5000]))
    assert "is larger than" in refuse(held, cache)


def test_a_certificate_that_nobody_trusts(
    held: Registry, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    said = refuse(held, cache)
    assert f"{held.server.host} does not prove who it is: self" in said
    assert "SSL_CERT_FILE" in said


def test_certificates_that_are_not_there(
    held: Registry, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "nowhere.pem")
    assert "the certificates nowhere.pem that SSL_CERT_FILE names are not there" in refuse(held, cache)


@pytest.mark.parametrize("place", ["http://127.0.0.1:1/x", "file:///etc/passwd", "ftp://x/", "https://["])
def test_a_redirect_to_less_protection_is_not_followed(held: Registry, cache: Cache, place: str) -> None:
    held.server.answer = lambda asked: Answer(status=307, headers={"Location": place})
    assert "without protection" in refuse(held, cache)


def test_redirects_without_end(held: Registry, cache: Cache) -> None:
    held.server.answer = lambda asked: Answer(status=307, headers={"Location": asked.path})
    assert "redirects from address to address" in refuse(held, cache)


# ---- What says nothing about the image -------------------------------------------------------------------------------


def then(held: Registry, *first: Answer) -> Callable[[Asked], Answer]:
    """These answers first, then the registry's own."""
    answers = list(first)
    return lambda asked: answers.pop(0) if answers else held.answer(asked)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_fault_is_waited_out(held: Registry, cache: Cache, status: int) -> None:
    digest = held.push(held.held.image())
    held.server.answer = then(held, *[Answer(status=status, headers={"Retry-After": "0"})] * 3)
    assert held.resolve(cache).digest == digest


@pytest.mark.parametrize("status", [500, 503])
def test_a_lasting_fault_of_the_registry(held: Registry, cache: Cache, status: int) -> None:
    held.server.answer = lambda asked: Answer(status=status)
    silent = silence(held, cache)
    assert silent.reached
    assert f"HTTP {status}" in silent.why
    assert len(held.server.asked) == 4


def test_a_registry_that_wants_a_long_wait_is_not_waited_for(held: Registry, cache: Cache) -> None:
    held.server.answer = lambda asked: Answer(status=429, headers={"Retry-After": "3600"})
    silent = silence(held, cache)
    assert silent.reached
    assert "no more requests" in silent.why
    assert "wait 3600 s" in silent.why
    assert len(held.server.asked) == 1


def test_a_connection_that_breaks_off(held: Registry, cache: Cache) -> None:
    held.server.answer = lambda asked: Answer(body=b"{", length=100)
    assert not silence(held, cache).reached


def test_nobody_there(cache: Cache) -> None:
    image = parse("127.0.0.1:1/x")
    with pytest.raises(web.UnansweredError) as silent:
        registry.resolve(image, "linux/amd64", cache=cache, access=Access())
    assert not silent.value.reached
    assert silent.value.why == os.strerror(errno.ECONNREFUSED)


def test_a_name_that_leads_nowhere(cache: Cache) -> None:
    with pytest.raises(web.UnansweredError) as silent:
        registry.resolve(parse("no-such-host.invalid/x"), "linux/amd64", cache=cache, access=Access())
    assert not silent.value.reached
    assert "HTTPSConnection" not in silent.value.why


def test_no_answer_in_time(held: Registry, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(web, "TIMEOUT", 0.05)

    def answer(asked: Asked) -> Answer:
        over.wait(10)
        return Answer()

    held.server.answer = answer
    silent = silence(held, cache)
    over.set()
    assert not silent.reached
    assert silent.why == "no answer in time"
