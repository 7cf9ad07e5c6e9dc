"""Takes the installing of software out of a cell: the image holds the packages, and compute nodes are often offline.

A cell keeps its number of lines, so that errors name the lines of the original, and no block becomes empty. What a
line does besides installing stays.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from dl4mic_hpc.notebook.lines import Statement, shell_cell, statements

LEFT_OUT = "# left out:"

_MAGIC = re.compile(
    r"(?P<bind>\s*[\w.,\s]+=\s*)?(?P<mark>\s*(?:!!?|%(?:sx|system|sc|shell)\s|%))(?P<command>.*)", re.S
)
_OPERATOR = re.compile(r"&&|\|\||;|\||(?<![<>&\d])&(?![>&\d])")
_KEYWORDS = {"if", "then", "else", "elif", "for", "while", "until", "do", "case", "{", "(", "!"}
_WRAPPERS = {"sudo", "time", "nohup", "env", "exec", "command", "-E", "-H", "-n", "-y"}
_PYTHON = re.compile(r"(?:.*/)?(?:python[\d.]*|\{?\$?\{?sys\.executable\}?|\{?PYTHON\}?)$", re.I)
_PIP = re.compile(r"(?:.*/)?pip[\d.]*$")
_CONDA = {"conda", "mamba", "micromamba"}
_APT = {"apt", "apt-get", "aptitude", "add-apt-repository", "apt-key"}
_CONDA_VERBS = {"install", "uninstall", "remove", "update", "upgrade", "create"}
_TAKES_A_VALUE = {
    "-i", "--index-url", "--extra-index-url", "-f", "--find-links", "-t", "--target", "--prefix", "--root", "-c",
    "--constraint", "--channel", "-n", "--name", "--upgrade-strategy", "--progress-bar", "--platform",
    "--trusted-host", "--global-option", "--install-option", "--config-settings", "--python-version",
}  # fmt: skip
_FILES = {"-r": "-r", "--requirement": "-r", "-e": "-e", "--editable": "-e", "--file": "-r"}
_REDIRECT = re.compile(r"(?:\d|&)?>{1,2}(&?\d)?|<")
_RESTART = re.compile(
    r"\s*(?:(?:exit|quit|sys\.exit|os\._exit)\s*\([\s\d]*\)|os\.kill\s*\(\s*os\.getpid\s*\(\s*\).*\)"
    r"|get_ipython\(\)\.kernel\.do_shutdown\(.*\))\s*;?\s*"
)
_BY_PYTHON = re.compile(
    r"(?:subprocess\.\w+|os\.system|os\.popen|get_ipython\(\)\.(?:system|run_line_magic)|run_line_magic)\s*\("
    r"[^#]*\b(?:pip[\d.]*|conda|mamba|apt(?:-get)?)\b[^#]*\binstall\b|\bpip(?:_?main)?\.main\s*\(|\bcondacolab\.install\w*\s*\("
    r"|^\s*[!%]\s*\S*python[\d.]*\s+\S*setup\.py\s+(?:install|develop)\b",
    re.S,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """What was taken out of a line (from 1): `text` is the original, `requirements` what pip or conda was to install."""

    line: int
    text: str
    requirements: tuple[str, ...]


def drop(source: str) -> tuple[str, tuple[Dropped, ...]]:
    """The source without its installs and without the restart of the kernel that follows them."""
    lines = source.split("\n")
    found: list[Dropped] = []
    block = ""
    for statement in statements(source):
        if statement.kind == "python":
            restart = found and statement.indent == block and _RESTART.fullmatch("\n".join(statement.code))
            block = block if restart or statement.masked[0].lstrip().startswith("import ") else ""
            if restart:
                found.append(_replace(lines, statement, "", ()))
            continue
        head, command = _command(statement, in_shell=shell_cell(source))
        kept, dropped = _split(command) if command else ("", [])
        if dropped:
            block = statement.indent
            wanted = tuple(
                name for unit in dropped for words in _words(unit) for name in _requirements(words)
            )
            found.append(_replace(lines, statement, f"{head}{kept}" if kept else "", wanted))
    return "\n".join(lines), tuple(found)


def by_python(source: str) -> Iterator[tuple[int, str]]:
    """Lines that install or end the kernel by a Python call; they stay, because the code around them uses the call."""
    for statement in statements(source):
        text = "\n".join(statement.code)
        if _BY_PYTHON.search(text):
            yield statement.number, "installs software, which fails on a node without internet"
        elif statement.kind == "python" and _RESTART.fullmatch(text):
            yield statement.number, "ends the kernel, and every value with it"


def _replace(lines: list[str], statement: Statement, kept: str, requirements: tuple[str, ...]) -> Dropped:
    """Writes into `lines` what stays of a statement; `kept` is "" for nothing."""
    start, text = statement.number - 1, statement.joined
    others = [""] * (len(statement.lines) - 1)
    if not kept:
        bind = _MAGIC.fullmatch(statement.lines[0])
        if statement.kind == "shell" and bind and bind["bind"]:
            kept = f"{statement.indent}{bind['bind'].strip()} []  {LEFT_OUT} {statement.lines[0].strip()}"
        else:
            block = ":  " if not statement.lines[0].lstrip().startswith(("!", "%")) else "pass  "
            block = "pass  " if statement.kind == "python" else block
            here = block if statement.indent or block == ":  " else ""
            kept = f"{statement.indent}{here}{LEFT_OUT} {_comment(statement.lines[0])}"
            others = [f"{statement.indent}#   {_comment(line)}" for line in statement.lines[1:]]
    lines[start : start + len(statement.lines)] = [kept, *others]
    return Dropped(line=statement.number, text=text, requirements=requirements)


def _comment(line: str) -> str:
    return line.strip().removesuffix("\\").rstrip()


def _command(statement: Statement, *, in_shell: bool) -> tuple[str, str]:
    """What stands before the shell's command on its line, and the command; ("", "") for a magic without one."""
    if in_shell:
        text = statement.joined
        return ("", "") if text.startswith("%%") else (statement.indent, text)
    if statement.kind != "shell":
        return "", ""
    found = _MAGIC.fullmatch(statement.joined)
    if found is None or found["command"].startswith("%"):
        return "", ""
    return f"{statement.indent}{found['bind'] or ''}{found['mark'].lstrip()}", found["command"]


