"""A person who works through a session's notebook in the browser: by Jupyter's own messages, through the tunnel."""

from __future__ import annotations

import json
import struct
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import websocket
from jupyter_client.client import KernelClient
from jupyter_client.jsonutil import json_default
from support.jupyter import Jupyter
from support.kernel import Desk

from dl4mic_hpc.notebook.dl4mic_forms.parameters import Cell

SILENCE = 300.0
"""Seconds without a message after which a cell is given up."""


class _Channel:
    def __init__(self, name: str, send: Callable[[str], object]) -> None:
        self._name, self._send = name, send

    def send(self, message: Mapping[str, Any]) -> None:
        self._send(json.dumps({**message, "channel": self._name, "buffers": []}, default=json_default))


class Line(KernelClient):
    """A kernel behind Jupyter's websocket, as the kernels that `support.kernel.Desk` sits at."""

    def __init__(self, server: Jupyter, kernel: str) -> None:
        super().__init__()
        self._socket = websocket.create_connection(
            f"ws://127.0.0.1:{server.port}/api/kernels/{kernel}/channels?session_id={self.session.session}",
            header=[f"Authorization: token {server.token}"],
            timeout=SILENCE,
        )
        self._shell = _Channel("shell", self._socket.send)
        self._waiting: dict[str, deque[dict[str, Any]]] = {"shell": deque(), "iopub": deque()}

    def client(self) -> Line:
        return self

    @property
    def shell_channel(self) -> _Channel:
        return self._shell

    def start_channels(self, *_: object, **__: object) -> None:
        """They were there with the connection."""

    def wait_for_ready(self, timeout: float | None = None) -> None:
        """The server opens a connection once the kernel answers."""

    def stop_channels(self) -> None:
        self._socket.close()

    def get_iopub_msg(self, timeout: float | None = None) -> dict[str, Any]:
        return self._next("iopub")

    def get_shell_msg(self, timeout: float | None = None) -> dict[str, Any]:
        return self._next("shell")

    def _next(self, channel: str) -> dict[str, Any]:
        while not self._waiting[channel]:
            message = _read(self._socket.recv())
            self._waiting.setdefault(message["channel"], deque()).append(message)
        return self._waiting[channel].popleft()


def _read(frame: str | bytes) -> dict[str, Any]:
    """A message of the server; one with buffers is binary (jupyter_server, services/kernels/connection/base.py)."""
    if isinstance(frame, bytes):
        start, end = struct.unpack_from("!2I", frame, 4)
        frame = frame[start:end].decode()
    message: dict[str, Any] = json.loads(frame)
    return message


class Person:
    """Opens the notebook, and does with a cell what has to be done."""

    def __init__(self, server: Jupyter, path: str) -> None:
        self._server = server
        body = {"path": path, "name": path, "type": "notebook", "kernel": {"name": "python3"}}
        status, session = server.request("POST", "/api/sessions", body)
        assert status == 201, session
        self._kernel = session["kernel"]["id"]
        self._desk = Desk(Line(server, self._kernel), [])

    def __enter__(self) -> Person:
        return self

    def __exit__(self, *problem: object) -> None:
        self._desk.close()
        self._server.request("DELETE", f"/api/kernels/{self._kernel}")

    def work(self, source: str, cell: Cell, values: Mapping[str, Any]) -> None:
        """Executes the cell; fills in its form, if it has one, and presses Run. AssertionError if that fails."""
        self._desk.cells = [source]
        outcome = self._desk.run_all()[0]
        assert outcome.status == "ok", f"{cell}: {outcome.text}"
        if not cell.form_id:
            return
        for field in cell.form.fields:
            if field.name in values:
                self._fill(cell.form_id, field.name, values[field.name])
        said = self._desk.press(cell.form_id).text
        status = self._desk.status(cell.form_id)
        assert status.startswith("done"), f"{cell}: {status}\n{said}"

    def _fill(self, form: str, name: str, value: Any) -> None:
        typed = self._desk.widget(form, name)["_model_name"] in ("TextModel", "ComboboxModel")
        self._desk.fill(form, name, value=str(value) if typed else value)
