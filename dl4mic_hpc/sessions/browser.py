"""Opening the notebook in the browser without showing the token to anyone.

A browser's command line, history and address bar are read by others (process list, sync, screen sharing).
So the browser is given a private page (0600) that leads once to a door on this computer; the door hands
over JupyterLab's own login cookie and leads on to the notebook's address, which holds no token.
"""

from __future__ import annotations

import contextlib
import html
import http.server
import os
import queue
import secrets
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path

from dl4mic_hpc.sessions import jupyter
from dl4mic_hpc.sessions.attach import Attached


class _Door(http.server.BaseHTTPRequestHandler):
    """Opens once, for the one who knows the secret path."""

    secret: str
    cookies: list[str]
    target: str
    used: threading.Event

    def do_GET(self) -> None:
        if self.used.is_set() or not secrets.compare_digest(self.path, f"/{self.secret}"):
            self.send_error(404)
            return
        self.used.set()
        self.send_response(302)
        for cookie in self.cookies:
            self.send_header("Set-Cookie", cookie)
        self.send_header("Location", self.target)
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()

    def log_message(self, *words: object) -> None:
        """Nothing: the path is a secret."""


@contextlib.contextmanager
def door(here: Attached) -> Iterator[Path]:
    """A page (0600) that logs a browser in, once, while the block lasts."""
    secret = secrets.token_urlsafe(24)
    handler = type(
        "Door",
        (_Door,),
        {
            "secret": secret,
            "cookies": jupyter.login_cookies(here.local_port, here.endpoint),
            "target": here.url,
            "used": threading.Event(),
        },
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, name="door")
        thread.start()
        handle, name = tempfile.mkstemp(prefix="dl4mic-hpc-", suffix=".html")
        page = Path(name)
        try:
            address = f"http://127.0.0.1:{server.server_address[1]}/{secret}"
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(
                    '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
                    f"<title>dl4mic-hpc</title><script>location.replace({address!r})</script>"
                    f'<noscript><a href="{html.escape(address)}">Open the notebook</a></noscript>'
                )
            yield page
        finally:
            page.unlink(missing_ok=True)
            server.shutdown()
            thread.join()


_TEXT_BROWSERS = frozenset({"www-browser", "links", "elinks", "lynx", "w3m"})
_PATIENCE = 5.0
"""Seconds after which a browser that has not said no has been started; some return only when they are closed."""


def open_notebook(page: Path) -> bool:
    """Whether a browser could be started with the page. A browser in the terminal would take the terminal over."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    if not _is_graphical(browser):
        return False
    started: queue.SimpleQueue[bool] = queue.SimpleQueue()
    threading.Thread(
        target=lambda: started.put(browser.open(page.as_uri())), daemon=True, name="browser"
    ).start()
    try:
        return started.get(timeout=_PATIENCE)
    except queue.Empty:
        return True


def _is_graphical(browser: webbrowser.BaseBrowser) -> bool:
    """Whoever sets BROWSER knows what they want; otherwise it takes a desktop and no terminal program."""
    if os.environ.get("BROWSER") or sys.platform in ("win32", "darwin"):
        return True
    name = str(getattr(browser, "name", ""))
    on_desktop = any(os.environ.get(variable) for variable in ("DISPLAY", "WAYLAND_DISPLAY"))
    return on_desktop and Path(name).name not in _TEXT_BROWSERS
