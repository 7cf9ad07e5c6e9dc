"""The parser against BuildKit's own, which the package `dockerfile` wraps (release 0.12), on texts put together at random.

Where both take a text they see the same instructions, and what BuildKit's refuses ours does. `NEWER` is what newer releases of
BuildKit, which ours follows, read in another way.
"""

from __future__ import annotations

import re

import dockerfile
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st
from support.buildkit_view import Node, nodes

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.arguments import ArgumentError

NEWER = (
    # Something after a JSON array makes it none; it was ignored.
    re.compile(r"\](?![ \t\r]*(?:\n|\Z))"),
    # Blanks may stand between << and its word.
    re.compile(r"<<-?[ \t\r]"),
    # The escape character that the file chose is also that of the flags.
    re.compile(r"(?s)\A\W*escape\W*`.*--"),
)
PIECES = st.sampled_from(
    [
        *(
            "RUN ",
            "run\t",
            "COPY ",
            "ADD ",
            "ENV ",
            "LABEL ",
            "ARG ",
            "CMD ",
            "ENTRYPOINT ",
            "SHELL ",
            "VOLUME ",
        ),
        *(
            "WORKDIR ",
            "USER ",
            "EXPOSE ",
            "HEALTHCHECK ",
            "CMD ",
            "ONBUILD ",
            "STOPSIGNAL ",
            "MAINTAINER ",
            "FROM ",
        ),
        *(
            "\n",
            "\n",
            "\n",
            "\n",
            "\r\n",
            "\\\n",
            "\\\n",
            "\\ \t\n",
            "`\n",
            "\\\\\n",
            "\n\n",
            "\n# comment\n",
            "\n  #\n",
        ),
        *(
            " ",
            "  ",
            "\t",
            "\f",
            "\v",
            "\r",
            "\xa0",
            "\u2003",
            "\\",
            "`",
            "'",
            '"',
            "#",
            "=",
            "a=",
            "='b c'",
            "é",
        ),
        *(
            "a",
            "b c",
            "key value",
            "x=1",
            "--flag",
            "--x=1 ",
            '--x="1 2" ',
            "--",
            "-",
            "$X",
            "${Y:-z}",
            "${",
            "}",
        ),
        *(
            '["a"]\n',
            '["a", "b c"]\n',
            "[]\n",
            '["é\\u00e9\\ud800"]\n',
            "['a']\n",
            '["a",1]\n',
            '[["a"]]\n',
            '["a"',
            "[",
        ),
        *(
            "<<EOF",
            "<<EOF\n",
            "<<-EOF\n",
            "3<<EOF\n",
            "<<'EOF'\n",
            '<<E"O"F\n',
            "<<E\\OF\n",
            "\nEOF\n",
            "\n\tEOF\n",
        ),
        *(
            "<<A <<B\n",
            "\nA\n",
            "\nB\n",
            "<",
            "<<",
            "# escape=`\n",
            "# syntax=docker/dockerfile:1\n",
            "\ufeff",
        ),
    ]
)
TEXTS = st.one_of(
    st.lists(PIECES, max_size=25).map("".join),
    st.lists(PIECES, max_size=25).map(lambda pieces: "FROM a\n" + "".join(pieces)),
    st.lists(PIECES, max_size=8).map(lambda pieces: "FROM a\nRUN " + "".join(pieces) + "\nEOF\n"),
)


def theirs(text: str) -> list[Node] | None:
    """BuildKit's instructions in the form of ours; None if it refuses the text."""
    try:
        commands = dockerfile.parse_string(text)
    except dockerfile.GoParseError:
        return None
    except UnicodeDecodeError:
        # HEALTHCHECK's kind is cut off within a character.
        reject()
    return [
        Node(
            keyword=(each.cmd or "").upper(),
            flags=each.flags,
            words=each.value,
            is_json=each.json,
            line=each.start_line,
            heredocs=tuple((heredoc.name, heredoc.content) for heredoc in each.heredocs),
        )
        for each in commands
    ]


def ours(text: str) -> list[Node] | None:
    """Our instructions; None if the text is refused, or will be for an ONBUILD within another."""
    try:
        found = nodes(text.encode())
    except (RecipeError, ArgumentError):
        return None
    if any(node.trigger and node.trigger.keyword == "ONBUILD" for node in found):
        return None
    return [node._replace(trigger=None, joint="") for node in found]


@given(TEXTS)
@settings(max_examples=400, deadline=None)
def test_the_same_instructions(text: str) -> None:
    assume(not any(newer.search(text) for newer in NEWER))
    expected, found = theirs(text), ours(text)
    if expected is None or found is not None:
        assert found == expected
