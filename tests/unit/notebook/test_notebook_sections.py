"""Sections by their numbered headings."""

from __future__ import annotations

import pytest
from nbformat import v4

from dl4mic_hpc.notebook.sections import SectionError, find, headings, numbers, shown


def cells(*sources: str) -> list[object]:
    return [v4.new_code_cell("pass") if text == "code" else v4.new_markdown_cell(text) for text in sources]


TREE = cells(
    "# Title", "# **1. Install**\n---", "## **1.1. Packages**", "code", "### Unnumbered inside", "code",
    "## 1.2 Restart", "code", "# <font size=4>**2. Drive**</font>", "code", "# **10. Ten**", "# Appendix", "code",
)  # fmt: skip


@pytest.mark.parametrize(
    ("number", "held"),
    [("1.", (1, 8)), ("1.1.", (2, 6)), ("1.1", (2, 6)), ("1.2.", (6, 8)), ("2", (8, 10)), ("10.", (10, 11))],
)
def test_a_section_holds_what_is_below_its_heading(number: str, held: tuple[int, int]) -> None:
    assert find(TREE, number)[1] == range(*held)


def test_a_rule_or_an_anchor_above_a_heading_is_no_text() -> None:
    tree = cells('<a name="one"></a>\n---\n# 1. A', "code", "\n***\n# 2. B")
    assert find(tree, "1.")[1] == range(2)


def test_ten_is_not_below_one() -> None:
    assert find(cells("# 1. A", "code", "# 10. B"), "1.")[1] == range(2)


def test_headings() -> None:
    source = "text\n```\n# a comment\n```\n## *A* B ##\n#no space"
    found = [(each.level, each.text, each.first) for each in headings(cells(source))]
    assert found == [(2, "A B", False), (1, "no space", False)]
    assert [each.number for each in headings(TREE)] == ["", "1", "1.1", "", "1.2", "2", "10", ""]


def test_every_cell_knows_its_innermost_numbered_section() -> None:
    own = ["", "1", "1.1", "1.1", "1.1", "1.1", "1.2", "1.2", "2", "2", "10", "", ""]
    assert numbers(TREE) == own


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("**3.1. Setting** the `x`", "3.1. Setting the x"),
        ("<font size=4>A &amp; B</font>", "A & B"),
        ("[A *b*](https://e.x) ![c](d.png)", "A b"),
        (r"_a_ snake_case \* \_x", "a snake_case * _x"),
    ],
)
def test_what_a_reader_sees(line: str, seen: str) -> None:
    assert shown(line) == seen


@pytest.mark.parametrize(
    ("sources", "number", "says", "cell"),
    [
        (("# 1. A", "# 2. B"), "3.", "no section 3 to remove; the numbered sections are: 1, 2", None),
        (("text",), "3.", "the numbered sections are: none", None),
        (("# 1. A", "# 1. B"), "1.", "section 1 exists 2 times", 1),
        (("text\n# 1. A", "# 2. B"), "1.", "the heading 'A' is not the first line", 0),
        (("# 1. A", "code", "text\n# 2. B"), "1.", "the heading 'B' is not the first line", 2),
    ],
)
def test_what_cannot_be_removed(sources: tuple[str, ...], number: str, says: str, cell: int | None) -> None:
    with pytest.raises(SectionError) as caught:
        find(cells(*sources), number)
    assert says in str(caught.value)
    assert caught.value.cell == cell
