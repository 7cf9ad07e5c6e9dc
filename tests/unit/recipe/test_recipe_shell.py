"""What a real shell makes of a definition: every step as Docker would run it, and nothing left of the build."""

from __future__ import annotations

import json
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
from dl4mic_hpc.recipe.definition import template
from dl4mic_hpc.recipe.shell import quote

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


PASSWD = "root:x:0:0::/root:/bin/sh\nann:x:7001:7002::/home/ann:/bin/sh\n"
GROUP = "root:x:0:\nown:x:7002:\nlab:x:7003:bob,ann\n"


class Builder:
    """Runs a definition's %post in a folder, in the environment that Apptainer gives it.

    What it would do outside of that folder is turned there: its own place, /tmp, and the lists of users. `ran` says how
    each RUN was started, by a stand-in for setpriv.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root, self.own, self.context = folder / "root", folder / "own", folder / "context"
        self.etc, self.temporary, self.programs = folder / "users", folder / "private", folder / "programs"
        for path in (self.root, self.own, self.context, self.etc, self.temporary, self.programs):
            path.mkdir()
        (self.etc / "passwd").write_text(PASSWD)
        (self.etc / "group").write_text(GROUP)
        (self.temporary / ".dl4mic-hpc-private").touch()
        setpriv = self.programs / "setpriv"
        setpriv.write_text(f'#!/bin/sh\necho "$1 $2 $3" >> {folder}/ran\nshift 3\nexec "$@"\n')
        setpriv.chmod(0o755)

    def turned(self, text: str) -> str:
        """Shell text with every place outside of the folder replaced; nothing of it may be left."""
        for place, turned in {
            "/.dl4mic-hpc": str(self.own),
            "in /tmp /var/tmp; do": f"in {self.temporary}; do",
            "/etc/passwd": f"{self.etc}/passwd",
            "/etc/group": f"{self.etc}/group",
            "/run/secrets": f"{self.root}/run/secrets",
            "dl4mic_folder /home/": f"dl4mic_folder {self.root}/home/",
            "dl4mic_restore_owners\n": "\n",
        }.items():
            text = text.replace(place, turned)
        bare = re.sub(r"^ *#.*$", "", text.replace(str(self.folder), ""), flags=re.MULTILINE)
        left = re.search(r"(?<![\w/])/(?:tmp|var/tmp|etc/\w)|\.dl4mic-hpc/", bare)
        assert left is None, left
        return text

    def build(self, text: str, *, head: str = "FROM base\nUSER root\n", **environment: str) -> Built:
        """`text` follows FROM; § in it stands for the root folder."""
        bundle = convert(head + text.replace("§", str(self.root)), context=self.context, build_args={})
        for path, content in bundle.files.items():
            if path.parts[:2] == ("ctx", "s0") and isinstance(content, bytes):
                target = self.own / path.relative_to("ctx/s0/.dl4mic-hpc")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(
                    self.turned(content.decode()).encode() if path.suffix == ".sh" else content
                )
        script = self.folder / "post.sh"
        script.write_text(self.turned(read(bundle.definition).sections["post"]), encoding="utf-8")
        labels = self.folder / "labels"
        ran = subprocess.run(
            ["/bin/sh", "-ex", str(script)],
            env={
                "PATH": f"{self.programs}:{PATH}",
                "HOME": "/root",
                "APPTAINER_LABELS": str(labels),
                **environment,
            },
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
    }.items() <= first.items()
    assert first["PATH"].endswith(PATH)
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
    assert "why\nerror: Dockerfile:5: the command ended with exit code 7\n" in built.log
    assert sorted(path.name for path in built.root.iterdir()) == ["before"]


def test_every_step_is_announced(builder: Builder) -> None:
    log = builder.build("WORKDIR §/x\n\nRUN echo 'said'\\\n  \"$HOME\"\n").log
    assert f"\nDockerfile:3: WORKDIR {builder.root}/x\n" in log
    assert "\nDockerfile:5: RUN echo 'said' \"$HOME\"\nsaid" in log


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
    assert stat.S_IMODE((built.root / "real").stat().st_mode) == 0o755
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
    assert modes == [0o711, 0o755, 0o755, 0o755]
    assert (built.root / "x/old/f").read_text() == (built.root / "x/link").read_text() == "copied"
    assert (built.root / "kept").read_text() == "kept\n"


@pytest.mark.parametrize(
    ("before", "copy", "said"),
    [
        ("ln -s name name", "COPY f name", "name is a symbolic link that leads nowhere"),
        ("ln -s / sub", "COPY tree .", "sub cannot be copied"),
        ("touch sub", "COPY tree .", "sub cannot be copied"),
        ("mkdir -p f/x", "COPY f ./", ""),
        ("touch name", "COPY f name/", "the folder"),
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
    assert "the base image sets X, which the recipe was converted without" in built.log


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


@pytest.mark.parametrize(
    ("user", "started", "home"),
    [
        ("ann", "--reuid=7001 --regid=7002 --groups=7002,7003", "/home/ann"),
        ("7001", "--reuid=7001 --regid=7002 --groups=7002,7003", "/home/ann"),
        ("ann:lab", "--reuid=7001 --regid=7003 --groups=7003", "/home/ann"),
        ("ann:5", "--reuid=7001 --regid=5 --groups=5", "/home/ann"),
        ("99", "--reuid=99 --regid=0 --groups=0", "/"),
        ("99:lab", "--reuid=99 --regid=7003 --groups=7003", "/"),
        ("0:5", "--reuid=0 --regid=5 --groups=5", "/root"),
        ("ann:", "--reuid=7001 --regid=7002 --groups=7002,7003", "/home/ann"),
        ("root", None, "/root"),
    ],
)
def test_who_runs_a_step(builder: Builder, user: str, started: str | None, home: str) -> None:
    built = builder.build(f"WORKDIR §\nUSER {user}\nRUN echo $HOME > h\nUSER root\nRUN true")
    assert built.code == 0, built.log
    assert (built.root / "h").read_text() == home + "\n"
    ran = (builder.folder / "ran").read_text().splitlines() if started else []
    # Once to see whether it can be done, once to do it.
    assert ran == ([started] * 2 if started else [])


def test_a_home_that_the_recipe_sets_stays(builder: Builder) -> None:
    built = builder.build("ENV HOME=/own\nWORKDIR §\nUSER ann\nRUN echo $HOME > h")
    assert (built.root / "h").read_text() == "/own\n"


@pytest.mark.parametrize(
    ("user", "said"), [("eve", "no user named eve"), ("ann:none", "no group named none")]
)
def test_a_user_that_the_image_does_not_have(builder: Builder, user: str, said: str) -> None:
    built = builder.build(f"WORKDIR §\nUSER {user}\nRUN true")
    assert built.code == 1
    assert f"error: Dockerfile:5: the image has {said}" in built.log


def test_where_nobody_else_can_be_become_root_does_it_and_it_is_noted(builder: Builder) -> None:
    for name in ("setpriv", "chroot", "su"):
        program = builder.programs / name
        program.write_text("#!/bin/sh\nexit 1\n")
        program.chmod(0o755)
    built = builder.build(
        "WORKDIR §\nUSER ann\nRUN echo $HOME > h\nRUN cp $P p", P=str(builder.etc / "passwd")
    )
    assert built.code == 0, built.log
    assert (built.root / "h").read_text() == "/home/ann\n"
    assert (built.root / "p").read_text() == PASSWD
    notes = [line.split("\t")[:2] for line in (built.own / "notes").read_text().splitlines()]
    assert notes == [["user-not-changed", "Dockerfile:5"], ["user-not-changed", "Dockerfile:6"]]
    assert (builder.etc / "passwd").read_text() == PASSWD


def test_su_is_given_a_guest_for_whom_it_does_not_know(builder: Builder) -> None:
    """What the stand-in for su sees of the list of users while the step runs."""
    for name in ("setpriv", "chroot"):
        (builder.programs / name).write_text("#!/bin/sh\nexit 1\n")
        (builder.programs / name).chmod(0o755)
    su = builder.programs / "su"
    su.write_text(
        f'#!/bin/sh\nshift 6\ngrep "^$1:" {builder.etc}/passwd > {builder.folder}/su\nshift 2\nexec "$@"\n'
    )
    su.chmod(0o755)
    built = builder.build("WORKDIR §\nUSER ann:lab\nRUN echo $HOME > h\nUSER ann\nRUN true")
    assert built.code == 0, built.log
    assert (builder.folder / "su").read_text().startswith("ann:")
    built = builder.build("WORKDIR §\nUSER ann:lab\nRUN echo $HOME > h")
    assert (builder.folder / "su").read_text() == "dl4mic-hpc:x:7001:7003::/home/ann:/bin/sh\n"
    assert (builder.etc / "passwd").read_text() == PASSWD


@pytest.mark.parametrize(
    ("owner", "ids"),
    [
        ("ann", "7001:7002"),
        ("ann:", "7001:0"),
        (":", "0:0"),
        (":lab", "0:7003"),
        ("5", "5:5"),
        ("5:", "5:0"),
        ("7001", "7001:7001"),
    ],
)
def test_whose_files_are(builder: Builder, owner: str, ids: str) -> None:
    (builder.context / "f").touch()
    chown = builder.programs / "chown"
    chown.write_text(f'#!/bin/sh\necho "$@" >> {builder.folder}/given\n')
    chown.chmod(0o755)
    built = builder.build(f"WORKDIR §\nCOPY --chown={owner} f g/")
    assert built.code == 0, built.log
    assert f"-h {ids} {builder.root}/g\n" in (builder.folder / "given").read_text()


def test_a_step_s_folder_is_what_a_link_leads_to(builder: Builder) -> None:
    built = builder.build("WORKDIR §\nRUN mkdir real && ln -s real link\nWORKDIR link\nRUN pwd > where")
    assert (built.root / "real/where").read_text() == f"{built.root}/real\n"


def test_a_script_runs_by_its_own_first_line(builder: Builder) -> None:
    built = builder.build("WORKDIR §\nRUN <<E\n#!/usr/bin/env sh\necho $# > said\nE")
    assert built.code == 0, built.log
    assert (built.root / "said").read_text() == "0\n"


@pytest.mark.parametrize("tail", ["", "\n", "\n\n"])
def test_a_long_command_arrives_as_it_is(builder: Builder, tail: str) -> None:
    text = "it's %post {{ x }} " * 400 + tail
    built = builder.build(
        "WORKDIR §\nRUN " + json.dumps(["/bin/sh", "-c", 'printf %s "$1$2" > said', "sh", text, "y" * 5000])
    )
    assert built.code == 0, built.log
    assert (built.root / "said").read_text() == text + "y" * 5000


def test_folders_made_for_a_mount_go_with_it_unless_something_is_in_them(builder: Builder) -> None:
    built = builder.build(
        "WORKDIR §\nRUN mkdir -p was/here\nRUN --mount=type=tmpfs,target=was/here/t --mount=type=tmpfs,target=a/b/c true\n"
        "RUN --mount=type=cache,target=x/y/z touch x/kept"
    )
    assert built.code == 0, built.log
    left = sorted(path.relative_to(built.root).as_posix() for path in built.root.rglob("*"))
    assert left == ["home", "home/data", "home/results", "was", "was/here", "x", "x/kept"]


def test_what_mounts_leave(builder: Builder) -> None:
    (builder.context / "tree").mkdir()
    (builder.context / "tree" / "f").write_text("bound")
    built = builder.build(
        "WORKDIR §\nRUN mkdir -p there && echo mine > there/own && echo old > file\n"
        "RUN --mount=target=there,source=tree --mount=target=file,source=tree/f --mount=type=tmpfs,target=new/t "
        "cat there/f file > seen; ls there new > listed; touch there/x new/t/y\n"
        "RUN --mount=type=cache,target=new/c,mode=0711 echo 1 > new/c/kept\n"
        "RUN --mount=type=cache,target=new/c cp new/c/kept again"
    )
    assert built.code == 0, built.log
    assert (built.root / "seen").read_text() == "boundbound"
    assert (built.root / "listed").read_text() == "new:\nt\n\nthere:\nf\n"
    assert (built.root / "again").read_text() == "1\n"
    left = sorted(path.relative_to(built.root).as_posix() for path in built.root.rglob("*"))
    assert left == [
        "again",
        "file",
        "home",
        "home/data",
        "home/results",
        "listed",
        "seen",
        "there",
        "there/own",
    ]
    assert (built.root / "file").read_text() == "old\n"


SECRETS = (
    "WORKDIR §\nRUN --mount=type=secret,id=a --mount=type=secret,id=b,env=B "
    'cat /run/secrets/a > a; echo "$B" > b; ls -l /run/secrets > listed; true'
)


def test_secrets_are_seen_by_one_step(builder: Builder) -> None:
    secrets = builder.own / "site" / "secrets"
    secrets.mkdir(parents=True)
    (secrets / "a").write_text("x")
    (secrets / "b").write_text("y")
    built = builder.build(SECRETS)
    assert built.code == 0, built.log
    assert [(built.root / name).read_text() for name in ("a", "b")] == ["x", "y\n"]
    assert "-r--------" in (built.root / "listed").read_text()
    assert not (built.root / "run/secrets").exists()


def test_secrets_that_nobody_gave(builder: Builder) -> None:
    built = builder.build(SECRETS)
    assert built.code == 0, built.log
    assert (built.root / "b").read_text() == "\n"
    built = builder.build(SECRETS.replace("id=a", "id=a,required"))
    assert built.code == 1
    assert "the secret a is needed" in built.log


def test_folders_that_are_not_the_build_s_own_are_left_alone(builder: Builder) -> None:
    (builder.temporary / ".dl4mic-hpc-private").unlink()
    (builder.temporary / "mine").touch()
    built = builder.build("WORKDIR §\nRUN touch x")
    assert built.code == 1
    assert "is not this build's own" in built.log and "build.sh" in built.log
    assert [path.name for path in builder.temporary.iterdir()] == ["mine"]
    assert list(built.root.iterdir()) == []


def test_every_stage_begins_and_ends_with_empty_temporary_folders(builder: Builder) -> None:
    (builder.temporary / ".before").touch()
    built = builder.build("WORKDIR §\nRUN ls -A $T > seen; touch $T/.x", T=str(builder.temporary))
    assert built.code == 0, built.log
    assert (built.root / "seen").read_text() == ""
    assert [path.name for path in builder.temporary.iterdir()] == [".dl4mic-hpc-private"]


class Functions:
    """The library alone, in a folder that stands for the root of an image where that can be said."""

    def __init__(self, builder: Builder) -> None:
        self.root, self.out = builder.root, builder.folder / "out"
        text = "\n".join(template(name) for name in ("steps.sh", "users.sh", "copies.sh", "mounts.sh"))
        self.library = builder.folder / "library.sh"
        self.library.write_text(builder.turned(text), encoding="utf-8")

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        text = f". {self.library}\ndl4mic_no_owners=yes\n{script}"
        argv = ["/bin/sh", "-ec", text.replace("§", str(self.root)).replace("OUT", str(self.out))]
        return subprocess.run(argv, capture_output=True, text=True, cwd=self.root)

    def copied(self, script: str, to: str = "§/to/") -> dict[str, str]:
        """What dl4mic_take makes of what `script` offers: paths below § and contents, or where links lead to."""
        ran = self.run(f"{script}\ndl4mic_take OUT {to} '' ''")
        assert ran.returncode == 0, ran.stderr
        target = Path(to.replace("§", str(self.root)))
        paths = target.rglob("*") if target.is_dir() else [target]
        return {
            path.relative_to(self.root).as_posix(): str(path.readlink())
            if path.is_symlink()
            else path.read_text()
            for path in paths
            if path.is_symlink() or path.is_file()
        }


@pytest.fixture
def functions(builder: Builder) -> Functions:
    for name in ("s/a.txt", "s/.b.txt", "s/d/c.txt", "s/d/e/f", "s/q r.txt"):
        path = builder.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (builder.root / "s/link").symlink_to("/s/d")
    (builder.root / "s/d/up").symlink_to("../a.txt")
    return Functions(builder)


def test_a_folder_s_contents_are_offered(functions: Functions) -> None:
    expected = {"to/c.txt": "s/d/c.txt", "to/e/f": "s/d/e/f", "to/up": "../a.txt"}
    assert functions.copied("dl4mic_offer OUT § /s/d ''") == expected


def test_links_lead_into_the_image_that_is_looked_at(functions: Functions) -> None:
    expected = {"to/c.txt": "s/d/c.txt", "to/e/f": "s/d/e/f", "to/up": "../a.txt"}
    assert functions.copied("dl4mic_offer OUT § /s/link/../d/. ''") == expected
    ran = functions.run("ln -s loop loop; dl4mic_offer OUT § /loop ''")
    assert (ran.returncode, "leads nowhere" in ran.stderr) == (1, True)


@pytest.mark.parametrize(("to", "path"), [("§/to/", "to/up"), ("§/x", "x"), ("§/s/d/e", "s/d/e/up")])
def test_a_file_is_offered_under_the_name_that_was_asked_for(
    functions: Functions, to: str, path: str
) -> None:
    assert functions.copied("dl4mic_offer OUT § /s/d/up ''", to)[path] == "s/a.txt"


def test_wildcards_take_leading_dots_and_stay_in_one_folder(functions: Functions) -> None:
    assert set(functions.copied("dl4mic_offer_matching OUT § '' 's/*.txt' ''")) == {
        *("to/a.txt", "to/.b.txt", "to/q r.txt"),
    }
    assert set(functions.copied("dl4mic_offer_matching OUT § '' '?/[!a]/*.txt' ''", "§/other/")) >= {
        "other/c.txt"
    }


def test_what_is_left_out(functions: Functions) -> None:
    found = functions.copied("dl4mic_offer OUT § /s '^\\./((.*/)?[^/]*\\.txt|link)(/.*)?$'")
    assert set(found) == {"to/d/e/f", "to/d/up"}


def test_parents_are_kept(functions: Functions) -> None:
    found = functions.copied(
        "dl4mic_offer_parents OUT § / 's/*/*.txt' ''; dl4mic_offer_parents OUT § /s d/e ''"
    )
    assert set(found) == {"to/s/d/c.txt", "to/s/link/c.txt", "to/d/e/f"} or set(found) == {
        "to/s/d/c.txt",
        "to/d/e/f",
    }


def test_nothing_that_fits_is_no_copy(functions: Functions) -> None:
    for script in (
        "dl4mic_offer OUT § /none ''",
        "dl4mic_offer_matching OUT § '' 'none*' ''; dl4mic_offered OUT 'none*'",
        "dl4mic_offer_parents OUT § / 'none*' ''; dl4mic_offered OUT 'none*'",
    ):
        ran = functions.run(script)
        assert ran.returncode == 1
        assert "in the stage that it is copied from" in ran.stderr


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
        f"FROM base\nUSER root\nWORKDIR {tmp_path}\n{command}\n{entrypoint}", context=tmp_path, build_args={}
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
        f"FROM base\nUSER root\nWORKDIR {tmp_path}\nENTRYPOINT []\n{command}", context=tmp_path, build_args={}
    )
    script = ["/bin/sh", "-c", read(bundle.definition).sections["runscript"], "sh"]
    assert subprocess.run(script, capture_output=True, text=True).stdout == plain.format(tmp_path)
    assert subprocess.run([*script, "echo", "$X  y"], capture_output=True, text=True).stdout == "$X  y\n"


def test_an_image_without_any_command_says_so(tmp_path: Path) -> None:
    bundle = convert(
        f"FROM base\nUSER root\nWORKDIR {tmp_path}\nENTRYPOINT []", context=tmp_path, build_args={}
    )
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
