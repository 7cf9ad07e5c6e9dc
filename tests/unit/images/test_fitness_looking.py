"""Asking the cluster, against answers that a real one gives seldom: refusals, jobs that die, answers cut short."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import PurePosixPath

import pytest

from dl4mic_hpc import profile as profiles
from dl4mic_hpc.errors import RemoteError, SshError
from dl4mic_hpc.images import fitness, looking
from dl4mic_hpc.remote import CommandResult, RemoteProcess

ANSWER = "node\t{}\nversion\tapptainer version 1.4.5\nreached\tdocker.io\nend\tok\n"
PROFILE = profiles.parse(
    "host: login\nwork_dir: /scratch/a b\nmodules: [apptainer/1.4]\npre_script: export SITE=1\n"
    "build: {partition: short, environment: {proxies: {https_proxy: 'http://p;x:3128'}}}\n",
    name="uni",
)


class Answers:
    """A `Remote` that answers by the word that stands where a shell's $0 is; `said` keeps what was asked."""

    cluster = "uni"

    def __init__(self, **answers: str | tuple[int, str] | Exception) -> None:
        self.answers = {
            "stage": "71\n", "login.sh": ANSWER.format("login"), "wait": "--answer\n" + ANSWER.format("gpu01"), **answers,
        }  # fmt: skip
        self.said: list[tuple[str, ...]] = []
        self.kept: dict[PurePosixPath, bytes] = {}

    def run(self, *argv: str, stdin: bytes = b"", timeout: float | None = 60.0) -> CommandResult:
        self.said.append(argv)
        key = next((word for word in self.answers if any(part.endswith(word) for part in argv)), "")
        answer = self.answers.get(key, "")
        if isinstance(answer, Exception):
            raise answer
        code, text = answer if isinstance(answer, tuple) else (0, answer)
        return CommandResult(
            argv=argv, exit_code=code, stdout="" if code else text, stderr=text if code else ""
        )

    @contextlib.contextmanager
    def start(self, *argv: str) -> Iterator[RemoteProcess]:
        raise AssertionError(argv)
        yield

    @contextlib.contextmanager
    def proxy(self) -> Iterator[str]:
        raise AssertionError
        yield

    def put(self, path: PurePosixPath, data: bytes, *, mode: int = 0o600) -> None:
        self.kept[path] = data

    def get(self, path: PurePosixPath) -> bytes | None:
        return self.kept.get(path)

    @property
    def cleared(self) -> bool:
        """Whether the folder that was staged is gone at the end, and the job with it."""
        staged = next(argv for argv in self.said if "stage" in argv)
        return (
            self.said[-1][3] == "clear"
            and self.said[-1][5] == staged[4]
            and self.said[-1][4] in " ".join(staged)
        )


class Silent:
    def say(self, text: str) -> None: ...
    def detail(self, text: str) -> None: ...
    def note(self, text: str) -> None: ...


def look(remote: Answers) -> fitness.Fitness:
    return fitness.look(remote, PROFILE, Silent(), registries=(), patience=0.0)


def test_both_answer_and_it_is_remembered() -> None:
    remote = Answers()
    found = look(remote)
    assert (found.login.node, found.node and found.node.node, found.no_node) == ("login", "gpu01", "")
    assert remote.cleared
    kept = remote.kept[PurePosixPath("/scratch/a b/cluster.json")]
    assert fitness.recall(kept.decode()) == found


def test_a_job_may_find_out_that_it_was_wrong() -> None:
    remote = Answers()
    found = look(remote)
    assert found.internet == "nodes"
    corrected = fitness.correct(remote, PROFILE, internet="login")
    assert corrected is not None and corrected.internet == "login"
    assert fitness.recall(remote.kept[fitness.path(PROFILE)].decode()) == corrected
    assert fitness.correct(Answers(), PROFILE, internet="login") is None


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({"stage": (1, "sbatch: error: invalid partition specified: short")}, "no partition"),
        ({"wait": "71|PENDING|Resources||N/A|\n--answer\n"}, "within 0 seconds (waiting: it is next"),
        (
            {"wait": "71|RUNNING|None|gpu01|N/A|\n--answer\nnode\tgpu01\n"},
            "within 0 seconds (it runs on gpu01",
        ),
        ({"wait": "71|FAILED|None|gpu01|N/A|\n--answer\nLmod: no such module\n"}, "Lmod: no such module"),
        ({"wait": "--answer\n"}, "without an answer: it said nothing"),
    ],
)
def test_no_compute_node_answers(answers: dict[str, str | tuple[int, str]], why: str) -> None:
    remote = Answers(**answers)
    found = look(remote)
    assert found.node is None and why in found.no_node
    assert found.builder == found.login
    assert remote.cleared and fitness.path(PROFILE) in remote.kept


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ANSWER.format("login").replace("end\tok\n", ""), "cut short"),
        ((1, "bash: syntax error"), "syntax error"),
    ],
)
def test_a_login_node_that_does_not_answer_is_an_error(answer: str | tuple[int, str], said: str) -> None:
    remote = Answers(**{"login.sh": answer})
    with pytest.raises(RemoteError, match=said):
        look(remote)
    assert remote.cleared and not remote.kept


def test_a_lost_connection_is_told_as_such() -> None:
    remote = Answers(wait=SshError("lost", hint="again"), clear=SshError("still lost", hint="again"))
    with pytest.raises(SshError, match=r"^lost$"):
        look(remote)


def test_the_script_is_set_up_as_a_build_is() -> None:
    urls = {"docker.io": "https://registry-1.docker.io/v2/"}
    job = looking.script(PROFILE, urls, in_job=True)
    login = looking.script(PROFILE, urls, in_job=False)
    assert "\nexport SITE=1\n" in job and "SITE" not in login
    for text in (job, login):
        assert text.startswith("#!/bin/bash -l\nmodule load apptainer/1.4 ||")
        assert "\nexport https_proxy='http://p;x:3128'\n" in text
        assert "\nset -- '/scratch/a b' apptainer '' docker.io=https://registry-1.docker.io/v2/\n" in text
        assert text.endswith("answer end ok\n")


def test_the_job_asks_for_little_where_builds_run() -> None:
    remote = Answers()
    look(remote)
    options = next(argv for argv in remote.said if "stage" in argv)
    for option in (
        "--cpus-per-task=1",
        "--time=00:02:00",
        "--partition=short",
        "--export=NONE",
        "--no-requeue",
    ):
        assert option in options
    assert any(word.startswith("--job-name=dl4mic-probe-") for word in options)
