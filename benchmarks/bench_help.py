"""`dl4mic-hpc --help` against a Typer program of the same commands with empty bodies: the price of our imports.

Bar: at most 1.3 times, by the median over interleaved runs.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

import typer

from dl4mic_hpc.cli.main import app

RUNS = 15
BAR = 1.3


def empty_twin() -> str:
    """The source of a Typer program with our commands, options and help texts, and nothing behind them."""
    lines = ["import typer", "from typing import Optional"]

    def group(command: Any, name: str) -> None:
        lines.append(
            f"{name} = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, help={command.help!r})"
        )
        for number, (word, sub) in enumerate(command.commands.items()):
            inner = f"{name}_{number}"
            if hasattr(sub, "commands"):
                group(sub, inner)
                lines.append(f"{name}.add_typer({inner}, name={word!r})")
                continue
            options = ", ".join(
                f"p{index}: Optional[str] = typer.Option(None, {param.opts[-1]!r}, help={getattr(param, 'help', '') or ''!r})"
                for index, param in enumerate(sub.params)
                if param.param_type_name == "option" and param.opts[-1] != "--help"
            )
            lines.append(f"@{name}.command({word!r}, help={sub.help!r})\ndef {inner}({options}): pass")

    group(typer.main.get_command(app), "app")
    lines.append("app()")
    return "\n".join(lines)


def seconds(*argv: str) -> float:
    start = time.perf_counter()
    subprocess.run(argv, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        twin = Path(folder) / "twin.py"
        twin.write_text(empty_twin(), encoding="utf-8")
        program = str(Path(sysconfig.get_path("scripts")) / "dl4mic-hpc")
        ours, theirs = [], []
        for _ in range(RUNS):
            ours.append(seconds(program, "--help"))
            theirs.append(seconds(sys.executable, str(twin), "--help"))
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    print(f"--help              {statistics.median(ours):.2f} s")
    print(f"empty Typer program {statistics.median(theirs):.2f} s")
    print(
        f"ratio               {statistics.median(ratios):.2f} (bar: {BAR}; {RUNS} pairs, {min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
