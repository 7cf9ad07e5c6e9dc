"""Wildcards, compared with the rules as Go and Docker state them, and with a naive reading of those rules."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe import dockerignore
from dl4mic_hpc.recipe.patterns import Patterns, clean, glob, has_wildcards


def globbed(pattern: str, path: str) -> bool:
    return glob(pattern).fullmatch(path) is not None


@pytest.mark.parametrize(
    ("pattern", "matched", "not_matched"),
    [
        ("plain.txt", ["plain.txt"], ["plainxtxt", "a/plain.txt", "plain.txt\n"]),
        ("*.py", ["x.py", ".py"], ["x.pyc", "a/x.py"]),
        ("*", ["a", ".hidden"], ["", "a/b"][1:]),
        ("data/*/raw", ["data/1/raw"], ["data/raw", "data/1/2/raw"]),
        ("img?.tif", ["img1.tif", "imgé.tif"], ["img.tif", "img12.tif", "img/.tif"]),
        ("[a-cx]z", ["az", "cz", "xz"], ["dz", "z", "[az"]),
        ("[^a-c]z", ["dz", "/z"], ["az", "z"]),
        ("[z-a]", [], ["z", "m", "a"]),
        ("[^z-a]", ["z", "\n"], [""]),
        (r"[\]\-]", ["]", "-"], ["\\", "a"]),
        ("arr[[]0].txt", ["arr[0].txt"], ["arr0.txt"]),
        (r"\*\?\[", ["*?["], ["a?["]),
        ("a**b", ["ab", "axyb"], ["a/b"]),
        ("*a*b*c", ["abc", "xaxbxc", "aabbcc"], ["acb", "a/bc"]),
        ("*[^a]*", ["b", "ab"], ["a", "./b"]),
        ("a+b(c).d$", ["a+b(c).d$"], ["aab(c).d$"]),
    ],
)
def test_go_match(pattern: str, matched: list[str], not_matched: list[str]) -> None:
    assert [path for path in matched if not globbed(pattern, path)] == []
    assert [path for path in not_matched if globbed(pattern, path)] == []


MALFORMED = ["[", "[]", "[a", "[a-", "[a-]", "[-a]", "[^]", "[]a]", "a\\", "[\\", "x[b-\\"]


@pytest.mark.parametrize("pattern", MALFORMED)
def test_malformed_patterns(pattern: str) -> None:
    with pytest.raises(ValueError, match=re.escape(pattern)):
        glob(pattern)
    with pytest.raises(ValueError, match=re.escape(pattern)):
        Patterns([pattern])


def naive(pattern: str, path: str) -> bool:
    """Go's rules by recursion, for patterns without classes."""
    if not pattern:
        return not path
    if pattern[0] == "*":
        return naive(pattern[1:], path) or (path[:1] not in ("", "/") and naive(pattern, path[1:]))
    if pattern[0] == "?":
        return path[:1] not in ("", "/") and naive(pattern[1:], path[1:])
    if pattern[0] == "\\":
        pattern = pattern[1:]
    return path[:1] == pattern[0] and naive(pattern[1:], path[1:])


PIECES = st.sampled_from(["a", "b", "/", ".", "*", "?", r"\*", r"\?", r"\[", "é"])


@given(st.lists(PIECES, max_size=7).map("".join), st.text("ab/.*?[é", max_size=7))
@example("a*b*", "aabb")
def test_go_match_like_a_naive_reading(pattern: str, path: str) -> None:
    assert globbed(pattern, path) == naive(pattern, path)


@given(st.text("ab*?[]^-\\/! .", max_size=9))
def test_any_pattern_is_read_or_refused(pattern: str) -> None:
    try:
        Patterns([pattern]).judge_whole("a/b")
    except ValueError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a*", True),
        ("a?b", True),
        ("[x", True),
        ("plain", False),
        (r"a\*b", False),
        (r"a\\*", True),
        ("a]", False),
    ],
)
def test_what_has_wildcards(path: str, found: bool) -> None:
    assert has_wildcards(path) is found


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [("a//b/./c/", "a/b/c"), ("/a/../..", "/"), ("//a", "/a"), ("a/../../b", "../b"), ("./", "."), ("", ".")],
)
def test_clean(path: str, cleaned: str) -> None:
    assert clean(path) == cleaned


def ignored(text: str, path: str) -> bool:
    return dockerignore.parse(text.encode()).judge_whole(path)[0]


