"""Real registries of the cluster's network: asked through the login node, with mirrors, log-ins and SIFs."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import bcrypt
import pytest
from support.cluster import Cluster
from support.images import DOCKER_MANIFEST, OCI_MANIFEST
from support.person import Person
from support.web_server import make_certificate

from dl4mic_hpc.errors import RegistryError
from dl4mic_hpc.images import offline, published
from dl4mic_hpc.profile import ClusterProfile
from dl4mic_hpc.remote import CommandResult
from dl4mic_hpc.sources.reference import parse
from dl4mic_hpc.ssh import Connection, connect

BASE = "debian:trixie-slim"
WORK = "/scratch/ada/registries"
PORT = 5443
PASSWORD = "canary-s3cret"
KINDS = {
    "oci": (OCI_MANIFEST, "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip"),
    "docker": (
        DOCKER_MANIFEST,
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ),
}  # fmt: skip
LOGGED_IN = """\
cd "$1" && export SSL_CERT_FILE=$1/ca.pem
if [ -r login ]; then
    { IFS= read -r user; IFS= read -r password; } < login
    export APPTAINER_DOCKER_USERNAME=$user APPTAINER_DOCKER_PASSWORD=$password
fi
"""
"""What the job does with the file that brings this person's log-in."""
PULL = f'{LOGGED_IN}apptainer pull --force pulled.sif "$2"'
PUSH = f'{LOGGED_IN}apptainer push "$3" "$2"'


class Quiet:
    def say(self, text: str) -> None: ...

    def detail(self, text: str) -> None: ...

    def note(self, text: str) -> None: ...


@pytest.fixture
def remote(at_cluster: None, sandbox_profile: ClusterProfile, cluster: Cluster) -> Iterator[Connection]:
    with connect(sandbox_profile, ask=Person()) as connection:
        connection.run("mkdir", "-p", WORK).check("making a folder", hint="")
        yield connection
    cluster.inside("login", "rm", "-rf", WORK)


@pytest.fixture
def shell(remote: Connection) -> Callable[..., CommandResult]:
    """Runs a script in a folder of the login node; its words go to $1 and so on."""

    def run(script: str, *words: str) -> CommandResult:
        return remote.run("sh", "-c", f"cd {WORK} && {{ {script}\n}} 2>&1", "sh", *words, timeout=300)

    return run


@pytest.fixture(scope="module")
def made(cluster: Cluster) -> Iterator[str]:
    """A SIF on the login node, made once."""
    path = f"{WORK}.sif"
    source = "docker://registry:5000/library/debian:trixie-slim"
    cluster.inside(
        "login", "apptainer", "--silent", "build", "--force", "--no-https", path, source, user="ada"
    )
    yield path
    cluster.inside("login", "rm", "-f", path)


def layer(name: str, content: bytes) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        member = tarfile.TarInfo(f"opt/{name}")
        member.size, member.mode = len(content), 0o644
        tar.addfile(member, io.BytesIO(content))
    return raw.getvalue()


@pytest.fixture
def push(remote: Connection, sandbox_profile: ClusterProfile) -> Callable[..., str]:
    """Puts an image into the cluster's registry: its base, and a layer for each file. Gives the name."""

    def make(kind: str, **files: bytes) -> str:
        manifest_kind, config_kind, layer_kind = KINDS[kind]
        base = published.look_up(remote, sandbox_profile, BASE)
        with (
            published.by_login_node(remote, published.access(sandbox_profile)) as access,
            access.repository(parse(BASE)) as repository,
        ):

            def put(data: bytes, media_type: str) -> dict[str, Any]:
                digest = "sha256:" + hashlib.sha256(data).hexdigest()
                repository.push_blob(data=iter([data]), digest=digest)
                return {"mediaType": media_type, "digest": digest, "size": len(data)}

            config = json.loads(repository.document(f"blobs/{base.config.digest}"))
            layers = [
                {"mediaType": layer_kind, "digest": one.digest, "size": one.size} for one in base.layers
            ]
            for name, content in files.items():
                raw = layer(name, content)
                config["rootfs"]["diff_ids"].append("sha256:" + hashlib.sha256(raw).hexdigest())
                layers.append(put(gzip.compress(raw, 1), layer_kind))
            manifest = {
                "schemaVersion": 2,
                "mediaType": manifest_kind,
                "config": put(json.dumps(config).encode(), config_kind),
                "layers": layers,
            }
            repository._request(  # type: ignore[no-untyped-call]
                "put",
                f"manifests/try-{kind}",
                data=json.dumps(manifest).encode(),
                headers={"Content-Type": manifest_kind},
            )
        return f"debian:try-{kind}"

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_apptainer_builds_from_a_layout(
    remote: Connection,
    sandbox_profile: ClusterProfile,
    push: Callable[..., str],
    shell: Callable[..., CommandResult],
    kind: str,
) -> None:
    name = push(kind, first=b"one", second=b"two" * 100_000)
    found = published.look_up(remote, sandbox_profile, name)
    assert (found.by_login_node, len(found.layers), found.media_type) == (True, 3, KINDS[kind][0])
    ways: tuple[Literal["login", "laptop"], ...] = ("login", "laptop")
    for way in ways:
        folder = PurePosixPath(WORK, way)
        offline.fetch(remote, sandbox_profile, found, internet=way, folder=folder, teller=Quiet())
    assert shell("diff -r login laptop").stdout == ""
    done = shell(
        "apptainer build a.sif oci:login && apptainer exec a.sif sh -c 'cat /opt/first; wc -c < /opt/second'"
    )
    assert done.exit_code == 0, done.stdout
    assert done.stdout.endswith("one300000\n")


