"""The widget of each field, with ipywidgets 7 or 8, and what it holds. Python 3.7 syntax only."""

from __future__ import annotations

from datetime import date
from html import escape
from typing import Any, Callable

import ipywidgets as widgets

from . import folders
from .forms import NUMBERS, Field
from .values import convert_text, literal


class Control:
    """One field on the screen: `row` is what is shown, `widget` the part that is filled in.

    A field that nobody touched gives back the notebook's own value, or None where that is known only to the code.
    `place` says that the field asks for a file or folder: then the folders that exist are offered.
    """

    def __init__(self, field: Field, label_width: int, *, place: bool = False) -> None:
        self.field, self.place = field, place
        self.widget = _widget(field, label_width, place)
        self.widget.field_name = field.name
        self._initial = self.widget.value
        self._below = widgets.HTML(
            layout=widgets.Layout(display="none", margin=f"0 0 4px {_indent(label_width)}")
        )
        self.row = self._row()
        if place:
            self.widget.observe(lambda _: self.note(), "value")

    def value(self) -> Any:
        """As text, number or boolean that JSON can keep; ValueError for what the field cannot take."""
        value = self.widget.value
        if value == self._initial:
            return self.field.value
        if isinstance(value, date):
            return value.isoformat()
        if value is None:
            return None
        if self.field.kind in NUMBERS and isinstance(value, str):
            return convert_text(self.field, value)
        literal(self.field, value)
        return value

    def fill(self, value: Any) -> None:
        """Puts a value in, also one that an earlier version of the notebook kept; ValueError if it does not fit."""
        field = self.field
        if isinstance(value, str) and field.kind in (*NUMBERS, "boolean"):
            value = convert_text(field, value)
        literal(field, value)
        if value is None or value == field.value:
            self.widget.value = self._initial
        elif field.kind == "date":
            self.widget.value = date.fromisoformat(value)
        elif isinstance(self.widget, (widgets.Text, widgets.Dropdown)) and not isinstance(value, bool):
            self.widget.value = str(value)
        else:
            self.widget.value = value

    def reset(self) -> None:
        self.widget.value = self._initial

    def on_change(self, changed: Callable[[], None]) -> None:
        self.widget.observe(lambda _: changed(), "value")

    def offer(self, data: list[str], results: list[str]) -> None:
        """The folders to choose from, the likelier ones first."""
        self.widget.options = tuple(results + data if folders.for_results(self.field) else data + results)

    def note(self) -> None:
        """Says under the field what the chosen folder holds."""
        warn, text = folders.describe(self.widget.value)
        self._below.value = '<div class="dl4mic-note {}">{}</div>'.format(
            "dl4mic-warning" * warn, escape(text)
        )
        self._below.layout.display = "" if text else "none"

    def _row(self) -> Any:
        help_text = widgets.HTML(f'<div class="dl4mic-help">{escape(self.field.help)}</div>')
        if self.place:
            help_text.layout.margin = self._below.layout.margin
            rows = [self.widget, *([help_text] if self.field.help else []), self._below]
            return widgets.VBox(rows, layout=widgets.Layout(overflow="visible"))
        return widgets.HBox([self.widget, help_text], layout=wrapping()) if self.field.help else self.widget


def wrapping(above: str = "0") -> Any:
    return widgets.Layout(
        flex_flow="row wrap", align_items="center", overflow="visible", margin=f"{above} 0 0 0"
    )


def _widget(field: Field, label_width: int, place: bool) -> Any:
    wide = place or (field.kind in ("string", "raw", "untyped") and not field.help)
    common: dict[str, Any] = {
        "description": field.name,
        "style": {"description_width": f"{label_width}ch"},
        "layout": widgets.Layout(width="100%" if wide else _width(field, label_width), max_width="100%"),
    }
    unknown = field.value is None  # only the code knows: the field is empty until it is touched
    # A browser holds changes back while one is on its way, and a click on Run would overtake them: one at the end.
    text = dict(common, value=str("" if unknown else field.value), continuous_update=False)
    text["placeholder"] = _placeholder(field, place)
    if field.kind == "date":
        value = None if unknown else date.fromisoformat(str(field.value))
        return widgets.DatePicker(**common, value=value)
    if field.kind == "boolean" and not unknown:
        common["layout"] = widgets.Layout(width="max-content", margin=f"0 0 0 {_indent(label_width)}")
        return widgets.Checkbox(indent=False, **common, value=field.value)
    if field.kind == "slider" and not unknown:
        return _slider(field, common)
    if field.kind == "integer" and not unknown:
        return widgets.IntText(**common, value=field.value)
    if field.kind == "number" and not unknown:
        return widgets.FloatText(**common, value=field.value)
    if place or field.allow_input:
        return widgets.Combobox(**text, options=field.options)
    if field.options or field.kind == "boolean":
        return _dropdown(field, common)
    if "\n" in text["value"]:
        return widgets.Textarea(**text)
    return widgets.Text(**text)


def _indent(label_width: int) -> str:
    """The column of the inputs; none where the form is so narrow that they stand below their labels."""
    return f"clamp(0px, (100% - {label_width}ch - 7em - 12px) * 999, {label_width}ch + 9px)"


def _dropdown(field: Field, common: dict[str, Any]) -> Any:
    """The choices; and the notebook's own value, where it is none of them."""
    options: list[tuple[str, Any]] = [(option, option) for option in field.options] or [
        ("yes", True),
        ("no", False),
    ]
    if field.value is None:
        options.insert(0, (_as_written(field), None))
    elif field.value not in field.options:
        options.insert(0, (str(field.value), field.value))
    return widgets.Dropdown(**common, options=options, value=field.value)


def _slider(field: Field, common: dict[str, Any]) -> Any:
    bounds = (field.minimum, field.maximum, field.step)
    common.update(min=bounds[0], max=bounds[1], step=bounds[2], value=field.value, continuous_update=False)
    if all(isinstance(number, int) for number in (*bounds, field.value)):
        return widgets.IntSlider(**common)
    decimals = max(_decimals(number) for number in (*bounds, field.value))
    return widgets.FloatSlider(readout_format=f".{decimals}f" if decimals <= 6 else ".2e", **common)


def _decimals(number: Any) -> int:
    """0.25 has 2, 1e-05 has 5."""
    mantissa, _, exponent = str(number).partition("e")
    digits = mantissa.partition(".")[2].rstrip("0")
    return max(0, len(digits) - int(exponent or 0))


def _placeholder(field: Field, place: bool) -> str:
    if field.placeholder or field.value is None:
        return field.placeholder or _as_written(field)
    return f"{folders.RESULTS if folders.for_results(field) else folders.DATA}/…" if place else ""


def _as_written(field: Field) -> str:
    return "as written: " + " ".join(field.source.split())


def _width(field: Field, label_width: int) -> str:
    inner = max([16 if field.value is not None else 40] + [len(option) + 6 for option in field.options])
    inner = {"slider": 40, "string": 40, "raw": 40, "untyped": 40}.get(field.kind, inner)
    return f"calc({label_width}ch + {inner}ch)"
