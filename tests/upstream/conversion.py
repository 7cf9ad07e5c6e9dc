"""What must be true of every conversion, looked at without running it. Each fault is a sentence with its cell.

Cells count from 1, as they were in the original. The rules are written again here, apart from the converter's own:
IPython's transformer finds shell lines, and plain patterns find fields, headings, references and texts.
"""

from __future__ import annotations

import ast
import collections
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from IPython.core.inputtransformer2 import TransformerManager

from dl4mic_hpc import notebook
from dl4mic_hpc.notebook import Converted
from dl4mic_hpc.notebook.dl4mic_forms.forms import Field, Form, parse
from upstream.originals import Original

MAGIC = "%%dl4mic_form"
MARK = "(not needed here)"
TOKEN = re.compile(r"#\s*@param\b")
ONE_FIELD = re.compile(
    r"\s*([A-Za-z_]\w*)\s*(?::[^=#]+)?=(?!=)[^#\n]*(?:#+\s*@param\b|[\"'][^\n]*#\s*@param\b)"
)
HEADING = re.compile(r"^\s{0,3}#+\s*[*_]*\s*(\d+(?:\.\d+)*)\.?(?=[\s*:_]|$)(.*)$", re.M)
REFERENCE = re.compile(
    r"(?i)\bsections?[\s*_]+\d+(?:\.\d+)*(?:(?:\s*\(not needed here\))?[\s*_]*(?:,|-|–|and|or|to|&)[\s*_]*\d+(?:\.\d+)*)*"
    r"(?:\s*\(not needed here\))?"
)
NUMBER = re.compile(r"\d+(?:\.\d+)*")
TEXT = re.compile(r"#+\s*@(markdown|title)\b(.*)")
INSTALL = re.compile(
    r"\b(?:pip3?|conda|mamba|apt|apt-get)\b[^\n]*?\b(?:un)?install\b|^\s*(?:un)?install\b|\bapt(?:-get)?\s+(?:update|upgrade)\b"
)
PYTHON_MAGICS = ("%%time", "%%timeit", "%%capture", "%%prun", MAGIC)


@dataclass(frozen=True, slots=True)
class Pair:
    """An original with its conversion, both as cells."""

    original: Original
    converted: Converted

    def before(self) -> list[dict[str, Any]]:
        return _cells(self.original.data)

    def after(self) -> list[dict[str, Any]]:
        return _cells(self.converted.notebook)

    def gone(self) -> set[int]:
        """The removed cells, by their index."""
        removed = self.converted.report.removed
        return {index for each in removed for index in range(each.cell - 1, each.cell - 1 + each.cells)}

    def forms(self) -> Iterator[tuple[str, int, Form]]:
        """Every form with its id and its cell."""
        for cell in self.after():
            if cell["cell_type"] == "code" and "form" in cell["metadata"]["dl4mic_hpc"]:
                about = cell["metadata"]["dl4mic_hpc"]
                yield about["form"], about["source_cell"] + 1, parse(_text(cell).partition("\n")[2])


def convert(original: Original) -> Pair:
    return Pair(original, _convert(original, original.data))


def _convert(original: Original, data: bytes) -> Converted:
    return notebook.convert(
        data, name=original.name, sections_to_remove=original.sections, python=original.python
    )


def _cells(data: bytes) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(data.decode("utf-8-sig"))["cells"]
    return cells


def _text(cell: Mapping[str, Any]) -> str:
    return "".join(cell["source"])


# The field table


def table(pair: Pair) -> list[dict[str, Any]]:
    """Every field of every form, in order: what stands in the committed expectation as a hash."""
    return [
        {
            "form": form_id,
            "name": each.name,
            "kind": each.kind,
            "default": each.source,
            "options": list(each.options),
            "minimum": each.minimum if each.kind == "slider" else None,
            "maximum": each.maximum if each.kind == "slider" else None,
            "step": each.step if each.kind == "slider" else None,
            "allow_input": each.allow_input,
            "placeholder": each.placeholder,
        }
        for form_id, _, form in pair.forms()
        for each in form.fields
    ]