def test_a_sif_that_was_pushed_is_found_pulled_and_fetched(
    remote: Connection, sandbox_profile: ClusterProfile, shell: Callable[..., CommandResult], made: str
) -> None:
    pushed = shell('apptainer push --no-https "$1" oras://registry:5000/lab/tool:1 && sha256sum "$1"', made)
    sha256 = pushed.check("pushing", hint="").stdout.splitlines()[-1].split()[0]
    found = published.look_up(remote, sandbox_profile, "oras://registry:5000/lab/tool:1")
    assert (found.kind, found.layers[0].digest) == ("sif", f"sha256:{sha256}")
    folder = PurePosixPath(WORK, "layout")
    offline.fetch(remote, sandbox_profile, found, internet="login", folder=folder, teller=Quiet())
    done = shell(
        'apptainer pull --no-https b.sif "$1" && sha256sum b.sif "layout/blobs/sha256/$2"',
        found.address,
        sha256,
    )
    assert done.stdout.count(f"{sha256}  ") == 2, done.stdout


# ---- A registry that knows its people --------------------------------------------------------------------------------


@pytest.fixture
def closed(
    cluster: Cluster,
    remote: Connection,
    shell: Callable[..., CommandResult],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """A registry with TLS and passwords on the login node, which holds lab/x:1; its name. This computer trusts it."""
    certificate = make_certificate(tmp_path / "ca.pem", "login")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    home = shell("echo ~").stdout.strip()
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": f"{WORK}/store"}},
        "http": {"addr": f":{PORT}", "tls": {"certificate": f"{WORK}/ca.pem", "key": f"{WORK}/ca.pem"}},
        "auth": {"htpasswd": {"realm": "lab", "path": f"{WORK}/htpasswd"}},
    }
    for name, content in (
        ("ca.pem", certificate.read_bytes()),
        ("htpasswd", f"ada:{hashed}\n".encode()),
        ("registry.yml", json.dumps(settings).encode()),
        (f"{home}/.curlrc", f"cacert = {WORK}/ca.pem\n".encode()),
    ):
        remote.put(PurePosixPath(WORK, name), content)
    shell("docker-registry serve registry.yml > registry.log 2>&1 & echo $! > pid")
    yield f"login:{PORT}"
    shell(f'kill "$(cat pid)"; rm -f {home}/.curlrc')


def log_in(host: str, password: str = PASSWORD) -> None:
    packed = base64.b64encode(f"ada:{password}".encode()).decode()
    Path(os.environ["REGISTRY_AUTH_FILE"]).write_text(json.dumps({"auths": {host: {"auth": packed}}}))


