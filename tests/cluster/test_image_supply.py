"""Images of real registries and recipes: which one a launch takes, where from, and what it says when it cannot."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from support.cluster import Cluster
from support.sandbox_registry import SandboxRegistry
from support.supply import BUILD, WORK, Supply
from support.web_server import make_certificate

NAME = "docker.io/lab/supply:1"
OURS = "henriqueslab/dl4miceverywhere"
TINY = "FROM debian:trixie-slim AS environment\nUSER root\nWORKDIR /home\nRUN touch /opt/kept\n"
SLEEPS = f"""{TINY}\
RUN printf '#!/bin/sh\\nexec sleep 600\\n' > /usr/local/bin/jupyter-lab && chmod 755 /usr/local/bin/jupyter-lab && sleep 5
"""
"""What takes the place of JupyterLab: a session lasts, and nothing is installed."""
HELD = ["--hold"]
"""Of the profile's `sbatch_extra`: sessions wait, and their images are in use."""
WAITS = f"until [ -e {WORK}/go ]; do sleep 0.1; done"
"""Of the profile's `pre_script`: the job waits before it does anything."""


@pytest.fixture
def name(registry: SandboxRegistry) -> str:
    registry.push("lab/supply", "1", first=b"one", second=b"two")
    return NAME


# ---- Which image -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_a_published_image_is_pulled(
    supply: Supply, registry: SandboxRegistry, recipe: Callable[..., Path], by: str
):
    digest = registry.push("lab/layers", "1", on_base=True, first=b"one", second=b"two" * 100_000)
    name = "docker.io/lab/layers:1" if by == "tag" else f"docker.io/lab/layers@{digest}"
    image = supply.laptop.cli("image", "pull", name, "--json").json["image"]
    assert supply.record(image)["source"] == {"kind": "registry", "reference": name, "digest": digest}
    said = supply.on_login(f"apptainer exec {image} sh -c 'cat /opt/first; wc -c < /opt/second'")
    assert said.split() == ["one300000"]
    # It has no JupyterLab. What counts: the session took the image that was there, and none was made for it.
    facts = supply.laptop.cli(
        "launch", "-c", str(recipe(TINY)), "-t", name, "-g", "0", "--detach", "--json"
    ).json
    assert facts["build_job_id"] is None
    supply.cluster.wait_until_idle()
    provenance = json.loads(supply.on_login(f"cat {facts['session_dir']}/provenance.json"))
    assert provenance["image"]["digest"] == digest
    assert "no JupyterLab" in supply.on_login(f"cat {facts['session_dir']}/exit.json")
    assert supply.image_and_record_alone()


@pytest.mark.parametrize(
    ("way", "published", "how", "reason"),
    [
        ("auto", True, f"docker://registry:5000/{OURS}", "is pulled: docker.io/henriqueslab"),
        ("auto", False, "image.def", "is built from its recipe: "),
        ("pull", True, f"docker://registry:5000/{OURS}", "is published"),
        ("build", True, "image.def", "is built from its recipe: that was asked for"),
    ],
)
def test_how_an_image_is_come_by(
    supply: Supply,
    registry: SandboxRegistry,
    recipe: Callable[..., Path],
    way: str,
    published: bool,
    how: str,
    reason: str,
):
    tag = "supply-z1" if published else "nowhere-z1"
    registry.push(OURS, "supply-z1", first=b"one")
    configuration = str(recipe(TINY, docker_hub_image=tag))
    held = supply.profile(sbatch_extra=HELD)
    done = held.cli("launch", "-c", configuration, "--image", way, "--detach", "--json")
    assert reason in done.err
    assert published or f"{OURS}:{tag}" in done.err
    assert done.json["build_job_id"] is not None
    assert f'"$part" {how}' in supply.on_login("cat builds/*/build.sh").replace("'", "")


def test_what_is_not_published_cannot_be_pulled(supply: Supply, recipe: Callable[..., Path]):
    configuration, before = str(recipe(TINY, docker_hub_image="nowhere-z1")), supply.builds()
    done = supply.laptop.cli("launch", "-c", configuration, "--image", "pull", "--detach", code=7)
    assert "nowhere-z1" in done.err and "hint: " in done.err
    assert supply.builds() == before


