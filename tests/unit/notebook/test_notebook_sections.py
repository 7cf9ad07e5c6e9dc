"""Sections by their numbered headings."""

from __future__ import annotations

import pytest
from nbformat import v4

from dl4mic_hpc.notebook.sections import SectionError, find, headings


def cells(*sources: str) -> list[object]:
    return [v4.new_code_cell("pass") if text == "code" else v4.new_markdown_cell(text) for text in sources]


TREE = cells(
    "# Title", "# **1. Install**\n---", "## **1.1. Packages**", "code", "### Unnumbered inside", "code",
    "## 1.2 Restart", "code", "# <b>2.</b> no number", "# **2. Drive**", "code", "# **10. Ten**", "# Appendix",
)  # fmt: skip


@pytest.mark.parametrize(
    ("number", "held"),
    [("1.", (1, 8)), ("1.1.", (2, 6)), ("1.1", (2, 6)), ("1.2.", (6, 8)), ("10.", (11, 12))],
)
def test_a_section_holds_what_is_below_its_heading(number: str, held: tuple[int, int]) -> None:
    assert find(TREE, number)[1] == range(*held)


def test_ten_is_not_below_one() -> None:
    assert find(cells("# 1. A", "code", "# 10. B"), "1.")[1] == range(2)


def test_headings() -> None:
    source = "text\n```\n# a comment\n```\n## *A* B ##\n#no space"
    found = [(each.level, each.text, each.first) for each in headings(cells(source))]
    assert found == [(2, "A B", False), (1, "no space", False)]
    assert [each.number for each in headings(TREE)] == ["", "1", "1.1", "", "1.2", "", "2", "10", ""]


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
