"""Pretrained weights: as configurations name them, and on their way to the cluster."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from support.local_remote import LocalRemote
from support.web_server import Answer, Asked, WebServer

from dl4mic_hpc import catalog
from dl4mic_hpc import profile as profiles
from dl4mic_hpc.catalog import configuration
from dl4mic_hpc.catalog.weights import ROOTS, Weights
from dl4mic_hpc.errors import NotebookError
from dl4mic_hpc.images import weights
from dl4mic_hpc.sessions import probe

# ---- In a configuration ----------------------------------------------------------------------------------------------

HEAD = """\
config:
  dl4miceverywhere:
    notebook_url: a.ipynb
    requirements_url: a.txt
  dl4mic_hpc:
    weights:
"""


def test_weights_of_a_configuration() -> None:
    read = configuration.parse(
        HEAD + "    - {url: 'https://a.org/m?x=1', root: torch, path: hub/checkpoints/m.pth}\n",
        where="c.yaml",
    )
    one = read.ours.weights[0].value()
    assert (one.url, one.sha256, one.root, one.name) == ("https://a.org/m?x=1", "", "torch", "m.pth")
    assert one.stored.endswith("/m.pth")
    assert dataclasses.replace(one, sha256="ab" * 32).stored != one.stored  # another file


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("{root: torch, path: a}", ":7: key '{KEY}.0.url' is missing"),
        ("{url: 'https://a.org/a', root: tork, path: a}", ":7: key '{KEY}.0.root': 'tork' is none of 'torch', 'keras'"),
        ("{url: 'https://a.org/a', root: torch, path: a, sha: b}", ":7: unknown key '{KEY}.0.sha'"),
        ("{url: a.org/a, root: torch, path: a}", "'a.org/a' is no address of a file"),
        ("{url: 'https://u:p@a.org/a', root: torch, path: a}", "write no user name or password"),
        ("{url: 'https://a.org/\"', root: torch, path: a}", "holds a quotation mark"),
        ("{url: 'http://a.org/a', root: torch, path: a}", "write https://, or give its sha256"),
        ("{url: 'https://a.org/a', root: torch, path: a, sha256: abc}", "'abc' is no SHA-256"),
        ("{url: 'https://a.org/a', root: torch, path: ../a}", "'../a' is no path below"),
        ("{url: 'https://a.org/a', root: torch, path: /a}", "'/a' is no path below"),
        ("{url: 'https://a.org/a', root: torch, path: a/.b}", "'a/.b' is no path below"),
        ("{url: 'https://a.org/a', root: notebook, path: a/b}", "'a/b' is no file name"),
        ("{url: 'https://a.org/a', root: torch, path: a}\n    - {url: 'https://b.org/a', root: torch, path: a}",
         ":6: key '{KEY}': listed twice: torch a"),
        ("{url: a, root: torch, path: ../a}\n    - {url: a, root: b, path: a}", "2 mistakes:"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_place(entry: str, says: str) -> None:
    with pytest.raises(NotebookError) as caught:
        configuration.parse(f"{HEAD}    - {entry}\n", where="c.yaml")
    assert says.replace("{KEY}", "config.dl4mic_hpc.weights") in caught.value.message


def test_the_catalogues_weights_are_checked_files_of_known_libraries() -> None:
    named = {name: catalog.load(name).weights for name in catalog.names()}
    torch = [one for files in named.values() for one in files if one.root == "torch"]
    assert {one.path.partition("-")[0] for one in torch} == {
        "hub/checkpoints/alexnet",
        "hub/checkpoints/vgg16",
    }
    # PyTorch's file names carry the first digits of their SHA-256 (torch.hub, HASH_REGEX).
    assert all(one.sha256.startswith(one.name.rpartition("-")[2].partition(".")[0]) for one in torch)
    assert {one.root for files in named.values() for one in files} <= set(ROOTS)
    assert not named["pixel_segmentation"]


# ---- To the cluster --------------------------------------------------------------------------------------------------

BODY = b"weights " * 5000
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer().running() as server:
        server.answer = lambda asked: serve(asked, BODY)
        yield server


def serve(asked: Asked, body: bytes) -> Answer:
    """As web servers do that can go on in the middle (RFC 9110, section 14)."""
    begins = asked.headers.get("range", "").removeprefix("bytes=").rstrip("-")
    if not begins:
        return Answer(body=body)
    part = {"Content-Range": f"bytes {begins}-{len(body) - 1}/{len(body)}"}
    return Answer(status=206, body=body[int(begins) :], headers=part)


@dataclasses.dataclass
class Told:
    said: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    def say(self, text: str) -> None:
        self.said.append(text)

    detail = say

    def note(self, text: str) -> None:
        self.notes.append(text)


class Cluster:
    """A login node on this machine, with an empty work folder."""

    def __init__(self, folder: Path) -> None:
        self.remote = LocalRemote()
        self.folder = folder / "work" / "weights"
        self.folder.parent.mkdir()
        self.profile = profiles.parse(f"host: login\nwork_dir: {self.folder.parent}\n", name="uni")
        self.told = Told()

    def listed(self) -> str:
        """What a launch's question to the cluster learns of them."""
        return probe.probe(self.remote, self.profile, images=(), job_script="").weights

    def provide(self, *files: Weights, internet: str = "login") -> list[str]:
        """The names of the files that the job will find."""
        spec = dataclasses.replace(catalog.load("pixel_segmentation"), weights=files)
        found = weights.provide(
            self.remote, self.profile, spec, listed=self.listed(), internet=internet, teller=self.told
        )  # type: ignore[arg-type]
        assert found is None or found.folder == PurePosixPath(self.folder)
        for one in found.files if found else ():
            assert (self.folder / one.stored).stat().st_size > 0
        return [one.name for one in found.files] if found else []

    def left(self) -> list[str]:
        return sorted(path.name for path in self.folder.rglob("*") if path.parent != self.folder)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DL4MIC_HPC_HOME", str(tmp_path / "laptop"))
    return Cluster(tmp_path)


