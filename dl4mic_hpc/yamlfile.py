"""YAML files that people write: read without surprises, every mistake told with its line and key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from dl4mic_hpc.errors import perhaps_you_meant

Model = TypeVar("Model", bound=BaseModel)


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
    """All that is wrong in a file: one sentence per mistake, each with file and line."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        count = f"{len(mistakes)} mistakes:\n  " if len(mistakes) > 1 else ""
        self.message = count + "\n  ".join(mistakes)


def parse(
    text: str, model: type[Model], *, where: str, also: dict[str, Any] | None = None, verbatim: bool = False
) -> Model:
    """The checked value in `text`; `also` are fields of the model that do not stand in the file.

    `verbatim` leaves every value the text that was written, so that version 3.10 does not become the number 3.1.
    YamlError lists every mistake at once.
    """
    loader = yaml.BaseLoader if verbatim else _Loader
    try:
        node = yaml.compose(text, Loader=loader)
        values = yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}:{mark.line + 1}" if mark else where
        raise YamlError([f"{place}: this is not YAML: {getattr(error, 'problem', None) or error}"]) from error
    if not isinstance(values, dict):
        raise YamlError([f"{where}:1: a list of `key: value` lines is expected"])
    also = also or {}
    try:
        return model.model_validate({**values, **also})
    except ValidationError as error:
        mistakes = sorted(
            (_line(node, problem["loc"]), _sentence(problem, model, hidden=set(also)))
            for problem in error.errors()
        )
        raise YamlError([f"{where}:{line}: {sentence}" for line, sentence in mistakes]) from None


def _sentence(problem: Any, model: type[BaseModel], *, hidden: set[str]) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    kind, message = problem["type"], str(problem["msg"]).removeprefix("Value error, ")
    if kind == "extra_forbidden":
        known = sorted(set(_model_at(model, problem["loc"][:-1]).model_fields) - hidden)
        return f"unknown key '{key}' ({perhaps_you_meant(str(problem['loc'][-1]), known)})"
    if kind == "missing":
        return f"key '{key}' is missing"
    return f"key '{key}': {message}" if key else message


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
