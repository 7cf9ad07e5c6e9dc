"""Which of a form's paths must be filled in before its cell may run.

A notebook joins paths as `folder + "/" + name`: with an empty folder that is a place at the top of the disk, and
many cells delete what is there. The form says which paths may stay empty in the words above the field ("If not,
please provide …", "optional", 'If you chose "Model_from_file" …') and by the box that the field follows. These
rules read them, on the form's present values. Standard library and Python 3.7 syntax only.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Mapping

from .folders import is_place, words
from .forms import Field, Form, Markdown

Need = Callable[[Mapping[str, Any]], bool]
"""Tells for the form's values, by field name, whether something is needed."""

_MODEL = re.compile(r"(?i)model_(name|path)")
_OPTIONAL = re.compile(
    r"(?i)\boptional|\b(left|leave\w*)( \W?\w+\W?)? (blank|empty)\b|\bnot (necessary|needed)\b|\botherwise the\b"
)
_NO = re.compile(r"(?i)\W*(if (not|no)|otherwise)\b")
_INSTEAD = re.compile(r"(?i)\binstead of\b.*\babove\b")
_YES = re.compile(r"(?i)\W*if (yes|so|chosen|selected|you do)\b")
_IF = re.compile(r"(?i)\W*(if|in case|for transfer learning)\b")
_SWITCH = re.compile(r"(?i)augment|pretrained")
_DELETES = re.compile(
    r"\brmtree\b|\bos\.(remove|unlink|removedirs|rmdir)\b|\.unlink\(|\brm\s+-|\bshutil\.move\b"
)
_COMMON = {
    "use", "the", "of", "to", "model", "models", "path", "folder", "dir", "directory", "file", "data", "image",
    "images", "training", "qc", "prediction", "source", "target", "save", "saving", "full",
}  # fmt: skip
_NO_PATH = {"name", "names", "id", "url", "description", "labels"}
_PLAIN = 7  # the level of text that is no heading: below all six


def missing(form: Form, values: Mapping[str, Any]) -> list[str]:
    """The fields that are empty and must not be, with `values` by name; where one is absent its default holds."""
    now: dict[str, Any] = {field.name: field.value for field in form.fields}
    now.update((name, value) for name, value in values.items() if value is not None)
    empty = {name for name, value in now.items() if isinstance(value, str) and not value.strip()}
    return [name for name, need in needs(form).items() if name in empty and need(now)]


def never_empty(name: str) -> bool:
    """Whether the field names the folder that training cells further down delete and make anew."""
    return _MODEL.fullmatch(name) is not None


def deletes(source: str) -> bool:
    """Whether a cell's code removes files or folders."""
    return _DELETES.search(source) is not None


def needs(form: Form) -> dict[str, Need]:
    """The fields that name a place (or the model, which becomes a folder), each with its rule."""
    found: dict[str, Need] = {}
    reader = _Reader()
    for item in form.items:
        if isinstance(item, Markdown):
            reader.text(item.text)
            continue
        need = reader.need(item)
        if reader.asks_for_a_place(item):
            found[item.name] = need
        if reader.replaces_what_is_above(item):
            otherwise = _is(item, (False,))
            found = {name: _all([each, otherwise]) for name, each in found.items()}
        reader.field(item, need)
    return found


class _Reader:
    """Goes through a form from top to bottom and knows which texts and boxes hold for the next field.

    A text holds until the next one of its own or a higher level, as a heading does.
    """

    def __init__(self) -> None:
        self._texts: list[tuple[int, str, Need]] = []
        self._fields: list[tuple[Field, Need]] = []
        self._follows: Field | None = None

    def text(self, markdown: str) -> None:
        lines = [re.sub(r"<[^>]*>", "", line).strip() for line in markdown.split("\n")]
        lines = [line for line in lines if line.strip("#-_* ")]
        self._follows = None
        if lines:
            level = min(len(line) - len(line.lstrip("#")) or _PLAIN for line in lines)
            self._texts = [known for known in self._texts if known[0] < level]
            words = [line.lstrip("# ") for line in lines]
            self._texts.append((level, " ".join(words), self._rule(words)))

    def field(self, field: Field, need: Need) -> None:
        self._fields.append((field, need))
        self._follows = field if field.kind == "boolean" else None

    def need(self, field: Field) -> Need:
        rules = [rule for _, _, rule in self._texts]
        if self._follows is not None and all(rule in (_always, _never) for rule in rules):
            rules = [_is(self._follows, (True,))]
        about = set(words(field.name)) - _COMMON
        for number, (earlier, _) in enumerate(self._fields):
            if earlier.kind == "boolean":
                switch = number == 0 and _SWITCH.search(earlier.name)
                if switch or about & set(words(earlier.name)):
                    rules.append(_is(earlier, (True,)))
            elif earlier.options and words(earlier.name)[:-1] == words(field.name)[:-1] != []:
                own = tuple(
                    option for option in earlier.options if re.search(r"(?i)\bfrom_file|\bown", option)
                )
                rules += [_is(earlier, own)] * bool(own)
        return _all(rules)

    def replaces_what_is_above(self, field: Field) -> bool:
        """Whether this is the box of "instead of filling in the parameters above …"; what is below needs it on."""
        if field.kind != "boolean" or not self._texts:
            return False
        level, words, rule = self._texts[-1]
        if rule is not _never or not _INSTEAD.search(words):
            return False
        self._texts[-1] = (level, words, _is(field, (True,)))
        return True

    def asks_for_a_place(self, field: Field) -> bool:
        if never_empty(field.name):
            return True
        above = self._texts[-1][1] if self._texts else ""
        if field.kind != "string" or re.search(r"(?i)\burl\b", above):
            return False
        spoken_of = field.value == "" and re.search(r"(?i)\b(path|folder|directory)\b", above)
        return is_place(field) or bool(spoken_of and not _NO_PATH & set(words(field.name)[-1:]))

    def _rule(self, lines: list[str]) -> Need:
        """What the first line with a condition says about the fields below it."""
        boxes = [(field, need) for field, need in self._fields if field.kind == "boolean"]
        for line in lines:
            if _OPTIONAL.search(line) or _INSTEAD.search(line):
                return _never
            for pattern, wanted in ((_NO, False), (_YES, True)):
                if pattern.match(line) and boxes:
                    box, need = boxes[-1]
                    # One notebook says "If not" of the pretrained model where it means "If so".
                    return _all([_is(box, (wanted or bool(_SWITCH.search(box.name)),)), need])
            if _IF.match(line):
                for choice, need in reversed(self._fields):
                    named = tuple(option for option in choice.options if _says(line, option))
                    if named:
                        return _all([_is(choice, named), need])
                return _never
        return _always


def _always(values: Mapping[str, Any]) -> bool:
    return True


def _never(values: Mapping[str, Any]) -> bool:
    return False


def _is(field: Field, wanted: tuple[Any, ...]) -> Need:
    return lambda values: values[field.name] in wanted


def _all(rules: list[Need]) -> Need:
    rules = [rule for rule in rules if rule is not _always]
    if not rules:
        return _always
    return _never if _never in rules else lambda values: all(rule(values) for rule in rules)


def _says(line: str, option: str) -> bool:
    """Whether a sentence names a choice: "your own model" names Own_model."""
    plain, name = (re.sub(r"[\W_]+", " ", text.lower()).strip() for text in (line, option))
    return len(name) > 4 and re.search(rf"\b{re.escape(name)}\b", plain) is not None
