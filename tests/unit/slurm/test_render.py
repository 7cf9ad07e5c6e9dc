from __future__ import annotations

import dataclasses
import json
import re
import shlex
import subprocess
from pathlib import Path, PurePosixPath

import pytest
from support.shell import shellcheck

from dl4mic_hpc.errors import UsageError
from dl4mic_hpc.slurm.job import BuildSpec, GpuRequest, HeadlessJob, JobSpec, Resources
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
    facts='{"version": 1, "key": "abc"',
)
FOLDER = PurePosixPath("/scratch/me/layout")
BUILDS = [
    BUILD,
    dataclasses.replace(
        BUILD,
        replaces="3:100",
        plenty=7,
        tmp_dir=PurePosixPath("/local/my tmp"),
        site_files={"pip.conf": FOLDER},
    ),
    dataclasses.replace(BUILD, source="docker://registry:5000/x@sha256:0", plain_http=True, room=5 * 1024**3),
    dataclasses.replace(BUILD, source="oras://registry/x:1", modules=("apptainer",), pre_script="echo hello"),
    dataclasses.replace(BUILD, source=f"oci:{FOLDER}", downloaded=FOLDER),
    dataclasses.replace(BUILD, source=f"sif:{FOLDER}/blobs/sha256/0", downloaded=FOLDER),
]


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


@pytest.mark.parametrize("value", HOSTILE)
def test_where_an_image_comes_from_arrives_whole(value: str):
    folder = PurePosixPath("/scratch") / value
    spec = dataclasses.replace(BUILD, source=f"oci:{folder}", downloaded=folder, tmp_dir=folder, facts=value)
    script = render_build(spec)
    assert f'"$part" {shlex.quote(f"oci:{folder}")} ||' in script
    assert assignment(script, "place") == [f"place={folder}"]
    facts = next(line for line in script.splitlines() if '"$size" "$modified"' in line)
    assert shlex.split(facts.removesuffix("\\"))[0] == value


@pytest.mark.parametrize("spec", BUILDS)
def test_build_scripts_pass_shellcheck(spec: BuildSpec):
    assert shellcheck(render_build(spec), "--severity=warning") == ""


def test_two_jobs_for_one_image_run_one_after_the_other():
    assert "--dependency=singleton" in directives(render_build(BUILD))


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


HEADLESS = HeadlessJob(notebook_file="My notebook.ipynb", parameters="p.json", sections="1-3,5")


def entry(script: str) -> str:
    """What runs inside the container."""
    return script.split("entry.sh\" <<'END'\n")[1].split("\nEND\n")[0]


@pytest.mark.parametrize("spec", [
    JOB,
    dataclasses.replace(JOB, front_end=True, content=True, data=PurePosixPath("/group/raw")),
    dataclasses.replace(JOB, headless=HEADLESS, content=True),
])  # fmt: skip
def test_both_scripts_pass_shellcheck(spec: JobSpec):
    script = render_job(spec)
    assert shellcheck(script, "--severity=warning") == ""
    assert shellcheck(entry(script), "--shell=sh", "--severity=warning") == ""


def test_a_headless_job_runs_the_notebook_in_place_of_jupyterlab():
    script = render_job(dataclasses.replace(JOB, headless=HEADLESS, front_end=True))
    arguments = next(line for line in script.splitlines() if "-m dl4mic_forms" in line)
    assert shlex.split(arguments)[3:] == [
        "dl4mic_forms", "--parameters=p.json", "--sections=1-3,5", "--", "My notebook.ipynb",
    ]  # fmt: skip
    assert "token" not in script and "--no-browser" not in script and "front_end.py" not in script
    assert '"state\\": \\"running' in script and "run.log" in script


@pytest.mark.parametrize("value", HOSTILE)
def test_every_word_of_a_headless_job_arrives_whole(value: str):
    job = HeadlessJob(notebook_file=value, parameters=value, sections=value)
    script = entry(render_job(dataclasses.replace(JOB, headless=job)))
    arguments = next(line for line in script.splitlines() if "-m dl4mic_forms" in line)
    assert shlex.split(arguments)[4:] == [f"--parameters={value}", f"--sections={value}", "--", value]


def test_colabs_working_folder_is_the_sessions_with_its_data():
    script = render_job(dataclasses.replace(JOB, content=True, data=PurePosixPath("/group/raw")))
    assert 'binds+=(--bind "$session/home:/content")\nbinds+=(--bind /group/raw:/content/data:ro)\n' in script
    assert "/content" not in render_job(JOB)


def test_simulated_gpus_are_known_inside():
    assert " --simulated " in entry(render_job(dataclasses.replace(JOB, simulated=True)))
    assert " --simulated " not in render_job(JOB)


LONG = """#!/bin/sh
'''exec' "/a/very/long/path/python3" "$0" "$@"
' '''
import sys
"""


@pytest.mark.posix
@pytest.mark.parametrize(
    ("lab", "python"),
    [
        ("#!/opt/venv/bin/python3\nimport sys\n", "/opt/venv/bin/python3"),
        ("#! /usr/bin/env python3\nimport sys\n", "/usr/bin/env python3"),
        (LONG, "/a/very/long/path/python3"),
        (
            LONG.replace('"/a/very/long/path/python3"', "/a/very/long/path/python3"),
            "/a/very/long/path/python3",
        ),
    ],
)
def test_the_python_is_that_of_jupyterlab(tmp_path: Path, lab: str, python: str):
    (tmp_path / "jupyter-lab").write_text(lab)
    script = entry(render_job(dataclasses.replace(JOB, headless=HEADLESS)))
    line = next(line for line in script.splitlines() if line.startswith("python="))
    said = subprocess.run(
        ["sh", "-c", f'lab="$1"; {line}; printf %s "$python"', "sh", str(tmp_path / "jupyter-lab")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout == python


@pytest.mark.posix
def test_what_a_program_said_is_a_reason_in_json():
    script = render_job(JOB)
    line = next(line for line in script.splitlines() if line.startswith("one_line()"))
    said = subprocess.run(
        ["bash", "-c", f'{line}; one_line "$1"', "bash", 'cell 3: ValueError: "a\\b"\t$(id) ä\r\n'],
        capture_output=True, check=True,
    )  # fmt: skip
    assert json.loads(b'"' + said.stdout + b'"') == 'cell 3: ValueError: "a\\b"$(id) ä'
