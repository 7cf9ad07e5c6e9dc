"""From instructions to steps and configuration: scopes, precedence, paths, Docker's tables, and each refusal."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from support.recipes import PLAIN, Bases, copies, folders, known, last, runs, unknown

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.steps import Health, ImageConfig, Late, Recipe
from dl4mic_hpc.recipe.variables import DEFAULT_PATH


def seen(text: str, config: ImageConfig = PLAIN, **args: str) -> list[dict[str, object]]:
    """The variables of each RUN, but PATH."""
    recipe = known(f"FROM base\n{text}", config, outside=None, target=None, **args)
    found = [dict(run.environment) for run in runs(recipe)]
    return [{name: value for name, value in each.items() if name != "PATH"} for each in found]


def test_arg_and_env() -> None:
    before, after = seen('ARG A=1 B="x $A"\nARG C\nRUN a\nENV A=2 D=$A E="${C:-none}"\nRUN b')
    assert before == {"A": "1", "B": "x 1"}
    assert after == {"A": "2", "B": "x 1", "D": "1", "E": "none"}


def test_build_arguments_win_over_defaults_and_are_not_expanded() -> None:
    assert seen("ARG A=1\nARG B=${NOT:?evaluated}\nRUN a", A="$x", B="b") == [{"A": "$x", "B": "b"}]


def test_only_env_is_kept_in_the_image() -> None:
    config = last(known("FROM base\nARG A=1\nENV B=$A C='c c' PATH=/x:$PATH")).config
    assert config.environment == (("PATH", "/x:/bin"), ("B", "1"), ("C", "c c"))


def test_the_old_form_of_env_and_label() -> None:
    config = last(known('FROM base\nENV A  b "c"  d\nLABEL l m n')).config
    assert dict(config.environment)["A"] == "b c  d"
    assert config.labels == (("l", "m n"),)


def test_an_arg_after_an_env_holds_for_the_build_and_not_for_the_image() -> None:
    recipe = known("FROM base AS a\nENV A=1\nARG A=2\nRUN a\nFROM a\nRUN b")
    assert [dict(run.environment)["A"] for run in runs(recipe)] == ["2", "1"]
    assert dict(last(recipe).config.environment)["A"] == "1"
    (note,) = recipe.notes
    assert note.startswith("Dockerfile:3: ARG A differs from ENV A")


def test_an_arg_before_from_is_seen_where_it_is_declared_again() -> None:
    text = "ARG TAG=1 NAME=image\nARG FULL=$NAME:$TAG\nFROM $FULL\nRUN a\nARG TAG\nARG NAME=own\nRUN b"
    outside = Bases()
    before, after = runs(known(text, TAG="2", outside=outside))
    assert outside.asked == [("image:2", "linux/amd64")]
    assert "TAG" not in dict(before.environment)
    assert {"TAG": "2", "NAME": "own"}.items() <= dict(after.environment).items()


def test_platform_arguments() -> None:
    names = "TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT BUILDPLATFORM TARGETSTAGE"
    text = f"FROM base AS b\nARG {names}\nARG TARGETARCH\nARG BUILDARCH=own\nRUN a"
    assert seen(text.removeprefix("FROM base AS b\n"), TARGETVARIANT="v2") == [
        {
            "TARGETPLATFORM": "linux/amd64",
            "TARGETOS": "linux",
            "TARGETARCH": "amd64",
            "TARGETVARIANT": "v2",
            "BUILDPLATFORM": "linux/amd64",
            "TARGETSTAGE": "default",
            "BUILDARCH": "own",
        }
    ]
    assert dict(runs(known(text, target="b"))[0].environment)["TARGETSTAGE"] == "b"


def test_proxies_are_for_the_build_alone() -> None:
    recipe = known("FROM base\nENV X=$https_proxy\nRUN a", HTTPS_PROXY="http://p", no_proxy="")
    environment = dict(runs(recipe)[0].environment)
    assert environment == {"https_proxy": "http://p", "HTTPS_PROXY": "http://p", "X": "", "PATH": "/bin"}
    assert dict(last(recipe).config.environment) == {"PATH": "/bin", "X": ""}


def test_what_the_base_sets_holds() -> None:
    base = ImageConfig(
        environment=(("A", "1"), ("UID", "7"), ("LD_PRELOAD", "x.so"), ("a-b", "c")),
        labels=(("l", "1"),),
        folder="/srv",
        user="me:us",
        shell=("/bin/bash", "-c"),
        entrypoint=("e",),
        command=("c",),
        ports=("1/tcp",),
        stop_signal="9",
    )
    recipe = known("FROM base\nENV B=$A$UID$LD_PRELOAD PATH=$PATH:/x\nRUN r\nWORKDIR w\nLABEL m=2", base)
    (run,) = runs(recipe)
    assert (run.argv, run.folder, run.user) == (("/bin/bash", "-c", "r"), "/srv", "me:us")
    assert dict(run.environment) == {"A": "1", "B": "17x.so", "PATH": DEFAULT_PATH + ":/x"}
    assert [(step.path, step.owner) for step in folders(recipe)] == [("/srv/w", "me:us")]
    config = last(recipe).config
    assert dict(config.environment) == dict(run.environment)
    assert config.labels == (("l", "1"), ("m", "2"))
    assert (config.folder, config.user, config.entrypoint, config.command) == (
        "/srv/w",
        "me:us",
        ("e",),
        ("c",),
    )
    assert (config.ports, config.stop_signal) == (("1/tcp",), "9")


def test_a_variable_without_a_value_is_empty_and_noted() -> None:
    recipe = known("FROM base\nARG GIVEN\nENV A=x$NONE$GIVEN B=${OTHER:-b}")
    assert dict(last(recipe).config.environment) == {"PATH": "/bin", "A": "x", "B": "b"}
    assert recipe.notes == ("Dockerfile:3: $NONE is used and has no value",)
    assert not recipe.presumed


def test_a_comment_behind_an_arg_is_no_comment_and_does_nothing() -> None:
    recipe = known("FROM base\nARG A=1 # 2.0\nRUN a")
    assert [note.partition(" declares")[0] for note in recipe.notes] == [
        "Dockerfile:2: ARG #",
        "Dockerfile:2: ARG 2.0",
    ]
    assert dict(runs(recipe)[0].environment) == {"PATH": "/bin", "A": "1"}


def test_an_arg_without_a_value_is_known_to_the_next_stage() -> None:
    assert not known("FROM base AS a\nARG X\nRUN a\nFROM a\nENV A=$X").notes


@pytest.mark.parametrize(
    ("text", "entrypoint", "command"),
    [
        ("", ("e",), ("c",)),
        ('ENTRYPOINT ["a", "b c"]', ("a", "b c"), ()),
        ("ENTRYPOINT a $B 'c'", ("/bin/sh", "-c", "a $B 'c'"), ()),
        ('CMD ["x"]\nENTRYPOINT ["a"]', ("a",), ("x",)),
        ("CMD x  y", ("e",), ("/bin/sh", "-c", "x  y")),
        ("CMD [ -e /x ] || y", ("e",), ("/bin/sh", "-c", "[ -e /x ] || y")),
        ('CMD ["a"]\nCMD ["b"]', ("e",), ("b",)),
        ("CMD []\nENTRYPOINT []", (), ()),
        ('SHELL ["/bin/bash", "-e"]\nCMD a', ("e",), ("/bin/bash", "-e", "a")),
        ('CMD ["x"]\nFROM s\nENTRYPOINT ["a"]', ("a",), ()),
        ('ENTRYPOINT ["a"]\nFROM s\nCMD ["x"]', ("a",), ("x",)),
    ],
)
def test_entrypoint_and_command(text: str, entrypoint: tuple[str, ...], command: tuple[str, ...]) -> None:
    config = last(known(f"FROM base AS s\n{text}", ImageConfig(entrypoint=("e",), command=("c",)))).config
    assert (config.entrypoint, config.command) == (entrypoint, command)


@pytest.mark.parametrize(
    ("text", "argv", "script"),
    [
        ('RUN a "$X"  b', ("/bin/sh", "-c", 'a "$X"  b'), None),
        ('RUN ["a", "$X"]', ("a", "$X"), None),
        (
            'SHELL ["/bin/bash", "-o", "pipefail", "-c"]\nRUN a',
            ("/bin/bash", "-o", "pipefail", "-c", "a"),
            None,
        ),
        ("RUN <<EOF\na $X\n\nb\nEOF", ("/bin/sh", "-c", "a $X\n\nb\n"), None),
        ("RUN <<-EOF\n\ta\n\tEOF", ("/bin/sh", "-c", "a\n"), None),
        ("RUN <<'EOF'\n#!/usr/bin/python3\nx\nEOF", ("/bin/sh", "-c"), b"#!/usr/bin/python3\nx\n"),
        ("RUN cat <<A - <<-B\na\nA\n\tb\n\tB", ("/bin/sh", "-c", "cat <<A - <<-B\na\nA\n\tb\nB"), None),
        ("RUN python3 - <<EOF\n#!x\nEOF", ("/bin/sh", "-c", "python3 - <<EOF\n#!x\nEOF"), None),
    ],
)
def test_run_forms(text: str, argv: tuple[str, ...], script: bytes | None) -> None:
    (run,) = runs(known(f"FROM base\n{text}"))
    assert (run.argv, run.script) == (argv, script)


def test_user_and_folder_of_each_run() -> None:
    text = (
        "RUN a\nARG U=me\nUSER $U:us\nWORKDIR /w\nRUN b\nUSER 0\nWORKDIR x/../y\nWORKDIR ../../../z/.\nRUN c"
    )
    recipe = known(f"FROM base\n{text}")
    assert [(run.user, run.folder) for run in runs(recipe)] == [("", "/"), ("me:us", "/w"), ("0", "/z")]
    assert [(each.path, each.owner) for each in folders(recipe)] == [
        ("/w", "me:us"),
        ("/w/y", "0"),
        ("/z", "0"),
    ]
    assert (last(recipe).config.user, last(recipe).config.folder) == ("0", "/z")


def test_the_root_folder_is_not_made() -> None:
    assert folders(known("FROM base\nWORKDIR /\nWORKDIR //")) == []


def test_what_the_image_says_about_itself() -> None:
    text = """
        LABEL a.b="x $V" 'c'=d a.b=2
        EXPOSE ${P} 80/UDP 80-81 127.0.0.1:9:90/tcp
        VOLUME ["/v w", "$P"]
        VOLUME /x /v
        STOPSIGNAL $S
        MAINTAINER  me & you
        HEALTHCHECK --interval=1m30s --retries=2 CMD  a  $b
        ONBUILD  RUN a  $b
        ONBUILD COPY <<E /x