@pytest.mark.parametrize(
    ("text", "out", "there"),
    [
        ("", [], ["a", "b/c"]),
        ("# a\n #b\n\n", ["#b"], ["a", "# a", "b"]),
        ("\ufeffa", ["a"], ["b"]),
        ("a\r\n b \t\n", ["a", "b", "b/c"], ["a\r"]),
        ("node", ["node", "node/x/y"], ["sub/node", "nodes", "nod"]),
        ("/node/", ["node", "node/x"], ["sub/node"]),
        ("./a/../node", ["node"], ["a"]),
        ("/", [], ["a"]),
        (".", [], ["a"]),
        ("..", [], ["a"]),
        ("*", ["a", ".git", "a/b"], []),
        ("*.log", ["x.log", "x.log/y"], ["a/x.log"]),
        ("*/*.log", ["a/x.log"], ["x.log", "a/b/x.log"]),
        ("**", ["a", "a/b"], []),
        ("**/*.log", ["x.log", "a/x.log", "a/b/x.log"], ["x.logs"]),
        ("**/tmp", ["tmp", "a/tmp", "a/b/tmp/c"], ["atmp", "a/tmps"]),
        ("**tmp", ["tmp", "atmp", "a/btmp"], ["tmps"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "ab"]),
        ("a**", ["a", "ab", "a/b"], ["b/a"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b/c"], ["a/xb", "b"]),
        ("**/a/**/b", ["a/b", "x/a/y/b"], ["x/b"]),
        ("temp?", ["temp1", "tempé"], ["temp", "temp12", "temp/"]),
        ("[ab]x", ["ax", "bx"], ["cx"]),
        ("[^ab]x", ["cx"], ["ax"]),
        ("arr[[]0]", ["arr[0]"], ["arr0"]),
        ("[*]", ["[]", "^]"], ["*", "a"]),
        ("[?]", ["[]", "^]"], ["?", "["]),
        ("x]", ["x]"], ["x"]),
        ("[a]^*", [], ["a^", "a^b"]),
        (r"a\*b", ["a*b"], ["axb"]),
        ("a.b+(c){d}|$", ["a.b+(c){d}|$"], ["aXb+(c){d}|$"]),
        ("a.b+?", ["a.b+c"], ["aXbbc"]),
        ("*.{js,ts}", ["a.{js,ts}"], ["a.js", "a.ts"]),
        ("*\n!keep", ["a", "a/keep"], ["keep", "keep/x"]),
        ("!keep\n*", ["keep", "a"], []),
        ("docs\n!docs/README.md", ["docs", "docs/a"], ["docs/README.md"]),
        ("docs/*\n! /docs/README.md", ["docs/a"], ["docs/README.md", "docs"]),
        ("**\n!a/b\na/b/c", ["a", "a/b/c"], ["a/b", "a/b/d"]),
        ("a*\n!a/b\na", ["a", "a/c"], ["a/b"]),
        ("*.md\n!README*.md\nREADME-secret.md", ["a.md", "README-secret.md"], ["README.md", "README-x.md"]),
    ],
)
def test_dockerignore(text: str, out: list[str], there: list[str]) -> None:
    assert [path for path in out if not ignored(text, path)] == []
    assert [path for path in there if ignored(text, path)] == []


@pytest.mark.parametrize(
    "bad", ["!", "! ", "!/", *MALFORMED, r"\d", r"\é", "[z-a]", "[[:alpha:]]", "*|a", "?{2}", "*{2,}"]
)
def test_bad_lines_are_named(bad: str) -> None:
    with pytest.raises(
        RecipeError, match=r"^x\.dockerignore:3: .* is no pattern that Docker knows$"
    ) as caught:
        dockerignore.parse(f"a\n# [\n{bad}\nb".encode(), name="x.dockerignore")
    assert caught.value.hint


def test_a_dockerignore_that_is_not_utf8() -> None:
    with pytest.raises(RecipeError, match=r"^\.dockerignore:2: this is not UTF-8"):
        dockerignore.parse(b"a\n\xff\n")


@pytest.mark.parametrize(
    ("patterns", "folder", "spared"),
    [
        (["a", "!b"], "a", False),
        (["a", "!a/b/c"], "a", True),
        (["a", "!a/b/c"], "a/b", True),
        (["a", "!a/b/c"], "a/x", False),
        (["a", "!a/*/c"], "a/x", True),
        (["a", "!a/*/c"], "b", False),
        (["a", "!**/c"], "a/x", True),
        (["a", "a/b"], "a", False),
    ],
)
def test_where_exceptions_are_looked_for(patterns: list[str], folder: str, spared: bool) -> None:
    assert Patterns(patterns).may_spare(folder) is spared


PATTERN = st.lists(st.sampled_from(["a", "b", "/", "*", "**", "?", "."]), min_size=1, max_size=5).map("".join)
PATH = st.lists(st.sampled_from(["a", "b", "ab", "a.b"]), min_size=2, max_size=4)


@given(st.lists(st.tuples(st.booleans(), PATTERN), max_size=4), PATH)
def test_nothing_is_missed_where_no_exception_is_looked_for(
    lines: list[tuple[bool, str]], parts: list[str]
) -> None:
    patterns = Patterns(f"{'!a' if exception else ''}{pattern}" for exception, pattern in lines)
    for end in range(1, len(parts)):
        folder = "/".join(parts[:end])
        if patterns.judge_whole(folder)[0] and not patterns.may_spare(folder):
            assert patterns.judge_whole("/".join(parts))[0]
            return
