"""What holds for every Dockerfile: how it is written changes nothing, and nothing but a RecipeError comes of a bad one."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.recipes import Bases, known, unknown

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.evaluate import evaluate
from dl4mic_hpc.recipe.outside import Nothing
from dl4mic_hpc.recipe.parser import KEYWORDS, parse
from dl4mic_hpc.recipe.steps import ImageConfig, Recipe, Stage

BASE = ImageConfig(environment=(("PATH", "/bin"), ("B", "b")), user="me", folder="/w", onbuild=("ENV O=1",))


def meaning(recipe: Recipe) -> object:
    """The recipe without what is only for people: lines, texts, names, and notes, which hold lines."""
    stages = tuple(_without_lines(stage) for stage in recipe.stages)
    needs = tuple(re.sub(r"^[^:]*:\d+: ", "", need.message) for need in recipe.needs)
    return stages, needs, recipe.presumed


def _without_lines(stage: Stage) -> Stage:
    steps = tuple(replace(step, line=0, text="") for step in stage.steps)
    return replace(stage, name="", line=0, steps=steps)


def both(text: str) -> tuple[object, object]:
    return meaning(known(text, BASE)), meaning(unknown(text))


NAMES = ("A", "B", "V", "X_PATH", "PATH")
name = st.sampled_from(NAMES)
word = st.sampled_from(
    [
        "a",
        "b/c",
        "x.txt",
        "0",
        "/abs",
        "'q r'",
        '"d $A"',
        "$A",
        "${B}",
        "${V:-v}",
        "${A#b}",
        "$PATH",
        "$UNSET",
    ]
)
value = st.lists(word, min_size=1, max_size=2).map("".join)
line = st.one_of(
    st.builds("ENV {}={}".format, name, value),
    st.builds("ARG {}={}".format, name, value),
    st.builds("ARG {}".format, name),
    st.builds("LABEL l={}".format, value),
    st.builds("WORKDIR {}".format, word),
    st.builds("USER {}".format, st.sampled_from(["0", "me:us", "$A"])),
    st.builds("RUN {} {}".format, word, word),
    st.builds('RUN ["{}", "x"]'.format, st.sampled_from(["a", "b c"])),
    st.builds("COPY {} {}/".format, st.sampled_from(["a", "*.py", "$A/x", "x b"]), word),
    st.builds("COPY --from={} f {}".format, st.sampled_from(["first", "0", "image:1"]), word),
    st.builds("RUN --mount=type=cache,target=/c{} x".format, st.sampled_from(["", "$A"])),
    st.sampled_from(
        ['CMD ["c"]', "CMD c", "ENTRYPOINT e", 'SHELL ["/bin/bash", "-c"]', "EXPOSE 8888", "ONBUILD RUN a"]
    ),
)
body = st.lists(line, max_size=7)


@st.composite
def recipes(draw: st.DrawFn) -> list[str]:
    """The lines of a Dockerfile with one to three stages that is usually right."""
    lines = ["ARG G=g", "FROM base AS first", *draw(body)]
    for number in range(draw(st.integers(0, 2))):
        on = draw(st.sampled_from(["base", "first", "other:1"]))
        lines += [f"FROM {on} AS s{number}", *draw(body)]
    return lines


def usable(lines: list[str]) -> bool:
    try:
        both("\n".join(lines))
    except RecipeError:
        return False
    return True


good = recipes().filter(usable)
fewer = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])


@fewer
@given(good, st.data())
def test_comments_blank_lines_and_case_change_nothing(lines: list[str], data: st.DataObject) -> None:
    noise = st.lists(st.sampled_from(["", "  ", "# ENV A=9", "\t# x \\"]), max_size=2)
    changed: list[str] = []
    for each in lines:
        keyword, _, rest = each.partition(" ")
        spelled = data.draw(st.sampled_from([keyword, keyword.lower(), "  " + keyword]))
        changed += [*data.draw(noise), f"{spelled} {rest}"]
    assert both("\n".join(changed)) == both("\n".join(lines))


@fewer
@given(good, st.data())
def test_continuations_change_nothing(lines: list[str], data: st.DataObject) -> None:
    between = st.sampled_from([" ", " \\\n", " \\\n# comment\n", " \\  \n\n"])
    # After the first word, where a blank more or less means nothing.
    changed = [re.sub(" ", lambda _: data.draw(between), each, count=1) for each in lines]
    assert both("\n".join(changed)) == both("\n".join(lines))


@fewer
@given(good)
def test_renamed_stages_change_nothing(lines: list[str]) -> None:
    changed = [re.sub(r"(FROM |AS |--from=)first\b", r"\1renamed", each) for each in lines]
    assert both("\n".join(changed)) == both("\n".join(lines))


@fewer
@given(good, body)
def test_stages_that_nothing_needs_change_nothing(lines: list[str], more: list[str]) -> None:
    changed = "\n".join([*lines[:1], *lines[1:], "FROM gone AS unneeded", *more])
    target = [each.split()[-1] for each in lines if each.startswith("FROM")][-1]
    assert meaning(known(changed, BASE, target=target)) == meaning(
        known("\n".join(lines), BASE, target=target)
    )


@fewer
@given(good)
def test_a_value_in_a_variables_place_changes_nothing(lines: list[str]) -> None:
    """`$G`, an ARG of every stage, as the last part of texts, against its value."""
    texts = ("LABEL l=", "ENV V=", "WORKDIR ", "COPY a ")

    def with_end(end: str) -> str:
        found = [each + end if each.startswith(texts) else each for each in lines]
        return "\n".join(f"{each}\nARG G" if each.startswith("FROM") else each for each in found)

    (one, one_unknown), (other, other_unknown) = both(with_end("/$G")), both(with_end("/g"))
    assert (one, one_unknown) == (other, other_unknown)


FLAGS = [
    "--from=0",
    "--mount=",
    "type=cache,",
    "target=/",
    "--chmod=",
    "--platform=",
    "--parents",
    "https://h/",
    "git@h:r",
]
SIGNS = [*"[]\"'\\`${}/#*=,Ax0- \t\n\0é\u3000", "<<E", "E", "${A", ":-", "..", "\n", "# escape=`\n", "\r\n"]
PIECES = st.sampled_from([*KEYWORDS, *FLAGS, *SIGNS, "AS", ".git", "@sha256:", "scratch"])


@settings(max_examples=250, deadline=None)
@given(
    st.one_of(st.lists(PIECES, max_size=25).map("".join), st.text(max_size=60), recipes().map("\n".join)),
    st.text(max_size=3),
)
def test_nothing_but_a_recipe_error_comes_of_any_text(text: str, given_value: str) -> None:
    for prefix in ("", "FROM base AS s\n"):
        for outside in (Nothing(), Bases({"base": BASE})):
            data = (prefix + text).encode("utf-8", "surrogatepass")
            try:
                recipe = evaluate(
                    parse(data), build_args={"A": given_value} if given_value else {}, outside=outside
                )
            except RecipeError as error:
                assert error.message and error.hint
            else:
                assert recipe.stages


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=8).map("".join), st.lists(PIECES, max_size=8).map("".join))
def test_nothing_but_a_recipe_error_comes_of_any_base(trigger: str, text: str) -> None:
    config = ImageConfig(
        onbuild=(trigger,), environment=(("A", text), (text, "x")), folder=text, user=text, shell=(text,)
    )
    try:
        known('FROM base\nARG P=$A\nRUN "$A"\nWORKDIR $A\nCOPY --chown=$A $A $A/', config)
    except RecipeError as error:
        assert error.message and error.hint
