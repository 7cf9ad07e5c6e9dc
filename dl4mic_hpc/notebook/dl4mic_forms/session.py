"""Ties forms to a running kernel: the %%dl4mic_form cell magic, and the same cells without a browser.

Code is run by IPython itself at the notebook's top level, so that imports, magics, shell lines, interrupts
and error messages behave as in any other cell. Python 3.7 syntax only.
"""

from __future__ import annotations

import os
from concurrent.futures import Future
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any, Callable, Iterator, Mapping, Sequence

from IPython import get_ipython
from IPython.display import display

from .forms import Form, FormError, parse
from .panel import Panel
from .results import SETTINGS, RunLog, read_values, save_values
from .values import literal, substitute

MAGIC = "%%dl4mic_form"
RESULTS = Path(__file__).absolute().parent.parent / "results"


class PlainError(Exception):
    """A sentence for the person at the notebook; shown without the lines of program that raised it."""

    def _render_traceback_(self) -> list[str]:
        return [f"{self}"]


def start(notebook: str, fields: Mapping[str, Sequence[str]]) -> None:
    """Draws forms from now on, or runs them at once where DL4MIC_HEADLESS is set (and not 0)."""
    shell = get_ipython()
    if os.environ.get("DL4MIC_HEADLESS", "0") in ("", "0"):
        if "dl4mic_form" in shell.magics_manager.magics["cell"]:
            return  # "Run All Cells" once more: what was typed into the forms stays
        shell.register_magic_function(_Drawing(shell, notebook).magic, "cell", "dl4mic_form")
        return
    headless = _Headless(notebook, _parameters(fields))
    shell.input_transformers_cleanup.insert(0, headless.transform)
    shell.events.register("pre_run_cell", headless.before)
    shell.events.register("post_run_cell", headless.after)


def _parsed(source: str) -> Form:
    try:
        return parse(source)
    except FormError as error:
        lines = [f"line {line + 1}: {text}" for line, text in error.problems]
        raise PlainError("The form of this cell cannot be understood.\n  " + "\n  ".join(lines)) from None


def _program(line: str, source: str) -> str:
    """What is run. A comment stands where the magic stood, so that line numbers agree with the cell's."""
    return source if source.startswith("%%") else f"# {MAGIC[2:]} {line}\n{source}"


def _on_main_thread(shell: Any, call: Callable[[], None]) -> None:
    """Calls `call` on the kernel's main thread and waits for it.

    Since ipykernel 7 JupyterLab may have a button's click handled by a second thread (a kernel subshell), where
    an interrupt does not reach the code and libraries that insist on the main thread fail. The hooks are
    ipykernel's own around every message: they let SIGINT raise KeyboardInterrupt.
    """
    if current_thread() is main_thread():
        call()
        return
    done: Future[None] = Future()

    def run() -> None:
        shell.kernel.pre_handler_hook()
        try:
            call()
            done.set_result(None)
        except BaseException as error:
            done.set_exception(error)
        finally:
            shell.kernel.post_handler_hook()

    shell.kernel.io_loop.add_callback(run)
    done.result()


@contextmanager
def _undisturbed(shell: Any) -> Iterator[None]:
    """Keeps other threads from announcing the end of an execution while one is going on.

    ipykernel announces it after every message of a widget too. Where a kernel subshell handles those, matplotlib
    would take the figures of the running code for finished, show them in the wrong place and close them.
    """

    def trigger(event: str, *arguments: Any, **keywords: Any) -> None:
        if current_thread() is main_thread():
            type(shell.events).trigger(shell.events, event, *arguments, **keywords)

    shell.events.trigger = trigger
    try:
        yield
    finally:
        del shell.events.trigger


