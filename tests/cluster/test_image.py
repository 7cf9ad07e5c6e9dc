"""Images built on the cluster: what goes in, what must not, and how a failure is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from support.cluster import Cluster

from dl4mic_hpc import resources

CANARY = "canary-7f3a9c"
SITE = {
    "ca_file": ("ca.crt", f"# {CANARY}\n"),
    "pip_config": ("pip.conf", f"# {CANARY}\n[global]\ntimeout = 77\n"),
    "apt_sources": ("apt.sources", f"# {CANARY}\n"),
    "apt_options": ("apt.conf", f'// {CANARY}\nAcquire::Retries "7";\n'),
}
"""The site's build environment: key of the profile -> file name, content."""

USES_THE_SITE = """\
FROM debian:trixie-slim AS environment
USER root
WORKDIR /home
RUN grep -q canary "$PIP_CONFIG_FILE" && grep -q canary "$SSL_CERT_FILE" && grep -q canary "$PIP_CERT"
RUN apt-config dump | grep -q 'Acquire::Retries "7"'
RUN printenv no_proxy | grep -q canary
RUN id -u | grep -qx 0 && touch /tmp/gone /opt/kept && chown 33:33 /opt/kept
"""


def test_the_build_environment_is_used_and_leaves_no_trace(
    cluster: Cluster, with_profile: Callable[..., Cluster], recipe: Callable[[str], Path]
):
    cluster.inside("login", "mkdir", "-p", "/scratch/ada/site", user="ada")
    for name, content in SITE.values():
        cluster.inside(
            "login", "sh", "-c", 'printf "%s" "$1" > "/scratch/ada/site/$2"', "sh", content, name, user="ada"
        )
    environment = {key: f"/scratch/ada/site/{name}" for key, (name, _) in SITE.items()}
    laptop = with_profile(
        work_dir="/scratch/ada/tiny",
        build={"cpus": 2, "mem": "4G", "environment": {**environment, "proxies": {"no_proxy": CANARY}}},
    )
    # The image holds no JupyterLab: it is built, then the session ends with that as its reason.
    done = laptop.cli("launch", "-c", str(recipe(USES_THE_SITE)), "--no-browser", code=7)
    assert "the image has no JupyterLab" in done.err, done.err

    image = cluster.inside("login", "sh", "-c", "ls /scratch/ada/tiny/images/*.sif").strip()
    try:
        found = cluster.inside(
            "login", "apptainer", "exec", "--contain", image, "sh", "-c",
            f"grep -rsl {CANARY} / --exclude-dir=proc --exclude-dir=sys --exclude-dir=dev; ls /opt /tmp /.dl4mic-hpc/site",
            user="ada", check=False,
        )  # fmt: skip
        assert "canary" not in found
        assert "kept" in found and "gone" not in found and "README" in found
        told = cluster.inside("login", "apptainer", "inspect", "--all", image, user="ada")
        assert CANARY not in told and "debian" in told
        assert cluster.inside("login", "sh", "-c", f"grep -c {CANARY} {image} || true").strip() == "0"
        # Nothing is left on the nodes, and no half-built image.
        for node in ("gpu01", "gpu02"):
            assert cluster.inside(node, "sh", "-c", "ls -d /tmp/dl4mic-build* 2> /dev/null || true") == ""
        listed = cluster.inside("login", "ls", "/scratch/ada/tiny/images").split()
        assert sorted(PurePosixPath(name).suffix for name in listed) == [".json", ".sif", ".used"]
    finally:
        cluster.inside("login", "rm", "-rf", "/scratch/ada/tiny", "/scratch/ada/site")


def test_a_build_that_fails_is_told_with_its_own_words(
    cluster: Cluster, with_profile: Callable[..., Cluster], recipe: Callable[[str], Path]
):
    laptop = with_profile(work_dir="/scratch/ada/tiny")
    configuration = recipe(
        "FROM debian:trixie-slim AS environment\nUSER root\nWORKDIR /home\nRUN echo so it goes >&2; exit 3\n"
    )
    try:
        done = laptop.cli("launch", "-c", str(configuration), "--no-browser", code=7)
        assert "so it goes" in done.err and "Dockerfile:4" in done.err and "build.log" in done.err
        assert cluster.inside("login", "ls", "/scratch/ada/tiny/images") == ""
        cluster.wait_until_idle()
    finally:
        cluster.inside("login", "rm", "-rf", "/scratch/ada/tiny")


