"""The web server that recipes of the corpus fetch from: files of served/, and git repositories made from it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

SERVED = Path(__file__).parent / "served"
FIRST, PORTS = 21000, 8000


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Builds say themselves what they fetch."""


@contextlib.contextmanager
def served(folder: Path = SERVED) -> Iterator[str]:
    """Serves `folder` on this computer's loopback; gives the address, which is the same in every run if it can be."""
    wanted = FIRST + int(hashlib.sha256(str(folder).encode()).hexdigest()[:8], 16) % PORTS
    handler = functools.partial(_Quiet, directory=str(folder))
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", wanted), handler)
    except OSError:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
