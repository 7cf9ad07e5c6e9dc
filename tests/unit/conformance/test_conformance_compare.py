"""The comparison behind the conformance table: each thing that can differ is seen, and nothing else is told."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from conformance import cases, compare, table
from conformance.cases import Case
from conformance.compare import Result

DOCKER: dict[str, Any] = {
    "built": True,
    "log": "",
    "tree": {
        "/srv": {"kind": "folder", "mode": "0755", "owner": "0:0", "xattrs": {}},
        "/srv/a": {"kind": "file", "mode": "0644", "owner": "33:50", "size": 2, "sha256": "aa", "xattrs": {}},
        "/srv/b": {"kind": "link", "owner": "0:0", "target": "a", "xattrs": {}},
    },
    "config": {
        "Env": ["PATH=/usr/bin", "A=1", "EMPTY="],
        "Labels": {"one": "1"},
        "Cmd": ["sh"],
        "WorkingDir": "/",
    },
    "runs": [{"code": 0, "out": "one\n", "err": ""}],
}


def our_own() -> dict[str, Any]:
    found = copy.deepcopy(DOCKER)
    found["environment"] = {
        "PATH": "/usr/bin:/usr/local/sbin:/bin",
        "A": "1",
        "EMPTY": "",
        "APPTAINER_NAME": "x",
        "PS1": ">",
    }
    found["labels"] = {"one": "1", "org.label-schema.build-date": "today"}
    found["config"].pop("WorkingDir")
    found["tree"]["/home"] = {"kind": "folder", "mode": "0755", "owner": "0:0"}
    found["tree"]["/tmp/left"] = found["tree"]["/.dl4mic-hpc/recipe.json"] = {"kind": "file"}
    return found


def test_equal_images_differ_in_nothing():
    assert compare.differences(DOCKER, our_own()) == []


def test_owners_count_only_where_the_mode_keeps_them():
    ours = our_own()
    ours["tree"]["/srv/a"]["owner"] = None
    ours["tree"]["/srv/a"]["xattrs"] = {"user.rootlesscontainers": "08e8071064"}
    assert compare.differences(DOCKER, ours) == []


def test_what_cannot_be_started_fails_in_its_own_way():
    docker, ours = copy.deepcopy(DOCKER), our_own()
    docker["runs"][0] = {"code": None, "out": "", "err": "no such program"}
    ours["runs"][0] = {"code": 1, "out": "", "err": ""}
    assert compare.differences(docker, ours) == []
    ours["runs"][0]["code"] = 0
    assert compare.differences(docker, ours)[0].startswith("run 1 gives None ''")


def test_fakeroot_leaves_root_its_rights():
    docker, ours = copy.deepcopy(DOCKER), our_own()
    docker["tree"]["/srv"]["mode"], docker["tree"]["/srv/a"]["mode"] = "0055", "0004"
    ours["tree"]["/srv"]["mode"], ours["tree"]["/srv/a"]["mode"] = "0755", "0604"
    assert compare.differences(docker, ours, fakeroot=True) == []
    assert len(compare.differences(docker, ours)) == 2
    ours["tree"]["/srv/a"]["mode"] = "0644"
    assert len(compare.differences(docker, ours, fakeroot=True)) == 1


CHANGES = [
    (("tree", "/srv/a", "mode"), "0600", "/srv/a: mode is 0644 in Docker's image, 0600 in ours"),
    (("tree", "/srv/a", "owner"), "0:0", "/srv/a: owner is 33:50"),
    (("tree", "/srv/a", "sha256"), "bb", "/srv/a: sha256 is aa"),
    (("tree", "/srv/a", "kind"), "fifo", "/srv/a: kind is file"),
    (("tree", "/srv/a", "links"), ["/srv/a", "/srv/c"], "/srv/a: links is None"),
    (("tree", "/srv/a", "xattrs"), {"user.x": "00"}, "/srv/a: xattrs is {}"),
    (("tree", "/srv/b", "target"), "/srv/a", "/srv/b: target is a"),
    (("tree", "/srv/c"), {"kind": "file"}, "/srv/c is only in our image"),
    (("environment", "A"), "2", "environment: A is '1' in Docker's image, '2' in ours"),
    (("environment", "EMPTY"), " ", "environment: EMPTY is ''"),
    (("environment", "PATH"), "/usr/bin:/opt", "environment: PATH"),
    (("environment", "PATH"), "/bin:/usr/bin", "environment: PATH"),
    (("environment", "OWN"), "1", "environment: OWN='1' is only in ours"),
    (("runs", 0, "out"), "two\n", "run 1 gives 0 'one\\n'"),
    (("runs", 0, "code"), 1, "run 1 gives"),
    (("labels", "one"), "2", "label one: '1'"),
    (("labels", "two"), "2", "label two: None"),
    (("config", "Cmd"), ["bash"], "configuration Cmd: ['sh']"),
    (("config", "WorkingDir"), "/srv", "configuration WorkingDir: None"),
]


@pytest.mark.parametrize(("where", "value", "told"), CHANGES, ids=[told for _, _, told in CHANGES])
def test_each_difference_is_told(where: tuple[Any, ...], value: object, told: str):
    ours: Any = our_own()
    place = ours
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    found = compare.differences(DOCKER, ours)
    assert len(found) == 1 and found[0].startswith(told)


def test_what_is_absent_is_told():
    ours = our_own()
    del ours["tree"]["/srv/b"], ours["environment"]["A"], ours["labels"]["one"]
    told = compare.differences(DOCKER, ours)
    assert [line.split(":")[0] for line in told] == [
        "/srv/b is only in Docker's image",
        "environment",
        "label one",
    ]


def test_a_failing_build_is_told_with_its_own_words():
    failed = {"built": False, "log": "first\nso it goes\n"}
    assert compare.differences(DOCKER, failed) == ["Docker builds, Apptainer fails: first | so it goes"]
    assert compare.differences(failed, our_own()) == ["Apptainer builds, Docker fails: first | so it goes"]
    assert compare.differences(failed, failed) == []


def test_what_differs_between_two_builds_is_left_alone():
    other, ours = copy.deepcopy(DOCKER), our_own()
    other["tree"]["/srv/a"]["sha256"] = "bb"
    ours["tree"]["/srv/a"]["sha256"] = "cc"
    ignored = compare.noise(DOCKER, other)
    assert ignored == {"/srv/a"}
    assert compare.differences(DOCKER, ours, ignored=ignored) == []


def result(case: str, outcome: Any, *, converter: Any = "ours", mode: str = "subuid") -> Result:
    return Result(case=case, converter=converter, mode=mode, outcome=outcome, told=("because",))


def test_the_table_counts_by_group_mode_and_converter(tmp_path):
    every = [Case(name=name, folder=tmp_path) for name in ("run-a", "run-b", "env-a")]
    results = [result("run-a", "equal"), result("run-b", "refused"), result("env-a", "different")]
    results += [result("run-a", "left out", mode="root"), result("run-b", "different", converter="spython")]
    lines = table.table(every, results).splitlines()
    assert lines[2] == "| `ENV` | 0 of 1 | – | – | – | – | 1 |"
    assert lines[3] == "| `RUN` | 1 + 1 of 2 | – | – | – | 0 of 1 | 2 |"
    assert lines[4].startswith("| **all** | 1 + 1 of 3 |")


def test_the_bar_is_missed_by_one_difference_or_too_many_refusals(tmp_path):
    every = [Case(name=f"run-{number}", folder=tmp_path) for number in range(20)]
    assert table.shortcomings(every, [result("run-1", "refused")]) == []
    assert table.shortcomings(every, [result("run-1", "different")]) == ["run-1 (subuid): because"]
    assert table.shortcomings(every, [result("run-1", "different", converter="spython")]) == []
    many = [result("run-1", "refused"), result("run-2", "refused")]
    assert table.shortcomings(every, many) == ["2 of 20 cases are refused, more than 5%"]


def test_the_table_goes_between_its_marks():
    page = f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n"
    once = table.inserted(page, "| a |\n")
    assert once == table.inserted(once, "| a |\n")
    assert once.startswith("before\n") and once.endswith("after\n") and "old" not in once
    with pytest.raises(ValueError, match="no marks"):
        table.inserted("nothing", "x")


def test_the_corpus_is_large_and_its_sample_covers_every_instruction():
    every = cases.every()
    assert len(every) >= 120
    assert sum(case.refused is not None for case in every) <= table.REFUSED_AT_MOST * len(every)
    sample = [case for case in every if case.sample]
    assert len(sample) == 12
    text = "\n".join((case.folder / case.dockerfile).read_text(encoding="utf-8").upper() for case in sample)
    for word in INSTRUCTIONS:
        assert f"\n{word} " in f"\n{text}", f"no case of the sample has {word}"


INSTRUCTIONS = (
    *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "ONBUILD"),
    *("RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR", "MAINTAINER"),
)
