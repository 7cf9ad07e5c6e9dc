"""What follows from a machine's answer: one recorded in the sandbox, and what of it is different elsewhere."""

from __future__ import annotations

import dataclasses
import json
from pathlib import PurePosixPath

import pytest

from dl4mic_hpc import profile as profiles
from dl4mic_hpc.images import fitness, place, verdicts
from dl4mic_hpc.images.fitness import Fitness
from dl4mic_hpc.images.place import Folder, Place

GIB = 1024**3

RECORDED = """\
A word of the site's own scripts
node\tgpu01
kernel\t6.1.0-18-amd64
machine\tx86_64
system\tDebian GNU/Linux 13 (trixie)
cpus\t2
memory_kib\t24684084
shared_memory_kib\t2097152
unreached\tghcr.io
reached\tregistry:5000
version\tapptainer version 1.4.5
flags_build\t--arch --bind --fakeroot --mksquashfs-args --no-https --sandbox
flags_exec\t--cleanenv --contain --nv
program\tmksquashfs
program\tsquashfuse_ll
program\tfakeroot
program\tnewuidmap
user_namespaces\tyes
subuids\t65536
subgids\t65536
newuidmap\tworks
fuse\tyes
folder\t$TMPDIR\t/tmp\t55000000\tyes\tyes\toverlay\t
folder\t/scratch\t/scratch\t54992532\tno\tno\text4\tnodev
folder\t/dev/shm\t/dev/shm\t2097152\tyes\tno\ttmpfs\tnodev noexec
free_kib\t54992532
free_inodes\t15639699
quota_kib\t41943040* 36700160 52428800
end\tok
"""


def recorded() -> Place:
    found = place.parse(RECORDED)
    assert found is not None
    return found


def such(**changes: object) -> Place:
    return dataclasses.replace(recorded(), **changes)  # type: ignore[arg-type]


def without(*programs: str) -> tuple[str, ...]:
    return tuple(set(recorded().programs) - set(programs))


def profile(**values: object) -> profiles.ClusterProfile:
    text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items())
    return profiles.parse(f"host: login\nwork_dir: /scratch/ada/dl4mic\n{text}", name="uni")


def test_an_answer_is_read_past_other_words() -> None:
    found = recorded()
    assert (found.node, found.release, found.is_apptainer) == ("gpu01", (1, 4), True)
    assert found.flags == {
        "build": ("--bind", "--fakeroot", "--mksquashfs-args", "--no-https"),
        "exec": ("--cleanenv", "--contain", "--nv"),
    }
    assert found.reached == {"registry:5000": True, "ghcr.io": False}
    assert found.folders[2] == Folder(
        name="/dev/shm", path="/dev/shm", kind="tmpfs", options=("nodev", "noexec"), free=2 * GIB, runs=False
    )
    assert (found.memory, found.quota) == (24684084 * 1024, (40 * GIB, 50 * GIB))


@pytest.mark.parametrize("text", ["", RECORDED.replace("end\tok\n", ""), "end\tok\n"])
def test_an_answer_that_was_cut_short_is_none(text: str) -> None:
    assert place.parse(text) is None


def test_a_machine_that_has_nothing_answers_so() -> None:
    found = place.parse("node\tn1\nsubuids\t0\nfolder\tbroken\nquota_kib\t5 0 0\nend\tok\n")
    assert found == Place(node="n1", flags={"build": (), "exec": ()})


# Version lines as the programs' sources and release pages have them.
@pytest.mark.parametrize(
    ("line", "release", "grade"),
    [
        ("apptainer version 1.5.3", (1, 5), "ok"),
        ("apptainer version 1.0.3-1.el8", (1, 0), "ok"),
        ("singularity version 3.8.7-1.el8", (3, 8), "ok"),
        ("singularity-ce version 4.1.2-jammy", (4, 1), "ok"),
        ("singularity version 3.7.3", (3, 7), "failed"),
        ("", (0, 0), "failed"),
    ],
)
def test_the_version_is_read_and_must_not_be_too_old(line: str, release: tuple[int, int], grade: str) -> None:
    found = such(version=line)
    assert (found.release, verdicts.program(found).grade) == (release, grade)


def test_without_mksquashfs_no_image_is_made() -> None:
    found = verdicts.program(such(programs=without("mksquashfs")))
    assert found.grade == "warning" and "squashfs-tools" in found.hint


OLD = "singularity version 3.8.7-1.el8"