def test_who_has_logged_in_here_pulls_there(
    remote: Connection,
    sandbox_profile: ClusterProfile,
    shell: Callable[..., CommandResult],
    closed: str,
    made: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[tuple[str, ...]] = []
    start = remote.start
    monkeypatch.setattr(remote, "start", lambda *argv: ran.append(argv) or start(*argv))
    image = f"oras://{closed}/lab/x:1"

    # As a job does: the file's two lines become Apptainer's variables.
    def pull(address: str) -> CommandResult:
        shell("rm -f login")
        if login := published.login_file(sandbox_profile, image):
            remote.put(PurePosixPath(WORK, "login"), login)
        return remote.run("sh", "-c", PULL, "sh", WORK, address, timeout=300)

    log_in(closed)
    remote.put(PurePosixPath(WORK, "login"), published.login_file(sandbox_profile, image) or b"")
    pushed = remote.run("sh", "-c", PUSH, "sh", WORK, image, made, timeout=300)
    assert pushed.exit_code == 0, pushed.stderr

    found = published.look_up(remote, sandbox_profile, image)
    assert found.by_login_node
    done = pull(found.address)
    assert done.exit_code == 0, done.stderr
    for way in ("login", "laptop"):
        folder = PurePosixPath(WORK, f"layout-{way}")
        offline.fetch(remote, sandbox_profile, found, internet=way, folder=folder, teller=Quiet())
        assert shell(f"sha256sum {folder}/blobs/sha256/{found.layers[0].digest[7:]}").exit_code == 0

    log_in(closed, password="another-canary")
    with pytest.raises(RegistryError) as refused:
        published.look_up(remote, sandbox_profile, image.replace(":1", ":2"))
    assert refused.value.reason == "refused"
    log_in("elsewhere.org")
    assert "UNAUTHORIZED: authentication required" in pull(found.address).stderr
    kept = shell("rm -f login; grep -rl cana[r]y . ~/.apptainer /tmp")
    assert kept.stdout == "", kept.stdout
    assert "canary" not in repr(ran)
    assert base64.b64encode(f"ada:{PASSWORD}".encode()).decode() not in repr(ran)


def test_a_log_in_on_the_cluster_counts_where_this_computer_has_none(
    remote: Connection,
    sandbox_profile: ClusterProfile,
    shell: Callable[..., CommandResult],
    closed: str,
    made: str,
) -> None:
    log_in("elsewhere.org")
    image = f"oras://{closed}/lab/x:1"
    assert published.login_file(sandbox_profile, image) is None
    login = f"SSL_CERT_FILE={WORK}/ca.pem apptainer registry login --username ada --password-stdin oras://{closed}"
    assert remote.run("sh", "-c", login, stdin=PASSWORD.encode()).exit_code == 0
    try:
        done = remote.run("sh", "-c", f"{PUSH} && {PULL}", "sh", WORK, image, made, timeout=300)
        assert done.exit_code == 0, done.stderr
        assert shell('cmp "$1" pulled.sif', made).exit_code == 0
    finally:
        remote.run("apptainer", "registry", "logout", f"oras://{closed}")


# ---- A library -------------------------------------------------------------------------------------------------------

LIBRARY = """\
import hashlib, http.server, json, os
sif = open("a.sif", "rb").read()
about = {"id": "1", "hash": "sha256." + hashlib.sha256(sif).hexdigest(), "size": len(sif), "uploaded": True, "arch": "amd64"}
there = {"/v1/images/lab/tools/care:1": json.dumps({"data": about}).encode(), "/v1/imagefile/lab/tools/care:1": sif}

class Library(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        content = there.get(self.path.partition("?")[0])
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

server = http.server.HTTPServer(("", 0), Library)
open("part", "w").write(f"{server.server_address[1]} {os.getpid()}")
os.rename("part", "place")
server.serve_forever()
"""
"""What Apptainer asks of a library server, answered for one image: no such server can be installed here."""


def test_a_sif_of_a_library(remote: Connection, shell: Callable[..., CommandResult], made: str) -> None:
    remote.put(PurePosixPath(WORK, "library.py"), LIBRARY.encode())
    begun = shell(
        'cp "$1" a.sif\n'
        "python3 library.py > library.log 2>&1 &\n"
        "timeout 60 sh -c 'until [ -f place ]; do sleep 0.1; done' && echo && cat place",
        made,
    )
    port, server = begun.check("beginning", hint="").stdout.splitlines()[-1].split()
    try:
        there = published.source(f"library://login:{port}/lab/tools/care:1")
        done = shell('apptainer pull --no-https b.sif "$1" && cmp a.sif b.sif', there.address)
        assert done.exit_code == 0, done.stdout
        gone = shell('apptainer pull --no-https c.sif "$1"', f"{there.address}2")
        assert gone.exit_code != 0
    finally:
        remote.run("kill", server)
