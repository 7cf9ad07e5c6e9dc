"""The reference pages say what the program says: commands and options, the profile's keys, JSON answers, records."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, get_args

import pytest
import typer.main
import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from dl4mic_hpc import profile
from dl4mic_hpc.cli import live
from dl4mic_hpc.cli import session as session_commands
from dl4mic_hpc.cli.main import app
from dl4mic_hpc.sessions import check, gpu, listing
from dl4mic_hpc.sessions.session import Session

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PROGRAM = "dl4mic-hpc"


def page_of(name: str) -> str:
    return (DOCS / "reference" / name).read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    """What stands under a heading, up to the next one of any level."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", without_code_headings(page), re.M | re.S)
    assert found, f"there is no section '{title}'"
    return found[1]


def without_code_headings(page: str) -> str:
    """A comment in a code block is no heading."""
    return re.sub(r"```.*?```", lambda block: block[0].replace("\n#", "\n \\#"), page, flags=re.S)


def rows(text: str) -> list[list[str]]:
    """The cells of every row of every table, without head and rule."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    rules = [number for number, row in enumerate(cells) if all(set(cell) <= {"-", ":"} for cell in row)]
    return [row for number, row in enumerate(cells) if number not in rules and number + 1 not in rules]


# ---- Commands --------------------------------------------------------------------------------------------------------


def commands(command: Any, path: tuple[str, ...] = (PROGRAM,)) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(app)))
COMMAND_IDS = [" ".join(path) for path in COMMANDS]


def flags_of(path: tuple[str, ...]) -> set[str]:
    options = [one for one in COMMANDS[path].params if one.param_type_name == "option"]
    return {flag for one in options for flag in (*one.opts, *one.secondary_opts)} | {"-h", "--help"}


@pytest.mark.parametrize("path", COMMANDS, ids=COMMAND_IDS)
def test_every_command_has_its_section_with_exactly_its_options(path: tuple[str, ...]) -> None:
    text = section(page_of("commands.md"), " ".join(path))
    first = [row[0] for row in rows(text) if re.match(r"`-", row[0])]
    documented = {word.split()[0] for cell in first for word in re.findall(r"`(-[^`]+)`", cell)}
    assert documented == flags_of(path)


@pytest.mark.parametrize("path", COMMANDS, ids=COMMAND_IDS)
def test_every_argument_has_its_row(path: tuple[str, ...]) -> None:
    wanted = [one for one in COMMANDS[path].params if one.param_type_name == "argument"]
    text = section(page_of("commands.md"), " ".join(path))
    named = [row[0] for row in rows(text) if re.fullmatch(r"`[A-Z]+`", row[0])]
    assert named == [f"`{one.name.upper()}`" for one in wanted]


@pytest.mark.parametrize("path", COMMANDS, ids=COMMAND_IDS)
def test_every_command_has_an_example(path: tuple[str, ...]) -> None:
    text = section(page_of("commands.md"), " ".join(path))
    assert re.search(rf"^\$ {' '.join(path)}( |$)", text, re.M)


def test_no_section_is_about_a_command_that_is_not_there() -> None:
    titles = re.findall(rf"^## ({PROGRAM}.*)$", page_of("commands.md"), re.M)
    assert sorted(titles) == sorted(COMMAND_IDS)


def examples(page: Path) -> Iterator[str]:
    """Every command line of the program on a page: after a prompt, and in running text."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    yield from re.findall(rf"^\$ ({PROGRAM} .+)$", text, re.M)
    yield from re.findall(rf"`({PROGRAM} [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.S))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_examples_name_commands_and_options_that_exist(page: Path) -> None:
    for example in examples(page):
        words = shlex.split(re.split(r" [|>] ", example)[0])[1:]
        path: tuple[str, ...] = (PROGRAM,)
        options = []
        for word in words:
            if (*path, word) in COMMANDS:
                path = (*path, word)
            elif re.match(r"--?[a-z]", word):
                options.append((path, word.split("=")[0]))
            else:
                alternatives = word.split("|")
                group = bool(getattr(COMMANDS[path], "commands", {}))
                known = all((*path, each) in COMMANDS or not each.islower() for each in alternatives)
                assert not group or known, f"{example}: there is no command '{word}'"
        for where, option in options:
            assert option in flags_of(where), f"{example}: '{' '.join(where)}' has no option {option}"


# ---- The profile -----------------------------------------------------------------------------------------------------

HEADINGS = {
    profile.ClusterProfile: ("Reaching the login node", "What a session asks Slurm for", "On the cluster"),
    profile.Build: ("The job that pulls or builds an image",),
    profile.BuildEnvironment: ("The build environment",),
}


@pytest.mark.parametrize("model", HEADINGS, ids=lambda model: str(model.__name__))
def test_the_profile_page_has_every_key_with_its_default(model: type[BaseModel]) -> None:
    page = page_of("profile.md")
    table = [row for title in HEADINGS[model] for row in rows(section(page, title))]
    documented = {row[0].strip("`"): row for row in table}
    fields = {
        name: field
        for name, field in model.model_fields.items()
        if not field.exclude and not (model is profile.ClusterProfile and name == "build")
    }
    assert set(documented) == set(fields)
    for name, field in fields.items():
        _, kind, default, meaning = documented[name]
        assert meaning
        for choice in get_args(field.annotation):
            if isinstance(choice, str):
                assert f"`{choice}`" in kind, f"'{choice}' is not among the values of {name}"
        if default == "nothing set":
            assert field.get_default(call_default_factory=True) == profile.BuildEnvironment()
        elif default == "required":
            assert field.default is PydanticUndefined and field.default_factory is None
        else:
            is_text = isinstance(field.get_default(call_default_factory=True), str) and default != '""'
            said = default if is_text else yaml.safe_load(default)
            real = field.get_default(call_default_factory=True)
            assert said == (list(real) if isinstance(real, tuple) else real), name


def test_the_example_profile_is_one() -> None:
    text = re.search(r"```yaml\n(.*?)```", page_of("profile.md"), re.S)
    assert text
    assert profile.parse(text[1], name="myuni").default_gpus == "a100:1"


def test_the_profile_that_cluster_add_writes_names_only_keys_that_exist() -> None:
    text = (ROOT / "templates" / "profile.yaml").read_text(encoding="utf-8")
    lines = [line.removeprefix("# ") for line in text.splitlines() if re.match(r"# {1,3}\S", line)]
    example = "\n".join(["host: a", "work_dir: /a", *lines[1:]])
    profile.parse(example, name="myuni")


# ---- JSON ------------------------------------------------------------------------------------------------------------

SESSION = Session(
    id="k7q2mx",
    cluster="myuni",
    notebook="pixel_segmentation",
    notebook_file="Pixel_segmentation.ipynb",
    created="2025-05-06T08:15:00+00:00",
    submit_token="0011223344556677",
    session_dir=PurePosixPath("/scratch/ada/dl4mic/sessions/k7q2mx"),
    image=PurePosixPath("/scratch/ada/dl4mic/images/pixel_segmentation-0123456789abcdef.sif"),
    gpus="a100:1",
    simulated=False,
    job_id=4711,
    results=Path("results-k7q2mx"),
)


def documented(title: str) -> Any:
    found = re.search(r"```json\n(.*?)```", section(page_of("json.md"), title), re.S)
    assert found, f"no JSON under '{title}'"
    return json.loads(found[1])


def shape(value: Any) -> Any:
    """The keys, and those of the first element of a list; nothing of the values but whether they are objects."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value and isinstance(value[0], dict) else []
    return None


def of_the_program(capsys: pytest.CaptureFixture[str], tell: Callable[[], object]) -> Any:
    capsys.readouterr()
    tell()
    return json.loads(capsys.readouterr().out)


def test_json_of_launch(capsys: pytest.CaptureFixture[str]) -> None:
    submitted = of_the_program(capsys, lambda: live._submitted(SESSION, as_json=True))
    assert submitted["state"] == documented("launch")["state"] == "submitted"
    assert shape(submitted) == shape(documented("launch"))


def test_json_of_launch_and_attach_when_ready(capsys: pytest.CaptureFixture[str]) -> None:
    from dl4mic_hpc.sessions.attach import Attached
    from dl4mic_hpc.sessions.session import JupyterEndpoint

    values = {"endpoint": JupyterEndpoint(node="gpu07", port=8888, token="secret"), "session": SESSION}
    here = Attached(
        tunnel=None, route="hop", reason="", local_port=40211, url="http://127.0.0.1:40211/", **values  # type: ignore[arg-type]
    )  # fmt: skip
    ready = of_the_program(
        capsys, lambda: live._ready(here, as_json=True, until_ready=False, show_token=False)
    )
    assert ready["state"] == documented("launch, ready")["state"] == "ready"
    assert shape(ready) == shape(documented("launch, ready"))
    assert "secret" not in json.dumps(ready)


def test_json_of_a_dry_run(run_cli: Callable[..., Any]) -> None:
    run_cli("cluster", "add", "myuni", "--host", "login.invalid", "--work-dir", "/scratch/ada/dl4mic")
    answer = run_cli("launch", "pixel_segmentation", "--dry-run", "--json")
    assert answer.code == 0, answer.err
    assert shape(json.loads(answer.out)) == shape(documented("launch, dry run"))


def test_json_of_ps() -> None:
    row = listing.SessionState(session=SESSION, state="ready").as_json()
    assert shape({"version": 1, "sessions": [row]}) == shape(documented("ps"))


def test_json_of_the_verdict_on_the_gpus() -> None:
    verdict = gpu.GpuProof(verdict="works", level="framework")
    assert shape(verdict.as_json()) == shape(documented("The verdict on the GPUs"))
    kept = {"version", "key", *verdict.as_json()}
    said = {
        row[0]: set(re.findall(r"`(\w+)`", row[1]))
        for row in rows(page_of("session-folder.md"))
        if len(row) == 2
    }
    assert said["`gpu.json`, and `gpu/*.json` of the work folder"] == kept


def test_json_of_recipe_convert_and_check(
    run_cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("Dockerfile").write_text("FROM base.example/plain:1\n")
    Path("plain.json").write_text("{}")
    words = ("Dockerfile", "--base-map", "base.example/plain:1=json:plain.json", "--json")
    convert, check = (json.loads(run_cli("recipe", verb, *words).out) for verb in ("convert", "check"))
    assert shape(convert) == shape(documented("recipe convert"))
    assert set(check) == set(documented("recipe check"))


@pytest.mark.parametrize("state", [None, "ended"])
def test_json_of_results_and_stop(capsys: pytest.CaptureFixture[str], state: str | None) -> None:
    from dl4mic_hpc.transfer import Skipped, Summary

    summary = Summary(skipped=(Skipped(path=PurePosixPath("latest"), reason="a link"),))
    told = of_the_program(
        capsys,
        lambda: session_commands._tell_results(SESSION, summary, Path("here"), as_json=True, state=state),
    )
    assert shape(told) == shape(documented("stop" if state else "results"))


def test_json_of_cluster_and_notebook(run_cli: Callable[..., Any]) -> None:
    run_cli("cluster", "add", "myuni", "--host", "login.invalid", "--work-dir", "/scratch/ada/dl4mic")
    for title, argv in (
        ("cluster list", ("cluster", "list")),
        ("cluster show", ("cluster", "show", "myuni")),
        ("notebook list", ("notebook", "list")),
        ("notebook show", ("notebook", "show", "pixel_segmentation")),
    ):
        answer = run_cli(*argv, "--json")
        assert answer.code == 0, answer.err
        said, meant = shape(json.loads(answer.out)), shape(documented(title))
        for free in ("profile", "build_args"):  # objects whose keys are documented elsewhere
            assert (free in said) == (free in meant)
            said.pop(free, None), meant.pop(free, None)
        assert said == meant, title


def test_json_of_notebook_convert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cli: Callable[..., Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = (
        '#@param is for fields\nx = 1 #@param {type:"slider"}',
        "!pip install a\n!wget https://e.x -O /content/a\n!git clone https://e.x/a\nimport google.colab",
        "exit()\n# section 1",
    )
    heading = {"cell_type": "markdown", "source": "# 1. A on Colab"}
    cells = [
        heading,
        {**heading, "source": "# 2. B on Colab"},
        *({"cell_type": "code", "source": text} for text in lines),
    ]
    Path("a.ipynb").write_text(json.dumps({"nbformat": 4, "cells": cells}))
    answer = json.loads(run_cli("notebook", "convert", "a.ipynb", "--remove", "1", "--json").out)
    assert shape(answer) == shape(documented("notebook convert"))


def test_json_of_cluster_check() -> None:
    from dl4mic_hpc.images.fitness import Fitness
    from dl4mic_hpc.images.place import Folder, Place

    flags: dict[str, tuple[str, ...]] = {"build": (), "exec": ()}
    folders = (Folder(name="/tmp", path="/tmp", kind="xfs"),)
    place = Place(node="gpu07", flags=flags, folders=folders, reached={"docker.io": True})
    row = check.Finding(what="Slurm", verdict="ok", detail="slurm 24.05.4")
    said = check.Report(findings=[row], fitness=Fitness(login=place, node=place, looked=0.0))
    myuni = profile.parse("host: a\nwork_dir: /a", name="myuni")
    # As JSON, in which there are no tuples.
    answer = json.loads(json.dumps(said.as_json(myuni)))
    answer["fitness"]["login"]["quota"] = answer["fitness"]["node"]["quota"] = [1, 2]
    assert shape(answer) == shape(documented("cluster check"))
    assert check.Report(findings=[row]).as_json(myuni)["fitness"] is None


def test_json_of_the_sandbox() -> None:
    from dl4mic_hpc.sandbox import SandboxRemoved, SandboxStatus
    from dl4mic_hpc.sandbox.report import ContainerStatus, ImageStatus, NodeStatus

    images = (ImageStatus(name="localhost/dl4mic-base:trixie", size=1),)
    status = SandboxStatus(
        instance="2d1b86",
        state="up",
        containers=(ContainerStatus(name="a", role="login", state="running"),),
        nodes=(NodeStatus(name="gpu01", gpus="a100:2", state="idle"),),
        images=images,
    )
    assert shape(status.as_json()) == shape(documented("sandbox status"))
    removed = SandboxRemoved(instance="2d1b86", images_left=images)
    assert shape(removed.as_json()) == shape(documented("sandbox down"))


def test_json_of_image_list_check_and_prune() -> None:
    from dl4mic_hpc.images import tidy
    from dl4mic_hpc.images.record import Entry
    from dl4mic_hpc.images.shelf import Folder, Image, Leftover, Shelf, User

    path = PurePosixPath("/scratch/a-0123456789abcdef.sif")
    user = User(session="k7q2mx", state="running", job_id=41)
    image = Image(
        entry=Entry(path=path, mode=0o644, owner="ada", size=1, modified=1),
        own=True, name="a", key="0123456789abcdef", record=None, fault="", used=None, users=(user,), built_by=None, busy=False,
    )  # fmt: skip
    left = Leftover(path=path, what="half an image", size=1, dead=True)
    folder = Folder(path=path.parent, own=True, there=True)
    shelf = Shelf(
        cluster="myuni", now=2, user="ada", folders=(folder,), images=(image,), leftovers=(left,),
        cache=0, cache_old=0, slurm_error="", building=False,
    )  # fmt: skip
    assert shape({"version": 1, **shelf.as_json()}) == shape(documented("image list"))
    verdict = tidy.judge(image, sha256="", is_sif=True).as_json()
    assert shape({"version": 1, "cluster": "myuni", "images": [verdict]}) == shape(documented("image check"))
    pruning = tidy.Pruning(age=0, images=(), leftovers=(), cache=0, kept=((path, "in use"),)).as_json()
    told = {"version": 1, "cluster": "myuni", "removed": False, **pruning}
    assert shape(told) == shape(documented("image prune"))


def test_every_command_with_json_has_its_section() -> None:
    titles = re.findall(r"^## (.+)$", page_of("json.md"), re.M)
    for path in COMMANDS:
        if "--json" in flags_of(path):
            name = " ".join(path[1:])
            said = name in titles or f"`{name}` answers the same" in page_of("json.md")
            assert said, f"json.md says nothing of {name}"


# ---- Records ---------------------------------------------------------------------------------------------------------


def test_the_record_of_a_session_is_documented_field_by_field() -> None:
    table = rows(section(page_of("session-folder.md"), "The record of a session"))
    table = [row for row in table if len(row) == 3]
    fields = {name: row[2] for row in table for name in re.findall(r"`(\w+)`", row[0])}
    assert set(fields) == set(SESSION.as_record())
    assert {name for name, there in fields.items() if there == "yes"} == set(SESSION.as_cluster_record())


def test_what_the_job_writes_is_documented_field_by_field() -> None:
    said = {row[0]: row[1] for row in rows(page_of("session-folder.md")) if len(row) == 2}
    for title, template in (("session", "job.sh.j2"), ("build", "build.sh.j2")):
        script = (ROOT / "templates" / template).read_text(encoding="utf-8")
        written = next(line for line in script.splitlines() if "exit_code" in line and "printf" in line)
        keys = re.findall(r'"(\w+)": ', written)
        assert re.findall(r"`(\w+)`", said[f"`exit.json` of a {title}"]) == keys


# ---- Messages --------------------------------------------------------------------------------------------------------


def what_the_program_says() -> list[str]:
    """Every piece of text in the code, and the templates."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "dl4mic_hpc").rglob("*.py")]
    said = [node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    templates = [path.read_text(encoding="utf-8") for path in (ROOT / "templates").glob("*.j2")]
    return [text for text in said if isinstance(text, str)] + templates


def test_the_messages_that_are_explained_are_the_programs() -> None:
    """Users look for the words that they see; a word here that nobody sees helps nobody."""
    said = what_the_program_says()
    page = (DOCS / "how-to" / "when-it-fails.md").read_text(encoding="utf-8")
    messages = [message for row in rows(page) for message in re.findall(r"`([^`]+)`", row[0])]
    assert len(messages) > 30
    for message in messages:
        for piece in (piece.strip() for piece in message.split("…")):
            assert any(piece in text for text in said), f"the program never says '{piece}' ({message})"
