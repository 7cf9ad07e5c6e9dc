"""Everything that is wrong with a configuration, all at once: `notebook check`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from dl4mic_hpc import yamlfile
from dl4mic_hpc.catalog.combinations import Told, of_the_image
from dl4mic_hpc.catalog.configuration import Configuration, Facts, read_text
from dl4mic_hpc.catalog.requirements import of_the_requirements
from dl4mic_hpc.catalog.spec import RECIPE

_PLACE = ("config", "dl4miceverywhere")
_OWN_VERSION = re.compile(r"Notebook_version\s*=\s*\[?\s*['\"]([^'\"\s]+)['\"]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong: a mistake, which makes the notebook impossible, or a warning.

    `line` (from 1) is that of the key in the configuration, 0 if it is about none. `key` is "" for what is told of
    the whole file.
    """

    mistake: bool
    line: int
    key: str
    text: str

    def as_json(self) -> dict[str, object]:
        return {"line": self.line or None, "key": self.key or None, "text": self.text}


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A configuration's text: its values if it has no mistake in form, and what is wrong with it."""

    configuration: Configuration | None
    findings: tuple[Finding, ...]
    lines: dict[str, int]

    def about(self, told: Iterable[Told]) -> tuple[Finding, ...]:
        return tuple(
            Finding(mistake=mistake, line=self.lines.get(key, 0), key=key, text=text)
            for mistake, key, text in told
        )

    def with_requirements(self, text: str) -> tuple[Finding, ...]:
        return self.about(of_the_requirements(text, self.configuration.facts)) if self.configuration else ()

    def with_notebook(self, notebook: bytes) -> tuple[Finding, ...]:
        return self.about(_of_the_notebook(notebook, self.configuration)) if self.configuration else ()


def read(path: Path) -> Read:
    """With a Dockerfile beside it, which may make of the versions what it likes, they are not compared."""
    where, own_recipe = str(path), (path.absolute().parent / RECIPE).is_file()
    mistakes: list[Finding] = []
    found: Configuration | None = None
    text = ""
    try:
        text = read_text(path)
        found = yamlfile.parse(text, Configuration, where=where, verbatim=True)
    except yamlfile.YamlError as error:
        mistakes = [Finding(mistake=True, line=line, key="", text=told) for line, told in error.mistakes]
    try:
        scalars = _scalars(yamlfile.compose(text, where=where, verbatim=True))
    except yamlfile.YamlError:  # it is no YAML, and nothing else can be said of it
        scalars = {}
    lines = {key: node.start_mark.line + 1 for key, node in scalars.items()}
    # Versions are compared also where something else in the file is wrong: whoever mends it wants to know all.
    written = {key: node.value for key, node in scalars.items() if key in Facts.model_fields}
    facts = found.facts if found else Facts.model_construct(None, **written)
    told = [
        *_numbers(scalars),
        *(_versions(found) if found else ()),
        *(of_the_image(facts) if scalars and not own_recipe else ()),
    ]
    empty = Read(configuration=found, findings=(), lines=lines)
    return Read(configuration=found, findings=(*mistakes, *empty.about(told)), lines=lines)


def _scalars(node: yaml.Node) -> dict[str, yaml.ScalarNode]:
    """The single values of config.dl4miceverywhere, by key."""
    for part in _PLACE:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((value for key, value in pairs if key.value == part), yaml.ScalarNode("", ""))
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return {key.value: value for key, value in pairs if isinstance(value, yaml.ScalarNode)}


def _numbers(scalars: dict[str, yaml.ScalarNode]) -> Iterator[Told]:
    for key, node in scalars.items():
        text = node.value
        if node.style is None and re.fullmatch(r"\d+\.\d+", text) and str(float(text)) != text:
            yield False, key, f"other programs read {text} without quotes as {float(text)}; write '{text}'"


def _versions(found: Configuration) -> Iterator[Told]:
    version, image = found.facts.notebook_version, found.facts.docker_hub_image
    if version and not re.fullmatch(r"\d+(\.\d+)*([-.]?[A-Za-z]+\d*)?", version):
        yield False, "notebook_version", f"'{version}' is no version"
    published = re.search(r"-[a-z](\d[^-]*)-d[^-]*$", image)
    if version and published and published[1] != version:
        yield (
            False,
            "docker_hub_image",
            f"is of version {published[1]} of the notebook, and notebook_version is {version}",
        )


def _of_the_notebook(notebook: bytes, found: Configuration) -> Iterator[Told]:
    """ZeroCostDL4Mic's notebooks say in their code which version they are."""
    try:
        cells = json.loads(notebook)["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    except (ValueError, KeyError, TypeError, RecursionError):
        return  # its conversion says what is wrong with it
    own, version = _OWN_VERSION.search(code), found.facts.notebook_version
    if own and version and own[1] != version:
        yield False, "notebook_version", f"is {version}, and the notebook calls itself {own[1]}"
