"""`catalog.check`: which versions go together, what requirements ask for, and what is told with which line."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from dl4mic_hpc.catalog import check, platforms

GOOD = """\
config:
  dl4miceverywhere:
    notebook_url: https://a.org/N.ipynb
    requirements_url: https://a.org/needs.txt
    notebook_version: 1.2.0
    docker_hub_image: n_zerocostdl4mic-z1.2.0-d2.1.0
    ubuntu_version: '22.04'
    python_version: '3.10'
    cuda_version: 11.8.0
    cudnn_version: 8.6.0.163
"""


def read(folder: Path, *changes: tuple[str, str]) -> check.Read:
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "configuration.yaml").write_text(text, encoding="utf-8")
    return check.read(folder / "configuration.yaml")


def told(findings: tuple[check.Finding, ...]) -> list[tuple[bool, int, str]]:
    return [(one.mistake, one.line, f"{one.key}: {one.text}") for one in findings]


def test_nothing_is_wrong(tmp_path: Path) -> None:
    good = read(tmp_path)
    assert good.findings == ()
    assert good.with_requirements("tensorflow==2.12.0\nnumpy # quick\n") == ()
    assert good.with_notebook(b'{"cells": []}') == ()


@pytest.mark.parametrize(
    ("ubuntu", "python", "cuda", "cudnn", "mistake", "says"),
    [
        ("20.04", "3.9", "11.2.2", "8.1.1.33", None, ""),
        ("22.04", "3.9", "11.7.1", "8.5.0.96", None, ""),
        ("22.04", "3.11", "12.2.2", "8.9.6.50", None, ""),
        ("22.04", "3.10", "", "", None, ""),
        ("22.04", "3.6", "11.8.0", "8.6.0.163", True, "python_version: there is no Python 3.6 for Ubuntu 22.04;"),
        ("22.04", "3.12", "11.8.0", "8.6.0.163", True, "python_version: the recipe begins with Ubuntu 22.04's pi"),
        ("24.04", "3.12", "12.6.3", "8.9.7.29", True, "python_version: Ubuntu 24.04 lets the recipe's pip instal"),
        ("20.04", "3.6", "11.8.0", "8.6.0.163", False, "python_version: forms need Python 3.7"),
        ("22.04", "3.10.2", "11.8.0", "8.6.0.163", True, "python_version: '3.10.2' has another form than the rec"),
        ("22.04", "2.7", "11.8.0", "8.6.0.163", True, "python_version: '2.7' has another form"),
        ("22.04", "", "11.8.0", "8.6.0.163", True, "python_version: is empty"),
        ("", "3.10", "11.8.0", "8.6.0.163", True, "ubuntu_version: is empty"),
        ("25.10", "3.10", "11.8.0", "8.6.0.163", False, "ubuntu_version: nothing is known of Ubuntu 25.10"),
        ("22.04", "3.10", "11.8", "8.6.0.163", True, "cuda_version: '11.8' has another form than the recipe need"),
        ("22.04", "3.10", "11.8.0", "", True, "cudnn_version: is empty"),
        ("22.04", "3.10", "11.8.0", "8.6", True, "cudnn_version: '8.6' has another form than the recipe needs; w"),
        ("22.04", "3.10", "", "8.6.0.163", False, "cudnn_version: without a cuda_version it is not used"),
        ("22.04", "3.10", "11.2.2", "8.1.1.33", True, "cuda_version: NVIDIA has no image nvidia/cuda:11.2.2-deve"),
        ("22.04", "3.10", "11.8.3", "8.6.0.163", True, "cuda_version: NVIDIA has no image nvidia/cuda:11.8.3-dev"),
        ("22.04", "3.10", "99.1.0", "8.9.7.29", False, "cuda_version: nothing is known of CUDA 99.1.0"),
        ("22.04", "3.10", "12.2.0", "8.9.6.50", False, "cuda_version: 12.2.2 has replaced 12.2.0, and NVIDIA del"),
        ("22.04", "3.10", "11.8.0", "8.2.1.32", True, "cudnn_version: there is no libcudnn8=8.2.1.32-1+cuda11.8:"),
        ("22.04", "3.10", "12.3.2", "9.0.0.312", True, "cudnn_version: the recipe installs libcudnn8, which cuDN"),
        ("24.04", "3.11", "12.6.3", "8.9.7.29", True, "cudnn_version: NVIDIA has no cuDNN 8 for CUDA 12.6 on Ubu"),
        ("22.04", "3.10", "11.8.0", "8.99.0.1", False, "cudnn_version: nothing is known of cuDNN 8.99.0.1"),
    ],
)  # fmt: skip
def test_versions_that_go_together(
    tmp_path: Path, ubuntu: str, python: str, cuda: str, cudnn: str, mistake: bool | None, says: str
) -> None:
    found = read(
        tmp_path, ("'22.04'", f"'{ubuntu}'"), ("'3.10'", f"'{python}'"),
        ("11.8.0", f"'{cuda}'"), ("8.6.0.163", f"'{cudnn}'"),
    ).findings  # fmt: skip
    if mistake is None:
        assert found == ()
    else:
        assert any(one.mistake is mistake and f"{one.key}: {one.text}".startswith(says) for one in found), (
            found
        )


def test_a_dockerfile_may_make_of_the_versions_what_it_likes(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM a")
    assert read(tmp_path, ("'22.04'", "''"), ("11.8.0", "99")).findings == ()


def test_versions_are_texts(tmp_path: Path) -> None:
    found = read(tmp_path, ("'3.10'", "3.10"), ("'22.04'", "22.04")).findings
    assert told(found) == [
        (
            False,
            8,
            "python_version: other programs read 3.10 without quotes as 3.1; write '3.10'",
        )
    ]


def test_versions_that_contradict_each_other(tmp_path: Path) -> None:
    found = read(tmp_path, ("notebook_version: 1.2.0", "notebook_version: 1.2,1"))
    assert told(found.findings) == [
        (False, 5, "notebook_version: '1.2,1' is no version"),
        (False, 6, "docker_hub_image: is of version 1.2.0 of the notebook, and notebook_version is 1.2,1"),
    ]
    code = {"cells": [{"cell_type": "code", "source": ["x = 1\n", "Notebook_version = ['1.3']\n"]}]}
    assert told(read(tmp_path).with_notebook(json.dumps(code).encode())) == [
        (False, 5, "notebook_version: is 1.2.0, and the notebook calls itself 1.3")
    ]
    for broken in (b"no JSON", b"[1]", b'{"cells": [3]}', b"[" * 100_000):
        assert read(tmp_path).with_notebook(broken) == ()


@pytest.mark.parametrize(
    ("line", "mistake", "says"),
    [
        ("tensorflow==2.12.0", None, ""),
        ("tensorflow[and-cuda]==2.19.0", None, ""),
        ("tensorflow>=2.12", None, ""),
        ("TensorFlow==2.19.0", False, "TensorFlow 2.19 is built for CUDA 12.5 and cuDNN 9.3; the image has 11.8"),
        ("tensorflow==2.14.0", False, "TensorFlow 2.14 is built for CUDA 11.8 and cuDNN 8.7; the image has 11.8"),
        ("tensorflow==2.7.4", True, "TensorFlow 2.7 is there for Python 3.7 to 3.9, not for 3.10"),
        ("tensorflow==1.12.0", False, "the package tensorflow 1.12 computes on the processor only"),
        ("torch==2.0.1", None, ""),
        ("torch<=1.12", False, "PyTorch 1.12 brings CUDA 10.2, which knows GPUs up to T4"),
        ("torch==1.4.0", True, "PyTorch 1.4 is there for Python 3.5 to 3.8, not for 3.10"),
        ("numpy = 1.0", True, "'numpy = 1.0' is no requirement"),
        ("-r other.txt", True, "'-r other.txt' names a file that the image is not built with"),
        ("--extra-index-url https://a.org", None, ""),
        ("git+https://github.com/a/b", None, ""),
        ("a @ https://a.org/a-1.whl", None, ""),
        ("a==1 ; python_version < '3.9'", None, ""),
        ("pip==1 --hash=sha256:00", None, ""),
        ("Num_Py==2", False, "num-py is required on line 2 too, in other versions"),
    ],
)  # fmt: skip
def test_requirements(tmp_path: Path, line: str, mistake: bool | None, says: str) -> None:
    found = read(tmp_path).with_requirements(f"# first\nnum-py==1\n{line}\n")
    if mistake is None:
        assert found == ()
    else:
        assert any(
            one.mistake is mistake and one.text.startswith(f"line 3 of the requirements: {says}")
            for one in found
        ), found
        assert {(one.key, one.line) for one in found} == {("requirements_url", 4)}


def test_a_long_requirement(tmp_path: Path) -> None:
    (finding,) = read(tmp_path).with_requirements("numpy==1; \\\n  python_version > '3'\n\nx y\n")
    assert finding.text.startswith("line 4 of the requirements: 'x y' is no requirement")


def test_a_broken_file_is_told_with_its_lines(tmp_path: Path) -> None:
    found = read(tmp_path, ("cuda_version", "cuda_verison"), ("https://a.org/N", "../N"))
    assert found.configuration is None
    assert [(one.mistake, one.line) for one in found.findings] == [(True, 3), (True, 9), (False, 10)]
    assert "perhaps you meant 'cuda_version'" in found.findings[1].text


def test_the_tables_are_in_order() -> None:
    series = {cuda.rpartition(".")[0] for cuda in platforms.CUDA}
    assert {cuda for cudas in platforms.CUDNN.values() for cuda in cudas} <= series
    for table in (platforms.TENSORFLOW, platforms.PYTORCH):
        assert all(one.since < other.since and one.oldest <= one.newest for one, other in pairwise(table))
    assert {ubuntu for ubuntus in platforms.CUDA.values() for ubuntu in ubuntus} - set(platforms.PYTHONS) == {
        "18.04"
    }


def test_cudnn_of_another_generation_is_enough_for_no_gpu(tmp_path: Path) -> None:
    image = read(tmp_path, ("11.8.0", "12.2.2"), ("8.6.0.163", "8.9.6.50"))
    (finding,) = image.with_requirements("tensorflow==2.19.0")
    assert "the image has 12.2 and 8.9: it finds no GPU" in finding.text


def test_versions_are_compared_where_something_else_is_wrong_too(tmp_path: Path) -> None:
    text = (
        "config:\n  dl4miceverywhere:\n    notebook_url: a.ipynb\n    requirements_url: [r]\n    python_version: '3.9'\n"
        "    ubuntu_version: '22.04'\n    cuda_version: 9.9.9\n    cudnn_version: 8.6.0.163\n    sections_to_remov: '1.'\n"
    )
    (tmp_path / "configuration.yaml").write_text(text)
    found = check.read(tmp_path / "configuration.yaml").findings
    assert {each.line for each in found if each.mistake} == {4, 7, 8, 9}
