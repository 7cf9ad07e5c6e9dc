"""A notebook and its conversion side by side in two real kernels, cell by cell.

The original gets the values written into its source, as a person would in Colab without a form. The conversion gets
them the way a browser gives them: the form's cell is executed, widget messages fill it in, Run is clicked. Then both
kernels tell what the cell did (`in_kernel/`), and it must be the same. This is done twice: with the
notebook's own values, where only empty texts are filled in, and with every field changed.
"""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.manager import KernelManager
from support.kernel import SECONDS, Desk

from dl4mic_hpc import notebook
from dl4mic_hpc.notebook.dl4mic_forms.forms import Field, parse

MODES = ("own values", "changed values")
HARNESS = Path(__file__).with_name("in_kernel")

# What an empty text stands for, told from its name, in the folder of the kernel.
PLACES = (
    (re.compile(r"(?i)target|mask|_gt|label|truth"), "data/target"),
    (re.compile(r"(?i)model_(path|folder)|result|output|sav"), "results/models"),
    (re.compile(r"(?i)source|data|folder|path|dir|image|file"), "data/source"),
)


@dataclass(kw_only=True)
class Comparison:
    """What came of it. `faults`: (cell of the original, sentence); cells count from 1."""

    cells: int = 0
    completed: int = 0
    names: int = 0
    fields: int = 0
    faults: list[tuple[int, str]] = field(default_factory=list)


def compare(original: bytes, converted: bytes, home: Path, modes: tuple[str, ...] = MODES) -> Comparison:
    """Runs both in all modes. home: an empty folder for the kernels' files. Counted is the first mode."""
    found, home = Comparison(), home.resolve()
    for mode in modes:
        _compare(original, converted, home / mode.split()[0], mode, found, first=mode == modes[0])
    return found


def _compare(
    original: bytes, converted: bytes, home: Path, mode: str, found: Comparison, *, first: bool
) -> None:
    sources = ["".join(cell["source"]) for cell in json.loads(original.decode("utf-8-sig"))["cells"]]
    cells = [cell for cell in json.loads(converted)["cells"] if cell["cell_type"] == "code"]
    enough = len(found.faults) + 40
    with _kernel(home / "original") as left, _kernel(home / "converted") as right:
        differing: set[str] = set()
        known: Mapping[str, str] = {}
        for cell in cells:
            about, source = cell["metadata"]["dl4mic_hpc"], "".join(cell["source"])
            if "source_cell" not in about:
                _execute(right, source)
                _take(right)
                continue
            number, before = about["source_cell"] + 1, sources[about["source_cell"]]
            values = _values(before, mode)
            try:
                left.run(_written(before, values, home / "original"))
                was = _take(left)
            except queue.Empty:
                found.faults.append((number, f"the original says nothing for {SECONDS:.0f} s [{mode}]"))
                return
            try:
                _execute(right, source)
                if form := about.get("form"):
                    for each in parse(before).fields:
                        wrong = _fill(
                            right, form, each, values.get(each.name), home / "converted", look=first
                        )
                        found.faults += [(number, wrong)] * bool(wrong)
                        found.fields += first
                    right.press(form)
                is_ = _take(right)
            except queue.Empty:
                found.faults.append((number, f"the conversion says nothing for {SECONDS:.0f} s [{mode}]"))
                return
            if first:
                changed = {name for name, value in was["names"].items() if known.get(name) != value}
                found.cells, found.names = found.cells + 1, found.names + len(changed)
                found.completed += not was["errors"]
            names = _names(was["names"], is_["names"])
            faults = [*_done(was, is_), *(names[name] for name in names if name not in differing)]
            found.faults += [(number, f"{fault} [{mode}]") for fault in faults]
            differing, known = differing | names.keys(), was["names"]
            if len(found.faults) > enough:
                found.faults.append((number, "given up"))
                return


def _execute(desk: Desk, source: str) -> None:
    desk.cells = [source]
    desk.run_all()


