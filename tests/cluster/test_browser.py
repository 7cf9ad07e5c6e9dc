"""What the person sees: the browser that `launch` opens, driven as a person would."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as see
from selenium.webdriver.support.ui import WebDriverWait
from support.browser import chromium, press_run, run_all_cells
from support.cluster import Cluster


@pytest.fixture
def profile_dir(tmp_path: Path) -> Path:
    return tmp_path / "chromium"


@pytest.fixture
def browser(profile_dir: Path) -> Iterator[webdriver.Chrome]:
    with chromium(profile_dir) as found:
        yield found


def test_the_browser_opens_at_the_notebook_and_never_sees_the_token(
    cluster: Cluster, image: PurePosixPath, browser: webdriver.Chrome, profile_dir: Path, tmp_path: Path
):
    opened = tmp_path / "opened"
    stand_in = tmp_path / "browser"
    # Takes the place of the person's browser: notes how it was called.
    stand_in.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {opened}.part && mv {opened}.part {opened}\n')
    stand_in.chmod(0o755)
    process = cluster.started("launch", "pixel_segmentation", "--json", BROWSER=f"{stand_in} %s")
    assert process.stdout
    try:
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            if line == "}\n":
                break
        facts = json.loads("".join(lines))
        token = json.loads(cluster.inside("login", "cat", f"{facts['session_dir']}/connection.json"))["token"]
        wait = WebDriverWait(browser, 60)
        wait.until(lambda _: opened.exists())
        (address,) = opened.read_text().split()
        page = Path(unquote(urlsplit(address).path))
        assert page.stat().st_mode & 0o777 == 0o600
        assert token not in page.read_text() and token not in address

        browser.get(address)
        wait.until(see.presence_of_element_located((By.CSS_SELECTOR, ".jp-Notebook .jp-Cell")))
        wait.until(see.text_to_be_present_in_element((By.TAG_NAME, "body"), "Pixel segmentation"))
        assert urlsplit(browser.current_url).path == "/lab/tree/Pixel_segmentation.ipynb"
        assert token not in browser.current_url
        run_all_cells(browser, forms=6)
        for form in range(6):
            assert press_run(browser, form).startswith("done")
        # The door opens once: what the page leads to is worth nothing to the next one.
        browser.get(address)
        wait.until(lambda _: "404" in browser.page_source)
        browser.quit()
        with contextlib.closing(sqlite3.connect(profile_dir / "Default" / "History")) as history:
            visited = [url for (url,) in history.execute("select url from urls")]
        assert any("Pixel_segmentation" in url for url in visited)
        assert not any(token in url for url in visited)
        # JupyterLab's own page holds the token, and the browser may keep the page in its private cache.
        for path in profile_dir.rglob("*"):
            if path.is_file() and "Cache" not in str(path):
                assert token.encode() not in path.read_bytes(), path
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert not page.exists()
    cluster.cli("stop", facts["session"])
