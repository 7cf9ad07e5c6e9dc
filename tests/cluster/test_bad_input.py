"""What goes wrong is said in plain words, with what to do next; nothing is submitted and nothing left behind."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest
from support.cluster import Cluster, Finished

MakeLaptop = Callable[..., Cluster]
LAUNCH = ("launch", "pixel_segmentation", "--cluster", "sandbox", "--no-browser")


@pytest.fixture(autouse=True)
def nothing_left_behind(
    request: pytest.FixtureRequest, cluster: Cluster, image: PurePosixPath
) -> Iterator[None]:
    """Whatever a test here does: no job, no session folder, no bundle more than before."""
    if "waiting_session" in request.fixturenames:
        yield
        return

    def state() -> tuple[set[str], list[str], str]:
        builds = cluster.inside("login", "sh", "-c", "ls /scratch/ada/dl4mic/builds 2> /dev/null || true")
        return cluster.session_dirs(), cluster.jobs(), builds

    before = state()
    yield
    assert state() == before


def refused(done: Finished, *words: str, home: Path | None = None) -> None:
    """An `error:` that says all the words, a `hint:`, nothing on standard output, and no record kept."""
    lines = done.err.splitlines()
    error = next((number for number, line in enumerate(lines) if line.startswith("error: ")), None)
    assert error is not None, done.err
    assert lines[-1].startswith("hint: ") and len(lines[-1]) > len("hint: ")
    for word in words:
        assert word in "\n".join(lines[error:]), done.err
    assert done.out == ""
    if home is not None:
        assert not list((home / "state" / "sessions").glob("*.json"))


def test_an_unknown_partition(other_laptop: Cluster):
    done = other_laptop.cli(*LAUNCH, "--partition", "gpuu", code=6)
    refused(done, "no partition gpuu", "cluster check sandbox", home=other_laptop.home)


def test_more_gpus_than_there_are(other_laptop: Cluster):
    done = other_laptop.cli(*LAUNCH, "-g", "a100:7", code=6)
    refused(done, "a100:7 GPU", "ask for less", home=other_laptop.home)


def test_a_type_of_gpu_that_there_is_not(other_laptop: Cluster):
    refused(other_laptop.cli(*LAUNCH, "-g", "h200:1", code=6), "h200:1", home=other_laptop.home)


def test_a_time_beyond_the_partitions_limit(other_laptop: Cluster):
    refused(other_laptop.cli(*LAUNCH, "--time", "9-00:00:00", code=6), "9-00:00:00", home=other_laptop.home)


def test_an_account_that_is_not_yours(with_profile: MakeLaptop):
    laptop = with_profile(account="physics")
    refused(laptop.cli(*LAUNCH, code=6), "account physics", home=laptop.home)


def test_no_apptainer(with_profile: MakeLaptop):
    laptop = with_profile(apptainer="/opt/nowhere/apptainer")
    refused(laptop.cli(*LAUNCH, code=7), "/opt/nowhere/apptainer", "`apptainer`", home=laptop.home)


def test_a_work_folder_that_is_not_writable(with_profile: MakeLaptop):
    laptop = with_profile(work_dir="/etc/dl4mic")
    refused(
        laptop.cli(*LAUNCH, code=5), "/etc/dl4mic cannot be written to", "Permission denied", home=laptop.home
    )


def test_a_work_folder_without_room_for_an_image(with_profile: MakeLaptop):
    laptop = with_profile(work_dir="/tiny/ada")
    refused(laptop.cli(*LAUNCH, code=5), "/tiny/ada", "free", home=laptop.home)


def test_a_work_folder_that_is_full(cluster: Cluster, with_profile: MakeLaptop):
    cluster.inside(
        "login",
        "sh",
        "-c",
        "mkdir -p /tiny/full && dd if=/dev/zero of=/tiny/full/fill bs=64k 2> /dev/null || true",
        user="ada",
    )
    try:
        laptop = with_profile(work_dir="/tiny/full")
        refused(laptop.cli(*LAUNCH, code=5), "/tiny/full is full", "No space left", home=laptop.home)
    finally:
        cluster.inside("login", "sh", "-c", "rm -rf /tiny/full /tiny/ada")


def test_data_that_does_not_fit(
    cluster: Cluster, with_profile: MakeLaptop, tmp_path: Path, image: PurePosixPath
):
    """The image is given, so the launch gets as far as the copy: all of it is cleared away again."""
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "stack.tif").write_bytes(b"\1" * 8_000_000)
    laptop = with_profile(work_dir="/tiny/ada")
    done = laptop.cli(*LAUNCH, "--image", str(image), "-d", str(tmp_path / "big"), code=9)
    refused(done, "8.0 MB", home=laptop.home)
    assert cluster.inside("login", "ls", "/tiny/ada/sessions") == ""


def test_no_slurm_on_the_login_node(cluster: Cluster, with_profile: MakeLaptop):
    """The profile leads to a machine of the cluster that has SSH but no sbatch."""
    laptop = with_profile(pre_script="")
    where = cluster.inside("login", "sh", "-c", "command -v sbatch").strip()
    hidden = f"{where}.hidden"
    cluster.inside("login", "mv", where, hidden)
    try:
        refused(
            laptop.cli(*LAUNCH, code=5),
            "no Slurm on the login node",
            "sbatch was not found",
            home=laptop.home,
        )
        checked = laptop.cli("cluster", "check", "sandbox", code=5)
        assert "failed" in checked.out and "Slurm" in checked.out
    finally:
        cluster.inside("login", "mv", hidden, where)


def test_a_controller_that_does_not_answer(cluster: Cluster, with_profile: MakeLaptop):
    """This user's commands look for the controller where there is none."""
    laptop = with_profile()
    cluster.inside(
        "login", "sh", "-c",
        "sed 's/^SlurmctldHost=.*/SlurmctldHost=login(127.0.0.1)/; s/^MessageTimeout=.*//' "
        "/etc/slurm/slurm.conf > ~/slurm.conf && printf 'MessageTimeout=3\n' >> ~/slurm.conf && "
        "printf 'export SLURM_CONF=$HOME/slurm.conf\n' > ~/.profile",
        user="ada",
    )  # fmt: skip
    try:
        refused(laptop.cli(*LAUNCH, code=5), "Slurm does not answer", home=laptop.home)
    finally:
        cluster.inside("login", "sh", "-c", "rm ~/.profile ~/slurm.conf", user="ada")


