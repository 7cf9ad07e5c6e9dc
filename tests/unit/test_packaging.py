"""The published packages hold what the program needs, and the lock pins everything, on every platform."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import dl4mic_hpc

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
HOME = Path.home()  # the person's; a test has one of its own


def tracked() -> list[Path]:
    """Every file of the checkout that git holds or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [path for name in sorted(set(listed.split("\0")) - {""}) if (path := ROOT / name).is_file()]


def outside(program: list[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs what was installed, with nothing that could lead it back to this checkout."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(
        program, cwd=cwd, env=env, check=True, capture_output=True, text=True, encoding="utf-8"
    )


# ---- The lock --------------------------------------------------------------------------------------------------------


def pins() -> dict[str, str]:
    return {
        canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", LOCK, re.M)
    }


def asked_for() -> list[str]:
    lines = (ROOT / "requirements-dev.in").read_text(encoding="utf-8").splitlines()
    return [*PROJECT["dependencies"], *(line for line in lines if line and not line.startswith("#"))]


@pytest.mark.parametrize("line", asked_for())
def test_the_lock_pins_what_is_asked_for(line: str) -> None:
    requirement = Requirement(line)
    pinned = pins().get(canonicalize_name(requirement.name))
    assert pinned, f"{requirement.name} is not in requirements-dev.txt: run `make lock`"
    assert requirement.specifier.contains(pinned), f"{line} has moved away from {pinned}: run `make lock`"


def test_every_pin_has_hashes() -> None:
    entries = re.split(r"\n(?=[\w])", LOCK.split("\n", 2)[2])
    assert len(entries) == len(pins())
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_lock_names_no_index() -> None:
    assert re.findall(r"^-.*|\S*://\S*", LOCK, re.M) == []


# ---- What is published -----------------------------------------------------------------------------------------------


def test_one_version_everywhere() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.findall(r"^## (\d\S*)", changelog, re.M)[0]
    assert {dl4mic_hpc.__version__, newest} == {PROJECT["version"]}


def test_the_wheels_hold_every_template_and_configuration(dists: dict[str, Path]) -> None:
    shipped = {
        f"dl4mic_hpc/_data/{path.relative_to(ROOT).as_posix()}"
        for path in tracked()
        if path.relative_to(ROOT).parts[0] in {"templates", "configs"}
    }
    assert shipped
    for wheel in (dists["direct"], dists["wheel"]):
        held = set(zipfile.ZipFile(wheel).namelist())
        assert {name for name in held if name.startswith("dl4mic_hpc/_data/")} == shipped
        assert "dl4mic_hpc/py.typed" in held
        assert not {name for name in held if not re.match(r"dl4mic_hpc[/-]", name)}


def test_the_sdist_holds_the_tests_and_no_leavings(dists: dict[str, Path]) -> None:
    with tarfile.open(dists["sdist"]) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "CHANGELOG.md", "tests/conftest.py"} <= held
    allowed = {path.relative_to(ROOT).as_posix() for path in tracked()} | {"PKG-INFO"}
    assert held <= allowed


def test_the_installed_program_finds_its_files(installed_wheel: Path, tmp_path: Path) -> None:
    python = installed_wheel.with_name("python")
    code = (
        "import dl4mic_hpc; from dl4mic_hpc.resources import data;"
        "print(dl4mic_hpc.__file__);"
        "print(*(sorted(p.name for p in data(kind).iterdir()) for kind in ('templates', 'configs')))"
    )
    where, found = outside([python, "-c", code], tmp_path).stdout.splitlines()
    assert Path(where).is_relative_to(installed_wheel.parents[1])
    assert "job.sh.j2" in found
    assert "notebooks" in found


def test_the_installed_program_answers(installed_wheel: Path, tmp_path: Path) -> None:
    assert "launch" in outside([installed_wheel, "--help"], tmp_path).stdout
    version = outside([installed_wheel.with_name("python"), "-m", "dl4mic_hpc", "--version"], tmp_path).stdout
    assert PROJECT["version"] in version


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import contextlib, sys\n"
        "from dl4mic_hpc.cli.main import main\n"
        "with contextlib.suppress(SystemExit): main(['--help'])\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stderr.split()
    assert "dl4mic_hpc.cli.main" in loaded
    assert {"paramiko", "nbformat", "pydantic", "jinja2", "spython"}.isdisjoint(loaded)


# ---- What no file may hold -------------------------------------------------------------------------------------------


def registry_hosts(pip_settings: dict[str, str]) -> set[str]:
    """The hosts from which this machine takes packages: those of pip, apt and npm, as they are set up here."""
    pip = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--help"], check=True, capture_output=True, text=True
    )
    texts = [
        pip.stdout,
        *(pip_settings.get(key, "") for key in ("index-url", "extra-index-url", "find-links")),
    ]
    apt = Path("/etc/apt")
    for source in [apt / "sources.list", *apt.glob("sources.list.d/*"), *apt.glob("mirrors/*")]:
        if source.is_file():
            texts.append(
                re.sub(r"^\s*#.*", "", source.read_text(encoding="utf-8", errors="replace"), flags=re.M)
            )
    for config in (HOME / ".npmrc", Path("/etc/npmrc"), Path("/usr/etc/npmrc")):
        if config.is_file():
            texts.append(config.read_text(encoding="utf-8", errors="replace"))
    hosts = set(re.findall(r"https?://(?:[^/@\s]+@)?([\w.-]+)", "\n".join(texts)))
    return hosts - {"github.com", "localhost", "127.0.0.1"}


def test_no_file_names_a_package_registry(pip_settings: dict[str, str]) -> None:
    hosts = registry_hosts(pip_settings)
    assert hosts
    pattern = re.compile("|".join(rf"(?<![\w.-]){re.escape(host)}(?![\w-])" for host in sorted(hosts)))
    assert mentions(pattern) == []


def test_no_file_names_a_path_of_this_machine() -> None:
    paths = {ROOT.as_posix(), Path(sys.prefix).as_posix(), HOME.as_posix()}
    # In a container /root is everybody's; a path of one part says too little.
    telling = sorted(path for path in paths if len(Path(path).parts) > 2)
    assert telling
    assert mentions(re.compile("|".join(map(re.escape, telling)))) == []


def mentions(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in tracked():
        text = path.read_bytes().decode("utf-8", errors="replace")
        found += [
            f"{path.relative_to(ROOT).as_posix()}:{number}: {hit.group()}"
            for number, line in enumerate(text.splitlines(), start=1)
            if (hit := pattern.search(line))
        ]
    return found
