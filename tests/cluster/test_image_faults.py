"""Full disks, closed and silent registries, nodes without internet: an image is made all the same, or it is said why not."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import bcrypt
import pytest
from support.sandbox_registry import SandboxRegistry
from support.supply import BUILD, TINY, WORK, Supply
from support.web_server import make_certificate

NAME = "docker.io/lab/faults:1"
WAITS = f"until [ -e {WORK}/go ]; do sleep 0.1; done"
"""Of the profile's `pre_script`: the job waits before it does anything."""


@pytest.fixture
def name(registry: SandboxRegistry) -> str:
    registry.push("lab/faults", "1", first=b"one", second=b"two")
    return NAME


def test_a_disk_that_fills_up(supply: Supply, registry: SandboxRegistry):
    registry.push("lab/large", "1", first=os.urandom(4_000_000))
    supply.on_login("mkdir -p /tiny/supply && rmdir images; ln -s /tiny/supply images")
    try:
        said = supply.refused(supply.laptop, "pull", "docker.io/lab/large:1")
        assert "there is no space left" in said and "image prune" in said
        assert supply.names() == [] and supply.left_on_node() == ""
    finally:
        supply.on_login("rm -r images /tiny/supply")
    supply.laptop.cli("image", "pull", "docker.io/lab/large:1")
    assert supply.image_and_record_alone()


def test_a_node_without_room_to_unpack(supply: Supply, recipe: Callable[..., Path]):
    laptop = supply.profile(build={**BUILD, "tmp_dir": "/tiny"})
    said = supply.refused(laptop, "build", "-c", str(recipe(TINY)))
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
    assert "`docker login` or `podman login login:5444`" in supply.refused(supply.laptop, "pull", private)
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
    assert "lab/gone:1" in supply.refused(supply.laptop, "pull", name)
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
            assert "the compute node did not reach the internet" in supply.refused(laptop, "pull", name)
            assert supply.names() == [] and supply.left_on_node() == ""
        said = laptop.cli("image", "pull", name).err
        assert "by the login node" in said
        assert converted_from_a_file(supply)
        before = supply.builds()
        said = supply.refused(laptop, "build", "-c", str(recipe(TINY)))
        assert "its compute nodes have no internet" in said and "--here" in said
        assert supply.builds() == before


def test_a_cluster_without_internet(supply: Supply, registry: SandboxRegistry, name: str):
    """Only this computer reaches the registry, under a name that means nothing there."""
    laptop = supply.profile(insecure_registries=[registry.address], build={**BUILD, "internet": "laptop"})
    said = laptop.cli("image", "pull", f"{registry.address}/lab/faults:1").err
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
