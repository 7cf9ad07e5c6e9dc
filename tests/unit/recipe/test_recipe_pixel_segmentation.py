"""The recipe of the project's own notebook: its definition as it was reviewed, and what its arguments do."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import pytest
from support.apptainer_reader import read

from dl4mic_hpc import resources
from dl4mic_hpc.errors import RecipeError
from dl4mic_hpc.recipe.bundle import ENVIRONMENT_STAGE, Bundle, convert

GOLDEN = Path(__file__).with_name("pixel_segmentation.def")
FOLDER = Path(str(resources.data("configs", "notebooks", "pixel_segmentation")))
# As DL4MicEverywhere's launcher gives them.
GIVEN = {
    "UBUNTU_VERSION": "22.04",
    "CUDA_VERSION": "11.8.0",
    "CUDNN_VERSION": "8.6.0.163",
    "PYTHON_VERSION": "3.13",
    "GPU_FLAG": "1",
    "PATH_TO_NOTEBOOK": "Pixel_segmentation.ipynb",
    "PATH_TO_REQUIREMENTS": "requirements.txt",
    "SECTIONS_TO_REMOVE": "1.1. 1.2.",
    "NOTEBOOK_NAME": "Pixel_segmentation.ipynb",
}


def bundle(**changed: str) -> Bundle:
    return convert(
        FOLDER / "Dockerfile", context=FOLDER, build_args=GIVEN | changed, target=ENVIRONMENT_STAGE
    )


def test_the_definition() -> None:
    """A change that alters images needs another CONVERTER; delete the file and run this twice to write it anew."""
    definition = bundle().definition
    if not GOLDEN.exists():
        GOLDEN.write_text(definition, encoding="utf-8", newline="\n")
        pytest.fail(f"{GOLDEN.name} was not there and has been written: review it")
    assert definition == GOLDEN.read_text(encoding="utf-8")


def test_apptainer_reads_it() -> None:
    found = read(bundle().definition)
    assert found.header == {"bootstrap": "docker", "from": "debian:trixie-slim"}
    assert set(found.sections) == {"files", "post", "environment", "runscript", "startscript"}


@pytest.mark.parametrize("name", ["PATH_TO_NOTEBOOK", "NOTEBOOK_NAME", "SECTIONS_TO_REMOVE"])
def test_the_notebook_is_no_part_of_the_image(name: str) -> None:
    assert bundle(**{name: "other"}).key == bundle().key
    assert "target" in [each.name for each in bundle().deviations]


@pytest.mark.parametrize(
    "name", ["UBUNTU_VERSION", "CUDA_VERSION", "CUDNN_VERSION", "PYTHON_VERSION", "GPU_FLAG"]
)
def test_no_argument_does_nothing(name: str) -> None:
    assert bundle(**{name: "9"}).key != bundle().key
    assert f"dl4mic.{name.lower()} 9" in bundle(**{name: "9"}).definition


def test_the_requirements_are_part_of_the_image() -> None:
    with pytest.raises(RecipeError, match=r"has no absent\.txt"):
        bundle(PATH_TO_REQUIREMENTS="absent.txt")


def test_the_notebook_s_stage_is_for_docker() -> None:
    whole = convert(FOLDER / "Dockerfile", context=FOLDER, build_args=GIVEN)
    assert "COPY Pixel_segmentation.ipynb" in whole.definition
    assert "COPY Pixel_segmentation.ipynb" not in bundle().definition


def test_the_rendered_script_passes_shellcheck() -> None:
    program = Path(sysconfig.get_path("scripts")) / "shellcheck"
    sections = read(bundle().definition).sections
    for name in ("post", "environment", "runscript"):
        # SC2016: what stands in single quotes is meant to reach the step's own shell unexpanded. SC1091, SC2154: the
        # functions and the owner come from a file of the image.
        ran = subprocess.run(
            [program, "--norc", "--shell=sh", "--exclude=SC2016,SC1091,SC2154", "-"],
            input=sections[name].encode(),
            capture_output=True,
        )
        assert ran.returncode == 0, ran.stdout.decode()


@pytest.mark.posix
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GPU_FLAG", "yes", "GPU_FLAG is 'yes'; it can be 0 or 1"),
        ("PYTHON_VERSION", "2.7", "PYTHON_VERSION asks for 2.7"),
    ],
)
def test_arguments_that_are_checked(name: str, value: str, said: str) -> None:
    (step,) = (
        line
        for line in read(bundle(**{name: value}).definition).sections["post"].splitlines()
        if line.startswith("( ") and said.split()[0] in line and "pip" not in line
    )
    command = step.replace("dl4mic_enter root /home", "true").replace('"$@"', f'{name}={value} "$@"')
    script = f'dl4mic_failed() {{ echo failed; exit 1; }}\ndl4mic_as() {{ "$@"; }}\n{command}'
    ran = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True)
    assert ran.returncode == 1
    assert said in ran.stderr
