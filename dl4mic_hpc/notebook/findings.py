"""What the code of a notebook expects of Colab: the internet, /content, google.colab."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from dl4mic_hpc.notebook.dl4mic_forms import commands
from dl4mic_hpc.notebook.lines import Statement, statements
from dl4mic_hpc.notebook.report import Clone, Network, Use

_ADDRESS = re.compile(r"(?:https?|ftp)://[^\s\"'\\)>,;|]+|git@[^\s\"']+")
_WEIGHTS_FILE = re.compile(r"\.(?:h5|hdf5|pth|pt|ckpt|weights|pkl|onnx|safetensors)(?:\?.*)?$")
_CALLS = (
    ("clone", re.compile(r"\bgit\s+clone\b|\bRepo\.clone_from\s*\(")),
    (
        "table",
        re.compile(r"\bread_(?:csv|table|excel|html|json)\s*\(\s*(?:\w+\s*=\s*)?[\"'](?:https?|ftp)://"),
    ),
    (
        "weights",
        re.compile(
            r"\bfrom_pretrained\s*\(|\bload_state_dict_from_url\s*\(|\btorch\.hub\.load|\bmodel_zoo\.\w+\s*\("
            r"|\bweights\s*=\s*[\"']imagenet[\"']|\bmodels?\.Cellpose(?:Model)?\s*\("
        ),
    ),
    (
        "download",
        re.compile(
            r"\bwget\.download\s*\(|\burlretrieve\s*\(|\burlopen\s*\(|\brequests\.(?:get|post)\s*\(|\bget_file\s*\("
            r"|\bgdown\.\w+\s*\(|\bpooch\.\w+\s*\(|\bdownload_(?:url|file|from_url)\s*\(|\bload_resource_description\s*\("
        ),
    ),
)
_FETCHERS = re.compile(r"(?:^|[\s!;&|(])(?:wget|curl|gdown|aria2c|kaggle|svn|gsutil)\s")
_CONTENT = re.compile(r"(?<![\w.:/-])/content\b(?!\.)|[\"']content/(?:gdrive|drive)\b")
_COLAB = (
    ("google.colab", re.compile(r"\bgoogle\.colab\b")),
    ("Google Drive", re.compile(r"\bdrive\.mount\s*\(|\bgdrive\b|\bMyDrive\b|\bMy Drive\b")),
    ("files of the browser", re.compile(r"\bfiles\.(?:upload|download)\s*\(")),
    ("cv2_imshow", re.compile(r"\bcv2_imshow\s*\(")),
    ("%tensorflow_version", re.compile(r"^\s*%tensorflow_version\b")),
)
_COLAB_WORDS = re.compile(r"\b(Colab(?:oratory)?|Google Drive|gdrive|MyDrive)\b", re.I)
_IMPORT = re.compile(r"\s*import\s+(.+)")
_FROM = re.compile(r"\s*from\s+pandas\s+import\s+(.+)")


def network(source: str, cell: int) -> Iterator[Network]:
    """The calls of a cell that fetch something. Strings count for nothing, except as addresses."""
    for statement in statements(source):
        text = "\n".join(statement.code)
        for kind, offset in _fetching(statement):
            address = _ADDRESS.search(text, offset)
            found = address[0].rstrip(".") if address else ""
            if kind == "download" and _WEIGHTS_FILE.search(found):
                kind = "weights"
            line = statement.number + text.count("\n", 0, offset)
            yield Network(cell=cell, line=line, kind=kind, address=found)


def _fetching(statement: Statement) -> Iterator[tuple[str, int]]:
    text, masked = "\n".join(statement.code), "\n".join(statement.masked)
    if statement.kind != "python":
        for kind, pattern in (("clone", _CALLS[0][1]), ("download", _FETCHERS)):
            for found in pattern.finditer(text):
                if kind == "clone" or _ADDRESS.search(text) or "$" in text or "{" in text:
                    yield kind, found.start()
        return
    by_shell = re.search(r"\b(?:os\.system|subprocess\.\w+|popen)\s*\(", masked)
    for kind, pattern in _CALLS:
        for found in pattern.finditer(text):
            inside_string = (
                masked[found.start() : found.start() + 3] != text[found.start() : found.start() + 3]
            )
            if not inside_string or (kind == "clone" and by_shell):
                yield kind, found.start()


def clones(source: str, cell: int, *, removed: bool) -> Iterator[Clone]:
    """The repositories that the shell lines of a cell clone, wherever the address is written out."""
    for statement in statements(source) if "clone" in source else ():
        if statement.kind != "shell":
            continue
        for each in commands.clones(statement.joined.lstrip("!% ")):
            if not re.search(r"[${}]", each.repository + each.branch + each.folder):
                yield Clone(
                    cell=cell,
                    repository=each.repository,
                    branch=each.branch,
                    folder=each.folder,
                    removed=removed,
                )


def content(source: str, cell: int) -> Iterator[Use]:
    """The lines of a cell that name Colab's folder /content."""
    if "content" in source:
        yield from _uses(source, cell, (("/content", _CONTENT),))


