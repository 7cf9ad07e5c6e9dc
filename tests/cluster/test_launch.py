"""One launch after another on real Slurm, SSH and Apptainer, as a biologist would make it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from support.cluster import Cluster
from support.jupyter import Jupyter, Kernel

NOTEBOOK = "Pixel_segmentation.ipynb"


@dataclass(frozen=True, kw_only=True)
class Live:
    """A running session with its tunnel open."""

    cluster: Cluster
    facts: dict[str, Any]
    data: Path
    jupyter: Jupyter
    laptop_pid: int

    @property
    def id(self) -> str:
        return str(self.facts["session"])

    @property
    def dir(self) -> str:
        return str(self.facts["session_dir"])

    @property
    def token(self) -> str:
        return self.jupyter.token


def read_token(cluster: Cluster, session_dir: str) -> str:
    return str(json.loads(cluster.inside("login", "cat", f"{session_dir}/connection.json"))["token"])


@pytest.fixture(
    scope="module", params=[("a100", "gpu01", "hop"), ("v100", "gpu02", "step")], ids=["gpu01", "gpu02"]
)
def live(
    request: pytest.FixtureRequest,
    cluster: Cluster,
    image: PurePosixPath,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Live]:
    """A session launched on one of the two nodes, with data copied up, its tunnel open in another process."""
    partition, node, route = request.param
    # What a person's own set-up must not do to a session.
    cluster.inside("login", "sh", "-c", PLANT, user="ada")
    data = tmp_path_factory.mktemp("raw")
    (data / "plate 1").mkdir()
    (data / "plate 1" / "well [A1] ä.tif").write_bytes(b"pixels" * 1000)
    argv = (
        "launch",
        "pixel_segmentation",
        "--partition",
        partition,
        "-d",
        str(data),
        "-o",
        str(data.parent / f"out-{node}"),
    )
    with cluster.held(*argv) as (facts, process):
        assert (facts["state"], facts["node"], facts["route"]) == ("ready", node, route)
        token = read_token(cluster, facts["session_dir"])
        yield Live(
            cluster=cluster,
            facts=facts,
            data=data,
            jupyter=Jupyter(facts["local_port"], token),
            laptop_pid=process.pid,
        )
    cluster.cli("stop", facts["session"])


PLANT = """
mkdir -p ~/.local/lib/python3.13/site-packages ~/.jupyter ~/.ipython/profile_default/startup
echo 'raise SystemExit("planted")' > ~/.local/lib/python3.13/site-packages/sitecustomize.py
echo 'planted = 1' > ~/.local/lib/python3.13/site-packages/planted.py
echo 'c.ServerApp.token = "planted"; c.ServerApp.ip = "0.0.0.0"' > ~/.jupyter/jupyter_server_config.py
echo 'planted = 1' > ~/.ipython/profile_default/startup/planted.py
"""


@pytest.fixture(scope="module")
def kernel(live: Live) -> Iterator[Kernel]:
    with live.jupyter.kernel(NOTEBOOK) as kernel:
        yield kernel


def test_jupyterlab_answers_its_owner_and_nobody_else(live: Live):
    assert live.jupyter.request("GET", "/api/status")[0] == 200
    assert live.jupyter.request("GET", "/api/status", token="wrong")[0] == 403
    assert live.jupyter.request("GET", "/api/contents", token="")[0] == 403


def test_the_data_has_arrived_whole(live: Live, kernel: Kernel):
    printed = kernel.run(
        "import pathlib; print((pathlib.Path('/home/data') / 'plate 1' / 'well [A1] ä.tif').read_bytes() == b'pixels' * 1000)"
    )
    assert printed == "True\n"


def test_the_notebook_is_there_and_can_be_saved(live: Live):
    status, model = live.jupyter.request("GET", f"/api/contents/{NOTEBOOK}")
    assert (status, model["type"], model["writable"]) == (200, "notebook", True)
    status, _ = live.jupyter.request(
        "PUT", "/api/contents/edited.ipynb", {"type": "notebook", "content": model["content"]}
    )
    assert status == 201
    assert live.cluster.inside("login", "test", "-s", f"{live.dir}/home/edited.ipynb") == ""


def test_ps_shows_it_and_says_that_the_gpus_are_simulated(live: Live):
    row = next(row for row in live.cluster.cli("ps", "--json").json["sessions"] if row["session"] == live.id)
    assert (row["state"], row["node"], row["gpus_simulated"]) == ("ready", live.facts["node"], True)
    assert "SIMULATED" in live.cluster.cli("ps").out


def test_logs_are_read_and_hold_no_token(live: Live):
    out = live.cluster.cli("logs", live.id).out
    assert "==> jupyter.log <==" in out
    assert live.token not in out


def test_a_kernel_sees_its_own_gpu_alone(live: Live, kernel: Kernel):
    assert kernel.run("import os; print(os.environ['CUDA_VISIBLE_DEVICES'])") in ("0\n", "1\n")


def test_home_is_the_sessions_own(live: Live, kernel: Kernel):
    printed = kernel.run(
        "import os, pathlib; print(os.getcwd(), os.environ['HOME'], pathlib.Path.home(), sorted(os.listdir('/home')))"
    )
    assert printed.startswith("/home /home /home ")
    assert NOTEBOOK in printed and "ada" not in printed


def test_nothing_of_the_users_own_set_up_has_an_effect(live: Live, kernel: Kernel):
    printed = kernel.run(
        "import importlib.util, os, sys\n"
        "print(importlib.util.find_spec('planted'), 'planted' in globals(), os.path.exists('/home/ada'))\n"
        "print([path for path in sys.path if 'ada' in path])\n"
    )
    assert printed == "None False False\n[]\n"


def test_shared_memory_is_large_enough_for_data_loaders(live: Live, kernel: Kernel):
    """PyTorch's workers pass images through /dev/shm; a container engine's default of 64 MB is not enough."""
    free = int(kernel.run("import shutil; print(shutil.disk_usage('/dev/shm').total)"))
    assert free > 256 * 1024**2


def test_what_jupyter_writes_lies_on_the_nodes_own_disk(live: Live, kernel: Kernel):
    printed = kernel.run(
        "from jupyter_core import paths\n"
        "import os, tempfile\n"
        "print(paths.jupyter_runtime_dir(), paths.jupyter_data_dir(), paths.jupyter_config_dir())\n"
        "print(os.environ['IPYTHONDIR'], tempfile.gettempdir())"
    )
    assert all(word.startswith("/tmp") for word in printed.split())


def test_a_kernel_listens_on_no_port_of_the_shared_node(live: Live, kernel: Kernel):
    printed = kernel.run(
        "import json, ipykernel; print(json.load(open(ipykernel.get_connection_file()))['transport'])"
    )
    assert printed == "ipc\n"


def test_a_package_installed_from_the_notebook_stays_in_the_session(live: Live, kernel: Kernel):
    printed = kernel.run(
        "import os, sysconfig, site; print(os.environ['PYTHONUSERBASE'], site.ENABLE_USER_SITE)"
    )
    assert printed == "/home/.user True\n"


# ---- private by default -------------------------------------------------------------------------------------------


def test_the_token_is_in_no_command_line(live: Live):
    here = "\n".join(
        path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.exists()
    )
    assert "dl4mic_hpc" in here
    assert live.token not in here
    for node in ("login", live.facts["node"]):
        listed = live.cluster.inside(node, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        assert "jupyter" in listed or node == "login"
        assert live.token not in listed


def test_the_token_is_in_no_environment(live: Live, kernel: Kernel):
    assert live.token not in kernel.run(
        "import subprocess; print(subprocess.run('env', capture_output=True, text=True).stdout)"
    )
    for node in ("login", live.facts["node"]):
        assert live.token not in live.cluster.inside(
            node, "sh", "-c", "cat /proc/[0-9]*/environ 2> /dev/null | tr '\\0' '\\n'"
        )
    assert live.token.encode() not in Path(f"/proc/{live.laptop_pid}/environ").read_bytes()


def test_the_token_is_not_in_what_slurm_tells(live: Live):
    job = str(live.facts["job_id"])
    told = live.cluster.inside("login", "scontrol", "show", "job", "--details", job)
    told += live.cluster.inside("login", "scontrol", "write", "batch_script", job, "-")
    assert "dl4mic-" in told
    assert live.token not in told


def test_the_token_is_in_no_file_that_others_can_read(live: Live):
    """Looked for by a second user of the cluster, everywhere, on login and compute node."""
    for node in ("login", live.facts["node"]):
        found = live.cluster.inside(
            node, "grep", "-rsl", live.token, "/scratch", "/home", "/tmp", "/var", "/run", "/dev/shm", "/etc", "/opt",
            user="ben", check=False,
        )  # fmt: skip
        assert found == ""


def test_the_token_is_on_this_computer_in_no_file_at_all(live: Live):
    for path in live.cluster.home.rglob("*"):
        if path.is_file() and "state" in path.parts:
            assert live.token.encode() not in path.read_bytes(), path


def test_the_session_folder_is_its_owners_alone(live: Live):
    assert live.cluster.inside("login", "stat", "-c", "%a %U", live.dir) == "700 ada\n"
    assert "Permission denied" in live.cluster.inside("login", "ls", live.dir, user="ben", check=False)
    assert live.cluster.inside("login", "stat", "-c", "%a", f"{live.dir}/connection.json") == "600\n"


def test_nothing_that_others_see_names_data_or_people(live: Live):
    told = live.cluster.inside("login", "squeue", "--format=%j %k", user="ben")
    assert live.id in told
    assert "pixel" not in told.lower() and "plate" not in told


def test_the_record_on_this_computer_is_private(live: Live):
    record = live.cluster.home / "state" / "sessions" / f"{live.id}.json"
    assert record.stat().st_mode & 0o777 == 0o600


# ---- leaving and coming back --------------------------------------------------------------------------------------


def test_attach_from_another_computer_without_a_record(live: Live, other_laptop: Cluster):
    with other_laptop.held("attach", live.id, "--cluster", "sandbox") as (facts, _):
        assert (facts["state"], facts["node"]) == ("ready", live.facts["node"])
        assert Jupyter(facts["local_port"], live.token).request("GET", "/api/status")[0] == 200
        assert facts["local_port"] != live.facts["local_port"]


def test_results_come_home_while_the_session_runs(live: Live, kernel: Kernel, tmp_path: Path):
    kernel.run("import pathlib; pathlib.Path('/home/results/early.csv').write_text('1,2\\n')")
    done = live.cluster.cli("results", live.id, "-o", str(tmp_path / "early"), "--json").json
    assert (tmp_path / "early" / "early.csv").read_text() == "1,2\n"
    assert json.loads((tmp_path / "early" / "provenance.json").read_text())["gpus_simulated"] is True
    assert done["files"] >= 3


# ---- a life of its own --------------------------------------------------------------------------------------------


def on_the_nodes(cluster: Cluster) -> set[str]:
    """Temporary folders of sessions on the compute nodes."""
    listed = (cluster.inside(node, "sh", "-c", "ls -d /tmp/dl4mic* || true") for node in ("gpu01", "gpu02"))
    return {line for text in listed for line in text.splitlines() if "cannot access" not in line}


def test_detach_then_attach_then_stop(cluster: Cluster, image: PurePosixPath, tmp_path: Path):
    before = on_the_nodes(cluster)
    facts = cluster.cli(
        "launch", "pixel_segmentation", "--detach", "--json", "-o", str(tmp_path / "out"), "-g", "2"
    ).json
    assert facts["state"] == "submitted" and facts["build_job_id"] is None
    with cluster.held("attach", facts["session"]) as (again, _):
        jupyter = Jupyter(again["local_port"], read_token(cluster, facts["session_dir"]))
        with jupyter.kernel(NOTEBOOK) as kernel:
            assert kernel.run("import os; print(os.environ['CUDA_VISIBLE_DEVICES'])") == "0,1\n"
            kernel.run("import pathlib; pathlib.Path('/home/results/late.txt').write_text('late')")
            # The copy at home was changed in the meantime: it must survive.
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "late.txt").write_text("mine")
    out = cluster.cli("stop", facts["session"]).out
    assert "has ended" in out
    assert (tmp_path / "out" / "late.txt").read_text() == "late"
    assert [path.read_text() for path in (tmp_path / "out").glob("late (kept*")] == ["mine"]
    assert (tmp_path / "out" / NOTEBOOK).is_file()
    assert str(facts["job_id"]) not in cluster.jobs()
    ended = json.loads(cluster.inside("login", "cat", f"{facts['session_dir']}/exit.json"))
    assert (ended["exit_code"], ended["job_id"]) == (0, facts["job_id"])
    # Nothing of it is left on the node, and stopping again changes nothing.
    assert on_the_nodes(cluster) == before
    assert "had already ended" in cluster.cli("stop", facts["session"]).out


def test_logs_are_followed_until_the_session_ends(cluster: Cluster, image: PurePosixPath):
    facts = cluster.cli("launch", "pixel_segmentation", "--detach", "--json").json
    process = cluster.started("logs", facts["session"], "-f")
    assert process.stdout
    seen = []
    for line in process.stdout:
        seen.append(line)
        if "is running at" in line:
            break
    cluster.cli("stop", facts["session"])
    rest, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "hutting down" in rest


def test_without_a_gpu(cluster: Cluster, image: PurePosixPath):
    with cluster.held("launch", "pixel_segmentation", "-g", "0") as (facts, _):
        jupyter = Jupyter(facts["local_port"], read_token(cluster, facts["session_dir"]))
        with jupyter.kernel(NOTEBOOK) as kernel:
            assert kernel.run("import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'))") == "None\n"
    cluster.cli("stop", facts["session"])


def test_data_that_lies_on_the_cluster_is_bound_read_only(cluster: Cluster, image: PurePosixPath):
    cluster.inside(
        "login",
        "sh",
        "-c",
        "mkdir -p '/scratch/ada/my data' && echo 1 > '/scratch/ada/my data/a.txt'",
        user="ada",
    )
    with cluster.held("launch", "pixel_segmentation", "-d", "cluster:/scratch/ada/my data") as (facts, _):
        jupyter = Jupyter(facts["local_port"], read_token(cluster, facts["session_dir"]))
        with jupyter.kernel(NOTEBOOK) as kernel:
            assert kernel.run("print(open('/home/data/a.txt').read())") == "1\n\n"
            with pytest.raises(AssertionError, match="Read-only file system"):
                kernel.run("open('/home/data/b.txt', 'w')")
    cluster.cli("stop", facts["session"])
    assert cluster.inside("login", "ls", "/scratch/ada/my data") == "a.txt\n"


def test_a_job_that_is_cancelled_by_hand_is_told_as_such(cluster: Cluster, image: PurePosixPath):
    facts = cluster.cli("launch", "pixel_segmentation", "--detach", "--json").json
    cluster.inside("login", "scancel", str(facts["job_id"]))
    ended = cluster.cli("attach", facts["session"], "--no-browser", code=6)
    assert "cancelled" in ended.err and "hint: " in ended.err


def test_a_dry_run_touches_nothing(cluster: Cluster, image: PurePosixPath, tmp_path: Path):
    before = (cluster.session_dirs(), cluster.records(), cluster.jobs())
    (tmp_path / "a.tif").write_bytes(b"x")
    out = cluster.cli("launch", "pixel_segmentation", "--dry-run", "-d", str(tmp_path)).out
    assert (cluster.session_dirs(), cluster.records(), cluster.jobs()) == before
    for part in (
        "Bootstrap: docker",
        "#SBATCH --gres=gpu:1",
        "sbatch --parsable",
        "apptainer",
        "form 'train-the-forest'",
        str(tmp_path),
    ):
        assert part in out, part


def test_ctrl_c_while_waiting_keeps_the_job_and_says_how_to_go_on(cluster: Cluster, image: PurePosixPath):
    """Without a terminal nobody can be asked: the job is kept."""
    # Both GPUs of gpu01 are taken, so the next job has to wait.
    first = cluster.cli(
        "launch", "pixel_segmentation", "--detach", "--json", "--partition", "a100", "-g", "2"
    ).json
    process = cluster.started(
        "launch", "pixel_segmentation", "--partition", "a100", "-g", "2", "--no-browser"
    )
    assert process.stderr
    told = []
    for line in process.stderr:
        told.append(line)
        if "in the queue" in line:
            break
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    waiting = next(row for row in cluster.cli("ps", "--json").json["sessions"] if row["state"] == "waiting")
    assert f"dl4mic-hpc attach {waiting['session']}" in rest
    assert waiting["session"] in cluster.inside("login", "squeue", "--format=%j")
    for session in (waiting["session"], first["session"]):
        cluster.cli("stop", session)