class _Drawing:
    """With a browser: executing a form's cell draws it; its button runs the code."""

    def __init__(self, shell: Any, notebook: str) -> None:
        self._shell, self._notebook = shell, notebook
        self._panels: dict[str, Panel] = {}

    def magic(self, line: str, cell: str) -> None:
        """Shows the `#@param` lines of this cell as a form with a Run button."""
        form_id, form = line.strip(), _parsed(cell)
        earlier = self._panels.get(form_id)
        panel = Panel(
            form,
            run=lambda values: _on_main_thread(self._shell, lambda: self._run(form_id, cell, values)),
            previous=lambda: self._previous(form_id),
        )
        if earlier is not None and earlier.form.fields == form.fields:
            panel.fill(earlier.values())
        self._panels[form_id] = panel
        display(panel.widget)

    def _previous(self, form_id: str) -> dict[str, Any]:
        try:
            stored = read_values(RESULTS / SETTINGS)
        except FileNotFoundError:
            return {}
        start = form_id + "."
        return {key[len(start) :]: value for key, value in stored.items() if key.startswith(start)}

    def _run(self, form_id: str, cell: str, values: dict[str, Any]) -> None:
        panel = self._panels[form_id]
        literals = {field.name: literal(field, values[field.name]) for field in panel.form.fields}
        program = _program(form_id, substitute(cell, panel.form, values))
        panel.say("running", "running …")
        panel.output.clear_output()
        unsaved = _save(self._notebook, form_id, values)
        log = RunLog(RESULTS, form_id, literals)
        with panel.output, _undisturbed(self._shell):
            log.open()
            error: BaseException | None = None
            try:
                result = self._shell.run_cell(program, store_history=False)
                error = result.error_before_exec or result.error_in_exec
            finally:
                seconds = log.close(error)
        if error is None:
            panel.say("done", f"done in {duration(seconds)}{unsaved}")
        elif isinstance(error, KeyboardInterrupt):
            panel.say("failed", f"stopped after {duration(seconds)}")
        else:
            reason = "{}: {}".format(type(error).__name__, str(error).split("\n")[0][:160])
            panel.say("failed", f"failed after {duration(seconds)}: {reason}")


class _Headless:
    """Without a browser: form cells run at once, with the parameters written into their source."""

    def __init__(self, notebook: str, parameters: dict[str, Any]) -> None:
        self._notebook, self._parameters = notebook, parameters
        self._log: RunLog | None = None

    def transform(self, lines: list[str]) -> list[str]:
        """An IPython input transformer: the cell's own code, with the values in it, instead of the magic."""
        if not lines or not lines[0].startswith(MAGIC):
            return lines
        form_id, source = lines[0][len(MAGIC) :].strip(), "".join(lines[1:])
        form = _parsed(source)
        try:
            changed = substitute(source, form, self._values(form_id, form))
        except ValueError as problem:
            raise PlainError(f"{form_id}: {problem}") from None
        return _program(form_id, changed).splitlines(True)

    def before(self, info: Any) -> None:
        first, _, source = (info.raw_cell or "").partition("\n")
        if not first.startswith(MAGIC):
            return
        form_id = first[len(MAGIC) :].strip()
        try:
            form = parse(source)
            values = dict({field.name: field.value for field in form.fields}, **self._values(form_id, form))
            literals = {field.name: literal(field, values[field.name]) for field in form.fields}
        except ValueError:
            return  # the transformer has raised it already, in the cell
        for name, text in literals.items():
            print(f"{name} = {text}")  # noqa: T201
        _save(self._notebook, form_id, values)
        self._log = RunLog(RESULTS, form_id, literals)
        self._log.open()

    def after(self, result: Any) -> None:
        if self._log is not None:
            self._log.close(result.error_before_exec or result.error_in_exec)
            self._log = None

    def _values(self, form_id: str, form: Form) -> dict[str, Any]:
        found = {}
        for field in form.fields:
            for key in (field.name, f"{form_id}.{field.name}"):
                if key in self._parameters:
                    found[field.name] = self._parameters[key]
        return found


def _save(notebook: str, form_id: str, values: Mapping[str, Any]) -> str:
    try:
        save_values(RESULTS, notebook, form_id, values)
    except OSError as problem:
        return f" (the settings could not be kept: {problem})"
    return ""


def _parameters(fields: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The values of the file that DL4MIC_PARAMETERS names; PlainError if it names a field that is not there."""
    path = os.environ.get("DL4MIC_PARAMETERS")
    if not path:
        return {}
    try:
        values = read_values(Path(path))
    except (OSError, ValueError) as problem:
        raise PlainError(f"The parameters cannot be read: {problem}") from None
    known = {f"{form}.{name}" for form, names in fields.items() for name in names}
    known |= {name for names in fields.values() for name in names}
    unknown = sorted(set(values) - known)
    if unknown:
        near = get_close_matches(unknown[0], known, n=1)
        raise PlainError(
            "{} sets '{}', which no form of this notebook has{}".format(
                path, unknown[0], f"; perhaps you meant '{near[0]}'" if near else ""
            )
        )
    return values


def duration(seconds: float) -> str:
    """A time to read: "0.8 s", "12 s", "3 min 20 s", "2 h 05 min"."""
    if seconds < 60:
        return "{:.{}f} s".format(seconds, 1 if seconds < 9.95 else 0)
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return "{} h {:02d} min".format(*divmod(minutes, 60))