def file(server: WebServer, name: str = "model.pth", sha256: str = SHA256) -> Weights:
    return Weights(url=f"{server.url}/{name}?token=secret", sha256=sha256, root="torch", path=f"hub/{name}")


def test_fetched_once_and_recorded(cluster: Cluster, server: WebServer) -> None:
    assert cluster.provide(file(server)) == ["model.pth"]
    assert cluster.provide(file(server)) == ["model.pth"]
    assert server.paths() == ["/model.pth"]
    assert (cluster.folder / file(server).stored).read_bytes() == BODY
    record = json.loads((cluster.folder / file(server).stored).with_name("weights.json").read_text())
    assert record.pop("fetched").endswith("Z")
    assert record == {
        "version": 1, "url": file(server).url, "name": "model.pth", "sha256": SHA256, "size": len(BODY),
    }  # fmt: skip
    assert cluster.left() == ["model.pth", "weights.json"]
    assert cluster.told.notes == []


def test_addresses_are_on_no_command_line(cluster: Cluster, server: WebServer, tmp_path: Path) -> None:
    """They may hold a token, and every user of a login node sees everybody's commands."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "curl").write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/seen\nexec {shutil.which("curl")} "$@"\n'
    )
    (tmp_path / "bin" / "curl").chmod(0o755)
    cluster.remote = LocalRemote(path=tmp_path / "bin")
    assert cluster.provide(file(server)) == ["model.pth"]
    seen = [
        (tmp_path / "seen").read_text(),
        *(word for command in cluster.remote.commands for word in command),
    ]
    assert "--config" in seen[0]
    assert not any("secret" in words for words in seen)


def test_what_is_there_costs_no_question(cluster: Cluster, server: WebServer) -> None:
    cluster.provide(file(server))
    listed = cluster.listed()
    cluster.remote.commands.clear()
    spec = dataclasses.replace(catalog.load("pixel_segmentation"), weights=(file(server),))
    assert weights.recall(listed, spec) == weights.recall(weights.list_of(spec), spec) == {file(server)}
    found = weights.provide(
        cluster.remote, cluster.profile, spec, listed=listed, internet="login", teller=cluster.told
    )
    assert found and found.files == (file(server),)
    assert cluster.remote.commands == []


@pytest.mark.parametrize("lost", ["model.pth", "weights.json"])
def test_what_a_purge_took_is_fetched_again(cluster: Cluster, server: WebServer, lost: str) -> None:
    cluster.provide(file(server))
    (cluster.folder / file(server).stored).with_name(lost).unlink()
    assert cluster.provide(file(server)) == ["model.pth"]
    assert len(server.asked) == 2


def test_another_file_than_was_pinned_is_not_used(cluster: Cluster, server: WebServer) -> None:
    good = file(server, "good.pth")
    assert cluster.provide(file(server, sha256="0" * 64), good) == ["good.pth"]
    [note] = cluster.told.notes
    assert f"has the SHA-256 {SHA256}, not {'0' * 64}" in note and "model.pth" in note
    assert cluster.left() == ["good.pth", "weights.json"]


def test_a_log_in_page_is_no_file(cluster: Cluster, server: WebServer) -> None:
    server.answer = lambda _: Answer(body=b"\n <!DOCTYPE HTML><html>log in</html>")
    assert cluster.provide(file(server, sha256="")) == []
    assert "web page" in cluster.told.notes[0]
    assert cluster.left() == []


def test_a_server_that_is_not_there_costs_a_warning_per_file(cluster: Cluster, server: WebServer) -> None:
    gone = [Weights(url=f"http://127.0.0.1:9/{n}", sha256=SHA256, root="torch", path=n) for n in "ab"]
    assert cluster.provide(*gone, file(server)) == ["model.pth"]
    assert [note.split("weights ")[1][0] for note in cluster.told.notes] == ["a", "b"]
    assert all("has to fetch them itself" in note for note in cluster.told.notes)


def test_a_host_whose_packets_are_dropped_is_waited_for_once(
    cluster: Cluster, server: WebServer, tmp_path: Path
) -> None:
    """curl ends with 28 when its time to connect is over. Nothing listens for this computer either."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "curl").write_text(f"#!/bin/sh\necho asked >> {tmp_path}/calls\nexit 28\n")
    (tmp_path / "bin" / "curl").chmod(0o755)
    cluster.remote = LocalRemote(path=tmp_path / "bin")
    gone = [Weights(url=f"http://127.0.0.1:9/{n}", sha256=SHA256, root="torch", path=n) for n in "ab"]
    assert cluster.provide(*gone) == []
    assert (tmp_path / "calls").read_text() == "asked\n"
    assert len(cluster.told.notes) == 2


