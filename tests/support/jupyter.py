"""A Jupyter client as a browser is one: HTTP and one websocket, through the tunnel."""

from __future__ import annotations

import http.client
import json
import uuid
from typing import Any

import websocket


class Jupyter:
    """A session's JupyterLab at a local port."""

    def __init__(self, port: int, token: str) -> None:
        self.port = port
        self.token = token

    def request(
        self, method: str, path: str, body: object = None, *, token: str | None = None
    ) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            said = self.token if token is None else token
            headers = {"Authorization": f"token {said}"} if said else {}
            connection.request(method, path, body=None if body is None else json.dumps(body), headers=headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            try:
                return answer.status, json.loads(text)
            except ValueError:
                return answer.status, text
        finally:
            connection.close()

    def kernel(self, path: str) -> Kernel:
        """A new kernel for the notebook at `path`, as JupyterLab starts one."""
        status, session = self.request(
            "POST",
            "/api/sessions",
            {"path": path, "name": path, "type": "notebook", "kernel": {"name": "python3"}},
        )
        assert status == 201, session
        return Kernel(self, session["kernel"]["id"])


class Kernel:
    """A running kernel."""

    def __init__(self, server: Jupyter, kernel_id: str) -> None:
        self.server = server
        self.id = kernel_id
        self._socket = websocket.create_connection(
            f"ws://127.0.0.1:{server.port}/api/kernels/{kernel_id}/channels",
            header=[f"Authorization: token {server.token}"],
            timeout=300,
        )

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *problem: object) -> None:
        self._socket.close()
        self.server.request("DELETE", f"/api/kernels/{self.id}")

    def run(self, code: str) -> str:
        """What the code printed; AssertionError with the traceback if it raised."""
        message = uuid.uuid4().hex
        self._socket.send(
            json.dumps(
                {
                    "header": {
                        "msg_id": message,
                        "msg_type": "execute_request",
                        "username": "",
                        "session": "",
                        "version": "5.3",
                    },
                    "parent_header": {},
                    "metadata": {},
                    "content": {
                        "code": code,
                        "silent": False,
                        "store_history": True,
                        "allow_stdin": False,
                        "stop_on_error": True,
                    },
                    "channel": "shell",
                }
            )
        )
        printed: list[str] = []
        while True:
            answer = json.loads(self._socket.recv())
            if answer["parent_header"].get("msg_id") != message:
                continue
            kind, content = answer["msg_type"], answer["content"]
            if kind == "stream":
                printed.append(content["text"])
            elif kind == "error":
                raise AssertionError("\n".join(content["traceback"]))
            elif kind == "status" and content["execution_state"] == "idle":
                return "".join(printed)