def test_an_unknown_notebook(other_laptop: Cluster):
    done = other_laptop.cli("launch", "pixel_segmentaton", "--cluster", "sandbox", code=2)
    refused(done, "pixel_segmentaton", "perhaps you meant 'pixel_segmentation'", home=other_laptop.home)


def test_an_unknown_cluster(other_laptop: Cluster):
    done = other_laptop.cli("launch", "pixel_segmentation", "--cluster", "sandbx", code=2)
    refused(done, "sandbx", "perhaps you meant 'sandbox'", home=other_laptop.home)


def test_a_broken_profile(with_profile: MakeLaptop):
    laptop = with_profile(parttion="gpu", mem="lots")
    done = laptop.cli(*LAUNCH, code=3)
    refused(done, "sandbox.yaml:", "'parttion'", "perhaps you meant 'partition'", "'mem'", home=laptop.home)


def test_a_missing_data_folder(other_laptop: Cluster):
    refused(other_laptop.cli(*LAUNCH, "-d", "./nowhere", code=2), "nowhere", home=other_laptop.home)


def test_a_missing_data_folder_on_the_cluster(other_laptop: Cluster):
    done = other_laptop.cli(*LAUNCH, "-d", "cluster:/scratch/ada/nowhere", code=2)
    refused(done, "/scratch/ada/nowhere", "does not exist on sandbox", home=other_laptop.home)


def test_an_image_that_does_not_exist(other_laptop: Cluster):
    done = other_laptop.cli(*LAUNCH, "--image", "/scratch/ada/none.sif", code=7)
    refused(done, "/scratch/ada/none.sif", home=other_laptop.home)


def test_a_local_port_that_is_taken(other_laptop: Cluster):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused(other_laptop.cli(*LAUNCH, "-p", port, code=2), port, home=other_laptop.home)


@pytest.mark.parametrize("value", ["-n", "two words", "a100:"])
def test_a_gpu_request_that_is_none(other_laptop: Cluster, value: str):
    refused(other_laptop.cli(*LAUNCH, f"-g{value}", code=2), "-g 1", home=other_laptop.home)


def test_a_login_node_that_cannot_be_reached(with_profile: MakeLaptop):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    laptop = with_profile(port=port)
    refused(laptop.cli(*LAUNCH, code=4), str(port), home=laptop.home)


def test_the_wrong_user(with_profile: MakeLaptop):
    laptop = with_profile(user="nobody-here")
    refused(laptop.cli(*LAUNCH, code=4), "nobody-here", home=laptop.home)


def test_the_wrong_key(with_profile: MakeLaptop, tmp_path: Path):
    key = tmp_path / "wrong"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    laptop = with_profile(identity_file=str(key))
    refused(laptop.cli(*LAUNCH, code=4), str(key), home=laptop.home)