def _split(command: str) -> tuple[str, list[str]]:
    """The command without its installs, and the installs. A compound command goes or stays as a whole."""
    units, operators = _units(command)
    marks = [any(_installs(words) for words in _words(unit)) for unit in units]
    if not any(marks):
        return command, []
    if any(unit.split()[:1] and unit.split()[0].lstrip("(") != unit.split()[0] for unit in units) or any(
        unit.split()[:1] and unit.split()[0] in _KEYWORDS for unit in units
    ):
        return "", [command]
    kept: list[str] = []
    dropped: list[str] = []
    skip = False
    for index, unit in enumerate(units):
        follows = operators[index] if index < len(operators) else ""
        if skip or marks[index]:
            if marks[index]:
                dropped.append(unit)
            skip = follows == "||"
            if kept and not follows:
                kept.pop()
            continue
        kept += [unit.strip(), follows]
    if kept and kept[-1] in ("", "&&", "||", ";", "&"):
        kept.pop()
    if all(unit.split()[:1] == ["cd"] for unit in kept[::2]):
        return "", dropped
    text = ""
    for unit, operator in zip(kept[::2], [*kept[1::2], ""], strict=False):
        text += f"{unit}{operator} " if operator == ";" else f"{unit} {operator} "
    return text.strip(), dropped


def _units(command: str) -> tuple[list[str], list[str]]:
    """What stands between `;`, `&&`, `||` and `&`, a pipe in one piece, and these operators; no comment."""
    units, operators, start, column, quote = [], [], 0, 0, ""
    end = len(command)
    while column < end:
        char = command[column]
        if char == "\\":
            column += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char == "#" and (column == 0 or command[column - 1].isspace()):
            end = column
            break
        else:
            found = _OPERATOR.match(command, column)
            if found and found[0] != "|":
                units.append(command[start:column])
                operators.append(found[0])
                column = start = found.end()
                continue
            column = found.end() - 1 if found else column
        column += 1
    return [*units, command[start:end]], operators


def _words(unit: str) -> Iterator[list[str]]:
    """The words of every command of a pipe, without what only prepares it (sudo, NAME=value)."""
    pieces = re.split(r"\|", unit) if "'" not in unit and '"' not in unit else [unit]
    for piece in pieces:
        try:
            words = shlex.split(piece)
        except ValueError:
            words = piece.split()
        words = [word.strip("()") for word in words]
        while words and (words[0] in _WRAPPERS | _KEYWORDS | {""} or re.match(r"[A-Za-z_]\w*=", words[0])):
            words.pop(0)
        if words:
            yield words


def _installs(words: list[str]) -> bool:
    tool, rest = _tool(words)
    verb = next((word for word in rest if not word.startswith("-")), "")
    return (
        tool == "apt"
        or (tool == "pip" and verb in ("install", "uninstall"))
        or (tool == "conda" and verb in _CONDA_VERBS)
    )


def _tool(words: list[str]) -> tuple[str, list[str]]:
    first, rest = words[0], words[1:]
    name = first.rsplit("/", 1)[-1]
    if _PYTHON.match(first):
        for index, word in enumerate(rest[:-1]):
            if word == "-m":
                return _tool(rest[index + 1 :])
        return "", []
    if _PIP.match(first):
        return "pip", rest
    if name == "uv":
        return ("pip", rest[1:]) if rest[:1] == ["pip"] else ("", [])
    if name in _CONDA:
        return "conda", rest
    return ("apt", rest) if name in _APT else ("", [])


def _requirements(words: list[str]) -> Iterator[str]:
    """What an install command names: "wget==3.2", "-r requirements.txt", "-e folder"."""
    tool, rest = _tool(words)
    verb = next((word for word in rest if not word.startswith("-")), "")
    if tool not in ("pip", "conda") or verb != "install":
        return
    todo = iter(rest[rest.index("install") + 1 :])
    for word in todo:
        option, _, value = word.partition("=")
        if option in _FILES:
            yield f"{_FILES[option]} {value or next(todo, '')}"
        elif option in _TAKES_A_VALUE and not value:
            next(todo, "")
        elif found := _REDIRECT.match(word):
            if found.end() == len(word) and not found[1]:
                next(todo, "")
        elif not word.startswith("-"):
            yield word
