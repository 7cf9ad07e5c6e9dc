"""YAML files that people write: read without surprises, every mistake told with its line and key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from dl4mic_hpc.errors import perhaps_you_meant

Model = TypeVar("Model", bound=BaseModel)

LARGEST = 64 * 1024
"""Bytes of the largest file that is read: the largest real ones have some ten thousand."""

MOST_VALUES = 100_000
"""Values that a file may have once its aliases are followed: a few lines of aliases can stand for billions."""


class _Loader(yaml.SafeLoader):
    """YAML as people mean it: `time: 8:00:00` is text, not the number 28800 of YAML 1.1's base 60."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?$"), list("-+0123456789")
)


class YamlError(Exception):
    """All that is wrong in a file: (line, sentence) per mistake; line 0 is the whole file."""

    def __init__(self, where: str, mistakes: Sequence[tuple[int, str]]) -> None:
        self.mistakes = tuple(mistakes)
        told = [f"{where}:{line}: {text}" if line else f"{where}: {text}" for line, text in self.mistakes]
        super().__init__("\n".join(told))
        count = f"{len(told)} mistakes:\n  " if len(told) > 1 else ""
        self.message = count + "\n  ".join(told)


def read_text(path: Path) -> str:
    """The file's text; YamlError if it is not UTF-8. OSError as it comes."""
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise _too_large(str(path))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise YamlError(str(path), [(line, "this is no text in UTF-8; save it as UTF-8")]) from error


def compose(text: str, *, where: str, verbatim: bool = False) -> yaml.MappingNode:
    """The nodes of a file that is one mapping, with no key twice. YamlError for everything else."""
    if len(text) > LARGEST:
        raise _too_large(where)
    try:
        node = yaml.compose(text, Loader=yaml.BaseLoader if verbatim else _Loader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        code = error.character if isinstance(error.character, int) else ord(error.character)
        raise YamlError(where, [(line, f"this is no text: it holds the character U+{code:04X}")]) from error
    except yaml.YAMLError as error:
        raise _not_yaml(error, text, where) from error
    except RecursionError:
        raise YamlError(where, [(0, "the file is nested too deeply")]) from None
    if not isinstance(node, yaml.MappingNode):
        raise YamlError(where, [(1, "a list of `key: value` lines is expected")])
    if _size(node, {}) > MOST_VALUES:
        raise YamlError(where, [(0, "the aliases (*name) stand for too many values; write the values out")])
    if twice := list(_twice(node, set())):
        raise YamlError(where, twice)
    return node


def _too_large(where: str) -> YamlError:
    return YamlError(where, [(0, f"the file is larger than {LARGEST // 1024} KiB; is it the right one?")])


def _not_yaml(error: yaml.YAMLError, text: str, where: str) -> YamlError:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    if mark is not None and text[mark.index : mark.index + 1] == "\t":
        problem = "there is a tab; YAML is indented with blanks"
    return YamlError(where, [(mark.line + 1 if mark else 0, f"this is not YAML: {problem}")])


def _size(node: Any, known: dict[int, int]) -> int:
    """How many values a node stands for, its aliases followed; a node inside itself is endless."""
    if id(node) not in known:
        known[id(node)] = MOST_VALUES + 1
        parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else []
        parts = list(node.value) if isinstance(node, yaml.SequenceNode) else parts
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]


def _twice(node: Any, seen: set[int]) -> Iterator[tuple[int, str]]:
    """Keys that a mapping has twice: YAML forbids them, and the reader would silently take the last."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.value in lines:
                yield line, f"key '{key.value}' stands here and on line {lines[key.value]}; keep one of them"
            if isinstance(key, yaml.ScalarNode):
                lines.setdefault(key.value, line)
            yield from _twice(value, seen)
    elif isinstance(node, yaml.SequenceNode):
        for each in node.value:
            yield from _twice(each, seen)


def parse(
    text: str, model: type[Model], *, where: str, also: dict[str, Any] | None = None, verbatim: bool = False
) -> Model:
    """The checked value in `text`; `also` are fields of the model that do not stand in the file.

    `verbatim` leaves every value the text that was written, so that version 3.10 does not become the number 3.1.
    YamlError lists every mistake at once.
    """
    node = compose(text, where=where, verbatim=verbatim)
    try:
        values = (yaml.BaseLoader if verbatim else _Loader)("").construct_document(node)
    except yaml.YAMLError as error:
        raise _not_yaml(error, text, where) from error
    also = also or {}
    try:
        return model.model_validate({**values, **also})
    except ValidationError as error:
        mistakes = sorted(
            (_line(node, problem["loc"]), _sentence(problem, model, hidden=set(also)))
            for problem in error.errors()
        )
        raise YamlError(where, mistakes) from None


def _sentence(problem: Any, model: type[BaseModel], *, hidden: set[str]) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    kind, message = problem["type"], str(problem["msg"]).removeprefix("Value error, ")
    if kind == "extra_forbidden":
        known = sorted(set(_model_at(model, problem["loc"][:-1]).model_fields) - hidden)
        return f"unknown key '{key}' ({perhaps_you_meant(str(problem['loc'][-1]), known)})"
    if kind == "missing":
        return f"key '{key}' is missing"
    message = _PLAIN.get(kind, message)
    given = _STRUCTURES.get(type(problem["input"]))
    if kind == "string_type" and given:
        message = f"a text is expected here, not {given}"
    if kind == "literal_error":
        message = f"'{problem['input']}' is none of {problem['ctx']['expected']}"
    return f"key '{key}': {message}" if key else message


_STRUCTURES: dict[Any, str] = {list: "a list", dict: "`key: value` lines"}

_PLAIN = {
    "string_too_short": "it is empty",
    "model_type": "`key: value` lines are expected here",
    "dict_type": "`key: value` lines are expected here",
    "list_type": "a list is expected here",
    "tuple_type": "a list is expected here",
}


def _model_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel]:
    for part in location:
        field = model.model_fields.get(str(part))
        if (
            field is not None
            and isinstance(field.annotation, type)
            and issubclass(field.annotation, BaseModel)
        ):
            model = field.annotation
    return model


def _line(node: Any, location: tuple[int | str, ...]) -> int:
    """The line (from 1) on which the value at `location` stands."""
    line = 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == part), None)
            if found is None:
                return line
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line
