"""Fixtures: servers for what is fetched, and nothing of this computer's own way to the network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.web_server import WebServer, make_certificate

from dl4mic_hpc.sources import web
from dl4mic_hpc.sources.cache import Cache

FOREIGN = (
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "DOCKER_CONFIG",
    "REGISTRY_AUTH_FILE",
)
PROXIES = ("http_proxy", "https_proxy", "all_proxy")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls") / "certificate.pem")


@pytest.fixture(autouse=True)
def own_network(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, no log-in; the servers of the tests are trusted; repetitions come at once."""
    for name in (*FOREIGN, *PROXIES, *(name.upper() for name in PROXIES), "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setattr(web, "BACKOFF", 0)


@pytest.fixture
def server(certificate: Path) -> Iterator[WebServer]:
    with WebServer(certificate).running() as running:
        yield running


@pytest.fixture
def other_server(certificate: Path) -> Iterator[WebServer]:
    with WebServer(certificate).running() as running:
        yield running


@pytest.fixture
def plain_server() -> Iterator[WebServer]:
    with WebServer().running() as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(folder=tmp_path / "cache")
