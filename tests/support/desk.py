"""The person at a notebook: runs cells and clicks as JupyterLab would, in a real kernel.

Python 3.7 syntax and jupyter_client only: this is also used inside old images.
"""

from __future__ import annotations

import ast
import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jupyter_client.manager import KernelManager

SECONDS = 60.0


@dataclass
class Outcome:
    """What a cell or a click put on the screen."""

    status: str = "ok"
    text: str = ""
    errors: list[str] = field(default_factory=list)
    pictures: int = 0


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
        before = set(self.models)
        message = self._client.execute(source)
        outcome = self._watch(message)
        outcome.status = self._reply(message)["status"]
        first = source.split("\n")[0].split()
        if first[:1] == ["%%dl4mic_form"]:
            self._of_form[first[1]] = [model for model in self.models if model not in before]
        return outcome

    def run_all(self) -> list[Outcome]:
        """As the menu does: until one fails."""
        outcomes = []
        for cell in self.cells:
            outcomes.append(self.run(cell))
            if outcomes[-1].status != "ok":
                break
        return outcomes

    def widget(self, form: str, description: str) -> dict[str, Any]:
        return self.models[self._id(form, description)]

    def status(self, form: str) -> str:
        """The text of the status line."""
        return "".join(self._html(form, 'role="status"'))

    def notes(self, form: str) -> list[str]:
        """What is said under the fields."""
        return [text for text in self._html(form, 'class="dl4mic-note') if text]

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

    def _html(self, form: str, mark: str) -> list[str]:
        shown = [self.models[model].get("value") for model in self._of_form[form]]
        found = [text for text in shown if isinstance(text, str) and mark in text]
        return [html.unescape(text.split(">", 1)[1].rsplit("<", 1)[0]) for text in found]

    def _id(self, form: str, description: str) -> str:
        models = {model: self.models[model] for model in self._of_form[form]}
        return next(
            m
            for m, state in models.items()
            if description in (state.get("description"), state.get("icon"), state["_model_name"])
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
        elif kind == "display_data":
            outcome.pictures += "image/png" in content["data"]
        elif kind == "error":
            outcome.errors.append(content["ename"])
            outcome.text += "\n".join(content["traceback"])
