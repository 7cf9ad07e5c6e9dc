"""A real ipykernel that runs a converted notebook as JupyterLab would: cells, widget messages, clicks."""

from __future__ import annotations

import ast
import html
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.manager import KernelManager

from dl4mic_hpc import notebook

SECONDS = 60.0


def colab_notebook(*sources: str, **metadata: object) -> bytes:
    """A Colab notebook of code cells; a source that starts with "# " is Markdown."""
    cells: list[dict[str, object]] = []
    for source in sources:
        if source.startswith("# "):
            cells.append({"cell_type": "markdown", "metadata": {}, "source": source})
        else:
            code: dict[str, object] = {"outputs": [], "execution_count": None}
            code["metadata"] = {"cellView": "form", "id": "x"}
            cells.append({"cell_type": "code", "source": source.splitlines(True), **code})
    return json.dumps({"nbformat": 4, "nbformat_minor": 0, "metadata": metadata, "cells": cells}).encode()


@dataclass
class Outcome:
    """What a cell or a click put on the screen."""

    status: str = "ok"
    text: str = ""
    errors: list[str] = field(default_factory=list)


class Desk:
    """The person at the notebook."""

    def __init__(self, manager: KernelManager, cells: list[str]) -> None:
        self._client = manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=SECONDS)
        self.cells = cells
        self.models: dict[str, dict[str, Any]] = {}
        self.echoed: list[str] = []
        self._of_form: dict[str, list[str]] = {}

    def close(self) -> None:
        self._client.stop_channels()

    def run(self, source: str) -> Outcome:
        """Executes a cell."""
        message = self._client.execute(source)
        outcome = self._watch(message)
        outcome.status = self._reply(message)["status"]
        return outcome

    def run_all(self) -> list[Outcome]:
        """As the menu does: until one fails."""
        outcomes = []
        for cell in self.cells:
            before = set(self.models)
            outcomes.append(self.run(cell))
            first = cell.split("\n")[0].split()
            if first[:1] == ["%%dl4mic_form"]:
                self._of_form[first[1]] = [model for model in self.models if model not in before]
            if outcomes[-1].status != "ok":
                break
        return outcomes

    def widget(self, form: str, description: str) -> dict[str, Any]:
        return self.models[self._id(form, description)]

    def status(self, form: str) -> str:
        """The text of the status line."""
        shown = [self.models[model].get("value") for model in self._of_form[form]]
        found = [text for text in shown if isinstance(text, str) and 'role="status"' in text]
        return html.unescape(found[0].split(">", 1)[1].rsplit("<", 1)[0]) if found else ""

    def fill(
        self, form: str, name: str, *, value: Any, key: str = "value", subshell: str | None = None
    ) -> None:
        """Types a value into a field; a dropdown's `key` is "index"."""
        data = {"method": "update", "state": {key: value}, "buffer_paths": []}
        self._watch(self._post(self._id(form, name), data, subshell=subshell))
        self.widget(form, name)[key] = value

    def press(self, form: str, button: str = "Run", *, subshell: str | None = None) -> Outcome:
        """Clicks; with `subshell` as JupyterLab does, which leaves widgets to a second thread of the kernel."""
        data = {"method": "custom", "content": {"event": "click"}}
        return self._watch(self._post(self._id(form, button), data, subshell=subshell))

    def press_and_go_on(self, form: str, *, until: str, subshell: str) -> str:
        """Clicks Run and returns as soon as the code has drawn a widget called `until`; the click to `follow`."""
        message = self._post(
            self._id(form, "Run"), {"method": "custom", "content": {"event": "click"}}, subshell=subshell
        )
        while not any(model.get("description") == until for model in self.models.values()):
            self._take(self._client.get_iopub_msg(timeout=SECONDS), Outcome())
        self._of_form[until] = list(self.models)
        return message

    def follow(self, message: str) -> Outcome:
        return self._watch(message)

    def new_subshell(self) -> str:
        message = self._client.session.msg("create_subshell_request")
        self._client.control_channel.send(message)
        return str(self._client.get_control_msg(timeout=SECONDS)["content"]["subshell_id"])

    def value(self, expression: str) -> Any:
        """What an expression is worth at the notebook's top level; it must be a literal."""
        message = self._client.execute("", user_expressions={"it": expression}, store_history=False)
        self._watch(message)
        found = self._reply(message)["user_expressions"]["it"]
        assert found["status"] == "ok", found
        return ast.literal_eval(found["data"]["text/plain"])

    def _id(self, form: str, description: str) -> str:
        models = {model: self.models[model] for model in self._of_form[form]}
        return next(
            m
            for m, state in models.items()
            if description in (state.get("description"), state["_model_name"])
        )

    def _post(self, comm: str, data: Mapping[str, object], *, subshell: str | None = None) -> str:
        message = self._client.session.msg("comm_msg", {"comm_id": comm, "data": data})
        if subshell is not None:
            message["header"]["subshell_id"] = subshell
        self._client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def _reply(self, message: str) -> dict[str, Any]:
        while True:
            reply = self._client.get_shell_msg(timeout=SECONDS)
            if reply["parent_header"].get("msg_id") == message:
                content: dict[str, Any] = reply["content"]
                return content

    def _watch(self, message: str) -> Outcome:
        """Follows what the kernel publishes until it has done with the message."""
        outcome = Outcome()
        while True:
            news = self._client.get_iopub_msg(timeout=SECONDS)
            self._take(news, outcome)
            idle = news["msg_type"] == "status" and news["content"]["execution_state"] == "idle"
            if idle and news["parent_header"].get("msg_id") == message:
                return outcome

    def _take(self, news: Mapping[str, Any], outcome: Outcome) -> None:
        kind, content = news["msg_type"], news["content"]
        if kind == "comm_open":
            self.models[content["comm_id"]] = dict(content["data"].get("state", {}))
        elif kind == "comm_msg" and content["data"].get("method") == "update":
            self.models.setdefault(content["comm_id"], {}).update(content["data"]["state"])
        elif kind == "comm_msg" and content["data"].get("method") == "echo_update":
            self.echoed += content["data"]["state"]
        elif kind == "stream":
            outcome.text += content["text"]
        elif kind == "error":
            outcome.errors.append(content["ename"])
            outcome.text += "\n".join(content["traceback"])


@contextmanager
def open_notebook(home: Path, original: bytes, **environment: str) -> Iterator[Desk]:
    """The converted notebook in `home`, its runtime files beside it, and a kernel started there."""
    converted = notebook.convert(original, name="under test")
    for name, content in notebook.runtime_files().items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(content)
    cells = [
        "".join(c["source"]) for c in json.loads(converted.notebook)["cells"] if c["cell_type"] == "code"
    ]
    manager = KernelManager(kernel_name="python3")
    private = {"IPYTHONDIR": str(home / ".ipython"), "DL4MIC_HEADLESS": "", "DL4MIC_PARAMETERS": ""}
    manager.start_kernel(cwd=str(home), env={**os.environ, **private, **environment})
    try:
        desk = Desk(manager, cells)
        try:
            yield desk
        finally:
            desk.close()
    finally:
        manager.shutdown_kernel(now=True)