def test_two_launches_share_one_build(
    cluster: Cluster, with_profile: Callable[..., Cluster], recipe: Callable[[str], Path]
):
    laptop = with_profile(work_dir="/scratch/ada/tiny")
    configuration = str(
        recipe("FROM debian:trixie-slim AS environment\nUSER root\nWORKDIR /home\nRUN sleep 3\n")
    )
    try:
        first = laptop.cli("launch", "-c", configuration, "--detach", "--json").json
        second = laptop.cli("launch", "-c", configuration, "--detach", "--json").json
        assert first["build_job_id"] is not None
        assert second["build_job_id"] == first["build_job_id"]
        assert second["job_id"] != first["job_id"]
        # The second one waits for the first one's build; stopping it leaves the build alone.
        laptop.cli("stop", second["session"])
        assert str(first["build_job_id"]) in cluster.jobs()
        laptop.cli("stop", first["session"])
        cluster.wait_until_idle()
    finally:
        cluster.inside("login", "rm", "-rf", "/scratch/ada/tiny")


def test_an_image_is_made_on_the_login_node_only_where_the_profile_allows_it(
    cluster: Cluster, with_profile: Callable[..., Cluster], recipe: Callable[[str], Path]
):
    configuration = str(
        recipe("FROM debian:trixie-slim AS environment\nUSER root\nWORKDIR /home\nRUN true\n")
    )
    words = ("image", "build", "-c", configuration)
    build = {"cpus": 2, "mem": "4G", "internet": "login"}
    try:
        laptop = with_profile(work_dir="/scratch/ada/tiny", build=build)
        refused = laptop.cli(*words, code=7)
        assert "its compute nodes have no internet" in refused.err and "--here" in refused.err
        laptop = with_profile(work_dir="/scratch/ada/tiny", build={**build, "on_login_node": True})
        made = PurePosixPath(laptop.cli(*words, "--json").json["image"])
        told = json.loads(cluster.inside("login", "cat", str(made.with_suffix(".json"))))
        assert (told["builder"]["node"], told["builder"]["job_id"]) == ("login", 0)
        log = cluster.inside("login", "sh", "-c", "cat /scratch/ada/tiny/builds/*/build.log")
        assert "on login" in log and cluster.jobs() == []
        assert cluster.inside("login", "sh", "-c", "ls -d /tmp/dl4mic-build* 2> /dev/null || true") == ""
    finally:
        cluster.inside("login", "rm", "-rf", "/scratch/ada/tiny")


def test_what_cannot_be_converted_is_refused_before_anything_is_connected_to(
    cluster: Cluster, with_profile: Callable[..., Cluster], recipe: Callable[[str], Path]
):
    laptop = with_profile(port=1)
    configuration = recipe("FROM debian:trixie-slim AS environment\nRUN --mount=type=ssh true\n")
    done = laptop.cli("launch", "-c", str(configuration), "--no-browser", code=8)
    assert "Dockerfile:2" in done.err and "hint: " in done.err


def test_a_new_version_of_the_notebook_builds_nothing(cluster: Cluster, image: PurePosixPath, tmp_path: Path):
    source = resources.data("configs", "notebooks", "pixel_segmentation")
    for entry in source.iterdir():
        (tmp_path / entry.name).write_bytes(entry.read_bytes())
    edited = tmp_path / "Edited.ipynb"
    shutil.move(tmp_path / "Pixel_segmentation.ipynb", edited)
    edited.write_text(edited.read_text().replace("Version log", "Versions", 1))
    facts = cluster.cli("launch", "pixel_segmentation", "-n", str(edited), "--detach", "--json").json
    assert facts["build_job_id"] is None
    assert cluster.inside("login", "test", "-s", f"{facts['session_dir']}/home/Edited.ipynb") == ""
    cluster.cli("stop", facts["session"])
