"""Servers for what is fetched."""

from __future__ import annotations

from support.servers import cache, certificate, other_server, own_network, plain_server, server

__all__ = ["cache", "certificate", "other_server", "own_network", "plain_server", "server"]