def test_a_tag_that_moves(supply: Supply, registry: SandboxRegistry, recipe: Callable[..., Path], name: str):
    image = supply.laptop.cli("image", "pull", name, "--json").json["image"]
    first = supply.record(image)["source"]["digest"]
    unmoved = supply.laptop.cli("image", "pull", name, "--refresh", "--json")
    assert (unmoved.json["state"], unmoved.json["job_id"]) == ("there", None)
    assert f"still stands for {first}" in unmoved.err

    second = registry.push("lab/supply", "1", first=b"three")
    assert supply.laptop.cli("image", "pull", name, "--json").json["state"] == "there"
    assert supply.record(image)["source"]["digest"] == first
    held = supply.profile(sbatch_extra=HELD)
    session = held.cli(
        "launch", "-c", str(recipe(TINY)), "-t", name, "--detach", "--json"
    ).json  # which waits, with the old image
    used = held.cli("image", "pull", name, "--refresh", code=2)
    assert f"in use by session {session['session']}" in used.err
    assert supply.record(image)["source"]["digest"] == first
    held.cli("stop", session["session"])
    assert held.cli("image", "pull", name, "--refresh", "--json").json["state"] == "made"
    assert supply.record(image)["source"]["digest"] == second
    assert supply.image_and_record_alone()


@contextlib.contextmanager
def counted(cluster: Cluster) -> Iterator[Callable[[], int]]:
    """How many commands sshd has run for the user so far."""
    cluster.inside("login", "sh", "-c", "echo 'echo . >> ~/commands' > ~/.ssh/rc", user="ada")
    try:
        yield lambda: int(cluster.inside("login", "sh", "-c", "wc -l < ~/commands", user="ada"))
    finally:
        cluster.inside("login", "sh", "-c", "rm ~/.ssh/rc ~/commands", user="ada")


def test_an_image_that_is_there_needs_no_registry(
    supply: Supply, registry: SandboxRegistry, recipe: Callable[..., Path], name: str
):
    supply.laptop.cli("image", "pull", name)
    held = supply.profile(sbatch_extra=HELD)
    configuration = str(recipe(TINY))
    launch = ("launch", "-c", configuration, "-t", name, "--detach", "--json")
    with counted(supply.cluster) as commands:
        assert held.cli(*launch).json["build_job_id"] is None
        first = commands()
        registry.stop()
        try:
            assert held.cli(*launch).json["build_job_id"] is None
            assert commands() == 2 * first
            made = supply.builds()
            silent = held.cli(
                "launch", "-c", configuration, "-t", "docker.io/lab/other:1", "--detach", code=7
            )
            assert "registry:5000" in silent.err and "hint: " in silent.err
            assert supply.builds() == made
        finally:
            registry.start()
    assert first == 2  # one asks and one submits


# ---- Images that others keep -----------------------------------------------------------------------------------------

GROUP = "/scratch/groups/lab"


@pytest.fixture
def group(supply: Supply, name: str) -> Iterator[str]:
    """An image that ben keeps for the lab; its place."""
    supply.laptop.cli("image", "pull", name)
    supply.on_login(
        f"mkdir -p {GROUP} && mv images/* {GROUP} && rmdir images && chown -R ben: {GROUP} && chmod 755 {GROUP}",
        user="root",
    )
    supply.on_login(f"chmod 755 $(dirname {GROUP})", user="root")
    yield supply.on_login(f"ls {GROUP}/*.sif").strip()
    supply.cluster.inside("login", "rm", "-rf", "/scratch/groups")


def test_an_image_of_the_group_is_used(supply: Supply, group: str, recipe: Callable[..., Path], name: str):
    before = supply.on_login(f"stat --format='%a %Y %n' {GROUP} {GROUP}/*")
    laptop = supply.profile(image_folders=[GROUP], trusted_owners=["ben"])
    facts = laptop.cli("launch", "-c", str(recipe(TINY)), "-t", name, "-g", "0", "--detach", "--json").json
    assert facts["build_job_id"] is None
    supply.cluster.wait_until_idle()
    assert f"image={group}" in supply.on_login(f"cat {facts['session_dir']}/job.sh")
    # It holds two files and no shell.
    assert "/bin/sh" in supply.on_login(f"cat {facts['session_dir']}/jupyter.log")
    assert supply.on_login(f"stat --format='%a %Y %n' {GROUP} {GROUP}/*") == before


