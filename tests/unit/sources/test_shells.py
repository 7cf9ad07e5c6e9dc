"""Whether the layers of an image bring a shell."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import IO

import pytest
from support.images import Documents, digest_of, write_tar

from dl4mic_hpc.sources.archives import archive, base
from dl4mic_hpc.sources.shells import has_shell


def tar(folder: Path, *names: str, mode: str = "w") -> bytes:
    return write_tar(folder / "layer.tar", dict.fromkeys(names, b""), mode).read_bytes()


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize(
    ("layers", "found"),
    [
        ([["bin/sh"]], True),
        ([["a"], ["./usr/bin/sh"]], True),
        ([["/bin/sh", "b"], None], True),
        ([["bin/bash", "sh", "x/bin/sh"]], False),
        ([["a"], None], None),
        ([], None),
    ],
)
def test_what_the_layers_bring(
    tmp_path: Path, layers: list[list[str] | None], found: bool | None, mode: str
) -> None:
    opened: list[IO[bytes] | None] = [
        None if names is None else io.BytesIO(tar(tmp_path, *names, mode=mode)) for names in layers
    ]
    assert has_shell(opened) is found


def test_a_layer_that_is_no_tar_says_nothing() -> None:
    assert has_shell([io.BytesIO(b"\x28\xb5\x2f\xfd" * 200)]) is None


@pytest.mark.parametrize(("name", "found"), [("bin/sh", True), ("a", False)])
def test_archives_say_it(tmp_path: Path, name: str, found: bool) -> None:
    held, packed = Documents(), tar(tmp_path, name, mode="w:gz")
    config = {"os": "linux", "architecture": "amd64", "config": {}}
    image = held.add(
        {
            "schemaVersion": 2,
            "config": {"digest": held.add(config)},
            "layers": [{"digest": digest_of(packed)}],
        }
    )
    index = held.index(("", image))
    held.content[digest_of(packed)] = packed
    blobs = {f"blobs/{digest.replace(':', '/')}": data for digest, data in held.content.items()}
    oci = write_tar(tmp_path / "oci.tar", blobs | {"index.json": held.content[index]})
    says = [{"Config": "c.json", "Layers": ["1/layer.tar"]}]
    docker = write_tar(
        tmp_path / "docker.tar",
        {
            "1/layer.tar": packed,
            "c.json": json.dumps(config).encode(),
            "manifest.json": json.dumps(says).encode(),
        },
    )
    for path in (oci, docker):
        assert base(archive(str(path)), reference="x", platform="linux/amd64").shell is found
