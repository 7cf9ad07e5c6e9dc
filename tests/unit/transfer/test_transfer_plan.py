"""What a transfer will do, for every state of the two sides: nothing that anyone made is ever overwritten."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from dl4mic_hpc.transfer.listing import Entry, Kind, Listing, Skipped
from dl4mic_hpc.transfer.plan import (
    FILES,
    PARTIAL,
    Move,
    Record,
    UploadPlan,
    moves,
    plan_download,
    plan_upload,
)

STAGE, KEPT = PARTIAL / "new", PurePosixPath("/data (kept 2026-01-01 120000)")

# A model of a folder: what each path holds. A folder is "", a link "->", a file the (size, time) of its content.
type_of = {"": Kind.FOLDER, "->": Kind.LINK}


def entry(path: str, content: object = (1, 1)) -> Entry:
    if isinstance(content, tuple):
        size, second = content
        return Entry(path=PurePosixPath(path), kind=Kind.FILE, size=size, mtime_ns=second * 1_000_000_000 + 1)
    return Entry(path=PurePosixPath(path), kind=type_of[str(content)])


def listing(tree: dict[str, object]) -> Listing:
    return Listing.of([entry(path, content) for path, content in tree.items()])


def paths(found: Iterable[object]) -> list[str]:
    return [str(getattr(item, "path", item)) for item in found]


# ---- Up --------------------------------------------------------------------------------------------------------------


def test_only_what_differs_is_sent() -> None:
    local = listing(
        {"a": "", "a/same": (1, 1), "a/new": (2, 1), "larger": (2, 1), "later": (1, 9), "void": ""}
    )
    far = listing({"a": "", "a/same": (1, 1), "larger": (1, 1), "later": (1, 1), "theirs": (1, 1)})
    plan = plan_upload(local, far)
    assert paths(plan.send) == ["a/new", "larger", "later"]
    assert paths(plan.aside) == ["larger", "later"]
    assert paths(plan.folders) == ["void"]
    assert plan.unchanged == 1
    assert plan.size == 5
    assert not plan.empty


def test_nothing_to_do() -> None:
    same = listing({"a": "", "a/x": (1, 1)})
    assert plan_upload(same, same).empty
    assert plan_upload(Listing(), same).empty
    left = {str(PARTIAL): "", f"{PARTIAL}/old": ""}
    assert not plan_upload(listing({"a": ""}), Listing()).empty, "a folder to make"
    assert not plan_upload(same, listing({"a": "", "a/x": (1, 1)} | left)).empty, "something to clear away"


def test_what_cannot_have_its_name_there_is_skipped() -> None:
    skipped = Skipped(path=PurePosixPath("socket"), reason="neither a file nor a folder")
    local = Listing.of([entry("é" * 127), entry("é" * 128), entry("\ud800"), entry("bad\udcff")], (skipped,))
    plan = plan_upload(local, Listing())
    assert paths(plan.send) == ["bad\udcff", "é" * 127]
    assert [skip.reason.partition(":")[0] for skip in plan.skipped] == [
        "neither a file nor a folder",
        "its name is longer than 255 bytes",
        "its name holds a character that the cluster cannot store",
    ]


def test_what_an_interrupted_upload_left_whole_is_adopted() -> None:
    old = PARTIAL / "old"
    far = listing(
        {
            str(PARTIAL): "",
            str(old): "",
            f"{old}/moves": (1, 1),
            f"{old}/files": "",
            f"{old}/files/a": "",
            f"{old}/files/a/whole": (5, 1),
            f"{old}/files/a/half": (3, 7),
            f"{old}/files/foreign": (5, 1),
        }
    )
    local = listing({"a": "", "a/whole": (5, 1), "a/half": (9, 1), "moves": (1, 1)})
    plan = plan_upload(local, far)
    assert {str(path): stage for path, stage in plan.adopt.items()} == {"a/whole": old}
    assert paths(plan.send) == ["a/half", "moves"]
    assert plan.stale == (old,)


def test_moves_make_room_first_and_keep_neighbours_together() -> None:
    plan = UploadPlan(
        send=(entry("-x"), entry("a/1"), entry("a/2")),
        adopt={PurePosixPath("a/3"): PARTIAL / "old"},
        aside=(PurePosixPath("-x"), PurePosixPath("a/2"), PurePosixPath("b")),
        folders=(PurePosixPath("a"), PurePosixPath("b")),
    )
    landed = [PurePosixPath("a/1"), PurePosixPath("-x")]
    assert list(moves(plan, landed, stage=STAGE, kept=KEPT)) == [
        Move(source="./.", target=str(KEPT), name="-x"),
        Move(source="./.", target=str(KEPT), name="b"),
        Move(source=f"./{STAGE}/files", target="./.", name="-x"),
        Move(source=f"./{STAGE}/files/a", target="./a", name="1"),
        Move(source=f"./{PARTIAL}/old/files/a", target="./a", name="3"),
    ]


def _trees() -> st.SearchStrategy[dict[str, object]]:
    """Trees in which files, folders and links stand where another tree has something else."""
    contents = st.sampled_from(["", "->", (1, 1), (2, 1), (1, 2)])
    places = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)

    def consistent(wanted: dict[str, object]) -> dict[str, object]:
        tree: dict[str, object] = {}
        for path in sorted(wanted):
            parents = [str(parent) for parent in reversed(PurePosixPath(path).parents) if parent.parts]
            if all(tree.get(parent, "") == "" for parent in parents):
                tree |= dict.fromkeys(parents, "") | {path: wanted[path]}
        return tree

    return st.dictionaries(places, contents, max_size=8).map(consistent)


LOCAL = _trees().map(lambda tree: {path: content for path, content in tree.items() if content != "->"})


def _rename(tree: dict[str, object], source: str, target: str) -> None:
    """mv: the thing and all beneath it. A thing that would be overwritten is a failed test."""
    moved = [path for path in tree if path == source or path.startswith(source + "/")]
    assert source in moved, f"{source} is not there"
    assert target not in tree, f"{target} would be overwritten"
    for path in moved:
        tree[target + path[len(source) :]] = tree.pop(path)


@given(LOCAL, _trees(), LOCAL)
def test_an_upload_brings_everything_and_loses_nothing(
    local: dict[str, object], before: dict[str, object], left: dict[str, object]
) -> None:
    far = dict(before)
    if left:
        far |= dict.fromkeys((str(PARTIAL), f"{PARTIAL}/old", f"{PARTIAL}/old/{FILES}"), "")
        far |= {f"{PARTIAL}/old/{FILES}/{path}": content for path, content in left.items()}
    plan = plan_upload(listing(local), listing(far))
    far |= {f"{STAGE}/{FILES}/{sent.path}": local[str(sent.path)] for sent in plan.send}
    for move in moves(plan, [sent.path for sent in plan.send], stage=STAGE, kept=KEPT):
        source, target = (str(PurePosixPath(folder) / move.name) for folder in (move.source, move.target))
        _rename(far, source, target)
    for folder in plan.folders:
        assert far.setdefault(str(folder), "") == ""
    far = {path: content for path, content in far.items() if not path.startswith(str(PARTIAL))}
    assert {path: far.get(path) for path in local} == local
    for path, content in before.items():
        if content:
            assert content in (far.get(path), far.get(f"{KEPT}/{path}")), f"{path} was lost"
    assert plan_upload(listing(local), listing(far)).empty


# ---- Down ------------------------------------------------------------------------------------------------------------


def record(size: int, second: int, local_second: int) -> Record:
    return Record(
        local=PurePosixPath("x"),
        size=size,
        mtime_ns=second * 1_000_000_000 + 1,
        local_mtime_ns=local_second * 1_000_000_000 + 1,
    )


def decided(far: object, here: object | None, known: Record | None = None) -> str:
    path = PurePosixPath("x")
    plan = plan_download(
        listing({"x": far}),
        {} if here is None else {path: entry("x", here)},
        {path: path},
        {} if known is None else {path: known},
    )
    if plan.unchanged:
        return "unchanged"
    return "aside" if plan.take[0].aside else "take"


def test_what_is_not_here_is_fetched() -> None:
    assert decided((1, 1), None) == "take"
    assert decided((1, 1), None, record(1, 1, 1)) == "take"


def test_what_is_here_is_not_fetched() -> None:
    assert decided((1, 1), (1, 1)) == "unchanged"
    assert decided((1, 1), (1, 5), record(1, 1, 5)) == "unchanged", "a disk that keeps no exact times"


def test_an_own_earlier_download_is_replaced() -> None:
    assert decided((1, 2), (1, 1), record(1, 1, 1)) == "take"
    assert decided((2, 1), (1, 1), record(1, 1, 1)) == "take"


def test_a_file_of_the_user_is_set_aside() -> None:
    assert decided((1, 2), (1, 1)) == "aside"
    assert decided((1, 2), (1, 7), record(1, 1, 1)) == "aside", "changed since it was fetched"
    assert decided((1, 1), (1, 7), record(1, 1, 1)) == "aside"
    assert decided((1, 1), (9, 1), record(1, 1, 1)) == "aside"
    assert decided((1, 1), "") == "aside", "a folder of that name"
    assert decided((1, 1), "->", record(1, 1, 1)) == "aside", "a link of that name"


def test_folders_links_and_own_files() -> None:
    far = listing({"a": "", "a/x": (3, 1), "there": "", "link": "->", ".dl4mic-hpc.json": (1, 1)})
    names = {path: path for path in far.entries} | {PurePosixPath("a/x"): PurePosixPath("a/y")}
    plan = plan_download(far, {PurePosixPath("there"): entry("there", "")}, names, {})
    assert paths(plan.folders) == ["a"]
    assert [str(take.local) for take in plan.take] == ["a/y"]
    assert plan.renamed == {PurePosixPath("a/x"): PurePosixPath("a/y")}
    assert paths(plan.skipped) == ["link"]
    assert plan.size == 3
