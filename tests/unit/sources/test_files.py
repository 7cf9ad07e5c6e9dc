from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from support.web_server import Answer, WebServer

from dl4mic_hpc.catalog import Pinned
from dl4mic_hpc.errors import NotebookError
from dl4mic_hpc.sources import files

CONTENT = b'{"cells": []}'
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def upstream(server: WebServer) -> WebServer:
    server.answer = lambda _: Answer(body=CONTENT)
    return server


def pinned(server: WebServer, sha256: str = SHA256, path: str = "/a/My notebook.ipynb") -> Pinned:
    return Pinned(url=server.url + path, sha256=sha256, name="My notebook.ipynb")


def refuse(file: Pinned, cache: Path) -> str:
    with pytest.raises(NotebookError) as refused:
        files.fetch(file, cache=cache, instead="give another with -n")
    assert not [path for path in cache.rglob("*") if path.is_file()]
    assert refused.value.hint
    return f"{refused.value.message}\n{refused.value.hint}"


def test_a_pinned_file_is_fetched_once_and_keeps_its_name(upstream: WebServer, tmp_path: Path) -> None:
    said: list[str] = []
    first = files.fetch(pinned(upstream), cache=tmp_path, say=said.append)
    upstream.answer = lambda _: Answer(status=500)
    assert files.fetch(pinned(upstream), cache=tmp_path, say=said.append) == first
    assert (first.name, first.read_bytes()) == ("My notebook.ipynb", CONTENT)
    assert len(upstream.asked) == 1
    assert said == [f"fetching {upstream.url}/a/My notebook.ipynb"]


def test_a_damaged_file_is_fetched_again(upstream: WebServer, tmp_path: Path) -> None:
    files.fetch(pinned(upstream), cache=tmp_path).write_bytes(b"damaged")
    assert files.fetch(pinned(upstream), cache=tmp_path).read_bytes() == CONTENT


def test_a_file_without_a_hash_is_fetched_each_time(upstream: WebServer, tmp_path: Path) -> None:
    files.fetch(pinned(upstream, ""), cache=tmp_path)
    upstream.answer = lambda _: Answer(body=b"newer")
    assert files.fetch(pinned(upstream, ""), cache=tmp_path).read_bytes() == b"newer"


def test_where_nobody_answers_the_last_copy_counts_and_it_is_said(
    upstream: WebServer, tmp_path: Path
) -> None:
    files.fetch(pinned(upstream, ""), cache=tmp_path)
    upstream.answer = lambda _: Answer(status=503)
    said: list[str] = []
    assert files.fetch(pinned(upstream, ""), cache=tmp_path, say=said.append).read_bytes() == CONTENT
    assert "as it was when it last did" in said[-1]


def test_a_file_that_was_removed_is_not_replaced_by_its_last_copy(
    upstream: WebServer, tmp_path: Path
) -> None:
    files.fetch(pinned(upstream, ""), cache=tmp_path)
    upstream.answer = lambda _: Answer(status=404)
    with pytest.raises(NotebookError, match="does not exist"):
        files.fetch(pinned(upstream, ""), cache=tmp_path)


def test_a_file_that_has_changed_upstream(upstream: WebServer, tmp_path: Path) -> None:
    upstream.answer = lambda _: Answer(body=b"another")
    said = refuse(pinned(upstream), tmp_path)
    assert SHA256 in said and "notebook update" in said


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(status=404), "does not exist"),
        (Answer(status=503), "has a fault"),
        (Answer(status=403), "not for everybody"),
        (Answer(body=b"\xef\xbb\xbf\n<!DOCTYPE html><html>log in"), "is a web page"),
        (Answer(body=CONTENT, length=2 * len(CONTENT)), "connection broke"),
    ],
)
def test_what_cannot_be_had(upstream: WebServer, tmp_path: Path, answer: Answer, says: str) -> None:
    upstream.answer = lambda _: answer
    file = pinned(upstream, "", "/a?token=s3cret")
    said = refuse(file, tmp_path)
    assert says in said and "s3cret" not in said
    if "web page" not in says:
        assert "give another with -n" in said


def test_a_file_that_is_too_large(
    upstream: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LARGEST", len(CONTENT) - 1)
    assert "is larger than" in refuse(pinned(upstream), tmp_path)


def test_nobody_there(tmp_path: Path) -> None:
    file = Pinned(url="https://ada:s3cret@127.0.0.1:1/a", sha256=SHA256, name="a")
    said = refuse(file, tmp_path)
    assert "https://127.0.0.1:1/a cannot be fetched" in said and "-n" in said and "s3cret" not in said


def test_githubs_page_about_a_file_leads_to_the_file(tmp_path: Path) -> None:
    file = Pinned(url="https://github.com/a/b/blob/main/x/n.ipynb", sha256="", name="n.ipynb")
    assert "https://raw.githubusercontent.com/a/b/main/x/n.ipynb" in refuse(file, tmp_path)


def test_a_name_leads_nowhere_else(upstream: WebServer, tmp_path: Path) -> None:
    file = Pinned(url=upstream.url, sha256=SHA256, name="../../outside")
    assert files.fetch(file, cache=tmp_path).parent.parent.parent == tmp_path


def test_what_is_read_anew_is_not_kept_and_its_address_stays_secret(upstream: WebServer) -> None:
    assert files.read(upstream.url + "/a") == CONTENT
    with pytest.raises(NotebookError) as refused:
        files.read("https://ada:s3cret@127.0.0.1:1/a?token=s3cret")
    assert "https://127.0.0.1:1/a cannot be fetched" in refused.value.message
    assert "s3cret" not in refused.value.message