def test_an_image_of_the_group_is_passed_over(
    supply: Supply, registry: SandboxRegistry, group: str, name: str
):
    """Each with the one thing that is wrong; the registry has it no longer, so that nothing is made in its stead."""
    registry.delete("lab/supply", supply.on_login(f"grep -o 'sha256:[0-9a-f]*' {GROUP}/*.json").strip())
    record = group.replace(".sif", ".json")
    for change, undo, trusted, why in (
        ("true", "true", [], "belongs to ben"),
        (f"chmod g+w {GROUP}/..", f"chmod g-w {GROUP}/..", ["ben"], "others can write to /scratch/groups"),
        (f"chmod o+w {group}", f"chmod o-w {group}", ["ben"], f"others can write to {group}"),
        (f"chown nobody {record}", f"chown ben {record}", ["ben"], f"{record} belongs to nobody"),
        (
            f"mv {record} {record}.not",
            f"mv {record}.not {record}",
            ["ben"],
            "its record is missing or damaged",
        ),
        (f"touch {group}", "true", ["ben"], "it was changed after its record was written"),
        (f"printf . >> {group}", "true", ["ben"], "bytes, and its record says"),
    ):
        supply.on_login(change, user="root")
        laptop = supply.profile(image_folders=[GROUP], trusted_owners=trusted)
        said = refused(laptop, "pull", name)
        assert f"the image {group} is passed over: " in said and why in said, said
        supply.on_login(undo, user="root")
    assert supply.names() == []


# ---- Many at once ----------------------------------------------------------------------------------------------------


def test_eight_launches_at_once_share_one_build(supply: Supply, recipe: Callable[..., Path]):
    configuration = str(recipe(f"{SLEEPS}RUN echo {secrets.token_hex(4)}\n"))  # which nobody has built before
    launch = ("launch", "-c", configuration, "-g", "1", "--detach", "--json")
    processes = [supply.laptop.started(*launch) for _ in range(8)]
    ended = [process.communicate(timeout=200) for process in processes]
    facts: list[dict[str, Any]] = [json.loads(out) for out, _ in ended]
    [build] = {one["build_job_id"] for one in facts}
    jobs = {str(one["job_id"]) for one in facts}
    assert len(jobs) == len({one["session"] for one in facts}) == 8 and build is not None
    scripts = supply.on_login("cat sessions/*/job.sh")
    assert scripts.count(f"#SBATCH --dependency=afterok:{build}\n") == 8
    images = {line for line in scripts.splitlines() if line.startswith("image=")}
    supply.on_login(
        "timeout 120 sh -c 'until [ $(squeue --noheader --states=RUNNING --name=$0 | wc -l) = 4 ]; do sleep 0.2; done' "
        + ",".join(f"dl4mic-{one['session']}" for one in facts)
    )
    assert supply.image_and_record_alone()
    [image] = [name for name in supply.names() if name.endswith(".sif")]
    assert images == {f"image={WORK}/images/{image}"}
    assert supply.jobs_of(image) == [str(build)]
    states = dict(line.split() for line in supply.on_login("squeue --noheader --format='%i %T'").splitlines())
    assert {job: states[job] for job in jobs} == states
    assert sorted(states.values()) == ["PENDING"] * 4 + ["RUNNING"] * 4
    stops = [supply.laptop.started("stop", one["session"]) for one in facts]
    assert [(process.communicate(timeout=200), process.returncode)[1] for process in stops] == [0] * 8
    assert supply.cluster.jobs() == []


# ---- What goes wrong -------------------------------------------------------------------------------------------------


def refused(laptop: Cluster, *argv: str) -> str:
    """What is said of it, in an error and a hint; exit code 7."""
    done = laptop.cli("image", *argv, code=7)
    assert "error: " in done.err and "\nhint: " in done.err
    return done.err


