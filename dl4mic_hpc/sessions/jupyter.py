"""Talking to a session's JupyterLab through the tunnel, as its owner."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from urllib.parse import quote

from dl4mic_hpc.errors import JobError
from dl4mic_hpc.sessions.session import JupyterEndpoint


def url(local_port: int, notebook_file: str) -> str:
    """The notebook's address on this computer. It holds no token."""
    return f"http://127.0.0.1:{local_port}/lab/tree/{quote(notebook_file)}"


def _request(
    local_port: int, token: str, method: str, path: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", local_port, timeout=20)
    try:
        connection.request(method, path, headers={"Authorization": f"token {token}"})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def check_status(local_port: int, endpoint: JupyterEndpoint, *, attempts: int = 40) -> str:
    """JupyterLab's version, once /api/status answers with the session's token.

    JobError after `attempts` tries (half a second apart), or at once if something else answers.
    """
    problem = ""
    for attempt in range(attempts):
        if attempt:
            time.sleep(0.5)
        try:
            status, _, body = _request(local_port, endpoint.token, "GET", "/api/status")
        except (OSError, http.client.HTTPException) as error:
            problem = str(error) or type(error).__name__
            continue
        if status == 200 and "started" in json.loads(body):
            return "ready"
        raise JobError(
            f"what answers on {endpoint.node} port {endpoint.port} is not this session's JupyterLab (HTTP {status})",
            hint="stop the session and launch again",
        )
    raise JobError(
        f"JupyterLab on {endpoint.node} does not answer through the tunnel: {problem}",
        hint="`dl4mic-hpc logs` shows what JupyterLab says",
    )


def login_cookies(local_port: int, endpoint: JupyterEndpoint) -> list[str]:
    """The Set-Cookie headers with which a browser is logged in: the token need not be in any address."""
    _, headers, _ = _request(local_port, endpoint.token, "GET", "/api/me")
    return headers.get_all("Set-Cookie") or []


def shut_down(local_port: int, endpoint: JupyterEndpoint) -> bool:
    """Asks JupyterLab to end its kernels and itself; whether it agreed."""
    try:
        status, _, _ = _request(local_port, endpoint.token, "POST", "/api/shutdown")
    except (OSError, http.client.HTTPException):
        return False
    return status in (200, 204)


def wait_for(condition: Callable[[], bool], *, seconds: float, pause: float = 0.5) -> bool:
    """Whether `condition` became true within `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True