def _done(was: Mapping[str, Any], is_: Mapping[str, Any]) -> Iterator[str]:
    if was["errors"][-1:] != is_["errors"][-1:]:
        yield f"ends with {is_['errors'][-1:] or 'no error'}, not {was['errors'][-1:] or 'with none'}"
    if was["all"] != is_["all"]:
        pairs = zip([*was["events"], "(nothing more)"], [*is_["events"], "(nothing more)"], strict=False)
        here, there = next(((b, a) for a, b in pairs if a != b), (is_["all"], was["all"]))
        yield f"does {here!r}, not {there!r}"


def _names(was: Mapping[str, str], is_: Mapping[str, str]) -> dict[str, str]:
    faults = {name: f"name {name} is missing" for name in was if name not in is_}
    faults |= {name: f"name {name} should not be there" for name in is_ if name not in was}
    for name in was.keys() & is_.keys():
        if was[name] != is_[name]:
            faults[name] = f"name {name} is {is_[name]}, not {was[name]}"
    return faults


def _take(desk: Desk) -> dict[str, Any]:
    taken: dict[str, Any] = json.loads(desk.value("__import__('in_kernel').take()"))
    return taken


# Values


def _values(source: str, mode: str) -> dict[str, Any]:
    """What is put into the fields of a cell, by name."""
    found = {each.name: _value(each, mode) for each in parse(source).fields}
    return {name: value for name, value in found.items() if value is not None}


def _value(each: Field, mode: str) -> Any:
    """What is put into a field; None leaves it alone. `<root>` stands for the kernel's folder."""
    kind, value = each.kind, each.value
    if kind == "string" and value == "":
        place = next((place for name, place in PLACES if name.search(each.name)), "")
        return f"<root>/{place}" if place else "my_model"
    if mode == MODES[0] or not each.literal:
        return None
    if each.options:
        others = [option for option in each.options if option != str(value)]
        return others[-1] if others else None
    if kind in ("number", "integer", "slider"):
        return _other_number(each)
    return {
        "string": f"{value}_x",
        "boolean": value is not True,
        "date": "2021-03-04",
        "raw": f"({value})",
    }.get(kind)


def _other_number(each: Field) -> int | float | None:
    value = each.value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if each.kind != "slider":
        return value + 1 if isinstance(value, int) else value * 2 or 0.5
    other = round(value + each.step if value + each.step <= each.maximum else value - each.step, 6)
    return int(other) if isinstance(value, int) and other == int(other) else other


def _written(source: str, values: Mapping[str, Any], root: Path) -> str:
    """The source with the values written over the defaults; the comment stays. One line to a field."""
    lines = source.split("\n")
    for each in parse(source).fields:
        if each.name not in values or each.start[0] != each.end[0]:
            continue
        line = lines[each.line - 1]
        name, comment = line[: line.index("=")], line[line.index("#", line.index("=")) :]
        if '"#' in line or "'#" in line:
            comment = line[line.rindex("#") :]
        value = values[each.name]
        raw = each.kind in ("raw", "raw dropdown")
        text = value if raw else repr(value.replace("<root>", str(root)) if isinstance(value, str) else value)
        lines[each.line - 1] = f"{name}= {text} {comment}"
    return "\n".join(lines)


def _fill(desk: Desk, form: str, each: Field, value: Any, root: Path, *, look: bool) -> str:
    """Fills a field in; what is wrong with its widget, "" for nothing. look: at what it shows before that, too."""
    try:
        widget = desk.widget(form, each.name)
    except StopIteration:
        return f"field {each.name} is not shown"
    if look and (wrong := _shown(each, widget)):
        return f"field {each.name}: {wrong}"
    if value is None or each.start[0] != each.end[0]:
        return ""
    model = widget["_model_name"]
    if isinstance(value, str):
        value = value.replace("<root>", str(root))
    if model in ("DropdownModel",):
        labels = list(widget["_options_labels"])
        if value not in labels:
            return f"field {each.name}: {value!r} is not offered"
        desk.fill(form, each.name, value=labels.index(value), key="index")
    elif model == "DatePickerModel":
        year, month, day = map(int, value.split("-"))
        desk.fill(form, each.name, value={"year": year, "month": month - 1, "date": day})
    else:
        numbers = ("Int", "Float", "BoundedInt", "BoundedFloat", "Checkbox")
        desk.fill(form, each.name, value=value if model.startswith(numbers) else str(value))
    return ""