def test_a_disk_that_fills_up(supply: Supply, registry: SandboxRegistry):
    registry.push("lab/large", "1", first=os.urandom(4_000_000))
    supply.on_login("mkdir -p /tiny/supply && rmdir images; ln -s /tiny/supply images")
    try:
        said = refused(supply.laptop, "pull", "docker.io/lab/large:1")
        assert "there is no space left" in said and "image prune" in said
        assert supply.names() == [] and supply.left_on_node() == ""
    finally:
        supply.on_login("rm -r images /tiny/supply")
    supply.laptop.cli("image", "pull", "docker.io/lab/large:1")
    assert supply.image_and_record_alone()


def test_a_node_without_room_to_unpack(supply: Supply, recipe: Callable[..., Path]):
    laptop = supply.profile(build={**BUILD, "tmp_dir": "/tiny"})
    said = refused(laptop, "build", "-c", str(recipe(TINY)))
    assert "build.tmp_dir in the profile" in said and "less than 2 GiB free" in said
    assert supply.names() == []


@pytest.fixture
def closed(
    supply: Supply, registry: SandboxRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A registry on the login node, with TLS, that gives lab/x:1 to ada alone; its name. This computer trusts it."""
    certificate = make_certificate(tmp_path / "ca.pem", "login")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": f"{WORK}/closed"}},
        "http": {"addr": ":5444", "tls": {"certificate": f"{WORK}/ca.pem", "key": f"{WORK}/ca.pem"}},
        "auth": {"htpasswd": {"realm": "lab", "path": f"{WORK}/htpasswd"}},
    }
    for file, content in (("ca.pem", certificate.read_text()), ("registry.yml", json.dumps(settings))):
        supply.on_login(f"printf %s {shlex.quote(content)} > {file}")
    known(supply, "right")
    supply.on_login(
        "docker-registry serve registry.yml > registry.log 2>&1 & echo $! > pid; "
        "timeout 30 sh -c 'until nc -z login 5444; do sleep 0.1; done'"
    )
    yield "login:5444"
    supply.on_login("kill $(cat pid); rm -r pid ca.pem registry.yml registry.log htpasswd closed")


def known(supply: Supply, password: str) -> None:
    """From now on the registry knows ada by this password."""
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
    supply.on_login(f"echo 'ada:{hashed}' > htpasswd.new && mv htpasswd.new htpasswd")


def test_a_registry_that_does_not_give_the_image_out(supply: Supply, closed: str, name: str, tmp_path: Path):
    private = f"oras://{closed}/lab/x:1"
    log_in = "export SSL_CERT_FILE=$PWD/ca.pem APPTAINER_DOCKER_USERNAME=ada APPTAINER_DOCKER_PASSWORD=right"
    address = name.replace("docker.io", "docker://registry:5000")
    supply.on_login(
        f"apptainer build --no-https x.sif {address} && {log_in} && apptainer push x.sif {private} && rm x.sif"
    )
    before = supply.builds()
    assert "`docker login` or `podman login login:5444`" in refused(supply.laptop, "pull", private)
    assert supply.builds() == before and supply.names() == []

    # The password is changed while the job waits.
    packed = base64.b64encode(b"ada:right").decode()
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {closed: {"auth": packed}}}))
    trusted = f"export SSL_CERT_FILE={WORK}/ca.pem\n"
    said = meanwhile(supply, trusted, private, lambda: known(supply, "another"))
    assert "the registry does not give the image out to you" in said
    assert supply.names() == [] and supply.left_on_node() == ""
    known(supply, "right")
    supply.profile(pre_script=trusted).cli("image", "pull", private)
    assert supply.image_and_record_alone()
    assert supply.on_login("find builds -name login") == ""


def meanwhile(supply: Supply, script: str, name: str, happens: Callable[[], None]) -> str:
    """A pull whose job waits until this has happened, and then fails; what is said."""
    supply.on_login("rm -f go")
    process = supply.profile(pre_script=script + WAITS).started("image", "pull", name)
    assert process.stderr
    assert any(line.startswith("job ") for line in process.stderr)
    happens()
    supply.on_login("touch go")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 7 and "\nhint: " in said, said
    return said


def test_a_manifest_that_goes_before_the_job_starts(supply: Supply, registry: SandboxRegistry):
    name, digest = "docker.io/lab/gone:1", registry.push("lab/gone", "1", first=b"one")
    said = meanwhile(supply, "", name, lambda: registry.delete("lab/gone", digest))
    assert "the registry has no such image, or no longer" in said
    assert supply.names() == [] and supply.left_on_node() == ""
    before = supply.builds()
    assert "lab/gone:1" in refused(supply.laptop, "pull", name)
    assert supply.builds() == before


@contextlib.contextmanager
def changed(supply: Supply, change: str, undo: str) -> Iterator[None]:
    """gpu01 is another one, which nobody has looked at, or is remembered as it was."""
    supply.cluster.inside("gpu01", "sh", "-ec", change)
    try:
        yield
    finally:
        supply.cluster.inside("gpu01", "sh", "-ec", undo)
        supply.on_login("rm -f cluster.json")


@contextlib.contextmanager
def without_internet(supply: Supply) -> Iterator[None]:
    registry = supply.cluster.inside("gpu01", "getent", "hosts", "registry").split()[0]
    with changed(supply, f"ip route add unreachable {registry}", f"ip route del unreachable {registry}"):
        yield


def converted_from_a_file(supply: Supply) -> bool:
    """Whether the last job has made its image from what lay there, which is then removed."""
    assert "oci:" in supply.on_login("cat $(ls -td builds/*/ | head -n 1)/build.sh")
    assert supply.on_login("find cache/layouts -mindepth 1") == ""
    return supply.image_and_record_alone()


@pytest.mark.parametrize("known", ["looked at", "remembered otherwise", "as the profile says"])
def test_nodes_without_internet(
    supply: Supply, registry: SandboxRegistry, recipe: Callable[..., Path], name: str, known: str
):
    laptop = supply.laptop
    with without_internet(supply):
        if known == "looked at":
            supply.on_login("rm cluster.json")
        elif known == "as the profile says":
            laptop = supply.profile(build={**BUILD, "internet": "login"})
        else:
            assert "the compute node did not reach the internet" in refused(laptop, "pull", name)
            assert supply.names() == [] and supply.left_on_node() == ""
        said = laptop.cli("image", "pull", name).err
        assert "by the login node" in said
        assert converted_from_a_file(supply)
        before = supply.builds()
        said = refused(laptop, "build", "-c", str(recipe(TINY)))
        assert "its compute nodes have no internet" in said and "--here" in said
        assert supply.builds() == before


def test_a_cluster_without_internet(supply: Supply, registry: SandboxRegistry, name: str):
    """Only this computer reaches the registry, under a name that means nothing there."""
    laptop = supply.profile(insecure_registries=[registry.address], build={**BUILD, "internet": "laptop"})
    said = laptop.cli("image", "pull", f"{registry.address}/lab/supply:1").err
    assert "by this computer" in said
    assert converted_from_a_file(supply)


@pytest.mark.parametrize(
    ("change", "options"),
    [("/^ada:/d", "--fakeroot"), ("s/^ada:.*/ada:100000:1000/", "--fakeroot --ignore-subuid")],
    ids=["none", "too small"],
)
def test_a_user_without_a_range_of_ids(
    supply: Supply, recipe: Callable[..., Path], change: str, options: str
):
    change = f"cp /etc/subuid /root/subuid.kept; sed -i '{change}' /etc/subuid"
    chowns = f"{TINY}RUN chown 33:33 /opt/kept && mkdir /opt/shut && chmod 0 /opt/shut\n"
    with changed(supply, change, "cat /root/subuid.kept > /etc/subuid; rm /root/subuid.kept"):
        supply.on_login("rm cluster.json")
        supply.laptop.cli("image", "build", "-c", str(recipe(chowns)))
    script = supply.on_login("cat builds/*/build.sh").replace('"$apptainer"', "apptainer")
    assert f'run apptainer build {options} "' in script
    assert supply.image_and_record_alone()