def test_a_missing_file_is_told(cluster: Cluster, server: WebServer) -> None:
    server.answer = lambda _: Answer(status=404)
    assert cluster.provide(file(server)) == []
    assert len(cluster.told.notes) == 1


def test_without_internet_on_the_cluster_this_computer_fetches(cluster: Cluster, server: WebServer) -> None:
    assert cluster.provide(file(server), internet="laptop") == ["model.pth"]
    [agent] = [asked.headers["user-agent"] for asked in server.asked]
    assert agent == "dl4mic-hpc"
    assert cluster.left() == ["model.pth", "weights.json"]
    assert cluster.provide(file(server, "b.pth", ""), internet="laptop") == ["b.pth"]


def test_where_the_login_node_has_no_curl_this_computer_fetches(
    cluster: Cluster, server: WebServer, tmp_path: Path
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    needed = "bash sh mkdir find sha256sum head tr grep sync wc date mv rm rmdir cat sleep"
    for name in needed.split():
        [program] = [p for f in os.environ["PATH"].split(":") if (p := Path(f) / name).exists()][:1]
        (tools / name).symlink_to(program)
    cluster.remote = LocalRemote(prefix=("env", f"PATH={tools}"))
    assert cluster.provide(file(server)) == ["model.pth"]
    assert [asked.headers["user-agent"] for asked in server.asked] == ["dl4mic-hpc"]


def test_a_broken_fetch_is_gone_on_with(cluster: Cluster, server: WebServer) -> None:
    """A connection that breaks in the middle, and the part that a killed fetch has left."""
    place = cluster.folder / file(server).stored
    place.parent.mkdir(parents=True)
    place.with_name("model.pth.4711.part").write_bytes(BODY[:1000])
    server.answer = lambda asked: dataclasses.replace(
        serve(asked, BODY), **({"body": BODY[1000:5000], "length": len(BODY) - 1000} if len(server.asked) < 2 else {})
    )  # fmt: skip
    assert cluster.provide(file(server)) == ["model.pth"]
    assert [asked.headers.get("range") for asked in server.asked] == ["bytes=1000-", "bytes=5000-"]
    assert place.read_bytes() == BODY
    assert cluster.left() == ["model.pth", "weights.json"]


@pytest.mark.parametrize("answers_ranges", [True, False])
def test_a_part_that_does_not_fit_is_fetched_anew(
    cluster: Cluster, server: WebServer, answers_ranges: bool
) -> None:
    place = cluster.folder / file(server).stored
    place.parent.mkdir(parents=True)
    place.with_name("model.pth.4711.part").write_bytes(b"another file" * 10)
    if not answers_ranges:
        server.answer = lambda _: Answer(body=BODY)
    assert cluster.provide(file(server)) == ["model.pth"]
    assert place.read_bytes() == BODY


def test_a_part_of_an_unknown_file_is_thrown_away(cluster: Cluster, server: WebServer) -> None:
    place = cluster.folder / file(server, sha256="").stored
    place.parent.mkdir(parents=True)
    place.with_name("model.pth.4711.part").write_bytes(b"an older version")
    assert cluster.provide(file(server, sha256="")) == ["model.pth"]
    assert place.read_bytes() == BODY
    assert [asked.headers.get("range") for asked in server.asked] == [None]


def test_two_launches_at_once_fetch_once(cluster: Cluster, server: WebServer, tmp_path: Path) -> None:
    """The second begins while the first is being answered; the first is answered once the second waits for it."""
    import threading

    second, waits = Cluster.__new__(Cluster), threading.Event()
    second.__dict__.update(cluster.__dict__, remote=LocalRemote(), told=Told())
    second.told.detail = lambda text: waits.set() if "another launch" in text else None  # type: ignore[method-assign]
    thread = threading.Thread(target=second.provide, args=(file(server),))

    def answer(asked: Asked) -> Answer:
        thread.start()
        assert waits.wait(30)
        return serve(asked, BODY)

    server.answer = answer
    assert cluster.provide(file(server)) == ["model.pth"]
    thread.join(30)
    assert not thread.is_alive()
    assert second.provide(file(server)) == ["model.pth"]
    assert server.paths() == ["/model.pth"]
    assert cluster.left() == ["model.pth", "weights.json"]


def test_the_lock_of_a_dead_launch_holds_nobody_up(cluster: Cluster, server: WebServer) -> None:
    lock = (cluster.folder / file(server).stored).with_name("lock")
    lock.mkdir(parents=True)
    os.utime(lock, (1, 1))
    assert cluster.provide(file(server)) == ["model.pth"]
    assert cluster.left() == ["model.pth", "weights.json"]


@pytest.mark.parametrize(("ahead", "lives"), [(600, True), (-600, False)])
def test_the_login_nodes_clock_decides_nothing(
    cluster: Cluster, server: WebServer, tmp_path: Path, ahead: int, lives: bool
) -> None:
    """Files bear the disk server's time. Whoever holds the lock is done while the script sleeps."""
    place = cluster.folder / file(server).stored
    (place.parent / "lock").mkdir(parents=True)
    then = time.time() - (0 if lives else 300)
    os.utime(place.parent / "lock", (then, then))
    tools = {
        "find": f"""#!/bin/bash
            for word; do
                case $word in
                    "-"*" seconds") seconds=${{word#-}}; word=@$(($(date +%s) + {ahead} - ${{seconds% seconds}})) ;;
                esac
                words+=("$word")
            done
            exec {shutil.which("find")} "${{words[@]}}"\n""",
        "sleep": f"#!/bin/sh\ncp {tmp_path}/model '{place}'; echo '{{}}' > '{place.parent}/weights.json'\n",
    }
    (tmp_path / "model").write_bytes(BODY)
    (tmp_path / "bin").mkdir()
    for name, text in tools.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    cluster.remote = LocalRemote(path=tmp_path / "bin")
    assert cluster.provide(file(server)) == ["model.pth"]
    assert len(server.asked) == (0 if lives else 1)
    assert not [path for path in place.parent.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("internet", ["login", "laptop"])
def test_what_cannot_be_put_in_its_place_leaves_nothing(
    cluster: Cluster, server: WebServer, tmp_path: Path, internet: str
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mv").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin" / "mv").chmod(0o755)
    cluster.remote = LocalRemote(path=tmp_path / "bin")
    assert cluster.provide(file(server), internet=internet) == []
    assert "cannot be written to" in cluster.told.notes[0]
    assert cluster.left() == []


def test_a_folder_that_cannot_be_written_to_is_a_warning(cluster: Cluster, server: WebServer) -> None:
    cluster.folder.write_text("a file in the way")
    assert cluster.provide(file(server)) == []
    assert "cannot be made" in cluster.told.notes[0]
    assert server.asked == []


def test_a_profiles_proxy_is_used(cluster: Cluster, server: WebServer) -> None:
    cluster.profile = profiles.parse(
        f"host: login\nwork_dir: {cluster.folder.parent}\n"
        f"build: {{environment: {{proxies: {{http_proxy: '{server.url}'}}}}}}\n",
        name="uni",
    )
    away = Weights(url="http://weights.invalid/a", sha256=SHA256, root="torch", path="a")
    assert cluster.provide(away) == ["a"]
    assert server.asked[0].headers["host"] == "weights.invalid"


def test_nothing_wanted_is_nothing_done(cluster: Cluster) -> None:
    assert cluster.provide() == []
    assert not cluster.folder.exists()
