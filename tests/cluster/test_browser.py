"""What the person sees: the browser that `launch` opens, driven as a person would."""

from __future__ import annotations

import contextlib
import json
import shutil
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
from support.cluster import Cluster

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1300,1400",
)


@pytest.fixture
def profile_dir(tmp_path: Path) -> Path:
    return tmp_path / "chromium"


@pytest.fixture
def browser(profile_dir: Path) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, f"--user-data-dir={profile_dir}"):
        options.add_argument(flag)
    program, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    assert program and driver, "chromium and chromedriver are needed: `make system` installs them"
    options.binary_location = program
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


STATUS = """const form = document.querySelectorAll('.dl4mic-form')[arguments[0]];
const line = form && form.querySelector('.dl4mic-status');
return line ? [line.className, line.textContent] : ['', ''];"""


def choose_menu(browser: webdriver.Chrome, *path: str) -> None:
    wait = WebDriverWait(browser, 30)
    for level, label in enumerate(path):
        css = ".lm-MenuBar-itemLabel" if level == 0 else ".lm-Menu-itemLabel"
        wait.until(
            lambda _, css=css, label=label: [
                e for e in browser.find_elements(By.CSS_SELECTOR, css) if e.text == label
            ]
        )[0].click()


def run_all_cells(browser: webdriver.Chrome, *, forms: int) -> None:
    """Menu Run > Run All Cells; returns when so many forms are drawn."""
    wait = WebDriverWait(browser, 120)
    wait.until(
        lambda _: browser.find_elements(By.CSS_SELECTOR, ".jp-Notebook-ExecutionIndicator[data-status=idle]")
    )
    choose_menu(browser, "Run", "Run All Cells")
    wait.until(lambda _: len(browser.find_elements(By.CSS_SELECTOR, ".dl4mic-form")) == forms)


def press_run(browser: webdriver.Chrome, form: int) -> str:
    """Presses Run in a form (from 0); its status line when it has ended, such as "done in 2.0 s"."""
    box = browser.find_elements(By.CSS_SELECTOR, ".dl4mic-form")[form]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", box)
    button = next(each for each in box.find_elements(By.TAG_NAME, "button") if "Run" in each.text)
    button.click()

    def ended(_: object) -> bool:
        return any(word in browser.execute_script(STATUS, form)[0] for word in ("done", "failed"))

    WebDriverWait(browser, 180).until(ended)
    return str(browser.execute_script(STATUS, form)[1])


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
        run_all_cells(browser, forms=4)
        for form in range(4):
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
