"""References to removed sections, and links."""

from __future__ import annotations

import pytest
from nbformat import v4

from dl4mic_hpc.notebook.references import Map, anchor, code, markdown, survey

M = "(not needed here)"


def notebook_map(*sources: str, gone: set[int]) -> Map:
    cells = [v4.new_markdown_cell(source, metadata={"id": f"c{n}"}) for n, source in enumerate(sources)]
    return survey(cells, gone)


WHERE = notebook_map(
    "# **1. Install**", "## 1.1. Packages", "## 1.2 Start", "# 2. Drive and *GPU*", "## 2.1. Check (GPU)",
    '# 3. Train\n<a name="training"></a>', "text", "## **3.1. Paths & more**", "# 4. It's (all)", gone={1, 3, 4},
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("see section 2", f"see section 2 {M}"),
        ("see Section 2.", f"see Section 2 {M}."),
        ("run **sections 1 and 2** first", f"run **sections 1 and 2 {M}** first"),
        ("sections 1.1, 1.2 and 2", f"sections 1.1 {M}, 1.2 and 2 {M}"),
        ("sections 1-2 or 3", f"sections 1-2 {M} or 3"),
        ("Sections 1 – 4", "Sections 1 – 4"),
        ("section *2.1* and section 1.1. so", f"section *2.1 {M}* and section 1.1 {M}. so"),
        ("section 2 to section 3", f"section 2 {M} to section 3"),
        ("section 2 and 5 images", f"section 2 {M} and 5 images"),
        ("section 20, sections2, section 2D, intersection 2", "section 20, sections2, section 2D, intersection 2"),
        ("a\nb section 2\n* section 1.1", f"a\nb section 2 {M}\n* section 1.1 {M}"),
        ("- 2. Drive and GPU\n- 3. Train", f"- 2. Drive and GPU {M}\n- 3. Train"),
        ("nothing here", "nothing here"),
    ],
)  # fmt: skip
def test_references_are_marked(text: str, marked: str) -> None:
    found = markdown(text, WHERE)
    assert found.text == marked
    assert len(found.marked) == marked.count(M)
    assert markdown(marked, WHERE).text == marked


def test_marked_references_say_where() -> None:
    found = markdown("a\nsections 1.1 and 3\nsection 2", WHERE).marked
    assert [(each.line, each.section) for each in found] == [(2, "1.1"), (3, "2")]


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("[paths](#scrollTo=c7)", "[paths](#3.1.-Paths-&-more)"),
        ("[there](https://colab.research.google.com/drive/x#scrollTo=c7)", "[there](#3.1.-Paths-&-more)"),
        ("[below the heading](#scrollTo=c6)", "[below the heading](#3.-Train)"),
        ("[all](#scrollTo=c8)", "[all](<#4.-It's-(all)>)"),
        ("<a href='#scrollTo=c8'>all</a>", "<a href='#4.-It&#x27;s-(all)'>all</a>"),
        ("[train](#training)", "[train](#3.-Train)"),
        ("[train](#3-train)", "[train](#3.-Train)"),
        ("[check](#2.1.-Check-%28GPU%29)", f"check {M}"),
        ("[section 3](#lost)", "[section 3](#3.-Train)"),
        ("* [2. Drive](#scrollTo=c3)", f"* 2. Drive {M}"),
        ("[section 2](#scrollTo=c3)", f"section 2 {M}"),
        ('<a href="#training">train</a>', '<a href="#3.-Train">train</a>'),
        ("<a href='#scrollTo=c4'>check</a>", f"check {M}"),
        ("[elsewhere](https://e.x/#top)", "[elsewhere](https://e.x/#top)"),
        ("[other](https://colab.research.google.com/y#scrollTo=zzz)", "[other](https://colab.research.google.com/y#scrollTo=zzz)"),
    ],
)  # fmt: skip
def test_links_lead_to_headings(text: str, becomes: str) -> None:
    found = markdown(text, WHERE)
    assert (found.text, found.broken) == (becomes, [])


def test_a_link_follows_a_heading_that_is_marked_itself() -> None:
    where = notebook_map("# 1. A", "# As in section 1", gone={0})
    assert markdown("# As in section 1", where).text == f"# As in section 1 {M}"
    assert markdown("[x](#scrollTo=c1)", where).text == "[x](<#As-in-section-1-(not-needed-here)>)"


def test_a_link_that_leads_nowhere_is_reported() -> None:
    found = markdown("a\n[x](#nowhere) [y](#scrollTo=zzz)", WHERE)
    assert found.text == "a\n[x](#nowhere) [y](#scrollTo=zzz)"
    assert [(each.line, each.section) for each in found.broken] == [(2, "#nowhere"), (2, "#scrollTo=zzz")]


def test_anchors_are_those_of_jupyterlab() -> None:
    """Every blank is a dash, plain letters stay as they are, and the rest is escaped as a browser does it."""
    assert anchor("Größe") == "Gr%C3%B6%C3%9Fe"
    assert anchor("3.1. Setting  the (main) path's") == "3.1.-Setting--the-(main)-path's"
    assert anchor('"a" <b> `c`') == "%22a%22-%3Cb%3E-%60c%60"


def test_comments_are_marked_and_strings_reported() -> None:
    source = "#@markdown see section 2\nprint('load in section 1.1') # section 2.1\ns = '''\n# section 2\n'''\n!ls # section 2"
    found = code(source, WHERE)
    assert found.text == source.replace("see section 2\n", f"see section 2 {M}\n").replace(
        "section 2.1", f"section 2.1 {M}"
    )
    assert [(each.line, each.section) for each in found.marked] == [(1, "2"), (2, "2.1")]
    assert [(each.line, each.section) for each in found.broken] == [(2, "1.1"), (4, "2"), (6, "2")]


def test_a_number_that_another_heading_still_has_is_not_marked() -> None:
    where = notebook_map("# 1. A", "# 1. B", gone={0})
    assert markdown("section 1", where).text == "section 1"
