from __future__ import annotations

import pytest

from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.sources.reference import parse, without_tag

DIGEST = "sha256:" + "a1" * 32


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("ubuntu", "docker.io/library/ubuntu:latest"),
        ("ubuntu:22.04", "docker.io/library/ubuntu:22.04"),
        ("library/ubuntu", "docker.io/library/ubuntu:latest"),
        ("docker.io/ubuntu", "docker.io/library/ubuntu:latest"),
        ("index.docker.io/library/ubuntu:latest", "docker.io/library/ubuntu:latest"),
        ("nvidia/cuda:11.8.0-base", "docker.io/nvidia/cuda:11.8.0-base"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost:5000/x/y__z:T", "localhost:5000/x/y__z:T"),
        ("ghcr.io/a/b/c", "ghcr.io/a/b/c:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest"),
        ("HOST/x", "HOST/x:latest"),
        (f"ubuntu@{DIGEST}", f"docker.io/library/ubuntu@{DIGEST}"),
        (f"ubuntu:22.04@{DIGEST}", f"docker.io/library/ubuntu@{DIGEST}"),
    ],
)
def test_the_full_name_is_docker_s(text: str, full: str) -> None:
    assert str(parse(text)) == full


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "Ubuntu",
            "ubuntu:",
            "ubuntu:-x",
            "a//b",
            "/a",
            "a/",
            "a b",
            "ubuntu@",
            "ubuntu@sha256:12",
            "-a",
            "a:b:c",
        ),
        *(
            "docker://ubuntu",
            "$BASE",
            "ubuntu:$TAG",
            "a\nb",
            f"ubuntu@{DIGEST}x",
            "a/é",
            "x.y:port/a",
            "ubuntu:" + "t" * 129,
        ),
    ],
)
def test_what_names_no_image_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="names no image"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"ubuntu:22.04@{DIGEST}", f"ubuntu@{DIGEST}"),
        (f"localhost:5000/ubuntu@{DIGEST}", f"localhost:5000/ubuntu@{DIGEST}"),
        (f"localhost:5000/a/ubuntu:1@{DIGEST}", f"localhost:5000/a/ubuntu@{DIGEST}"),
        ("localhost:5000/ubuntu:1", "localhost:5000/ubuntu:1"),
    ],
)
def test_a_digest_takes_the_tag_s_place(text: str, kept: str) -> None:
    assert without_tag(text) == kept
