"""Statements of a cell: Python, shell, and what is string or comment."""

from __future__ import annotations

import pytest

from dl4mic_hpc.notebook.lines import statements


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("x = 1\n\ny = 2", [(1, "python", 1), (3, "python", 1)]),
        ("f(1,\n  2)\ny", [(1, "python", 2), (3, "python", 1)]),
        ("s = '''\n!ls\n'''\n!ls", [(1, "python", 3), (4, "shell", 1)]),
        ("x = 'it \\\n!ls'\ny", [(1, "python", 2), (3, "python", 1)]),
        (
            "!a \\\n b\n%c\nd = !e\nf = %g",
            [(1, "shell", 2), (3, "shell", 1), (4, "shell", 1), (5, "shell", 1)],
        ),
        ("x = 5 % 3\nif x:\n  !ls", [(1, "python", 1), (2, "python", 1), (3, "shell", 1)]),
        ("x = '# no' # (\ny", [(1, "python", 1), (2, "python", 1)]),
        ("x = [1, # one\n  2]\ny", [(1, "python", 2), (3, "python", 1)]),
        ("x = '\ny", [(1, "python", 1), (2, "python", 1)]),
        ("%%bash\nls (", [(1, "shell", 1), (2, "shell", 1)]),
        ("%%script bash\nls", [(1, "shell", 1), (2, "shell", 1)]),
        ("%%html\n<p>", [(1, "other", 1), (2, "other", 1)]),
        ("%%time\nx", [(1, "shell", 1), (2, "python", 1)]),
    ],
)
def test_statements(source: str, found: list[tuple[int, str, int]]) -> None:
    assert [(each.number, each.kind, len(each.lines)) for each in statements(source)] == found


@pytest.mark.parametrize(
    ("line", "code", "masked"),
    [
        ("x = 'a#b' # c", "x = 'a#b' ", "x = '   ' "),
        ('f("\\"#", """(""") #d', 'f("\\"#", """(""") ', 'f("   ", """ """) '),
        ("x = 1", "x = 1", "x = 1"),
    ],
)
def test_strings_and_comments(line: str, code: str, masked: str) -> None:
    (found,) = statements(line)
    assert (found.code, found.masked) == ((code,), (masked,))
