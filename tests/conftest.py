"""What every test stands on: nothing of the person's own set-up is seen, and under CI a skipped test has failed."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Generator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Variables by which the person's own set-up would reach a test.
FOREIGN = (
    "BROWSER",
    "DISPLAY",
    "DL4MIC_HPC_HOME",
    "FORCE_COLOR",
    "SSH_AGENT_PID",
    "SSH_ASKPASS",
    "SSH_AUTH_SOCK",
    "WAYLAND_DISPLAY",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "posix: about something that Windows has not; left out there, not skipped"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for folder in ("cluster", "browser"):
            if ROOT / "tests" / folder in item.path.parents:
                item.add_marker(folder)
    if sys.platform == "win32":
        foreign = [item for item in items if item.get_closest_marker("posix")]
        config.hook.pytest_deselected(items=foreign)
        items[:] = [item for item in items if item not in foreign]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """In several processes: all tests of the one cluster in one of them, those of a file always together."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "cluster" if nodeid.startswith("tests/cluster/") else nodeid.partition("::")[0]

    return ByFile(config, log)


def _a_skip_is_a_failure(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Under CI nothing may pass for tested that was not: turns skipped, xfailed and xpassed into failed."""
    if os.environ.get("CI") and (report.skipped or hasattr(report, "wasxfail")):
        reason = report.__dict__.pop("wasxfail", None) or report.longreprtext
        report.outcome = "failed"
        report.longrepr = f"under CI no test may be skipped or expected to fail: {reason}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _a_skip_is_a_failure(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _a_skip_is_a_failure(report)
    return report


@pytest.fixture(autouse=True)
def own_world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No agent, no display, no terminal; for all but cluster tests also an empty home and no records."""
    for name in FOREIGN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    if request.node.get_closest_marker("cluster"):
        return
    home = tmp_path_factory.mktemp("home")
    for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("DL4MIC_HPC_HOME", str(home / "dl4mic-hpc"))


class CliResult(NamedTuple):
    """What one command of the program answered."""

    code: int
    out: str
    err: str


@pytest.fixture
def run_cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., CliResult]:
    """Runs the program in this process, as `main` does, so that the exit code is the real one."""

    def run(*argv: str) -> CliResult:
        from dl4mic_hpc.cli.main import main

        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(argv)
        code = ended.value.code
        out, err = capsys.readouterr()
        return CliResult(code if isinstance(code, int) else int(code is not None), out, err)

    return run


@pytest.fixture(scope="session")
def pip_settings() -> dict[str, str]:
    """What pip is set to use on this machine, by bare names such as "index-url"."""
    from dl4mic_hpc.sandbox.machine import pip_settings

    listing = [sys.executable, "-m", "pip", "config", "list"]
    return pip_settings(subprocess.run(listing, check=True, capture_output=True, text=True).stdout)


@pytest.fixture(scope="session")
def dists(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What is published: the "sdist", the "wheel" made from it, and the wheel made "direct" from this checkout."""
    whole, direct = tmp_path_factory.mktemp("dists"), tmp_path_factory.mktemp("direct")
    build = [sys.executable, "-m", "build", "--no-isolation"]
    subprocess.run([*build, "--outdir", whole, ROOT], check=True, capture_output=True)
    subprocess.run([*build, "--wheel", "--outdir", direct, ROOT], check=True, capture_output=True)
    return {
        "sdist": next(whole.glob("*.tar.gz")),
        "wheel": next(whole.glob("*.whl")),
        "direct": next(direct.glob("*.whl")),
    }


@pytest.fixture(scope="session")
def installed_wheel(
    dists: dict[str, Path], pip_settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The program `dl4mic-hpc` of the built wheel, in a virtual environment with its dependencies and nothing else.

    The versions are those of requirements-dev.txt; uv checks their hashes, and takes them from the index that
    pip is set to use on this machine. The environment's Python lies beside the program.
    """
    folder = tmp_path_factory.mktemp("installed") / "venv"
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    uv = str(Path(sysconfig.get_path("scripts"), "uv"))
    index = pip_settings.get("index-url")
    env = os.environ | ({"UV_DEFAULT_INDEX": index} if index else {})
    constraints = str(ROOT / "requirements-dev.txt")

    def run_uv(*words: str) -> None:
        subprocess.run([uv, *words, "--quiet"], check=True, env=env)

    run_uv("venv", "--python", sys.executable, str(folder))
    run_uv("pip", "install", "--python", str(folder), "--constraints", constraints, str(dists["wheel"]))
    return scripts / "dl4mic-hpc"
