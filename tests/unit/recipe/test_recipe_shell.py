"""What a real shell makes of a definition: every step as Docker would run it, and nothing left of the build."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.apptainer_reader import read

from dl4mic_hpc.recipe.bundle import convert
from dl4mic_hpc.recipe.definition import quote

pytestmark = pytest.mark.posix

PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Built:
    """What running %post left: `root` is where the recipe worked, `own` stands for /.dl4mic-hpc."""

    code: int
    log: str
    root: Path
    own: Path
    labels: str


class Builder:
    """Runs a definition's %post in a folder, in the environment that Apptainer gives it."""

    def __init__(self, folder: Path) -> None:
        self.root, self.own, self.context = folder / "root", folder / "own", folder / "context"
        for path in (self.root, self.own, self.context):
            path.mkdir()

    def build(self, text: str, **environment: str) -> Built:
        """`text` follows FROM; § in it stands for the root folder."""
        bundle = convert(
            "FROM base\n" + text.replace("§", str(self.root)), context=self.context, build_args={}
        )
        for path, content in bundle.files.items():
            target = self.own / path.relative_to("ctx")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        post = read(bundle.definition).sections["post"]
        post = post.replace("/.dl4mic-hpc", str(self.own)).replace(
            "mkdir -p /home/", f"mkdir -p {self.root}/home/"
        )
        script = self.own.parent / "post.sh"
        script.write_text(post, encoding="utf-8")
        labels = self.own.parent / "labels"
        ran = subprocess.run(
            ["/bin/sh", "-ex", str(script)],
            env={"PATH": PATH, "HOME": "/root", "APPTAINER_LABELS": str(labels), **environment},
            cwd="/",
            input="nothing reads this",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        said = labels.read_text(encoding="utf-8") if labels.exists() else ""
        return Built(ran.returncode, ran.stdout, self.root, self.own, said)


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[Builder]:
    before = os.umask(0o002)
    yield Builder(tmp_path)
    os.umask(before)


def environment(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


def test_a_step_runs_in_its_folder_with_its_environment(builder: Builder) -> None:
    built = builder.build(
        "ARG A='it''s' \nENV B=\"$A {{ x }}\" EMPTY=\nWORKDIR §/w/x\nRUN env > env; umask > umask; cat > stdin\n"
        "ENV A=2 LATE=1\nWORKDIR y\nRUN env > env"
    )
    assert built.code == 0, built.log
    first, second = environment(built.root / "w/x/env"), environment(built.root / "w/x/y/env")
    assert {
        "A": "its",
        "B": "its {{ x }}",
        "EMPTY": "",
        "HOME": "/root",
        "PATH": PATH,
    }.items() <= first.items()
    assert {"A": "2", "B": "its {{ x }}", "LATE": "1"}.items() <= second.items()
    assert "LATE" not in first
    assert (built.root / "w/x/umask").read_text() == "0022\n"
    assert (built.root / "w/x/stdin").read_text() == ""


def test_what_apptainer_adds_to_the_environment_is_not_seen(builder: Builder) -> None:
    noise = {
        "APPTAINER_ENVIRONMENT": "x",
        "SINGULARITY_NAME": "x",
        "PS1": "> ",
        "PROMPT_COMMAND": "x",
        "TERM": "dumb",
    }
    built = builder.build(
        "WORKDIR §\nRUN env > env",
        **noise,
        LANG="C",
        OLDPWD="/",
        LD_LIBRARY_PATH="/base/lib:/.singularity.d/libs",
        BASE="stays",
    )
    seen = environment(built.root / "env")
    assert {*noise, "LANG", "OLDPWD", "APPTAINER_LABELS"}.isdisjoint(seen)
    assert (seen["LD_LIBRARY_PATH"], seen["BASE"]) == ("/base/lib", "stays")


def test_every_step_has_a_shell_of_its_own(builder: Builder) -> None:
    built = builder.build(
        "WORKDIR §\nRUN cd / && X=1; false; true\nRUN exit 0\nRUN pwd > where; set -- a\n"
        'RUN echo "[$X]" $# >> where'
    )
    assert built.code == 0, built.log
    assert (built.root / "where").read_text() == f"{built.root}\n[] 0\n"


def test_the_exec_form_is_passed_on_as_it_is(builder: Builder) -> None:
    built = builder.build(
        r"""WORKDIR §
RUN ["/bin/sh", "-c", "printf '%s|' \"$@\" > argv", "sh", "$HOME", "it's", "a\n%post", "\tbootstrap:", "{{ x }}", ""]"""
    )
    assert built.code == 0, built.log
    assert (built.root / "argv").read_text() == "$HOME|it's|a\n%post|\tbootstrap:|{{ x }}||"


def test_a_failing_step_ends_the_build_and_says_where(builder: Builder) -> None:
    built = builder.build("WORKDIR §\nRUN touch before\nRUN echo why >&2; exit 7\nRUN touch after")
    assert built.code == 7
    assert "why\nerror: Dockerfile:4 ended with exit code 7\n" in built.log
    assert sorted(path.name for path in built.root.iterdir()) == ["before"]


def test_every_step_is_announced(builder: Builder) -> None:
    log = builder.build("WORKDIR §/x\n\nRUN echo 'said'\\\n  \"$HOME\"\n").log
    assert f"\nDockerfile:2: WORKDIR {builder.root}/x\n" in log
    assert "\nDockerfile:4: RUN echo 'said' \"$HOME\"\nsaid" in log


def test_copies_stand_in_order(builder: Builder) -> None:
    (builder.context / "f").write_text("new")
    built = builder.build("WORKDIR §\nRUN echo old > f; [ ! -e g ]\nCOPY f .\nRUN cat f > seen\nCOPY f g")
    assert built.code == 0, built.log
    assert (built.root / "seen").read_text() == (built.root / "g").read_text() == "new"


def test_where_a_single_file_goes(builder: Builder) -> None:
    (builder.context / "f").write_text("new")
    (builder.context / "run").write_text("#!")
    (builder.context / "run").chmod(0o700)
    built = builder.build(
        "WORKDIR §\nRUN mkdir folder real; ln -s real link; echo old > file\n"
        "COPY f folder\nCOPY f link\nCOPY f file\nCOPY run deep/er/name"
    )
    assert built.code == 0, built.log
    assert [(built.root / name).read_text() for name in ("folder/f", "real/f", "file")] == ["new"] * 3
    assert (built.root / "link").is_symlink()
    assert stat.S_IMODE((built.root / "deep/er/name").stat().st_mode) == 0o755
    assert stat.S_IMODE((built.root / "deep/er").stat().st_mode) == 0o755


def test_how_a_folder_is_merged(builder: Builder) -> None:
    for name in ("old/f", "new/f", "new/sub/f", "link"):
        path = builder.context / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("copied")
    built = builder.build(
        "WORKDIR §\nRUN mkdir -p x/old && chmod 0711 x x/old && echo old > x/old/f && echo kept > kept && ln -s ../kept x/link\n"
        "COPY tree x"
    )
    assert built.code == 0, built.log
    modes = [
        stat.S_IMODE((built.root / name).stat().st_mode) for name in ("x", "x/old", "x/new", "x/new/sub")
    ]
    assert modes == [0o711, 0o711, 0o755, 0o755]
    assert (built.root / "x/old/f").read_text() == (built.root / "x/link").read_text() == "copied"
    assert (built.root / "kept").read_text() == "kept\n"


@pytest.mark.parametrize(
    ("before", "copy", "said"),
    [
        ("ln -s nowhere name", "COPY f name", "name is a symbolic link"),
        ("ln -s / sub", "COPY tree .", "sub cannot be copied"),
        ("touch sub", "COPY tree .", "sub cannot be copied"),
        ("mkdir -p f/x", "COPY f ./", ""),
    ],
)
def test_what_docker_would_not_replace_either(builder: Builder, before: str, copy: str, said: str) -> None:
    (builder.context / "tree" / "sub").mkdir(parents=True)
    (builder.context / "f").write_text("new")
    built = builder.build(f"WORKDIR §\nRUN {before}\n{copy}")
    assert built.code != 0
    assert said in built.log


def test_a_presumed_name_that_the_base_image_sets(builder: Builder) -> None:
    text = "ARG X\nENV A=${X:-1}\nWORKDIR §\nRUN echo $A > a"
    assert (builder.build(text).root / "a").read_text() == "1\n"
    built = builder.build(text, X="")
    assert built.code == 1
    assert "error: the base image sets X, which the recipe was converted without" in built.log


def test_labels_go_where_apptainer_looks_for_them(builder: Builder) -> None:
    built = builder.build("ENV B=' b'\nLABEL a=\"it's$B\" c={{x}}\nLABEL e=\nWORKDIR §")
    assert built.labels == "a it's b\nc {{x}}\ne \n"


def test_nothing_of_the_build_stays(builder: Builder) -> None:
    (builder.context / "f").touch()
    built = builder.build("WORKDIR §\nCOPY f .\nCOPY f g\nRUN true")
    left = sorted(str(path.relative_to(built.own)) for path in built.own.rglob("*"))
    assert left == ["recipe.json", "site", "site/README"]
    assert stat.S_IMODE((built.own / "recipe.json").stat().st_mode) == 0o644


def test_the_folders_for_binds_are_there(builder: Builder) -> None:
    built = builder.build("WORKDIR §")
    assert sorted(path.name for path in (built.root / "home").iterdir()) == ["data", "results"]


def test_the_cluster_s_build_environment(builder: Builder) -> None:
    text = 'WORKDIR §\nRUN env > env; cat "$APT_CONFIG" > apt'
    plain = environment(builder.build(text).root / "env")
    assert "PIP_CONFIG_FILE" not in plain
    assert (builder.root / "apt").read_text() == 'APT::Sandbox::User "root";\n'
    site = builder.own / "site"
    for name in ("ca-certificates.crt", "pip.conf", "apt.sources"):
        (site / name).touch()
    (site / "apt.conf").write_text('Acquire::Retries "3";\n')
    built = builder.build(text)
    seen = environment(built.root / "env")
    certificates = str(site / "ca-certificates.crt")
    names = (
        "SSL_CERT_FILE",
        "CURL_CA_BUNDLE",
        "REQUESTS_CA_BUNDLE",
        "PIP_CERT",
        "GIT_SSL_CAINFO",
        "NODE_EXTRA_CA_CERTS",
    )
    assert {seen[name] for name in names} == {certificates}
    assert seen["PIP_CONFIG_FILE"] == str(site / "pip.conf")
    assert (builder.root / "apt").read_text().splitlines() == [
        'APT::Sandbox::User "root";',
        f'Acquire::https::CAInfo "{certificates}";',
        f'Dir::Etc::SourceList "{site}/apt.sources";',
        'Dir::Etc::SourceParts "/dev/null";',
        'Acquire::Retries "3";',
    ]
    assert not (built.own / "apt.conf").exists()


def test_the_recipe_wins_over_the_build_environment(builder: Builder) -> None:
    (builder.own / "site").mkdir()
    (builder.own / "site" / "pip.conf").touch()
    built = builder.build("ENV PIP_CONFIG_FILE=/own\nWORKDIR §\nRUN env > env")
    assert environment(built.root / "env")["PIP_CONFIG_FILE"] == "/own"


EXEC_ENTRY, SHELL_ENTRY = (
    'ENTRYPOINT ["printf", "<%s>", "e 1", "$HOME"]',
    'ENTRYPOINT printf \'<%s>\' shell "$0" "$@"',
)
EXEC_CMD, SHELL_CMD = 'CMD ["c 1", "\'q\'"]', "CMD echo $((1 + 1)) 'x'"


@pytest.mark.parametrize(
    ("entrypoint", "command", "plain", "given"),
    [
        (EXEC_ENTRY, "", ["e 1", "$HOME"], ["e 1", "$HOME", "a b", "$X"]),
        (EXEC_ENTRY, EXEC_CMD, ["e 1", "$HOME", "c 1", "'q'"], ["e 1", "$HOME", "a b", "$X"]),
        (
            EXEC_ENTRY,
            SHELL_CMD,
            ["e 1", "$HOME", "/bin/sh", "-c", "echo $((1 + 1)) 'x'"],
            ["e 1", "$HOME", "a b", "$X"],
        ),
        (SHELL_ENTRY, "", ["shell", "/bin/sh"], ["shell", "a b", "$X"]),
        (SHELL_ENTRY, EXEC_CMD, ["shell", "c 1", "'q'"], ["shell", "a b", "$X"]),
        (SHELL_ENTRY, SHELL_CMD, ["shell", "/bin/sh", "-c", "echo $((1 + 1)) 'x'"], ["shell", "a b", "$X"]),
    ],
)
def test_the_argument_table(
    tmp_path: Path, entrypoint: str, command: str, plain: list[str], given: list[str]
) -> None:
    bundle = convert(
        f"FROM base\nWORKDIR {tmp_path}\n{command}\n{entrypoint}", context=tmp_path, build_args={}
    )
    script = read(bundle.definition).sections["runscript"]

    def start(*arguments: str) -> list[str]:
        ran = subprocess.run(
            ["/bin/sh", "-c", script, "/bin/sh", *arguments], capture_output=True, text=True, check=True
        )
        return re.findall("<(.*?)>", ran.stdout)

    assert start() == plain
    assert start("a b", "$X") == given


@pytest.mark.parametrize(
    ("command", "plain"), [('CMD ["echo", "c  1"]', "c  1\n"), (SHELL_CMD, "2 x\n"), ("CMD pwd", "{}\n")]
)
def test_a_command_without_an_entrypoint_is_replaced(tmp_path: Path, command: str, plain: str) -> None:
    bundle = convert(
        f"FROM base\nWORKDIR {tmp_path}\nENTRYPOINT []\n{command}", context=tmp_path, build_args={}
    )
    script = ["/bin/sh", "-c", read(bundle.definition).sections["runscript"], "sh"]
    assert subprocess.run(script, capture_output=True, text=True).stdout == plain.format(tmp_path)
    assert subprocess.run([*script, "echo", "$X  y"], capture_output=True, text=True).stdout == "$X  y\n"


def test_an_image_without_any_command_says_so(tmp_path: Path) -> None:
    bundle = convert(f"FROM base\nWORKDIR {tmp_path}\nENTRYPOINT []", context=tmp_path, build_args={})
    script = ["/bin/sh", "-c", read(bundle.definition).sections["runscript"], "sh"]
    ran = subprocess.run(script, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (1, "error: the image names no command: give one\n")
    assert subprocess.run([*script, "echo", "x"], capture_output=True, text=True).stdout == "x\n"


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(st.text(st.sampled_from("%{}'\"\\$`#: \t\nabx!*~é"), max_size=30))
def test_quoted_text_is_one_word(text: str) -> None:
    ran = subprocess.run(["/bin/sh", "-c", f"printf '%s.' {quote(text)}"], capture_output=True, check=True)
    assert ran.stdout.decode() == text + "."
    assert shlex.split(quote(text)) == [text]
