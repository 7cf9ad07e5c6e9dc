from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import PurePosixPath

import pytest

from dl4mic_hpc.errors import UsageError
from dl4mic_hpc.slurm.job import BuildSpec, GpuRequest, JobSpec, Resources
from dl4mic_hpc.slurm.render import render_build, render_job

HOSTILE = [
    "a b",
    "a'; touch /tmp/owned; '",
    'a"$(id)"',
    "a`id`",
    "a\\",
    "$HOME",
    "a*?[b]",
    "-rf",
    "ä€",
    "{{ x }}",
    "%j",
]

RESOURCES = Resources(time="60", mem="4G", cpus=2, gpus=GpuRequest(count=1), partition=("gpu",))
JOB = JobSpec(
    session_id="bcdfgh",
    submit_token="0123",
    session_dir=PurePosixPath("/scratch/me/sessions/bcdfgh"),
    image=PurePosixPath("/scratch/me/images/x.sif"),
    apptainer="apptainer",
    resources=RESOURCES,
)
BUILD = BuildSpec(
    key="abc",
    bundle_dir=PurePosixPath("/scratch/me/builds/abc"),
    image=PurePosixPath("/scratch/me/images/x.sif"),
    cache_dir=PurePosixPath("/scratch/me/cache"),
    apptainer="apptainer",
    resources=RESOURCES,
    manifest_sha256="0",
)


def directives(script: str) -> list[str]:
    """The #SBATCH options as sbatch reads them: only before the first command."""
    found = []
    for line in script.splitlines()[1:]:
        if line.startswith("#SBATCH "):
            found += shlex.split(line.removeprefix("#SBATCH "))
        elif line and not line.startswith("#"):
            break
    return found


def assignment(script: str, name: str) -> list[str]:
    line = next(line for line in script.splitlines() if line.startswith(f"{name}="))
    return shlex.split(line)


@pytest.mark.parametrize("value", HOSTILE)
def test_every_value_arrives_whole(value: str):
    folder = PurePosixPath("/scratch") / value
    script = render_job(
        dataclasses.replace(
            JOB,
            session_dir=folder,
            image=folder / "x.sif",
            data=folder,
            modules=(value,),
            resources=dataclasses.replace(RESOURCES, account=value),
        )
    )
    assert f"--account={value}" in directives(script)
    assert f"--chdir={folder}" in directives(script)
    assert f"--output={str(folder).replace('%', '%%')}/job.log" in directives(script)
    assert assignment(script, "session") == [f"session={folder}"]
    assert assignment(script, "image") == [f"image={folder}/x.sif"]
    assert f"module load {shlex.quote(value)} " in script
    assert f"--bind {shlex.quote(str(folder))}:/home/data:ro" in script


@pytest.mark.parametrize("value", HOSTILE)
def test_every_value_of_a_build_arrives_whole(value: str):
    folder = PurePosixPath("/scratch") / value
    script = render_build(
        dataclasses.replace(BUILD, image=folder, cache_dir=folder, proxies={"http_proxy": value})
    )
    assert assignment(script, "image") == [f"image={folder}"]
    assert shlex.split(next(line for line in script.splitlines() if "http_proxy" in line)) == [
        "export",
        f"http_proxy={value}",
    ]


@pytest.mark.parametrize("value", ["a\nb", "a\r", "a\x00b", "a\tb", "a\x1b[2J"])
def test_control_characters_are_refused(value: str):
    with pytest.raises(UsageError, match="control character"):
        render_job(dataclasses.replace(JOB, session_dir=PurePosixPath("/scratch") / value))


def test_the_request_says_nothing_of_data_or_people_and_does_not_requeue():
    options = directives(render_job(JOB))
    assert {"--job-name=dl4mic-bcdfgh", "--no-requeue", "--export=NONE", "--nodes=1", "--ntasks=1"} <= set(
        options
    )
    assert [option for option in options if option.startswith("--comment")] == ["--comment=dl4mic-hpc:0123"]


def test_a_job_whose_image_is_being_built_waits_for_it_and_dies_with_it():
    options = directives(render_job(dataclasses.replace(JOB, depends_on=41)))
    assert {"--dependency=afterok:41", "--kill-on-invalid-dep=yes"} <= set(options)
    assert not [option for option in directives(render_job(JOB)) if "depend" in option]


def test_the_drivers_libraries_come_in_only_with_a_gpu():
    without = dataclasses.replace(JOB, resources=dataclasses.replace(RESOURCES, gpus=GpuRequest(count=0)))
    assert " --nv " in render_job(JOB)
    assert " --nv " not in render_job(without)


def test_the_profiles_own_lines_come_before_unset_variables_are_errors():
    script = render_job(dataclasses.replace(JOB, modules=("apptainer",), pre_script="echo $MAYBE\n"))
    assert script.index("module load apptainer") < script.index("echo $MAYBE") < script.index("\nset -u")


def test_the_token_is_made_in_the_job_and_is_in_no_command_line():
    script = render_job(JOB)
    container = script[script.index('"$apptainer" exec') : script.index("container=$!")]
    assert "token" not in container
    assert re.search(r"^token=\$\(random 32\)$", script, re.MULTILINE)
