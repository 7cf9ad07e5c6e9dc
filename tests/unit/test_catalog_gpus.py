"""Which GPU computes with which software: the tables, and what a launch refuses or says because of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from dl4mic_hpc.catalog import gpus, platforms
from dl4mic_hpc.catalog.frameworks import Named, named, used

ANSWERS = sorted((Path(__file__).parent / "notebook" / "nvidia_smi").glob("*.txt"))


@pytest.mark.parametrize(
    ("names", "capability"),
    [
        ("a100 A100-SXM4-80GB a100_80gb nvidia_a100_80gb_pcie a100l a30 1g.5gb a100_1g.5gb nvidia_a100_2g.10gb", (8, 0)),
        ("h100 nvidia_h100_80gb_hbm3 h100-96 nvidia_h100_nvl h200 gh200 1g.18gb 3g.71gb", (9, 0)),
        ("v100 v100s v100-sxm2-32gb tesla_v100-sxm2-16gb titan_v", (7, 0)),
        ("t4 rtx_2080_ti rtx2080ti 2080ti rtx2080 titanrtx quadro_rtx_8000", (7, 5)),
        ("a40 a10 rtx3090 rtx_3090 nvidia_geforce_rtx_3090 rtx_a6000 a5000", (8, 6)),
        ("l40s l40 l4 rtx4090 4090 rtx_6000_ada", (8, 9)),
        ("b200 gb200 1g.23gb", (10, 0)),
        ("rtx_5090 rtx_pro_6000_blackwell", (12, 0)),
        ("k80", (3, 7)), ("p100", (6, 0)), ("gtx_1080_ti gtx1080 p40", (6, 1)), ("b300", (10, 3)),
        ("rtx6000 gpu gtx mygpu a1000 p10000 100", None),
    ],
)  # fmt: skip
def test_names_of_gpus_as_sites_write_them(names: str, capability: gpus.Capability | None) -> None:
    assert {name: gpus.capability(name) for name in names.split()} == dict.fromkeys(names.split(), capability)


@pytest.mark.parametrize(
    ("gpu", "cuda", "how"),
    [
        ((8, 0), (10, 1), "never"), ((8, 6), (10, 2), "never"), ((9, 0), (10, 0), "never"),
        ((8, 0), (11, 0), "runs"), ((8, 6), (11, 0), "runs"), ((8, 9), (11, 2), "runs"),
        ((9, 0), (11, 2), "compiles"), ((9, 0), (11, 8), "runs"), ((9, 0), (13, 0), "runs"),
        ((10, 0), (11, 8), "never"), ((12, 0), (11, 8), "never"), ((10, 0), (12, 4), "compiles"),
        ((12, 0), (12, 8), "runs"), ((10, 3), (12, 8), "runs"),
        ((7, 0), (13, 0), "never"), ((7, 0), (12, 9), "runs"), ((7, 0), (8, 0), "compiles"),
        ((7, 5), (9, 0), "runs"), ((7, 5), (13, 0), "runs"), ((6, 0), (13, 1), "never"),
        ((3, 7), (12, 0), "never"), ((3, 7), (11, 8), "runs"),
    ],
)  # fmt: skip
def test_what_runs_on_what(gpu: gpus.Capability, cuda: platforms.Version, how: gpus.Fit) -> None:
    assert gpus.fit(gpu, cuda) == how


OLD = Named(module="tensorflow", release=(2, 3), cuda=(10, 1))
NEW = Named(module="torch", release=(2, 11), cuda=(13, 0))


@pytest.mark.parametrize(
    ("types", "software", "says"),
    [
        (["a100"], OLD, "TensorFlow 2.3 computes with CUDA 10.1, which has no code for the GPU a100 (compute capability 8.0): "
                        "that needs CUDA 11.0 or newer"),
        (["v100"], NEW, "PyTorch 2.11 computes with CUDA 13.0, which has no code for the GPU v100 (compute capability 7.0): "
                        "CUDA 12 was the last that had"),
        (["a100", "h100"], OLD, "the GPU a100, h100"),
        (["a100", "v100"], OLD, None), (["a100", "nobody"], OLD, None), ([], OLD, None),
        (["a100"], Named(module="torch"), None), (["a100"], NEW, None),
    ],
)  # fmt: skip
def test_only_what_is_known_to_be_impossible_is_refused(
    types: list[str], software: Named, says: str | None
) -> None:
    problem = gpus.refusal(types, [software])
    if says is None:
        assert problem is None
    else:
        assert problem is not None and says in problem.message
        assert problem.exit_code == 6 and "-g" in problem.hint


def test_what_may_go_wrong_is_said() -> None:
    hopper = Named(module="tensorflow", release=(2, 11), cuda=(11, 2))
    assert list(gpus.warnings(["v100", "h100"], [hopper])) == [
        "TensorFlow 2.11 (CUDA 11.2) is older than h100: it computes there only after minutes of compiling, or not at all"
    ]
    assert list(gpus.warnings(["a100", "v100"], [OLD])) == [
        "TensorFlow 2.3 (CUDA 10.1) does not compute on a100; choose another type with -g"
    ]
    lost = Named(module="tensorflow", misfit="it computes on the processor")
    assert list(gpus.warnings([], [lost])) == ["it computes on the processor"]
    seen = [
        ("535.161.08", "NVIDIA A100-SXM4-40GB"),
        ("470.82.01", "NVIDIA A100-PCIE-40GB"),
        ("390.1", "Tesla V100"),
    ]
    assert list(gpus.warnings(["a100"], [NEW, hopper], drivers=seen)) == [
        "PyTorch 2.11 (CUDA 13.0) needs the driver 580.65.6 or newer; the one last seen with a GPU a100 was 535.161.08"
    ]
    assert list(gpus.warnings(["a100"], [hopper], drivers=seen)) == []
    assert list(gpus.warnings(["h100"], [NEW], drivers=seen)) == []


@dataclass(frozen=True, kw_only=True)
class Image:
    python_version: str = "3.10"
    cuda_version: str = "11.8.0"
    cudnn_version: str = "8.6.0.163"


@pytest.mark.parametrize(
    ("requirements", "found"),
    [
        ("numpy\ntensorflow==2.12.0  # why\n", Named(module="tensorflow", release=(2, 12), cuda=(11, 8))),
        ("tensorflow[and-cuda]==2.15.1", Named(module="tensorflow", release=(2, 15), cuda=(12, 2))),
        ("TensorFlow_GPU==2.9", Named(module="tensorflow", release=(2, 9), cuda=(11, 2))),
        ("tensorflow", Named(module="tensorflow")),
        ("torch==1.11.0", Named(module="torch", release=(1, 11), cuda=(10, 2))),
        ("torch==1.11.0+cu113", Named(module="torch", release=(1, 11), cuda=(11, 3))),
        ("--extra-index-url https://download.pytorch.org/whl/cu118\ntorch==2.0",
         Named(module="torch", release=(2, 0), cuda=(11, 8))),
        ("torch>=2", Named(module="torch")),
        ("stardist\n./local\ntorch ; sys_platform == 'darwin'\ntorchvision==0.2", None),
    ],
)  # fmt: skip
def test_frameworks_that_requirements_name(requirements: str, found: Named | None) -> None:
    assert named(requirements, Image()) == ((found,) if found else ())


@pytest.mark.parametrize(
    ("catalogued", "modules"),
    [
        ("PyTorch 2.0, Lightning 2.0", ["torch"]),
        ("TensorFlow 2.12", ["tensorflow"]),
        ("", ["tensorflow", "torch"]),
        ("scikit-learn", ["tensorflow", "torch"]),
    ],
)
def test_the_catalogue_tells_which_of_the_required_frameworks_is_used(
    catalogued: str, modules: list[str]
) -> None:
    found = used("tensorflow==2.12\ntorch==2.0", catalogued, Image())
    assert [(one.module, bool(one.release)) for one in found] == [(module, True) for module in modules]
    assert used("cellpose==2.2.3", "PyTorch, cellpose 2.2.3", Image()) == (Named(module="torch"),)


@pytest.mark.parametrize(
    ("requirement", "image", "why"),
    [
        ("tensorflow==2.19", Image(), "TensorFlow 2.19 is built for CUDA 12.5 and cuDNN 9.3; the image has 11.8 and 8.6"),
        ("tensorflow-cpu==2.12", Image(), "tensorflow-cpu computes on the processor only"),
        ("tensorflow==1.14", Image(cuda_version="10.0.130", cudnn_version="7.4.2"), "computes on the processor only"),
        ("tensorflow-gpu==1.14", Image(cuda_version="10.0.130", cudnn_version="7.4.2"), ""),
        ("tensorflow[and-cuda]==2.19", Image(), ""),
        ("tensorflow==2.14", Image(cuda_version="11.8.0", cudnn_version="8.6.0.1"), ""),
    ],
)  # fmt: skip
def test_a_tensorflow_that_finds_no_cuda_in_its_image(requirement: str, image: Image, why: str) -> None:
    (found,) = named(requirement, image)
    assert why in found.misfit and bool(found.misfit) == bool(why)
    # What has no code for GPUs at all is not refused for one of them.
    assert bool(found.cuda) == ("on the processor only" not in why)


@pytest.mark.parametrize("path", ANSWERS, ids=lambda path: path.stem)
def test_the_drivers_own_names_are_known(path: Path) -> None:
    """Answers of `nvidia-smi -L`; the first line says where each comes from."""
    first, *rest = path.read_text(encoding="utf-8").splitlines()
    assert first.startswith(("# From NVIDIA's documentation: ", "# A real machine: "))
    names = [found[1] for line in rest if (found := re.match(r"GPU \d+: (.+?) \(UUID: ", line))]
    slices = [found[1] for line in rest if (found := re.match(r"  MIG (\S+) +Device +\d+: ", line))]
    assert names and len(names) + len(slices) == len(rest)
    assert all(gpus.capability(name) for name in [*names, *slices])


def test_there_are_answers_of_several_models() -> None:
    assert len(ANSWERS) >= 3
