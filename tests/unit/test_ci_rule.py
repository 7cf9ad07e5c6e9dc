"""Under CI a test that was skipped, or expected to fail, has failed: the rule in tests/conftest.py, run by pytest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]

LEFT_OUT = {
    "skip mark": "@pytest.mark.skip(reason='why not')\ndef test_it(): pass",
    "skip call": "def test_it(): pytest.skip('why not')",
    "skip in a fixture": "@pytest.fixture\ndef part(): pytest.skip('why not')\ndef test_it(part): pass",
    "module": "pytest.skip('why not', allow_module_level=True)",
    "missing import": "pytest.importorskip('no_such_module_at_all', reason='why not')",
    "expected failure": "@pytest.mark.xfail(reason='why not')\ndef test_it(): assert False",
    "unexpected pass": "@pytest.mark.xfail(reason='why not')\ndef test_it(): pass",
}


def pytest_run(folder: Path, body: str, *, ci: bool) -> tuple[int, str]:
    (folder / "conftest.py").write_bytes((TESTS / "conftest.py").read_bytes())
    (folder / "test_one.py").write_text(f"import pytest\n{body}\ndef test_other(): pass\n", encoding="utf-8")
    (folder / "pytest.ini").write_text(
        "[pytest]\nmarkers =\n    cluster: as in pyproject.toml\n", encoding="utf-8"
    )
    env = {key: value for key, value in os.environ.items() if key != "CI"} | ({"CI": "true"} if ci else {})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", folder],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("body", LEFT_OUT.values(), ids=LEFT_OUT.keys())
def test_what_was_left_out_has_failed_under_ci(body: str, tmp_path: Path) -> None:
    code, said = pytest_run(tmp_path, body, ci=True)
    assert code != 0
    assert "why not" in said
    assert "skipped" not in said.splitlines()[-1]


@pytest.mark.parametrize("name", ["skip mark", "expected failure"])
def test_a_developer_may_skip(name: str, tmp_path: Path) -> None:
    code, _ = pytest_run(tmp_path, LEFT_OUT[name], ci=False)
    assert code == 0


def test_what_ran_and_passed_has_passed_under_ci(tmp_path: Path) -> None:
    code, said = pytest_run(tmp_path, "def test_it(): pass", ci=True)
    assert code == 0
    assert "2 passed" in said.splitlines()[-1]
