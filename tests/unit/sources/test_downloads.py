from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from support.web_server import Answer, WebServer

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.steps import Url
from dl4mic_hpc.sources import downloads
from dl4mic_hpc.sources.cache import Cache

CONTENT = b"weights" * 1000


def checksum(algorithm: str = "sha256", content: bytes = CONTENT) -> str:
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def download(address: str, cache: Cache, expected: str = "", said: list[str] | None = None) -> Path:
    says = [] if said is None else said
    return downloads.download(Url(address=address, checksum=expected), cache=cache, say=says.append)


def refuse(address: str, cache: Cache, expected: str = "") -> str:
    with pytest.raises(RecipeError) as refused:
        download(address, cache, expected)
    assert not [path for path in cache.folder.rglob("*") if path.is_file()]
    return f"{refused.value}\n{refused.value.hint}"


@pytest.fixture
def files(server: WebServer) -> WebServer:
    server.answer = lambda _: Answer(body=CONTENT)
    return server


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_a_file_with_its_checksum_is_fetched_once(files: WebServer, cache: Cache, algorithm: str) -> None:
    path = download(files.url + "/a", cache, checksum(algorithm))
    assert path.read_bytes() == CONTENT
    assert download("https://elsewhere.invalid/b", cache, checksum(algorithm)) == path
    assert len(files.asked) == 1


def test_a_damaged_file_is_fetched_again(files: WebServer, cache: Cache) -> None:
    download(files.url + "/a", cache, checksum()).write_bytes(b"damaged")
    assert download(files.url + "/a", cache, checksum()).read_bytes() == CONTENT


def test_a_file_without_a_checksum_is_fetched_each_time_and_what_was_given_stays(
    files: WebServer, cache: Cache
) -> None:
    said: list[str] = []
    first = download(files.url + "/a?key=s3cret", cache, said=said)
    files.answer = lambda _: Answer(body=b"newer")
    assert download(files.url + "/a", cache).read_bytes() == b"newer"
    assert first.read_bytes() == CONTENT
    assert said == [f"fetching {files.url}/a"]


def test_a_packed_file_stays_packed(files: WebServer, cache: Cache) -> None:
    files.answer = lambda _: Answer(body=b"\x1f\x8b...", headers={"Content-Encoding": "gzip"})
    assert download(files.url + "/a.tar.gz", cache).read_bytes() == b"\x1f\x8b..."
    assert files.asked[0].headers["accept-encoding"] == "identity"


def test_user_and_password_of_the_address_go_to_its_host_alone(
    files: WebServer, other_server: WebServer, cache: Cache
) -> None:
    files.answer = lambda _: Answer(status=302, headers={"Location": other_server.url + "/there"})
    other_server.answer = lambda _: Answer(status=404)
    said = refuse(files.url.replace("://", "://ada:s3cret@") + "/a", cache)
    assert files.asked[0].headers["authorization"].startswith("Basic ")
    assert "authorization" not in other_server.asked[0].headers
    assert "s3cret" not in said
    assert f"{files.url}/a does not exist (HTTP 404)" in said


def test_a_redirect_to_more_protection_is_followed(
    files: WebServer, plain_server: WebServer, cache: Cache
) -> None:
    plain_server.answer = lambda _: Answer(status=301, headers={"Location": files.url + "/there"})
    assert download(plain_server.url + "/a", cache).read_bytes() == CONTENT


def test_a_redirect_to_less_protection_is_not(
    files: WebServer, plain_server: WebServer, cache: Cache
) -> None:
    files.answer = lambda _: Answer(status=301, headers={"Location": plain_server.url + "/there"})
    assert "without protection" in refuse(files.url + "/a", cache)
    assert plain_server.asked == []


@pytest.mark.parametrize("place", ["file:///etc/passwd", "https://[", "ftp://x/"])
def test_a_redirect_to_something_else_is_not(plain_server: WebServer, cache: Cache, place: str) -> None:
    plain_server.answer = lambda _: Answer(status=301, headers={"Location": place})
    assert "cannot be fetched" in refuse(plain_server.url + "/a", cache)


def test_another_file_than_the_checksum_says(files: WebServer, cache: Cache) -> None:
    other = checksum(content=b"other")
    assert f"has the checksum {checksum()}, not {other}" in refuse(files.url + "/a", cache, other)


def test_a_file_that_is_too_large(files: WebServer, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "LARGEST", 6999)
    assert "is larger than" in refuse(files.url + "/a", cache)


def test_a_file_that_breaks_off(files: WebServer, cache: Cache) -> None:
    files.answer = lambda _: Answer(body=CONTENT, length=2 * len(CONTENT))
    assert "cannot be fetched: the connection broke" in refuse(files.url + "/a", cache)


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "not for everybody"),
        (403, "not for everybody"),
        (404, "does not exist"),
        (418, "refused"),
        (429, "no more requests"),
        (500, "has a fault"),
        (304, "refused"),
    ],
)
def test_a_refusal(files: WebServer, cache: Cache, status: int, says: str) -> None:
    files.answer = lambda _: Answer(status=status)
    said = refuse(files.url + "/a?key=s3cret", cache)
    assert says in said
    assert f"HTTP {status}" in said
    assert "s3cret" not in said


def test_nobody_there(cache: Cache) -> None:
    said = refuse("https://ada:s3cret@127.0.0.1:1/a", cache)
    assert said.startswith("https://127.0.0.1:1/a cannot be fetched: ")
    assert "online" in said


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/a",
        "/etc/passwd",
        "",
        "https://",
        "https://[",
        "http://a:b/c",
        "https:a",
    ],
)
def test_what_is_no_address(cache: Cache, address: str) -> None:
    assert "cannot be fetched" in refuse(address, cache)


@pytest.mark.parametrize("text", ["sha256:12", "md5:" + "0" * 32, "0" * 64, "sha256:" + "0" * 63 + "G"])
def test_what_is_no_checksum(cache: Cache, text: str) -> None:
    assert "is no checksum" in refuse("https://127.0.0.1:1/a", cache, text)


@pytest.mark.posix
def test_a_cache_that_cannot_be_written(files: WebServer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecipeError, match=r"cannot be kept in .*: Not a directory"):
        download(files.url + "/a", Cache(folder=tmp_path / "file" / "cache"))
