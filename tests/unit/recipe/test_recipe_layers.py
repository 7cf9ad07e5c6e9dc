"""Images made of files alone: layers as Docker would write them, in an archive that is the same every time."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

import pytest

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe import archives
from dl4mic_hpc.recipe.archives import Member
from dl4mic_hpc.recipe.context import Packed
from dl4mic_hpc.recipe.layers import Layers, oci_archive
from dl4mic_hpc.recipe.steps import Copy, MakeFolder


def copy(to: str, *, owner: str = "") -> Copy:
    return Copy(sources=(), destination=to, owner=owner, line=1, text="COPY")


def packed(
    *names: str, folders: bytes = b"", member: str | None = None, archive: bytes | None = None
) -> Packed:
    members = {name: Member(mode=0o640, content=name.encode) for name in names}
    return Packed(
        archive=archives.write(members),
        folders=folders,
        archives=() if archive is None else (archive,),
        member=member,
    )


def listing(layer: bytes) -> list[tuple[str, int, int, int]]:
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        return [(entry.name, entry.mode, entry.uid, entry.gid) for entry in tar]


def test_files_and_the_folders_on_the_way() -> None:
    layers = Layers()
    layers.copy(copy("/a/b/"), packed("x", "c/y", folders=b"0700 c\n"))
    layers.copy(copy("/a/z", owner="5:6"), packed("x", member="x"))
    layers.make_folder(MakeFolder(path="/a/n/m", owner="7", line=1, text=""))
    assert [listing(layer) for layer in layers.done] == [
        [("a", 0o755, 0, 0), ("a/b", 0o755, 0, 0), ("a/b/c", 0o700, 0, 0), ("a/b/c/y", 0o640, 0, 0), ("a/b/x", 0o640, 0, 0)],
        [("a/z", 0o640, 5, 6)],
        [("a/n", 0o755, 7, 7), ("a/n/m", 0o755, 7, 7)],
    ]  # fmt: skip


def test_one_file_goes_into_a_folder_that_is_there() -> None:
    layers = Layers()
    layers.make_folder(MakeFolder(path="/a", line=1, text=""))
    layers.copy(copy("/a"), packed("x", member="x"))
    assert listing(layers.done[1]) == [("a/x", 0o640, 0, 0)]


@pytest.mark.parametrize(
    ("owner", "ids"),
    [
        ("", (3, 4)),
        ("root", (0, 0)),
        ("9:8", (9, 8)),
        ("9", (9, 9)),
        ("9:", (9, 0)),
        (":8", (0, 8)),
        (":", (0, 0)),
    ],
)
def test_an_archive_keeps_its_owners_unless_the_recipe_says_other_ones(
    owner: str, ids: tuple[int, int]
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind in (("d", tarfile.DIRTYPE), ("d/f", tarfile.REGTYPE), ("d/h", tarfile.LNKTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.uid, entry.gid, entry.mode = kind, 3, 4, 0o700
            entry.linkname = "d/f" if kind == tarfile.LNKTYPE else ""
            tar.addfile(entry)
    layers = Layers(below="/own/tree")
    layers.copy(copy("/to/", owner=owner), packed(archive=buffer.getvalue()))
    names = ["own/tree/to/d", "own/tree/to/d/f", "own/tree/to/d/h"]
    assert listing(layers.done[1]) == [(name, 0o700, *ids) for name in names]
    with tarfile.open(fileobj=io.BytesIO(layers.done[1])) as tar:
        assert tar.getmember(names[2]).linkname == names[1]
    assert [name for name, *_ in listing(layers.done[0])] == ["own", "own/tree", "own/tree/to"]


@pytest.mark.parametrize("owner", ["me", "5:us", "x:5", "rootless", "٣"])
def test_names_mean_nothing_here(owner: str) -> None:
    with pytest.raises(RecipeError, match="nothing in this stage can look it up") as caught:
        Layers().copy(copy("/a", owner=owner), packed("x", member="x"))
    assert caught.value.hint


def test_the_archive_is_what_its_index_says() -> None:
    layers = Layers()
    layers.copy(copy("/a"), packed("x", member="x"))
    config: dict[str, object] = {"Labels": {"a": "b"}}
    made = oci_archive(layers.done, config=config, platform="linux/arm64/v8")
    assert made == oci_archive(layers.done, config=config, platform="linux/arm64/v8")
    with tarfile.open(fileobj=io.BytesIO(made)) as tar:
        files = {entry.name: content.read() for entry in tar if (content := tar.extractfile(entry))}
        assert {"blobs", "blobs/sha256"} < set(tar.getnames())
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}

    def blob(descriptor: dict[str, object]) -> bytes:
        content = files["blobs/" + str(descriptor["digest"]).replace(":", "/")]
        assert descriptor["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert descriptor["size"] == len(content)
        return content

    (listed,) = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(blob(listed))
    image = json.loads(blob(manifest["config"]))
    assert [blob(layer) for layer in manifest["layers"]] == layers.done
    assert image["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    assert (image["os"], image["architecture"], image["variant"]) == ("linux", "arm64", "v8")
    assert image["config"] == config
