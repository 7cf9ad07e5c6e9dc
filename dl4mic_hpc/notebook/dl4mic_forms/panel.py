"""Draws a form with ipywidgets 7 or 8: fields, buttons, a status line, output. Python 3.7 syntax only."""

from __future__ import annotations

import time
from html import escape
from typing import Any, Callable, Mapping

import ipywidgets as widgets
from IPython.display import Markdown as RenderedMarkdown
from ipywidgets.widgets.trait_types import TypedTuple
from traitlets import Dict

from . import folders
from .controls import Control, wrapping
from .forms import Form, Markdown
from .required import needs

STYLE = """<style>
.dl4mic-form {border: 1px solid var(--jp-border-color2, #ccc); border-radius: 6px; padding: 6px 18px 14px;
  background: var(--jp-layout-color1, #fff); max-width: 58em; box-sizing: border-box; overflow: visible}
.dl4mic-form .dl4mic-title {font-size: 1.15em; font-weight: 600; line-height: 1.4}
.dl4mic-form .widget-label {text-align: left; max-width: 100%}
.dl4mic-form .widget-inline-hbox {flex-wrap: wrap; height: auto; row-gap: 2px}
.dl4mic-form .widget-inline-hbox > :not(label):not(.widget-readout) {flex: 1 1 7em; min-width: 7em}
.dl4mic-form .widget-dropdown > select {min-height: var(--jp-widgets-inline-height, 28px)}
.dl4mic-form .jp-OutputArea-output {padding: 0}
.dl4mic-form .jp-RenderedMarkdown :is(h1, h2, h3, h4, h5, h6) {font-size: 1em; font-weight: 600; margin: 10px 0 2px}
.dl4mic-form .jp-RenderedMarkdown p {margin: 4px 0}
.dl4mic-form .dl4mic-help {color: var(--jp-ui-font-color2, #666); line-height: 1.3; padding: 4px 0 0 6px; overflow-wrap: anywhere}
.dl4mic-form .dl4mic-note {color: var(--jp-ui-font-color2, #666); line-height: 1.3; font-size: 0.92em}
.dl4mic-form .dl4mic-warning {color: var(--jp-warn-color0, #b26a00)}
.dl4mic-form .dl4mic-status {margin-left: 8px}
.dl4mic-form .dl4mic-running {color: var(--jp-brand-color1, #1976d2)}
.dl4mic-form .dl4mic-done {color: var(--jp-success-color1, #2e7d32)}
.dl4mic-form .dl4mic-failed {color: var(--jp-error-color1, #c62828)}
</style>"""


class _Output(widgets.Output):  # type: ignore[misc]
    """An Output whose pictures cross the network once less: the kernel does not echo what the browser reports."""

    outputs = TypedTuple(trait=Dict()).tag(sync=True, echo_update=False)


