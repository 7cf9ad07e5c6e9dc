"""Servers for what is fetched, and nothing of this computer's own way to the network."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.forge import FOREIGN as GITS_OWN
from support.forge import Forge
from support.servers import cache, certificate, other_server, own_network, plain_server, server
from support.web_server import WebServer

__all__ = ["cache", "certificate", "other_server", "own_network", "plain_server", "server"]


@pytest.fixture
def own_git(monkeypatch: pytest.MonkeyPatch, certificate: Path, tmp_path: Path) -> None:
    """The person's settings are these: they must change no file."""
    settings = Path.home() / ".gitconfig"
    settings.write_text(
        "[user]\nname = Ada\nemail = ada@example.org\n[core]\nautocrlf = true\n[protocol]\nallow = always\n"
    )
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_SSL_CAINFO", str(certificate))
    for name in GITS_OWN:
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))


@pytest.fixture
def forge(server: WebServer, own_git: None, tmp_path: Path) -> Forge:
    return Forge(server, tmp_path / "forge")
