"""The command line without any cluster: help, usage errors, profiles."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from dl4mic_hpc import profile as profiles
from dl4mic_hpc.cli.main import app

Run = Callable[..., Any]


def commands(group: Any, *words: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *words, name)
        else:
            yield (*words, name), command


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_with_an_example_that_it_understands(
    words: tuple[str, ...], run_cli: Run
):
    result = run_cli(*words, "--help")
    assert result.code == 0
    examples = [
        line
        for line in result.out.replace("Example:", "").splitlines()
        if f"dl4mic-hpc {' '.join(words)}" in line
    ]
    assert examples, result.out
    known = {option for param in COMMANDS[words].params for option in param.opts}
    used = {word for line in examples for word in line.split("dl4mic-hpc")[1].split() if word.startswith("-")}
    assert used <= known


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_says_what_it_is_for(words: tuple[str, ...]):
    for param in COMMANDS[words].params:
        assert getattr(param, "help", None), param.name


def test_every_command_that_answers_a_question_can_answer_as_json():
    silent = {
        words
        for words, command in COMMANDS.items()
        if "--json" not in {option for param in command.params for option in param.opts}
    }
    assert silent == {("logs",), ("cluster", "add"), ("cluster", "remove"), ("cluster", "trust")}


@pytest.mark.parametrize(
    "argv",
    [
        ("launch",),
        ("launch", "pixel_segmentation", "-c", "x.yaml"),
        ("launch", "pixel_segmentation", "--cluster", "nowhere"),
        ("launch", "pixel_segmentation", "-p", "70000"),
        ("launch", "pixel_segmentation", "--frobnicate"),
        ("attach", "bcdfgh"),
        ("cluster", "show", "nowhere"),
        ("cluster", "add", "x"),
        ("notebook", "show", "nothing"),
    ],
    ids=" ".join,
)
def test_usage_errors_exit_with_2_and_no_traceback(argv: tuple[str, ...], run_cli: Run):
    result = run_cli(*argv)
    assert result.code == 2
    assert result.out == ""
    assert "Traceback" not in result.err and result.err.strip()


def add(run_cli: Run, name: str = "uni", **more: str) -> Any:
    words = {"--host": "login.uni.edu", "--work-dir": "/scratch/ada/dl4mic", "--user": "ada", **more}
    return run_cli("cluster", "add", name, *(word for pair in words.items() for word in pair))


def test_a_cluster_is_added_listed_shown_and_removed(run_cli: Run):
    assert add(run_cli, **{"--partition": "gpu", "--module": "apptainer"}).code == 0
    listed = json.loads(run_cli("cluster", "list", "--json").out)
    assert [one["name"] for one in listed["clusters"]] == ["uni"]
    shown = json.loads(run_cli("cluster", "show", "uni", "--json").out)
    assert (shown["profile"]["partition"], shown["profile"]["modules"]) == (["gpu"], ["apptainer"])
    assert "host: login.uni.edu" in run_cli("cluster", "show", "uni").out
    assert run_cli("cluster", "remove", "uni").code == 0
    assert profiles.names() == []


def test_a_profile_that_is_there_is_not_overwritten(run_cli: Run):
    add(run_cli)
    before = (profiles.folder() / "uni.yaml").read_text()
    again = add(run_cli, **{"--user": "eve"})
    assert again.code == 2 and "already" in again.err
    assert (profiles.folder() / "uni.yaml").read_text() == before


def test_a_bad_value_writes_no_profile(run_cli: Run):
    result = add(run_cli, **{"--work-dir": "scratch"})
    assert result.code == 3 and "absolute path" in result.err
    assert profiles.names() == []
    assert add(run_cli, name="../x").code == 2


def test_what_a_new_profile_explains_can_be_switched_on(run_cli: Run):
    """The commented lines that `cluster add` writes are valid as they stand."""
    add(run_cli)
    path = profiles.folder() / "uni.yaml"
    lines = path.read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("# What else")) + 1
    switched = [*lines[:start], *(line.removeprefix("# ").removeprefix("#") for line in lines[start:])]
    path.write_text("\n".join(switched) + "\n")
    profile = profiles.load("uni")
    assert (profile.gpus, profile.build.partition, profile.pre_script) == (
        "1",
        ("cpu",),
        "export SOMETHING=1\n",
    )


def test_the_only_cluster_need_not_be_named(run_cli: Run, tmp_path: Path):
    result = run_cli("launch", "pixel_segmentation", "--dry-run")
    assert result.code == 2 and "no cluster is known yet" in result.err
    add(run_cli)
    assert run_cli("launch", "pixel_segmentation", "--dry-run").code == 0
    add(run_cli, name="other")
    result = run_cli("launch", "pixel_segmentation", "--dry-run")
    assert result.code == 2 and "other, uni" in result.err


def test_debug_shows_where_an_error_arose(run_cli: Run):
    assert "Traceback" not in run_cli("cluster", "show", "nowhere").err
    assert "Traceback" in run_cli("--debug", "cluster", "show", "nowhere").err