class Panel:
    """One form on the screen: its fields, the buttons Run, Load previous and Reset, a status line, its output.

    `run` gets the values by field name when Run is pressed; `previous` gives stored values when they are asked
    for; `changed` is told when a field changes. The first two may raise ValueError or OSError with a sentence
    for the status line.
    """

    def __init__(
        self,
        form: Form,
        run: Callable[[dict[str, Any]], None],
        previous: Callable[[], Mapping[str, Any]],
        changed: Callable[[], None],
    ) -> None:
        self.form = form
        self.output = _Output()
        self.busy = False
        self._run, self._previous = run, previous
        places = {name for name in needs(form) if name.lower() != "model_name"}
        places |= {field.name for field in form.fields if folders.is_place(field)}
        width = min(40, 3 + max((len(field.name) for field in form.fields), default=0))
        self._controls = {
            field.name: Control(field, width, place=field.name in places and field.kind != "dropdown")
            for field in form.fields
        }
        self._status = widgets.HTML()
        self._buttons = [self._button("Run", "play", "Run this cell", self.press_run, "primary")]
        if form.fields:
            back = "Put in the values that the notebook came with"
            self._buttons += [
                self._button(
                    "Load previous", "history", "Put in the values of the last run", self._press_previous
                ),
                self._button("Reset", "undo", back, self._press_reset),
            ]
        if self._places():
            tip = "Look again which folders there are and how many files they hold"
            self._buttons.append(
                self._button("", "refresh", tip, lambda: self.look(*folders.known(fresh=True)))
            )
            self.look(*folders.known())
        buttons = widgets.HBox([*self._buttons, self._status], layout=wrapping("8px"))
        box = widgets.VBox([*self._rows(), buttons], layout=widgets.Layout(overflow="visible"))
        box.add_class("dl4mic-form")
        self.widget = widgets.VBox([box, self.output])
        for control in self._controls.values():
            control.on_change(changed)

    def values(self) -> dict[str, Any]:
        """What the fields hold now, as text, numbers and booleans that JSON can keep; ValueError if one is wrong."""
        return {name: control.value() for name, control in self._controls.items()}

    def fill(self, values: Mapping[str, Any]) -> list[str]:
        """Puts `values` into the fields; names those that could not take theirs, and leaves them alone."""
        refused = []
        for name, value in values.items():
            try:
                self._controls[name].fill(value)
            except Exception:  # traitlets' TraitError, and whatever a widget's own check raises
                refused.append(name)
        return refused

    def keep(self, earlier: Panel) -> None:
        """Takes over what was typed into the same form before it was drawn again."""
        for name, control in self._controls.items():
            control.widget.value = earlier._controls[name].widget.value

    def look(self, data: list[str], results: list[str], until: float = float("inf")) -> None:
        """Offers the folders in the fields that ask for one, and says what the chosen ones hold."""
        for control in self._places():
            control.offer(data, results)
            if time.monotonic() < until:
                control.note()

    def say(self, kind: str, text: str) -> None:
        """The status line; `kind` is "running", "done", "failed" or "" and gives the colour."""
        self._status.value = f'<span role="status" class="dl4mic-status dl4mic-{kind}">{escape(text)}</span>'

    def press_run(self) -> None:
        self._run(self.values())

    def guarded(self, pressed: Callable[[], None]) -> None:
        """Does what a button is for, with the buttons off meanwhile; a sentence that is raised is shown."""
        self.busy = True
        for button in self._buttons:
            button.disabled = True
        try:
            pressed()
        except (ValueError, OSError) as problem:
            self.say("failed", str(problem))
        finally:
            self.busy = False
            for button in self._buttons:
                button.disabled = False

    def hold(self, held: bool) -> None:
        """Turns Run off while another form runs: what is typed meanwhile reaches the kernel only after that."""
        if not self.busy:
            self._buttons[0].disabled = held

    def _places(self) -> list[Control]:
        return [control for control in self._controls.values() if control.place]

    def _rows(self) -> list[Any]:
        rows: list[Any] = [widgets.HTML(STYLE, layout=widgets.Layout(display="none"))]
        if self.form.title:
            title = escape(self.form.title.lstrip("# ").strip("*"))
            rows.append(widgets.HTML(f'<div class="dl4mic-title">{title}</div>'))
        for item in self.form.items:
            if isinstance(item, Markdown):
                text = widgets.Output()
                text.append_display_data(RenderedMarkdown(item.text))
                rows.append(text)
            else:
                rows.append(self._controls[item.name].row)
        for problem in self.form.problems:
            text = f"line {problem.line + 1}: {problem.text}"
            rows.append(widgets.HTML(f'<div class="dl4mic-note dl4mic-warning">{escape(text)}</div>'))
        return rows

    def _button(
        self, label: str, icon: str, tooltip: str, pressed: Callable[[], None], style: str = ""
    ) -> Any:
        button = widgets.Button(description=label, icon=icon, tooltip=tooltip, button_style=style)
        button.layout.width = "max-content"
        button.on_click(lambda _: self.guarded(pressed))
        return button

    def _press_previous(self) -> None:
        stored = self._previous()
        gone = [name for name in stored if name not in self._controls]
        refused = self.fill({name: value for name, value in stored.items() if name in self._controls})
        said = ["values of the last run put in" if stored else "this form has not been run before"]
        said += ["not put in, because the fields cannot take them: " + ", ".join(refused)] * bool(refused)
        said += ["no longer in this notebook: " + ", ".join(gone)] * bool(gone)
        self.say("failed" if refused else "", "; ".join(said))

    def _press_reset(self) -> None:
        for control in self._controls.values():
            control.reset()
        self.say("", "back to the notebook's own values")
