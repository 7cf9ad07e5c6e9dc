"""YAML that people write, and YAML that somebody broke: one sentence with file and line, never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from dl4mic_hpc import yamlfile


class Colours(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: str = ""
    parts: dict[str, str] = {}
    many: tuple[str, ...] = ()


def told(text: str) -> str:
    with pytest.raises(yamlfile.YamlError) as caught:
        yamlfile.parse(text, Colours, where="a.yaml", verbatim=True)
    return caught.value.message


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 8)}]\n" for level in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a.yaml:1: a list of `key: value` lines is expected"),
        ("# nothing\n", "a.yaml:1: a list of `key: value` lines is expected"),
        ("- a\n", "a.yaml:1: a list of `key: value` lines is expected"),
        ("name: a\nparts:\n\tx: 1\n", "a.yaml:3: this is not YAML: there is a tab; YAML is indented with blanks"),
        ("name: a\nname: b\n", "a.yaml:2: key 'name' stands here and on line 1; keep one of them"),
        ("x:\n  - y: 1\n    y: 2\n", "a.yaml:3: key 'y' stands here and on line 2; keep one of them"),
        ("many: [a\nname: b\n", "a.yaml:2: this is not YAML"),
        ("name: 'a\n", "this is not YAML"),
        ("name: [a]\n", "a.yaml:1: key 'name': a text is expected here, not a list"),
        ("\nname: {a: b}\n", "a.yaml:2: key 'name': a text is expected here, not `key: value` lines"),
        ("parts: a\n", "a.yaml:1: key 'parts': `key: value` lines are expected here"),
        ("many: a\n", "a.yaml:1: key 'many': a list is expected here"),
        ("name: *gone\n", "a.yaml:1: this is not YAML"),
        ("name: a\n---\nname: b\n", "a.yaml:2: this is not YAML"),
        ("name: a\nx: \0\n", "a.yaml:2: this is no text: it holds the character U+0000"),
        ("x: " + "[" * 50_000, "a.yaml: the file is nested too deeply"),
        ("x: &x [*x]\n", "a.yaml: the aliases (*name) stand for too many values"),
        (BOMB, "a.yaml: the aliases (*name) stand for too many values"),
        ("name: " + "x" * yamlfile.LARGEST, "a.yaml: the file is larger than 64 KiB"),
    ],
    ids=lambda value: repr(value[:24]),
)  # fmt: skip
def test_bad_input(text: str, says: str) -> None:
    assert says in told(text)


@pytest.mark.parametrize(
    "text",
    [
        "name: three\r\nparts:\r\n  x: y\r\n",
        "\ufeffname: three\nparts: {x: y}\n",
        "one: &one {x: y}\nname: three\nparts: *one\n",
        "name: three\nparts: {x: y}\nname_of: three\n",
    ],
    ids=["CRLF", "BOM", "an alias", "keys alike"],
)
def test_what_is_fine(text: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(text.encode())
    read = yamlfile.parse(yamlfile.read_text(file), Colours, where="a.yaml", verbatim=True)
    assert (read.name, read.parts) == ("three", {"x": "y"})


@pytest.mark.parametrize(
    ("data", "line"), [("name: a\nx: é\n".encode("latin-1"), 2), ("name: a\n".encode("utf-16"), 1)]
)
def test_what_is_no_text(data: bytes, line: int, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(data)
    with pytest.raises(yamlfile.YamlError) as caught:
        yamlfile.read_text(file)
    assert caught.value.message == f"{file}:{line}: this is no text in UTF-8; save it as UTF-8"


def test_all_mistakes_at_once_in_their_order() -> None:
    assert told("many: a\nname: [b]\nparts: 3\n").startswith("3 mistakes:\n  a.yaml:1: key 'many'")


def test_a_huge_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes("é".encode() * 1_000_000)
    with pytest.raises(yamlfile.YamlError, match="the file is larger than 64 KiB"):
        yamlfile.read_text(file)
