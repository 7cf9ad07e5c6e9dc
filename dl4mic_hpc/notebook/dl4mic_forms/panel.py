"""Draws a form with ipywidgets 7 or 8 and reads the values back. Python 3.7 syntax only."""

from __future__ import annotations

import re
from datetime import date
from html import escape
from typing import Any, Callable, Mapping

import ipywidgets as widgets
from IPython.display import Markdown as RenderedMarkdown
from ipywidgets.widgets.trait_types import TypedTuple
from traitlets import Dict

from .forms import Field, Form, Markdown

STYLE = """<style>
.dl4mic-form {border: 1px solid var(--jp-border-color2, #ccc); border-radius: 6px; padding: 6px 18px 14px;
  background: var(--jp-layout-color1, #fff); max-width: 58em; box-sizing: border-box; overflow: visible}
.dl4mic-form .dl4mic-title {font-size: 1.15em; font-weight: 600; line-height: 1.4}
.dl4mic-form .widget-label {text-align: left}
.dl4mic-form .jp-OutputArea-output {padding: 0}
.dl4mic-form .jp-RenderedMarkdown :is(h1, h2, h3, h4, h5, h6) {font-size: 1em; font-weight: 600; margin: 10px 0 2px}
.dl4mic-form .jp-RenderedMarkdown p {margin: 4px 0}
.dl4mic-form .dl4mic-help {color: var(--jp-ui-font-color2, #666); line-height: 1.3; padding: 4px 0 0 6px}
.dl4mic-form .dl4mic-status {margin-left: 8px}
.dl4mic-form .dl4mic-running {color: var(--jp-brand-color1, #1976d2)}
.dl4mic-form .dl4mic-done {color: var(--jp-success-color1, #2e7d32)}
.dl4mic-form .dl4mic-failed {color: var(--jp-error-color1, #c62828)}
</style>"""

_OUTPUT = re.compile(r"(?i)result|output|saving|save|model")
_INPUT = re.compile(r"(?i)train|test|data|predict|qc|quality")
_PLACE = re.compile(r"(?i)(path|folder|dir|directory|source|target)\d*$")


class _Output(widgets.Output):  # type: ignore[misc]
    """An Output whose pictures cross the network once less: the kernel does not echo what the browser reports."""

    outputs = TypedTuple(trait=Dict()).tag(sync=True, echo_update=False)


class Panel:
    """One form on the screen: its fields, the buttons Run, Load previous and Reset, a status line, its output.

    `run` gets the values by field name when Run is pressed; `previous` gives stored values when they are asked
    for. Both may raise ValueError or OSError with a sentence for the status line.
    """

    def __init__(
        self,
        form: Form,
        run: Callable[[dict[str, Any]], None],
        previous: Callable[[], Mapping[str, Any]],
    ) -> None:
        self.form = form
        self.output = _Output()
        self._run, self._previous = run, previous
        self._controls = {field.name: _control(field, _label_width(form)) for field in form.fields}
        self._status = widgets.HTML()
        self._buttons = [
            self._button("Run", "play", "Run this cell with the values above", self._press_run, "primary"),
            self._button(
                "Load previous", "history", "Put in the values of the last run", self._press_previous
            ),
            self._button("Reset", "undo", "Put in the values that the notebook came with", self._press_reset),
        ]
        buttons = widgets.HBox([*self._buttons, self._status], layout=_wrapping("8px"))
        box = widgets.VBox([*self._rows(), buttons], layout=widgets.Layout(overflow="visible"))
        box.add_class("dl4mic-form")
        self.widget = widgets.VBox([box, self.output])

    def values(self) -> dict[str, Any]:
        """What the fields hold now, as text, numbers and booleans that JSON can keep."""
        return {name: _plain(control.value) for name, control in self._controls.items()}

    def fill(self, values: Mapping[str, Any]) -> list[str]:
        """Puts `values` into the fields; names those that could not take theirs, and leaves them alone."""
        refused = []
        for field in self.form.fields:
            if field.name in values:
                try:
                    self._controls[field.name].value = _shown(field, values[field.name])
                except Exception:  # traitlets' TraitError, and whatever a widget's own check raises
                    refused.append(field.name)
        return refused

    def say(self, kind: str, text: str) -> None:
        """The status line; `kind` is "running", "done", "failed" or "" and gives the colour."""
        self._status.value = f'<span role="status" class="dl4mic-status dl4mic-{kind}">{escape(text)}</span>'

    def _rows(self) -> list[Any]:
        rows: list[Any] = [widgets.HTML(STYLE, layout=widgets.Layout(display="none"))]
        if self.form.title:
            title = '<div class="dl4mic-title">{}</div>'.format(
                escape(self.form.title.lstrip("# ").strip("*"))
            )
            rows.append(widgets.HTML(title))
        for item in self.form.items:
            if isinstance(item, Markdown):
                text = widgets.Output()
                text.append_display_data(RenderedMarkdown(item.text))
                rows.append(text)
            else:
                help_text = widgets.HTML(f'<div class="dl4mic-help">{escape(item.help)}</div>')
                row = [self._controls[item.name]] + [help_text] * bool(item.help)
                rows.append(widgets.HBox(row, layout=_wrapping()) if item.help else row[0])
        return rows

    def _button(
        self, label: str, icon: str, tooltip: str, pressed: Callable[[], None], style: str = ""
    ) -> Any:
        button = widgets.Button(description=label, icon=icon, tooltip=tooltip, button_style=style)
        button.layout.width = "max-content"
        button.on_click(lambda _: self._guarded(pressed))
        return button

    def _guarded(self, pressed: Callable[[], None]) -> None:
        for button in self._buttons:
            button.disabled = True
        try:
            pressed()
        except (ValueError, OSError) as problem:
            self.say("failed", str(problem))
        finally:
            for button in self._buttons:
                button.disabled = False

    def _press_run(self) -> None:
        self._run(self.values())

    def _press_previous(self) -> None:
        stored = {name: value for name, value in self._previous().items() if name in self._controls}
        refused = self.fill(stored)
        if refused:
            self.say("failed", "not put in, because the fields cannot take them: " + ", ".join(refused))
        else:
            self.say("", "values of the last run put in" if stored else "this form has not been run before")

    def _press_reset(self) -> None:
        self.fill({field.name: field.value for field in self.form.fields})
        self.say("", "back to the notebook's own values")