@pytest.mark.parametrize(
    ("changes", "mode", "options"),
    [
        ({}, "subuid", ("--fakeroot",)),
        ({"newuidmap": False, "suid": True}, "subuid", ("--fakeroot",)),
        ({"version": OLD}, "subuid", ("--fakeroot",)),
        ({"subuids": 0}, "root-mapped with fakeroot", ("--fakeroot",)),
        ({"subuids": 1000}, "root-mapped with fakeroot", ("--fakeroot", "--ignore-subuid")),
        ({"subgids": 0}, "root-mapped with fakeroot", ("--fakeroot", "--ignore-subuid")),
        ({"newuidmap": False}, "root-mapped with fakeroot", ("--fakeroot", "--ignore-subuid")),
        ({"subuids": 0, "programs": ("fakeroot-sysv",)}, "root-mapped with fakeroot", ("--fakeroot",)),
        ({"subuids": 0, "programs": ()}, "root-mapped", ("--fakeroot",)),
        ({"subuids": 0, "user_namespaces": False, "suid": True}, "suid", ("--fakeroot",)),
        ({"user_namespaces": False, "suid": True}, "suid", ("--fakeroot", "--ignore-subuid")),
        ({"user_namespaces": False}, "none", ()),
        ({"user_namespaces": False, "suid": True, "programs": ()}, "none", ()),
        ({"version": OLD, "subuids": 0, "suid": True}, "none", ()),
        ({"version": "apptainer version 1.0.3-1.el8", "subuids": 0}, "none", ()),
    ],
)
def test_how_recipes_are_built(changes: dict[str, object], mode: str, options: tuple[str, ...]) -> None:
    found = verdicts.recipes(such(**changes))
    assert (found.mode, found.options) == (mode, options)
    grade = {"subuid": "ok", "root-mapped with fakeroot": "ok"}.get(mode, "warning")
    assert (found.verdict.grade, bool(found.verdict.hint)) == (grade, grade != "ok")


@pytest.mark.parametrize(
    ("changes", "reason", "hint"),
    [
        (
            {"user_namespaces": False},
            "user namespaces are not allowed and Apptainer is installed without its set-user-ID part",
            "unprivileged user namespaces",
        ),
        ({"version": OLD, "subuids": 0}, "you have no range of subordinate user ids", "65536 subordinate"),
        ({"version": OLD, "newuidmap": False}, "newuidmap does not work", "user namespaces"),
    ],
)
def test_builds_are_refused_with_what_to_ask_for(changes: dict[str, object], reason: str, hint: str) -> None:
    refusal = Fitness(login=recorded(), node=such(**changes), looked=0.0).refuses_builds()
    assert refusal is not None
    assert reason in refusal.reason and hint in refusal.hint
    assert Fitness(login=such(**changes), node=recorded(), looked=0.0).refuses_builds() is None


@pytest.mark.parametrize(
    ("changes", "grade", "says"),
    [
        ({}, "ok", "squashfuse"),
        ({"suid": True, "user_namespaces": False}, "ok", "by the kernel"),
        ({"version": "singularity-ce version 4.1.2"}, "ok", "squashfuse"),
        ({"version": OLD}, "warning", "unpacked at each start"),
        ({"programs": without("squashfuse_ll")}, "warning", "there is no squashfuse"),
        ({"fuse": False}, "warning", "/dev/fuse cannot be used"),
        ({"kernel": "3.10.0-1160.el7.x86_64"}, "warning", "older than 4.18"),
        ({"user_namespaces": False}, "failed", "no image starts"),
    ],
)
def test_how_images_start(changes: dict[str, object], grade: str, says: str) -> None:
    found = verdicts.start(such(**changes))
    assert found.grade == grade and says in found.reason


def folder(name: str, kind: str = "xfs", gib: int = 500, **values: object) -> Folder:
    return Folder(name=name, path=name, kind=kind, free=gib * GIB, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("folders", "tmp_dir", "chosen", "grade"),
    [
        ((folder("/tmp"), folder("/local")), None, "/tmp", "ok"),
        ((folder("/tmp", gib=5), folder("/local")), None, "/local", "ok"),
        ((folder("/tmp", "nfs4"), folder("/local")), None, "/local", "ok"),
        ((folder("/tmp", "fuse.glusterfs"), folder("/local", "lustre")), None, None, "warning"),
        ((folder("/tmp", runs=False), folder("/local", writable=False)), None, None, "warning"),
        ((folder("/tmp", gib=5), folder("/local", gib=6)), None, "/local", "warning"),
        ((folder("/tmp", "tmpfs"),), None, "/tmp", "warning"),
        ((folder("/mine", gib=5), folder("/tmp")), "/mine", "/mine", "warning"),
        ((folder("/tmp"),), "/mine", None, "warning"),
    ],
)
def test_where_images_are_unpacked(
    folders: tuple[Folder, ...], tmp_dir: str | None, chosen: str | None, grade: str
) -> None:
    found, verdict = verdicts.unpacking(such(folders=folders), PurePosixPath(tmp_dir) if tmp_dir else None)
    assert (found.name if found else None, verdict.grade) == (chosen, grade)


