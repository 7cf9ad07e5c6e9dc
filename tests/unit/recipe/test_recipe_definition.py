"""Definitions: Apptainer's reader gives back what was written, byte for byte, whatever the Dockerfile says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.apptainer_reader import Definition, ReadError, read, read_stages
from support.recipes import Bases

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.bundle import Bundle, convert
from dl4mic_hpc.recipe.outside import Outside
from dl4mic_hpc.recipe.shell import assignment, quote, words
from dl4mic_hpc.recipe.steps import BaseImage, ImageConfig, Late

NASTY = st.lists(
    st.sampled_from(
        (
            *("%post", "%", "bootstrap:", "Bootstrap: docker", "{{", "}}", "{{ x }}", "{{{", "'", '"', "\\"),
            *(
                "$X",
                "`id`",
                "$(id)",
                "\n",
                "\r\n",
                "\r",
                "\t",
                " ",
                "#",
                "a",
                "é",
                "\u00a0",
                "\u2028",
                "!",
                "~",
            ),
        )
    ),
    max_size=12,
).map("".join)
HEAD = "FROM base\nUSER root\nWORKDIR /w\nENTRYPOINT []\n"
TEXT = ("x" * 99 + "\n") * 1000
SECTIONS = {"files", "post", "environment", "runscript", "startscript"}


def bundle(
    text: str, context: Path | None = None, outside: Outside | None = None, **build_args: str
) -> Bundle:
    return convert(
        text,
        context=context or Path("nowhere"),
        build_args=build_args,
        outside=outside,
        pin=outside is not None,
    )


def definition(text: str, context: Path | None = None, **build_args: str) -> Definition:
    return read(bundle(text, context, **build_args).definition)


def stages(text: str, context: Path | None = None) -> list[Definition]:
    return read_stages(bundle(text, context, Bases()).definition)


def lines(section: str) -> list[str]:
    return [line.strip() for line in section.splitlines() if line.strip()]


def test_the_reader_sees_the_traps() -> None:
    good = "Bootstrap: docker\nFrom: x\n\n%post\na\n"
    assert read(good) == Definition(header={"bootstrap": "docker", "from": "x"}, sections={"post": "a\n\n"})
    for trap in ("\t %foreign x\n", "bOOtstrap: y\n", "echo {{ name }}\n", "x" * 70_000, "%post from x\n"):
        with pytest.raises(ReadError):
            read(good + trap)
    assert [each.header["from"] for each in read_stages(good + good)] == ["x", "x"]


def test_header_and_files_hold_nothing_of_the_dockerfile() -> None:
    found = definition("FROM registry:5000/base:1\nUSER root\nWORKDIR /")
    assert found.header == {"bootstrap": "docker", "from": "registry:5000/base:1"}
    assert lines(found.sections["files"]) == ["ctx/s0/.dl4mic-hpc /"]
    assert set(found.sections) == {"files", "post"}


@given(NASTY, NASTY)
def test_commands_come_back_from_the_reader(first: str, second: str) -> None:
    argv = [word.replace("\r", "") for word in ["x" + first, second]]
    found = definition(f"{HEAD}RUN {json.dumps(argv)}\nCMD {json.dumps(argv)}")
    assert f'dl4mic_as env "$@" {words(argv)} )' in found.sections["post"]
    assert f"set -- {words(argv)}\n" in found.sections["runscript"]


@given(NASTY)
def test_quoted_text_is_what_the_reader_leaves(text: str) -> None:
    line = f"echo {quote(text)} end"
    assert read(f"Bootstrap: docker\nFrom: x\n\n%post\n{line}\n").sections["post"] == line + "\n\n"


@given(NASTY, NASTY, NASTY)
def test_no_text_opens_a_section_or_a_stage(label: str, value: str, name: str) -> None:
    config = ImageConfig(
        environment=(("PATH", "/bin"), ("A", value)),
        labels=((label, value), ("x", label)),
        entrypoint=(value, label),
        folder="/" + value.replace("\n", ""),
        user=name.replace(":", "") or "0",
    )
    text = (
        "FROM base AS a\nRUN x\nFROM a AS b\nRUN y\nFROM a\nCOPY --from=b / /\nLABEL own=$A\nENV B=$A\nRUN z"
    )
    found = read_stages(bundle(text, outside=Bases({"base": config})).definition)
    assert [each.header["bootstrap"] for each in found] == ["docker", "scratch", "scratch"]
    assert set(found[-1].sections) == {"files from s0", "files from s1", *SECTIONS}
    for stage in found:
        for section, body in stage.sections.items():
            if section.startswith("files"):
                assert {word[0] for line in lines(body) for word in line.split()} <= {"/", "c"}


@given(st.text(st.sampled_from("ab %{}'\"\\$`#:\t"), max_size=30))
def test_values_of_build_arguments(value: str) -> None:
    found = definition(f"{HEAD}ARG A\nENV B=$A\nLABEL c=x$A.\nRUN a", A=value)
    assert f"export {assignment('B', value)}\n" in found.sections["environment"]
    assert quote(f"c x{value}.") in found.sections["post"]


def test_long_texts_stand_beside_the_definition() -> None:
    assert definition(f"{HEAD}RUN {'x' * 4000}").sections["post"].count("x" * 4000) == 1
    found = bundle(f"{HEAD}RUN <<E\n{TEXT}E\n" + f"RUN {'y' * 5000}\n" * 20)
    assert TEXT[:200] not in found.definition
    content = {path.name: data for path, data in found.files.items() if path.parent.name == "run"}
    assert content["001-2"] == TEXT.encode()
    assert len(content) == 21
    with pytest.raises(RecipeError, match=r"Dockerfile:5: this command has 200000 bytes") as caught:
        bundle(f"{HEAD}RUN <<E\n{TEXT}{TEXT}E")
    assert "COPY and RUN" in caught.value.hint


def test_the_buffer_of_apptainer_is_not_exceeded() -> None:
    with pytest.raises(RecipeError, match=r"%environment would have"):
        bundle(f"{HEAD}ENV A={'x' * 65_000}")
    with pytest.raises(RecipeError, match=r"%post would have \d+ bytes") as caught:
        bundle(HEAD + f"RUN {'x' * 4000}\n" * 20)
    assert "script" in caught.value.hint


def test_values_that_only_the_base_image_knows() -> None:
    late = Late(parts=("/o p:", "PATH", ":/x"))
    assert assignment("PATH", late) == "'PATH=/o p:'\"${PATH-}\":/x"
    found = definition('FROM base\nUSER root\nWORKDIR /\nENV PATH="/o p:$PATH:/x"\nRUN a')
    assert assignment("PATH", late) in found.sections["post"]
    assert f"export {assignment('PATH', late)}\n" in found.sections["environment"]


def test_only_what_changed_of_the_environment_is_said_again() -> None:
    post = definition(f"{HEAD}ENV A=1\nRUN a\nARG B=2\nRUN b\nENV A=3\nRUN c").sections["post"]
    assert [line for line in lines(post) if line.startswith("set --")] == [
        *('set -- "$@" A=1', 'set -- "$@" B=2', 'set -- "$@" A=3'),
    ]


@pytest.mark.parametrize(
    ("says", "config", "found"),
    [
        ("", ImageConfig(), True),
        ("", ImageConfig(entrypoint=("a",), folder="/x"), True),
        ("", None, False),
        ("USER root\nWORKDIR /\nENTRYPOINT a", None, True),
    ],
)
def test_the_base_image_s_own_start_is_left_where_it_is_not_known(
    says: str, config: ImageConfig | None, found: bool
) -> None:
    class Unknown(Bases):
        def base(self, reference: str, *, platform: str) -> BaseImage:
            return BaseImage(reference=reference, platform=platform, config=config)

    sections = read(bundle(f"FROM base\n{says}", outside=Unknown()).definition).sections
    assert ("runscript" in sections, "startscript" in sections) == (found, found)


def test_base_images_are_pinned() -> None:
    (found,) = stages("FROM debian:trixie")
    assert found.header["from"] == f"debian@sha256:{'0' * 64}"


def test_a_base_image_from_a_file_travels_in_the_bundle(tmp_path: Path) -> None:
    file = tmp_path / "base.tar"
    file.write_bytes(b"image")

    class Archive(Bases):
        def base(self, reference: str, *, platform: str) -> BaseImage:
            return BaseImage(
                reference=reference,
                platform=platform,
                agent="oci-archive",
                file=str(file),
                config=ImageConfig(),
            )

    made = bundle("FROM a AS x\nRUN a\nFROM a\nCOPY --from=x / /\nRUN b", outside=Archive())
    headers = [each.header for each in read_stages(made.definition)]
    assert [(each["bootstrap"], each["from"]) for each in headers] == [("oci-archive", "base/s0.tar")] * 2
    made.write(tmp_path / "bundle")
    assert (tmp_path / "bundle" / "base" / "s0.tar").read_bytes() == b"image"


def test_what_a_stage_takes_from_another() -> None:
    first, second = stages(
        "FROM a AS one\nRUN x\nFROM b\nCOPY --from=one --chown=5 /x/[^a]* /y\nRUN --mount=from=one,target=/m z"
    )
    assert "dl4mic_offer_matching /.dl4mic-hpc-out/s1/000 '' '' 'x/[!a]*' ''\n" in first.sections["post"]
    assert "dl4mic_offer /.dl4mic-hpc-out/s1/001-0 '' / ''\n" in first.sections["post"]
    assert lines(second.sections["files from s0"]) == ["/.dl4mic-hpc-out/s1 /.dl4mic-hpc-in/s0"]
    assert "dl4mic_take /.dl4mic-hpc-in/s0/000 /y \"$dl4mic_ids\" ''\n" in second.sections["post"]
    assert "dl4mic_take /.dl4mic-hpc-in/s0/001-0 /m '' ''\n" in second.sections["post"]


def test_files_of_an_image_are_looked_for_by_the_stage_that_takes_them() -> None:
    first, second = stages("FROM b\nCOPY --from=a /x /y/")
    assert first.sections == {}
    assert lines(second.sections["files from s0"]) == ["/ /.dl4mic-hpc-in/s0"]
    assert "dl4mic_offer /.dl4mic-hpc/copy/000 /.dl4mic-hpc-in/s0 /x ''\n" in second.sections["post"]


def test_an_image_that_was_seen_to_have_a_shell_gives_its_files_their_owners(tmp_path: Path) -> None:
    class Seen(Bases):
        def base(self, reference: str, *, platform: str) -> BaseImage:
            return replace(super().base(reference, platform=platform), shell=True)

    first, second = read_stages(bundle("FROM b\nCOPY --from=a /x /y/", outside=Seen()).definition)
    assert "dl4mic_restore_owners\n" in first.sections["post"]
    assert "dl4mic_offer" not in first.sections["post"]
    assert lines(second.sections["files from s0"]) == ["/ /.dl4mic-hpc-in/s0"]


def test_a_stage_that_two_continue_is_copied() -> None:
    found = stages("FROM a AS one\nRUN x\nFROM one AS two\nRUN y\nFROM one\nCOPY --from=two /y /y\nRUN z")
    assert [each.header["bootstrap"] for each in found] == ["docker", "scratch", "scratch"]
    assert [lines(each.sections["files from s0"]) for each in found[1:]] == [["/ /"], ["/ /"]]


def test_a_stage_without_a_shell(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    made = convert(
        'FROM a AS one\nRUN x\nFROM scratch\nCOPY --from=one /x /y/\nCOPY f /f\nENTRYPOINT ["/y/x"]\nLABEL a=b',
        context=tmp_path,
        build_args={},
        outside=Bases(),
        pin=True,
    )
    first, files, second = read_stages(made.definition)
    assert (
        "dl4mic_take /.dl4mic-hpc/copy/s1-000 /.dl4mic-hpc-out/root-s1-0/y/ '' ''\n" in first.sections["post"]
    )
    assert files.header == {"bootstrap": "oci-archive", "from": "base/c1-1.tar", "stage": "c1-1"}
    assert second.header == {"bootstrap": "oci-archive", "from": "base/s1.tar", "stage": "s1"}
    assert lines(second.sections["files from s0"]) == ["/.dl4mic-hpc-out/root-s1-0/ /"]
    assert lines(second.sections["files from c1-1"]) == ["/.dl4mic-hpc-out/context/ /"]
    taken = ["files from s0", "files from c1-1"]
    assert [name for name in second.sections if name.startswith("files from")] == taken
    assert set(second.sections) - {"environment"} == {*taken, "files", "runscript", "startscript"}


def test_files_of_a_stage_without_a_shell_are_looked_for_by_the_stage_that_takes_them(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    text = "FROM scratch AS a\nCOPY f /f\nFROM b\nCOPY --from=a /f /g\nRUN --mount=from=a,target=/m x"
    first, second = stages(text, tmp_path)
    assert first.sections == {}
    assert lines(second.sections["files from s0"]) == ["/ /.dl4mic-hpc-in/s0"]
    assert "dl4mic_offer /.dl4mic-hpc/copy/000 /.dl4mic-hpc-in/s0 /f ''\n" in second.sections["post"]
    assert "dl4mic_offer /.dl4mic-hpc/copy/001-0 /.dl4mic-hpc-in/s0 / ''\n" in second.sections["post"]


def test_files_go_from_a_stage_without_a_shell_to_another_by_way_of_an_image_that_has_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "f").touch()
    text = (
        "FROM a AS one\nRUN x\nFROM scratch AS two\nCOPY f /f\n"
        "FROM scratch\nCOPY --from=two --chown=7 /f /g\nCOPY --from=one /x /y"
    )
    one, two, between, _, last = stages(text, tmp_path)
    assert "dl4mic_take /.dl4mic-hpc/copy/s2-001 /.dl4mic-hpc-out/root-s2-1/y '' ''\n" in one.sections["post"]
    assert two.sections == {}
    assert between.header["from"] == one.header["from"] and set(between.sections) == {
        "files",
        "files from s1",
        "post",
    }
    assert lines(between.sections["files from s1"]) == ["/ /.dl4mic-hpc-in/s1"]
    assert (
        "dl4mic_offer /.dl4mic-hpc/copy/s2-000 /.dl4mic-hpc-in/s1 /f ''\ndl4mic_owner 7\n"
        "dl4mic_take /.dl4mic-hpc/copy/s2-000 /.dl4mic-hpc-out/root-s2-0/g \"$dl4mic_ids\" ''\n"
    ) in between.sections["post"]
    assert lines(last.sections["files from g2"]) == ["/.dl4mic-hpc-out/root-s2-0/ /"]
    assert lines(last.sections["files from s0"]) == ["/.dl4mic-hpc-out/root-s2-1/ /"]


def test_a_root_from_another_stage_is_there_before_the_first_command(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    text = "FROM a AS r\nFROM scratch\nCOPY --from=r / /\nCOPY f /h\nRUN x\nCOPY --from=r /f /g\nCMD y"
    first, second = stages(text, tmp_path)
    assert (
        "dl4mic_take /.dl4mic-hpc/copy/s1-000 /.dl4mic-hpc-out/root-s1-0/ '' ''\n" in first.sections["post"]
    )
    taken = ["/.dl4mic-hpc-out/root-s1-0/ /", "/ /.dl4mic-hpc-in/s0"]
    assert lines(second.sections["files from s0"]) == taken
    assert "COPY / /" not in second.sections["post"]
    assert "dl4mic_copy_file 001 f /h ''\n" in second.sections["post"]
    assert "dl4mic_take /.dl4mic-hpc/copy/003 /g '' ''\n" in second.sections["post"]


@pytest.mark.parametrize(
    ("copy", "shell"),
    [("COPY --from=r / /", True), ("COPY --from=r --exclude=x / /", False), ("COPY --from=r /. /a", False)],
)
def test_a_whole_root_from_a_stage_with_a_shell_has_one(tmp_path: Path, copy: str, shell: bool) -> None:
    (tmp_path / "f").touch()
    text = f"FROM a AS r\nRUN x\nFROM scratch AS n\nCOPY f /n\nFROM scratch\n{copy}\nCOPY f /r\nLABEL a=b"
    last = stages(text, tmp_path)[-1]
    assert ("dl4mic_copy_file 001 f /r ''\n" in last.sections.get("post", "")) is shell


def test_files_stand_in_order_without_a_shell_too(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    text = (
        "FROM a AS x\nRUN y\nFROM b AS z\nRUN y\nFROM scratch\nCOPY f /1/\n"
        "COPY --from=z /1 /1/\nCOPY --from=x /2 /1/\nCOPY f /1/f\nCOPY --from=x /3 /1/\n"
    )
    relay, last = bundle(text, tmp_path, Bases()).definition.split("Stage: r2-4\n")[1].split("Stage: s2\n")
    assert "%files from s0\n    /.dl4mic-hpc-out/root-s2-4 /.dl4mic-hpc-out/root-s2-4\n" in relay
    found = [line.split()[-1] for line in last.splitlines() if line.startswith("%files from")]
    assert found == ["s1", "s0", "c2-3", "r2-4", "c2-5"]


def test_an_image_that_was_seen_to_have_no_shell(tmp_path: Path) -> None:
    class Bare(Bases):
        def base(self, reference: str, *, platform: str) -> BaseImage:
            return replace(super().base(reference, platform=platform), shell=False)

    (tmp_path / "f").touch()
    made = bundle("FROM a\nCOPY f /g/\nLABEL a=b", tmp_path, Bare())
    helper, last = read_stages(made.definition)
    assert helper.header["bootstrap"] == "oci-archive"
    assert lines(last.sections["files from c0-0"]) == ["/.dl4mic-hpc-out/context/ /"]
    assert "post" not in last.sections
    assert {"no-shell", "labels"} <= {each.name for each in made.deviations}


def test_files_come_before_the_first_command_of_a_stage_on_nothing(tmp_path: Path) -> None:
    (tmp_path / "sh").touch()
    made = convert("FROM scratch\nCOPY sh /bin/sh\nRUN a\nCOPY sh /b", context=tmp_path, build_args={})
    found = read(made.definition)
    assert found.header == {"bootstrap": "oci-archive", "from": "base/s0.tar"}
    assert "dl4mic_copy_file 000" not in found.sections["post"]
    assert "dl4mic_copy_file 002 sh /b ''\n" in found.sections["post"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FROM scratch\nRUN a", r"Dockerfile:1: a RUN follows FROM scratch"),
        ("FROM scratch\nCOPY --chown=me f /", r"Dockerfile:2: the owner me is a name"),
        (
            "FROM scratch AS x\nCOPY f /f\nFROM scratch\nCOPY --from=x /f /g",
            r"Dockerfile:3: files go from a stage without a shell to another",
        ),
        (
            "FROM a AS x\nRUN y\nFROM b\nCOPY --from=x --exclude=!a /y /z",
            r"Dockerfile:4: --exclude with ! does not go",
        ),
    ],
)
def test_what_no_shell_can_do(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(RecipeError, match=said) as caught:
        convert(text, context=tmp_path, build_args={}, outside=Bases(), pin=True)
    assert caught.value.hint
