"""Our instructions as BuildKit's parser shows its own, so that the two can be compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

from dl4mic_hpc.recipe import arguments
from dl4mic_hpc.recipe.parser import Dockerfile, Instruction, parse


class Node(NamedTuple):
    """One instruction. words: name, value, name, … of ENV and LABEL, with what joins them as `joint`, "" in the old
    form. is_json: the words stood in an array. trigger: what ONBUILD keeps."""

    keyword: str
    flags: tuple[str, ...]
    words: tuple[str, ...]
    is_json: bool
    line: int
    heredocs: tuple[tuple[str, str], ...]
    trigger: Node | None = None
    joint: str = ""


def nodes(data: bytes) -> list[Node]:
    """The file's instructions. RecipeError or ArgumentError where BuildKit's parser fails."""
    dockerfile = parse(data)
    return [_node(each, dockerfile) for each in dockerfile.instructions]


def dump(nodes: list[Node], *, separators: bool) -> str:
    """The form of the files `result` among BuildKit's vectors.

    separators: ENV and LABEL show after each pair what joins it, as newer releases of BuildKit do.
    """
    return "\n".join(f"({_dump(node, separators)})" for node in nodes)


def _node(instruction: Instruction, dockerfile: Dockerfile) -> Node:
    keyword, text = instruction.keyword, instruction.arguments
    trigger = None
    if keyword == "ONBUILD" and text:
        (trigger,) = (_node(each, dockerfile) for each in _trigger(instruction, dockerfile))
        words, is_json = trigger.words, trigger.is_json
    else:
        words, is_json = _SPLIT.get(keyword, _text)(text, dockerfile.escape) if text else ((), False)
    heredocs = tuple((each.name, each.content) for each in instruction.heredocs)
    joint = "=" if "=" in (arguments.quoted_words(text, escape=dockerfile.escape) or ("",))[0] else ""
    return Node(keyword, instruction.flags, words, is_json, instruction.line, heredocs, trigger, joint)


def _trigger(instruction: Instruction, dockerfile: Dockerfile) -> tuple[Instruction, ...]:
    return parse(f"# escape={dockerfile.escape}\n{instruction.whole}".encode()).instructions


Split = tuple[tuple[str, ...], bool]


def _text(text: str, escape: str) -> Split:
    return (text,), False


def _array_or(otherwise: Callable[[str, str], Split]) -> Callable[[str, str], Split]:
    def split(text: str, escape: str) -> Split:
        listed = arguments.json_array(text)
        return otherwise(text, escape) if listed is None else (listed, True)

    return split


def _words(text: str, escape: str) -> Split:
    return arguments.words(text), False


def _quoted(text: str, escape: str) -> Split:
    return arguments.quoted_words(text, escape=escape), False


def _pairs(text: str, escape: str) -> Split:
    return tuple(part for pair in arguments.pairs(text, escape=escape) for part in pair), False


def _health(text: str, escape: str) -> Split:
    kind, command = arguments.first_word(text)
    words, is_json = _array_or(_text)(command, escape) if command else ((), False)
    return (kind, *words), is_json


_SPLIT: dict[str, Callable[[str, str], Split]] = {
    **dict.fromkeys(("ADD", "COPY", "VOLUME"), _array_or(_words)),
    **dict.fromkeys(("CMD", "ENTRYPOINT", "RUN", "SHELL"), _array_or(_text)),
    **dict.fromkeys(("ENV", "LABEL"), _pairs),
    **dict.fromkeys(("EXPOSE", "FROM"), _words),
    "ARG": _quoted,
    "HEALTHCHECK": _health,
}


def _dump(node: Node, separators: bool) -> str:
    parts = [node.keyword.lower()]
    if node.flags:
        parts.append("[" + " ".join(_quote(flag) for flag in node.flags) + "]")
    if node.trigger:
        parts.append(f"({_dump(node.trigger, separators)})")
    elif separators and node.keyword in ("ENV", "LABEL"):
        for name, value in zip(node.words[::2], node.words[1::2], strict=True):
            parts += [_quote(name), _quote(value), _quote(node.joint)]
    else:
        parts += [_quote(word) for word in node.words]
    return " ".join(parts)


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