def colab(source: str, cell: int) -> Iterator[Use]:
    """The lines of a cell that use what only Colab has."""
    yield from _uses(source, cell, _COLAB)


def texts(source: str, cell: int) -> Iterator[Use]:
    """The lines of a text cell that speak of Colab or Google Drive; addresses count for nothing."""
    for number, line in enumerate(source.split("\n"), 1):
        found = _COLAB_WORDS.search(_ADDRESS.sub("", line))
        if found:
            yield Use(cell=cell, line=number, what=found[0])


def _uses(source: str, cell: int, patterns: Iterable[tuple[str, re.Pattern[str]]]) -> Iterator[Use]:
    for statement in statements(source):
        for offset, line in enumerate(statement.code):
            for what, pattern in patterns:
                if pattern.search(line):
                    yield Use(cell=cell, line=statement.number + offset, what=what)


def pandas_readers(sources: Iterable[str]) -> frozenset[str]:
    """What the cells call pandas' read_csv: {"pd.read_csv"}, by their imports."""
    names = set()
    for source in sources:
        if "pandas" not in source:
            continue
        for statement in statements(source):
            if statement.kind != "python":
                continue
            line = " ".join(statement.masked)
            for each in (_IMPORT.match(line) or ("", ""))[1].split(","):
                words = each.replace(";", " ").split()
                if words[:1] == ["pandas"]:
                    names.add(f"{words[2] if words[1:2] == ['as'] else 'pandas'}.read_csv")
            for each in (_FROM.match(line) or ("", ""))[1].strip("() ").split(","):
                words = each.split()
                if words[:1] == ["read_csv"]:
                    names.add(words[2] if words[1:2] == ["as"] else "read_csv")
    return frozenset(names)


def bound_tables(source: str, readers: frozenset[str], instead: str) -> tuple[str, list[tuple[int, str]]]:
    """The source with `instead` for pandas' reader where a table is read from an address; and (line, address)."""
    if not readers or "://" not in source:
        return source, []
    called = "|".join(re.escape(name) for name in sorted(readers))
    pattern = re.compile(rf"(?<![\w.])(?:{called})(?=\s*\(\s*[rbu]?[\"'](https?://[^\"'\s]+))")
    lines, found = source.split("\n"), []
    for statement in statements(source):
        if statement.kind != "python":
            continue
        masked = "\n".join(statement.masked)
        bare = "\n".join(statement.code)
        for match in reversed(list(pattern.finditer(bare))):
            at = match.start()
            place = statement.number + bare.count("\n", 0, at)
            column = at - (bare.rfind("\n", 0, at) + 1)
            line = lines[place - 1]
            if masked[at : match.end()] == match[0]:
                lines[place - 1] = line[:column] + instead + line[column + len(match[0]) :]
                found.append((place, match[1]))
    return "\n".join(lines), sorted(found)