# ---- host keys ----------------------------------------------------------------------------------------------------


def fingerprint(public_key_line: str) -> str:
    return subprocess.run(
        ["ssh-keygen", "-lf", "-"], input=public_key_line, check=True, capture_output=True, text=True
    ).stdout.split()[1]


def forget(laptop: Cluster, node: str) -> None:
    path = laptop.home / "config" / "known_hosts"
    lines = path.read_text().splitlines()
    path.write_text("".join(f"{line}\n" for line in lines if node not in line))


def change(laptop: Cluster, node: str, tmp_path: Path) -> str:
    """Another key stands in the file; its fingerprint."""
    key = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    kind, other, *_ = (tmp_path / "other.pub").read_text().split()
    path = laptop.home / "config" / "known_hosts"
    found = [line for line in path.read_text().splitlines() if node in line]
    forget(laptop, node)
    with path.open("a") as file:
        file.write(f"{found[0].split()[0]} {kind} {other}\n")
    return fingerprint(f"{kind} {other}")


def true_fingerprint(cluster: Cluster, node: str) -> str:
    """As the sandbox wrote it down when it made the key."""
    known = (cluster.home / "config" / "known_hosts").read_text().splitlines()
    return fingerprint(" ".join(next(line for line in known if node in line).split()[1:3]))


def test_an_unknown_login_node_is_refused_until_it_is_trusted(cluster: Cluster, other_laptop: Cluster):
    forget(other_laptop, "127.0.0.1")
    shown = true_fingerprint(cluster, "127.0.0.1")
    done = other_laptop.cli(*LAUNCH, code=4)
    refused(done, shown, "dl4mic-hpc cluster trust sandbox", home=other_laptop.home)
    other_laptop.cli("cluster", "trust", "sandbox", code=4)
    other_laptop.cli("cluster", "trust", "sandbox", "--fingerprint", "SHA256:wrong", code=4)
    assert shown in other_laptop.cli("cluster", "trust", "sandbox", "--fingerprint", shown).out
    assert "ok" in other_laptop.cli("cluster", "check", "sandbox").out


def test_a_login_node_whose_key_has_changed_is_refused_with_both_fingerprints(
    cluster: Cluster, other_laptop: Cluster, tmp_path: Path
):
    before = change(other_laptop, "127.0.0.1", tmp_path)
    done = other_laptop.cli(*LAUNCH, code=4)
    shown = true_fingerprint(cluster, "127.0.0.1")
    refused(done, before, shown, "dl4mic-hpc cluster trust sandbox --replace", home=other_laptop.home)
    other_laptop.cli("cluster", "trust", "sandbox", "--fingerprint", shown, code=4)
    other_laptop.cli("cluster", "trust", "sandbox", "--replace", "--fingerprint", shown)
    other_laptop.cli("cluster", "check", "sandbox")


@pytest.fixture
def waiting_session(cluster: Cluster, image: PurePosixPath) -> Iterator[str]:
    """A session on gpu01, which takes logins, started without anybody attached."""
    facts = cluster.cli("launch", "pixel_segmentation", "--partition", "a100", "--detach", "--json").json
    yield facts["session"]
    cluster.cli("stop", facts["session"])


def test_a_compute_node_whose_key_has_changed_is_refused_with_both_fingerprints(
    cluster: Cluster, other_laptop: Cluster, tmp_path: Path, waiting_session: str
):
    before = change(other_laptop, "gpu01", tmp_path)
    done = other_laptop.cli("attach", waiting_session, "--cluster", "sandbox", "--no-browser", code=4)
    refused(done, before, true_fingerprint(cluster, "gpu01"), "dl4mic-hpc cluster trust sandbox gpu01")
    cluster.cli("stop", waiting_session)


def test_an_unknown_compute_node_is_not_logged_in_to(
    cluster: Cluster, with_profile: MakeLaptop, waiting_session: str
):
    """Pinned to `hop` it is refused; left to itself the tunnel goes through the job instead, and says why."""
    laptop = with_profile(route="hop")
    forget(laptop, "gpu01")
    done = laptop.cli("attach", waiting_session, "--cluster", "sandbox", "--no-browser", code=4)
    refused(done, true_fingerprint(cluster, "gpu01"), "dl4mic-hpc cluster trust sandbox gpu01")
    laptop = with_profile(route="auto")
    facts = laptop.cli("attach", waiting_session, "--cluster", "sandbox", "--until-ready", "--json").json
    assert facts["route"] == "step"
    cluster.cli("stop", waiting_session)