text
E
        SHELL ["s"]
    """
    config = last(known("FROM base\nARG V=1 P='8888 9999' S=SIGINT" + text)).config
    assert config.labels == (("a.b", "2"), ("c", "d"))
    assert config.ports == ("8888/tcp", "9999/tcp", "80/udp", "80/tcp", "81/tcp", "90/tcp")
    assert config.volumes == ("/v w", "8888 9999", "/x", "/v")
    assert (config.stop_signal, config.author, config.shell) == ("SIGINT", "me & you", ("s",))
    assert config.health == Health(test=("CMD-SHELL", "a  $b"), interval=90 * 10**9, retries=2)
    assert config.onbuild == ("RUN a  $b", "COPY <<E /x\ntext\nE")


@pytest.mark.parametrize(
    ("text", "health"),
    [('CMD ["a", "b"]', ("CMD", "a", "b")), ("none", ("NONE",)), ("cmd a", ("CMD-SHELL", "a"))],
)
def test_health(text: str, health: tuple[str, ...]) -> None:
    assert last(known(f"FROM base\nHEALTHCHECK {text}")).config.health == Health(test=health)


def test_lines_are_kept() -> None:
    steps = last(known("FROM base\n\nWORKDIR /x\nRUN a \\\n  b\nRUN c")).steps
    assert [step.line for step in steps] == [3, 4, 6]


# A base whose configuration is not known.


def needs(recipe: Recipe) -> list[str]:
    return [need.message.partition(", which the base")[0] for need in recipe.needs]


def test_values_that_add_to_a_path_are_completed_by_the_build() -> None:
    text = "FROM base\nENV PATH=/a:$PATH\nENV PATH=/b:${PATH} LD_LIBRARY_PATH $PATH:$LD_LIBRARY_PATH\nARG A_PATH=x:$PATH"
    recipe = unknown(
        text.replace(" LD_LIBRARY_PATH ", "\nENV LD_LIBRARY_PATH ") + "\nUSER 0\nWORKDIR /\nRUN a"
    )
    path = Late(parts=("/b:/a:", "PATH", ""))
    both = Late(parts=("/b:/a:", "PATH", ":", "LD_LIBRARY_PATH", ""))
    assert last(recipe).config.environment == (("PATH", path), ("LD_LIBRARY_PATH", both))
    late = Late(parts=("x:/b:/a:", "PATH", ""))
    assert dict(runs(recipe)[0].environment) == {"PATH": path, "LD_LIBRARY_PATH": both, "A_PATH": late}
    assert not recipe.needs
    assert not recipe.presumed


def test_a_late_value_is_inherited_and_replaced() -> None:
    recipe = unknown("FROM base AS a\nENV PATH=/a:$PATH\nFROM a\nENV B_PATH=$PATH PATH=/c")
    assert dict(last(recipe).config.environment) == {"PATH": "/c", "B_PATH": Late(parts=("/a:", "PATH", ""))}


def test_presumed_names_are_left_to_the_build() -> None:
    recipe = unknown("FROM base\nARG X\nENV A=${X:-1} B=${Y:+2} C=$X")
    assert recipe.presumed == ("X", "Y")
    assert dict(last(recipe).config.environment) == {"A": "1", "B": "", "C": ""}
    assert not recipe.needs


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("", []),
        ("USER 0\nWORKDIR /w\nRUN a\nCOPY a b\nENTRYPOINT a\nCMD b", []),
        ("COPY a /b\nWORKDIR /\nLABEL a=b\nEXPOSE 1", []),
        ("RUN a\nRUN b", ["2: RUN stands before WORKDIR", "2: RUN stands before USER"]),
        ("WORKDIR w", ["2: WORKDIR stands before WORKDIR", "2: WORKDIR stands before USER"]),
        ("WORKDIR /w\nRUN a", ["2: WORKDIR stands before USER"]),
        ("COPY a b\nCOPY c d", ["2: COPY stands before WORKDIR"]),
        ("CMD a\nWORKDIR /", ["2: CMD stands without ENTRYPOINT"]),
        ("ENTRYPOINT a\nARG X", ["2: ENTRYPOINT stands before WORKDIR"]),
        ("CMD b\nENTRYPOINT a\nWORKDIR /", []),
        ("CMD b\nFROM x\nLABEL a=b", []),
        ("CMD b\nWORKDIR /\nFROM s\nLABEL a=b", ["2: CMD stands without ENTRYPOINT"]),
        ("ENV A=$OTHER$THIRD", ["2: ENV uses $OTHER", "2: ENV uses $THIRD"]),
        ("ENV A=$PATH", ["2: ENV uses $PATH"]),
        ("ENV A_PATH=${PATH:-x}", ["2: ENV uses $PATH"]),
        ("ENV A=${HOME:-x}", ["2: ENV uses $HOME"]),
        ("ENV PATH=/x:$PATH\nENV PATH=${PATH:+y}", ["3: ENV uses $PATH"]),
        ("ENV PATH=/x:$PATH\nLABEL a=$PATH", ["3: LABEL uses $PATH"]),
        ("CMD a\nENV A=$B\nWORKDIR /", ["2: CMD stands without ENTRYPOINT", "3: ENV uses $B"]),
    ],
)
def test_what_an_unknown_base_decides(text: str, needed: list[str]) -> None:
    recipe = unknown(f"FROM base AS s\n{text}")
    assert needs(recipe) == [f"Dockerfile:{each}" for each in needed]
    assert all(need.hint.startswith("give --base-map base=FILE, or write") for need in recipe.needs)
    assert not known(f"FROM base AS s\n{text}").needs


def test_different_recipes_stay_different_where_values_are_needed() -> None:
    one, other = (last(unknown(f"FROM base\nENV A={value}")).config for value in ("$X-", "-$X"))
    assert one != other


def test_a_late_value_does_not_grow_without_end() -> None:
    with pytest.raises(RecipeError, match="takes over more of the base's variables"):
        unknown("FROM base" + "\nENV PATH=$PATH:$PATH" * 100)


def test_a_source_that_an_unknown_base_decides() -> None:
    first, second = copies(unknown("FROM base\nWORKDIR /\nCOPY $X b\nCOPY a $X"))
    assert (first.undecided, second.undecided) == (True, False)


# Refusals.


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("USER", ":2: USER says nothing", "complete"),
        ("RUN", ":2: RUN says nothing", "complete"),
        ("RUN []", ":2: RUN names no program", "program"),
        ('RUN ["A=1"]', ":2: RUN names no program", "program"),
        ('SHELL ["-x"]\nRUN a', ":3: RUN names no program", "program"),
        ('RUN ["a", 1]', ":2: ", "recipes.md"),
        ("RUN --network=bridge a", ":2: RUN knows no --network=bridge", "host"),
        ("RUN --security=insecure a", ":2: RUN --security=insecure", "rights"),
        ("RUN --device=gpu a", ":2: RUN --device", "GPU"),
        ("RUN --mont=type=cache a", ":2: RUN knows no option --mont", "perhaps you meant 'mount'"),
        ("COPY --chown a b", ":2: COPY --chown has no value", "--chown=VALUE"),
        ("COPY --chown=1 --chown=2 a b", ":2: COPY --chown stands there twice", "delete"),
        ("COPY --link=maybe a b", ":2: COPY --link is on or off", "--link"),
        ("WORKDIR --x /a", ":2: WORKDIR knows no option --x", "there is none"),
        ("ENV =1", ":2: ", "recipes.md"),
        ("ENV A", ":2: ", "recipes.md"),
        ("ENV a-b=1", ":2: 'a-b' cannot name a variable", "letters"),
        ("ARG 1a=", ":2: '1a' cannot name a variable", "letters"),
        ("ARG =1", ":2: '=1' has no name", "NAME=DEFAULT"),
        ("ENV UID=1", ":2: ENV UID", "another name"),
        ("ENV LD_PRELOAD=x", ":2: LD_PRELOAD belongs", "another name"),
        ("ENV A='", ":2: ENV: ", "quotes"),
        ('ENV A="${X:?no X}"', ":2: ENV: X: no X", "mend"),
        ("SHELL /bin/bash", ":2: SHELL names no shell", "JSON"),
        ("SHELL []", ":2: SHELL names no shell", "JSON"),
        ("EXPOSE x", ":2: EXPOSE: 'x' is no port", "8888"),
        ("EXPOSE 9-8", ":2: EXPOSE: '9-8' is no port", "8888"),
        ("EXPOSE 70000", ":2: EXPOSE: '70000' is no port", "8888"),
        ("EXPOSE 1/icmp", ":2: EXPOSE: '1/icmp' is no port", "8888"),
        ('VOLUME [""]', ":2: VOLUME names no folder", "VOLUME"),
        ("ARG X=\nVOLUME $X", ":3: VOLUME names no folder", "VOLUME"),
        ("STOPSIGNAL soon", ":2: 'soon' is no signal", "SIGTERM"),
        ("HEALTHCHECK TCP 80", ":2: HEALTHCHECK knows no 'TCP'", "CMD"),
        ("HEALTHCHECK CMD", ":2: HEALTHCHECK CMD names no command", "COMMAND"),
        ("HEALTHCHECK NONE a", ":2: HEALTHCHECK NONE takes no words", "NONE"),
        ("HEALTHCHECK --interval=5 CMD a", ":2: --interval=5 is no duration", "30s"),
        ("HEALTHCHECK --timeout=900us CMD a", ":2: --timeout=900us is less than 1ms", "30s"),
        ("ONBUILD ENV a", ":2: ONBUILD: 'a' has no value", ""),
        ("ONBUILD LABEL a=b c", ":2: ONBUILD: 'c' is not of the form KEY=VALUE", ""),
        ("ONBUILD RUN --network=none [1]", ":2: ONBUILD: a JSON array here may hold strings only", ""),
        ("HEALTHCHECK --retries=x CMD a", ":2: --retries=x is no number", "3"),
        ("ONBUILD FROM a", ":2: ONBUILD FROM is not allowed", "another"),
        ("ONBUILD onbuild RUN a", ":2: ONBUILD ONBUILD is not allowed", "another"),
    ],
)
def test_what_is_refused(text: str, said: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        known(f"FROM base\n{text}")
    assert said in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_code == 8


def test_form_is_checked_in_every_stage_and_meaning_only_where_it_is_needed() -> None:
    known("FROM a\nENV A=${B:?c}\nRUN --device=gpu a\nCOPY --from=9 a b\nFROM base")
    with pytest.raises(RecipeError, match=":2: COPY has no destination"):
        known("FROM a\nCOPY b\nFROM base")


def test_unknown_build_arguments() -> None:
    (note,) = known("ARG A\nFROM a\nFROM b\nARG PYTHON_VERSION", PYTON_VERSION="3").notes
    assert note == (
        "Dockerfile has no ARG for the build argument 'PYTON_VERSION', which does nothing: "
        "perhaps you meant 'PYTHON_VERSION'"
    )
    onbuild = ImageConfig(onbuild=("ARG A",))
    assert known("FROM base", onbuild, A="1").notes == ()


def test_control_characters_in_build_arguments() -> None:
    with pytest.raises(RecipeError, match="the build argument A holds a control character"):
        known("FROM a\nARG A", A="x\ny")


def test_a_build_without_network_is_noted() -> None:
    (note,) = known("FROM base\nRUN --network=none a").notes
    assert note.startswith("Dockerfile:2: RUN --network=none")


def test_every_path_is_absolute_and_clean() -> None:
    for text in ("/", "//", "/x/", "x", "./x", "x//y/", "."):
        (copy,) = copies(known(f"FROM base\nWORKDIR /w\nCOPY a {text}"))
        assert copy.destination.rstrip("/") == str(PurePosixPath("/w", text)).rstrip("/").replace("//", "/")