def _label_width(form: Form) -> int:
    """The width of the column of names, in characters."""
    return min(40, 3 + max((len(field.name) for field in form.fields), default=0))


def _wrapping(above: str = "0") -> Any:
    return widgets.Layout(
        flex_flow="row wrap", align_items="center", overflow="visible", margin=f"{above} 0 0 0"
    )


def _control(field: Field, label_width: int) -> Any:
    wide = field.kind in ("string", "raw") and not field.help
    common: dict[str, Any] = {
        "description": field.name,
        "value": _shown(field, field.value),
        "style": {"description_width": f"{label_width}ch"},
        "layout": widgets.Layout(width="100%" if wide else _width(field, label_width), max_width="100%"),
    }
    if field.kind == "boolean":
        return widgets.Checkbox(indent=True, **common)
    if field.kind == "date":
        return widgets.DatePicker(**common)
    if field.kind == "integer":
        return widgets.IntText(**common)
    if field.kind == "number":
        return widgets.FloatText(**common)
    if field.kind == "slider":
        return _slider(field, common)
    if field.allow_input:
        return widgets.Combobox(options=list(field.options), placeholder=field.placeholder, **common)
    if field.options:
        return widgets.Dropdown(options=list(field.options), **common)
    return widgets.Text(placeholder=field.placeholder or _example_path(field.name), **common)


def _width(field: Field, label_width: int) -> str:
    inner = max([16] + [len(option) + 6 for option in field.options])
    inner = {"slider": 40, "boolean": len(field.name) + 6, "string": 40, "raw": 40}.get(field.kind, inner)
    return f"calc({label_width}ch + {inner}ch)"


def _slider(field: Field, common: dict[str, Any]) -> Any:
    bounds = (field.minimum, field.maximum, field.step)
    common.update(min=bounds[0], max=bounds[1], step=bounds[2], continuous_update=False)
    if all(isinstance(number, int) for number in (*bounds, field.value)):
        return widgets.IntSlider(**common)
    decimals = max(len(str(number).partition(".")[2]) for number in (*bounds, field.value))
    return widgets.FloatSlider(readout_format=f".{decimals}f", **common)


def _example_path(name: str) -> str:
    """A hint, shown while the field is empty, of where such a path usually lies in a session."""
    if not _PLACE.search(name):
        return ""
    if _OUTPUT.search(name):
        return "/home/results/…"
    return "/home/data/…" if _INPUT.search(name) else ""


def _shown(field: Field, value: Any) -> Any:
    if field.kind == "date":
        return date.fromisoformat(value)
    return str(value) if field.kind in ("raw", "raw dropdown") else value


def _plain(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    return "" if value is None else value