def expectation(pair: Pair) -> dict[str, Any]:
    """What tests/upstream/notebooks.json holds for a notebook."""
    rows = table(pair)
    kinds = collections.Counter(row["kind"] for row in rows)
    text = json.dumps(rows, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return {
        "revision": pair.original.revision,
        "fields": dict(sorted(kinds.items())),
        "table_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


# Faults


def faults(pair: Pair) -> Iterator[str]:
    yield from _the_same_again(pair)
    yield from _fields(pair)
    yield from _cells_there(pair)
    yield from _compiles(pair)
    yield from _leftovers(pair)
    yield from _sections(pair)
    yield from _texts(pair)
    yield from _metadata(pair)


def _the_same_again(pair: Pair) -> Iterator[str]:
    first = pair.converted.notebook
    if _convert(pair.original, pair.original.data).notebook != first:
        yield "converted twice, the bytes differ"
    if _convert(pair.original, first).notebook != first:
        yield "converting what was converted changes it"


def not_understood(pair: Pair) -> int:
    """`#@param` comments that became neither a field nor stay switched off."""
    return sum(
        len(parse(_text(cell)).problems)
        for index, cell in enumerate(pair.before())
        if cell["cell_type"] == "code" and index not in pair.gone()
    )


def _fields(pair: Pair) -> Iterator[str]:
    shown: dict[int, tuple[Field, ...]] = {cell: form.fields for _, cell, form in pair.forms()}
    for index, cell in enumerate(pair.before()):
        if cell["cell_type"] != "code" or index in pair.gone():
            continue
        source, here = _text(cell), index + 1
        form, fields = parse(source), shown.get(here, ())
        counted = len(fields) + len(form.switched_off) + len(form.problems)
        tokens = len(TOKEN.findall(source))
        if counted != tokens:
            yield f"cell {here}: {tokens} times @param, {counted} accounted for"
        plain = [found[1] for line in source.split("\n") if (found := ONE_FIELD.match(line))]
        missed = collections.Counter(plain) - collections.Counter(each.name for each in fields)
        said = {problem.line for problem in form.problems}
        for name in missed:
            lines = [n for n, line in enumerate(source.split("\n"), 1) if re.match(rf"\s*{name}\b", line)]
            if not said.intersection(lines):
                yield f"cell {here}: the field {name} is not in the form"


def _cells_there(pair: Pair) -> Iterator[str]:
    kept = [
        cell["metadata"]["dl4mic_hpc"]["source_cell"]
        for cell in pair.after()
        if "made" not in cell["metadata"]["dl4mic_hpc"]
    ]
    if kept != sorted(kept) or len(kept) != len(set(kept)):
        yield "the order of the cells has changed"
    for index in range(len(pair.before())):
        if (index in kept) == (index in pair.gone()):
            yield f"cell {index + 1}: {'kept, though its section is removed' if index in kept else 'lost'}"


def _body(source: str) -> str:
    """The Python of a cell; "" where another language's magic stands above it."""
    while source.lstrip().startswith("%%"):
        first, _, rest = source.lstrip().partition("\n")
        if first.split()[0] not in PYTHON_MAGICS:
            return ""
        source = rest
    return source


def _tree(source: str, minor: int | None = None) -> ast.Module:
    python = TransformerManager().transform_cell(_body(source))
    return ast.parse(python, feature_version=None if minor is None else (3, minor))


def uncompiled(source: str, minor: int | None = None) -> str:
    """Why a cell does not compile, statement by statement as IPython does it; "" if it does."""
    try:
        tree = _tree(source, minor)
        for statement in tree.body:
            one = ast.Module([statement], [])
            compile(one, "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except (SyntaxError, ValueError) as problem:
        return f"line {getattr(problem, 'lineno', 0)}: {problem}"
    return ""


def _compiles(pair: Pair) -> Iterator[str]:
    minor = int(pair.original.python.split(".")[1]) if pair.original.python else None
    before = [_text(cell) if cell["cell_type"] == "code" else "" for cell in pair.before()]
    for cell in pair.after():
        if cell["cell_type"] != "code":
            continue
        index = cell["metadata"]["dl4mic_hpc"].get("source_cell")
        why = uncompiled(_text(cell), minor)
        if why and (index is None or not uncompiled(before[index], minor)):
            yield f"cell {'made by the converter' if index is None else index + 1} does not compile: {why}"


def _shell(source: str) -> Iterator[str]:
    """The shell lines and line magics of a cell, and what it hands to os.system."""
    try:
        tree = _tree(source)
    except SyntaxError:
        return
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        if call.func.attr in ("system", "getoutput", "run_line_magic"):
            words = [each.value for each in call.args if isinstance(each, ast.Constant)]
            own = isinstance(call.func.value, ast.Name)
            yield " ".join(["os.system:"] * own + [word for word in words if isinstance(word, str)])


def _leftovers(pair: Pair) -> Iterator[str]:
    served = pair.converted.runtime and "dl4mic_forms/colab.py" in notebook.runtime_files()
    warned = {each.cell for each in pair.converted.report.warnings}
    started = False
    for cell in pair.after():
        if cell["cell_type"] != "code":
            continue
        about, source = cell["metadata"]["dl4mic_hpc"], _text(cell)
        started |= about.get("made") == "start"
        for line in _shell(source):
            told = line.startswith("os.system:") and about.get("source_cell", -1) + 1 in warned
            if INSTALL.search(line) and not told:
                yield f"cell {about.get('source_cell', -1) + 1}: an install is left: {line}"
        imports = re.search(r"^\s*(?:from|import)\s+google\.colab\b", source, re.M)
        if imports and not (served and started) and about["source_cell"] + 1 not in warned:
            yield f"cell {about['source_cell'] + 1}: google.colab is imported, and nothing stands in for it"


def _numbers(cells: list[dict[str, Any]]) -> dict[str, set[str]]:
    """The titles of every numbered heading, by its number."""
    found: dict[str, set[str]] = collections.defaultdict(set)
    for cell in cells:
        if cell["cell_type"] == "markdown":
            for number, title in HEADING.findall(_text(cell)):
                found[number].add(_plain(title))
    return found


def _sections(pair: Pair) -> Iterator[str]:
    before = _numbers(pair.before())
    own = [cell for cell in pair.after() if "source_cell" in cell["metadata"]["dl4mic_hpc"]]
    after, made = _numbers(own), _numbers(pair.after())
    for number, titles in after.items():
        if not titles <= before[number] and pair.original.sections:
            yield f"section {number} is called {sorted(titles - before[number])} now"
    reported = {(each.cell, each.line) for each in pair.converted.report.warnings}
    for cell in pair.after():
        about = cell["metadata"]["dl4mic_hpc"]
        if "source_cell" not in about:
            continue
        extra = 1 if "form" in about else 0
        for found in REFERENCE.finditer(_text(cell)):
            line = _text(cell).count("\n", 0, found.start()) + 1 - extra
            for number in NUMBER.finditer(found[0]):
                stale = number[0] in before and number[0] not in made
                marked = found[0][number.end() :].lstrip(" .*_").startswith(MARK)
                if stale and not marked and (about["source_cell"] + 1, line) not in reported:
                    yield f"cell {about['source_cell'] + 1}, line {line}: section {number[0]} is gone, and not marked"


def _plain(text: str) -> str:
    text = re.sub(r"\]\([^)\n]*\)|<[^>\n]*>", "", text.replace(MARK, ""))
    return re.sub(r"[^a-z0-9]+", "", text.lower())


def _texts(pair: Pair) -> Iterator[str]:
    """Markdown cells that the converter has not rewritten, and the texts of every form, are all there."""
    rewritten = {each.cell - 1 for each in pair.converted.report.changes if each.kind == "text"}
    shown: dict[int, str] = collections.defaultdict(str)
    title = ""
    for cell in pair.after():
        about = cell["metadata"]["dl4mic_hpc"]
        if "source_cell" not in about:
            title = _plain(_text(cell)) if about["made"] == "title" else ""
            continue
        shown[about["source_cell"]] += title
        title = ""
        if cell["cell_type"] != "code":
            shown[about["source_cell"]] += _plain(_text(cell))
        elif "form" in about:
            form = parse(_text(cell).partition("\n")[2])
            texts = [form.title, *(each.text for each in form.items if not isinstance(each, Field))]
            shown[about["source_cell"]] += "".join(_plain(text) for text in texts)
    for index, cell in enumerate(pair.before()):
        if index in pair.gone() or index in rewritten:
            continue
        if cell["cell_type"] == "markdown":
            lines = [line for line in _text(cell).split("\n") if not re.search(r"\]\(#|scrollTo=", line)]
        elif cell["cell_type"] == "code" and _body(_text(cell)):
            lines = [
                re.sub(r"\{[^}]*\}\s*$", "", found[2]) if found[1] == "title" else found[2]
                for line in _text(cell).split("\n")
                if (found := TEXT.match(line.strip()))
            ]
        else:
            continue
        for line in lines:
            if _plain(line) not in shown[index]:
                yield f"cell {index + 1}: a text is lost: {line.strip()[:60]!r}"


def _metadata(pair: Pair) -> Iterator[str]:
    whole = json.loads(pair.converted.notebook)
    for key in ("kernelspec", "language_info"):
        if key not in whole["metadata"]:
            yield f"the notebook's metadata lacks {key}"
    ids = [cell["id"] for cell in whole["cells"]]
    if len(ids) != len(set(ids)):
        yield "two cells have one id"
    if any(cell.get("outputs") for cell in whole["cells"]):
        yield "outputs are left"
    before = {
        index: cell["attachments"] for index, cell in enumerate(pair.before()) if cell.get("attachments")
    }
    after = {
        cell["metadata"]["dl4mic_hpc"]["source_cell"]: cell["attachments"]
        for cell in whole["cells"]
        if cell.get("attachments")
    }
    if {index: each for index, each in before.items() if index not in pair.gone()} != after:
        yield "attachments are lost or changed"
