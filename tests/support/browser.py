"""A headless Chromium at a JupyterLab page, driven as a person would drive it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--lang=en-US",
    "--window-size=1300,1400",
)

STATUS = """const form = document.querySelectorAll('.dl4mic-form')[arguments[0]];
const line = form && form.querySelector('.dl4mic-status');
return line && !line.dataset.seen ? [line.className, line.textContent] : ['', ''];"""

SEEN = """const form = document.querySelectorAll('.dl4mic-form')[arguments[0]];
const line = form && form.querySelector('.dl4mic-status');
if (line) line.dataset.seen = 'yes';"""


@contextmanager
def chromium(profile: Path) -> Iterator[webdriver.Chrome]:
    """A browser with nothing in its memory; `profile` is the folder that it writes to."""
    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    program, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    assert program and driver, "chromium and chromedriver are needed: `make system` installs them"
    options.binary_location = program
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


def choose_menu(browser: webdriver.Chrome, *path: str) -> None:
    """Clicks through the menus by their labels; three dots at the end of a label are left out."""
    wait = WebDriverWait(browser, 30)
    for level, label in enumerate(path):
        css = ".lm-MenuBar-itemLabel" if level == 0 else ".lm-Menu-itemLabel"
        wait.until(
            lambda _, css=css, label=label: [
                e for e in browser.find_elements(By.CSS_SELECTOR, css) if e.text.rstrip("….") == label
            ]
        )[0].click()


def run_all_cells(browser: webdriver.Chrome, *, forms: int) -> None:
    """Menu Run > Run All Cells; returns when so many forms are drawn."""
    wait = WebDriverWait(browser, 120)
    # Before the kernel has said that it is idle, JupyterLab takes the order and forgets it.
    wait.until(lambda _: "| Idle" in browser.find_element(By.CSS_SELECTOR, "#jp-main-statusbar").text)
    choose_menu(browser, "Run", "Run All Cells")
    wait.until(lambda _: len(browser.find_elements(By.CSS_SELECTOR, ".dl4mic-form")) == forms)


def press(browser: webdriver.Chrome, form: int, label: str) -> None:
    """Clicks the button of a form (from 0)."""
    box = browser.find_elements(By.CSS_SELECTOR, ".dl4mic-form")[form]
    button = next(each for each in box.find_elements(By.TAG_NAME, "button") if label in each.text)
    into_view(browser, button)
    button.click()


def press_run(browser: webdriver.Chrome, form: int) -> str:
    """Presses Run in a form (from 0); its status line when it has ended, such as "done in 2.0 s"."""
    browser.execute_script(SEEN, form)
    press(browser, form, "Run")

    def ended(_: object) -> bool:
        return any(word in browser.execute_script(STATUS, form)[0] for word in ("done", "failed"))

    WebDriverWait(browser, 180).until(ended)
    return str(browser.execute_script(STATUS, form)[1])


def into_view(browser: webdriver.Chrome, element: WebElement) -> None:
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
