"""Ties forms to a running kernel: the %%dl4mic_form cell magic with a browser, the same cells without one.

Code is run by IPython itself at the notebook's top level, so that imports, magics, shell lines, interrupts
and error messages behave as in any other cell. Python 3.7 syntax only.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import Future
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import Any, Callable, Iterator, Mapping, Sequence

from IPython import get_ipython
from IPython.display import display

from . import folders
from .forms import parse
from .headless import Headless, given
from .panel import Panel
from .required import deletes, missing, never_empty
from .runs import Run, await_here, duration, program
from .settings import previous
from .values import literal, substitute


def start(notebook: str, fields: Mapping[str, Sequence[str]]) -> None:
    """Draws forms from now on, or runs them at once where DL4MIC_HEADLESS is set (and not 0)."""
    shell = get_ipython()
    if os.environ.get("DL4MIC_HEADLESS", "0") not in ("", "0"):
        if not Headless.is_installed(shell):
            Headless(shell, notebook, given(notebook, fields)).install()
    elif "dl4mic_form" not in shell.magics_manager.magics["cell"]:
        # "Run All Cells" once more finds it there, and what was typed into the forms stays.
        shell.register_magic_function(_Drawing(shell, notebook).magic, "cell", "dl4mic_form")


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
    """Lets the code run as if it were a cell's.

    ipykernel announces the end of an execution after every message of a widget too. Where a kernel subshell
    handles those, matplotlib would take the figures of the running code for finished, show them in the wrong
    place and close them: so other threads may not announce it meanwhile.
    """

    def trigger(event: str, *arguments: Any, **keywords: Any) -> None:
        if current_thread() is main_thread():
            type(shell.events).trigger(shell.events, event, *arguments, **keywords)

    runner = shell.loop_runner
    shell.events.trigger, shell.loop_runner = trigger, await_here
    try:
        yield
    finally:
        del shell.events.trigger
        shell.loop_runner = runner


class _Drawing:
    """With a browser: executing a form's cell draws it; its button runs the code."""

    def __init__(self, shell: Any, notebook: str) -> None:
        self._shell, self._notebook = shell, notebook
        self._panels: dict[str, Panel] = {}
        self._has_run: set[str] = set()
        self._asked: dict[str, Any] = {}

    def magic(self, line: str, cell: str) -> None:
        """Shows the `#@param` lines of this cell as a form with a Run button."""
        form_id, form = line.strip(), parse(cell)
        earlier = self._panels.get(form_id)
        panel = Panel(
            form,
            run=lambda values: self._press(form_id, cell, values),
            previous=lambda: previous(folders.RESULTS, self._notebook, form_id),
            changed=lambda: self._changed(form_id),
        )
        if earlier is not None and earlier.form.fields == form.fields:
            panel.keep(earlier)
        self._panels[form_id] = panel
        display(panel.widget)

    def _changed(self, form_id: str) -> None:
        """With run: "auto" a change runs the cell, once it has been run. A browser holds changes back meanwhile."""
        panel = self._panels.get(form_id)
        if panel is not None and panel.form.run_auto and form_id in self._has_run and not panel.busy:
            panel.guarded(panel.press_run)

    def _press(self, form_id: str, cell: str, values: dict[str, Any]) -> None:
        panel = self._panels[form_id]
        empty = missing(panel.form, values)
        sure = not deletes(cell) and not any(never_empty(name) for name in empty)
        if empty and not (sure and self._asked.get(form_id) == values):
            self._asked[form_id] = values
            again = "; to run it all the same, press Run again" if sure else ""
            raise ValueError("nothing was run: fill in {}{}".format(", ".join(empty), again))
        others = list(self._panels.values())
        for other in others:
            other.hold(True)
        try:
            _on_main_thread(self._shell, lambda: self._run(form_id, cell, values))
        finally:
            for other in others:
                other.hold(False)
        self._has_run.add(form_id)

    def _run(self, form_id: str, cell: str, values: dict[str, Any]) -> None:
        panel = self._panels[form_id]
        literals = {field.name: literal(field, values[field.name]) for field in panel.form.fields}
        code = program(form_id, substitute(cell, panel.form, values))
        panel.say("running", "running …")
        panel.output.clear_output()

        def told(lines: int, last: str) -> None:
            panel.say("running", f"running … {lines:,} lines so far: {last[-100:]}")

        run = Run(self._shell, self._notebook, form_id, values, literals, told)
        with panel.output, _undisturbed(self._shell):
            run.begin()
            error: BaseException | None = None
            try:
                result = self._shell.run_cell(code, store_history=False)
                error = result.error_before_exec or result.error_in_exec
            finally:
                seconds = run.end(error)
        if error is None:
            panel.say("done", f"done in {duration(seconds)}{run.unsaved}")
        elif isinstance(error, KeyboardInterrupt):
            panel.say("failed", f"stopped after {duration(seconds)}{run.unsaved}")
        else:
            reason = "{}: {}".format(type(error).__name__, str(error).split("\n")[0][:160])
            if isinstance(error, EOFError):
                reason = (
                    "the code asks a question, which a form cannot pass on; write the answer into the code"
                )
            panel.say("failed", f"failed after {duration(seconds)}: {reason}{run.unsaved}")
        self._look_again()

    def _look_again(self) -> None:
        """A run makes folders, which the other forms offer from now on."""
        until = time.monotonic() + folders.SECONDS
        data, results = folders.known(fresh=True)
        for panel in self._panels.values():
            panel.look(data, results, until)