@pytest.mark.parametrize(
    ("changes", "grade", "says"),
    [
        ({"quota": None}, "ok", "52.4 GiB"),
        ({}, "warning", "10.0 GiB in /work (quota: 40.0 of 50.0 GiB used)"),
        ({"quota": (51 * GIB, 50 * GIB)}, "warning", "0.0 GiB"),
        ({"quota": None, "free_inodes": 12}, "warning", "only 12 more files"),
        ({"quota": None, "free": None}, "not checked", "does not tell"),
    ],
)
def test_space(changes: dict[str, object], grade: str, says: str) -> None:
    found = verdicts.space(such(**changes), PurePosixPath("/work"))
    assert found.grade == grade and says in found.reason


ALL = {"docker.io": True, "ghcr.io": True}
NONE = {"docker.io": False, "ghcr.io": False}
ONE = {"docker.io": True, "ghcr.io": False}


@pytest.mark.parametrize(
    ("login", "node", "expected"),
    [
        (ALL, ALL, "nodes"),
        (ALL, NONE, "login"),
        (NONE, NONE, "laptop"),
        # A registry that nobody reaches is down; one that the login node alone reaches is not.
        (ONE, ONE, "nodes"),
        (ALL, ONE, "login"),
        (NONE, ALL, "nodes"),
        ({"docker.io": False, "ghcr.io": True}, ONE, "laptop"),
        (ALL, None, "nodes"),
        (NONE, None, "laptop"),
    ],
)
def test_from_where_registries_are_reached(
    login: dict[str, bool], node: dict[str, bool] | None, expected: str
) -> None:
    other = None if node is None else such(reached=node)
    found = Fitness(login=such(reached=login), node=other, looked=0.0)
    assert found.internet == expected
    assert dataclasses.replace(found, corrected="login").internet == "login"


@pytest.mark.parametrize(
    ("build", "reached", "expected"),
    [
        ({}, ALL, "node"),
        ({}, NONE, "node from login"),
        ({"on_login_node": True}, NONE, "login"),
        ({"on_login_node": True}, ALL, "node"),
        ({"internet": "nodes"}, NONE, "node"),
        ({"internet": "laptop", "on_login_node": True}, ALL, "node from laptop"),
    ],
)
def test_who_fetches_images(build: dict[str, object], reached: dict[str, bool], expected: str) -> None:
    found = Fitness(login=such(reached=ALL), node=such(reached=reached), looked=0.0)
    assert found.pulls(profile(build=build)) == expected


def test_everything_is_said_in_words() -> None:
    known = Fitness(login=recorded(), node=such(machine="aarch64"), looked=0.0)
    assert known.platform == "linux/arm64"
    said = known.explain(profile())
    assert [one.what for one in said] == [
        "Apptainer on gpu01",
        "fetching images",
        "unpacking images on gpu01",
        "building recipes on gpu01",
        "starting images on gpu01",
        "space for images",
    ]
    assert said[1].reason == "by the job on a compute node; not reached from gpu01: ghcr.io"
    guessed = Fitness(login=recorded(), node=None, no_node="nobody answered", looked=0.0).explain(profile())
    assert guessed[0].grade == "not checked" and "nobody answered" in guessed[0].reason
    assert "as far as the login node knows" in guessed[1].reason


NOW = 1_790_000_000.0
KNOWN = Fitness(login=recorded(), node=such(node="gpu02"), looked=NOW)


@pytest.mark.parametrize(
    ("text", "later", "apptainer", "expected"),
    [
        (json.dumps(KNOWN.as_json()), 29 * 86400.0, "", KNOWN),
        (json.dumps(KNOWN.as_json()), 1.0, "apptainer version 1.4.5", KNOWN),
        (json.dumps(KNOWN.as_json()), 31 * 86400.0, "", None),
        (json.dumps(KNOWN.as_json()), -86400.0, "", None),
        (json.dumps(KNOWN.as_json()), 1.0, "apptainer version 1.5.0", None),
        (json.dumps({**KNOWN.as_json(), "node": None}), 60.0, "", dataclasses.replace(KNOWN, node=None)),
        (json.dumps({**KNOWN.as_json(), "node": None}), 2 * 3600.0, "", None),
        (json.dumps({**KNOWN.as_json(), "version": 2}), 1.0, "", None),
        (json.dumps(KNOWN.as_json())[:-9], 1.0, "", None),
        ('{"version": 1, "login": {}}', 1.0, "", None),
        ("[]", 1.0, "", None),
        ("", 1.0, "", None),
    ],
)
def test_what_is_remembered(text: str, later: float, apptainer: str, expected: Fitness | None) -> None:
    assert fitness.recall(text, apptainer=apptainer, now=NOW + later) == expected


def test_registries_are_asked_by_their_mirrors() -> None:
    plain = profile()
    assert fitness.registries(plain, "ghcr.io") == {
        "docker.io": "https://registry-1.docker.io/v2/",
        "ghcr.io": "https://ghcr.io/v2/",
    }
    mirrored = profile(registry_mirrors={"docker.io": "mirror:5000/hub"}, insecure_registries=["mirror:5000"])
    assert fitness.registries(mirrored) == {"mirror:5000": "http://mirror:5000/v2/"}