KINDS = {
    "string": ("TextModel", "TextareaModel", "ComboboxModel"),
    "raw": ("TextModel", "ComboboxModel"),
    "untyped": ("TextModel", "ComboboxModel", "CheckboxModel"),
    "number": ("TextModel", "FloatTextModel"),
    "integer": ("IntTextModel", "TextModel"),
    "slider": ("IntSliderModel", "FloatSliderModel"),
    "boolean": ("CheckboxModel",),
    "date": ("DatePickerModel",),
    "dropdown": ("DropdownModel", "ComboboxModel"),
    "raw dropdown": ("DropdownModel", "ComboboxModel"),
}


def _shown(each: Field, widget: Mapping[str, Any]) -> str:
    """What is wrong with a field's widget as it is drawn first."""
    model = widget["_model_name"]
    if model not in KINDS[each.kind]:
        return f"a {model} for a field of kind {each.kind}"
    labels = widget.get("_options_labels", widget.get("options"))
    if each.options and list(labels or ()) != list(each.options):
        return f"offers {labels}, not {list(each.options)}"
    if each.kind == "slider":
        for key, bound in (("min", each.minimum), ("max", each.maximum), ("step", each.step)):
            if widget[key] != bound:
                return f"{key} is {widget[key]}, not {bound}"
    if each.placeholder and widget.get("placeholder") != each.placeholder:
        return f"the placeholder is {widget.get('placeholder')!r}"
    if not each.literal and each.kind not in ("raw", "raw dropdown"):
        return ""
    if model == "DropdownModel":
        shows = labels[widget["index"]] if widget["index"] is not None else None
    elif model == "DatePickerModel":
        shows = widget["value"] and "{year:04}-{month:02}-{date:02}".format(
            **{**widget["value"], "month": widget["value"]["month"] + 1}
        )
    else:
        shows = widget["value"]
    expected = each.source if each.kind in ("raw", "raw dropdown") else each.value
    if shows == expected or str(shows) in (str(expected), each.source):
        return ""
    if each.kind in ("number", "integer", "slider") and _number(shows) == _number(expected):
        return ""
    return f"shows {shows!r}, not {expected!r}"


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


# Kernels


@contextmanager
def _kernel(home: Path) -> Iterator[Desk]:
    """A kernel in `home`, with some pictures that are none, the run-time files, and nothing that it could harm."""
    beside = home.with_suffix(".kernel")
    trained = home / "results/models/my_model/Quality Control"
    for folder in (home / "data/source", home / "data/target", trained, home / "tmp"):
        folder.mkdir(parents=True)
    for name in (f"data/{which}/img_{number}.tif" for which in ("source", "target") for number in range(4)):
        (home / name).write_bytes(b"no picture")
    for name in ("loss", "training_evaluation"):
        (trained / f"{name}.csv").write_text("loss,val_loss,learning rate\n0.5,0.6,0.0004\n0.3,0.4,0.0004\n")
    shutil.copytree(HARNESS, beside / HARNESS.name)
    for name, content in notebook.runtime_files().items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(content)
    environment = {
        **os.environ,
        "HOME": str(home),
        "IPYTHONDIR": str(beside / "ipython"),
        "TMPDIR": str(home / "tmp"),
        "PYTHONPATH": str(beside),
        "PYTHONHASHSEED": "0",
        "PYTHONWARNINGS": "ignore",
        "DL4MIC_HEADLESS": "",
        "DL4MIC_PARAMETERS": "",
    }
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(home), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        desk = Desk(manager, [])
        try:
            desk.value("__import__('in_kernel').install()")
            yield desk
        finally:
            desk.close()
    finally:
        manager.shutdown_kernel(now=True)
