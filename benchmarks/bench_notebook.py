"""What converting notebooks costs: CPU time of a whole catalogue in one process, imports included.

Without a folder: as many notebooks as DL4MicEverywhere's catalogue has, of their size and with their kinds of cells.
With one: every .ipynb below it. Bar: 5 s.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

NOTEBOOKS, SECTIONS, BAR = 32, 13, 5.0

FORM = """\
#@markdown ## Section {n}
Source_{n} = "" #@param {{type:"string"}}
Rate_{n} = 1e-4 #@param {{type:"number"}} # as in section 2
Model_{n} = "small" #@param ["small", "large, slow"]
Share_{n} = 10 #@param {{type:"slider", min:0, max:100, step:5}}
Save_{n} = True #@param {{type:"boolean"}}
"""
CODE = '''\
def measure_{n}(picture, mask, scale=({n}, 1)):  # see section 1.1
    """Counts what is in a 'mask', as "section 2" has it."""
    rows = [[x for x in line if x > 0] for line in picture]
    for key, value in {{"area": 1, 'text': "a#b", "{n}": rows}}.items():
        print(f"{{key}}: {{value}}", end='\\\\n')
    return {{"mean": sum(map(len, rows)) / max(1, len(rows)), "scale": scale}}
'''
LOAD = """\
import pandas as pd
!pip install -q wget==3.2 "tool[all]>=1,<2"
!git clone https://code.example/tool; cd tool; pip install .
versions = pd.read_csv("https://code.example/versions.csv", dtype=str)
from google.colab import drive
"""
TEXT = "<font size=4>Go through sections 1.1, 2 and 3. " + "What a network learns depends on its data. " * 40


def notebook(number: int) -> bytes:
    """A notebook of about 110 kB: numbered sections, each with text, a form and plain code."""
    cells: list[dict[str, object]] = [{"cell_type": "markdown", "source": f"# Notebook {number}"}]
    for section in range(SECTIONS):
        heading = f"# **{section}. Part {section}**\n---\n{TEXT}"
        inside = f"## **{section}.1. Check for GPU access**\n{TEXT}"
        code = "".join(CODE.format(n=10 * section + part) for part in range(8))
        cells += [{"cell_type": "markdown", "source": text.splitlines(True)} for text in (heading, inside)]
        cells += [
            {
                "cell_type": "code",
                "metadata": {"cellView": "form"},
                "outputs": [],
                "source": text.splitlines(True),
            }
            for text in (LOAD if section == 1 else code, FORM.format(n=section) + code)
        ]
    return json.dumps({"nbformat": 4, "nbformat_minor": 0, "metadata": {}, "cells": cells}).encode()


def originals(folder: Path | None) -> Iterator[tuple[str, bytes]]:
    if folder is None:
        yield from ((f"notebook {number}", notebook(number)) for number in range(NOTEBOOKS))
    else:
        yield from ((path.name, path.read_bytes()) for path in sorted(folder.rglob("*.ipynb")))


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("folder", type=Path, nargs="?", help="a folder with notebooks")
    given = list(originals(options.parse_args().folder))
    started = time.process_time()
    from dl4mic_hpc import notebook as converter

    loaded = time.process_time()
    fields = 0
    for name, content in given:
        removed = ("1.1", "2") if name.startswith("notebook ") else ()
        done = converter.convert(content, name=name, sections_to_remove=removed)
        fields += sum(len(found) for found in done.fields.values())
    spent = time.process_time() - started
    size = sum(len(content) for _, content in given) / 1e6
    verdict = "within" if spent <= BAR else "OVER"
    print(f"{len(given)} notebooks, {size:.1f} MB, {fields} fields")
    print(f"{spent:.2f} s of CPU, {loaded - started:.2f} s of them imports; {verdict} the bar of {BAR:.0f} s")


if __name__ == "__main__":
    main()
