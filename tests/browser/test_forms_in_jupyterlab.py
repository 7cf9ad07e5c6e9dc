"""Every kind of field in JupyterLab 3 and 4 with ipywidgets 7 and 8, filled in by keyboard and mouse."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait
from support.browser import STATUS, choose_menu, chromium, into_view, press, press_run, run_all_cells
from support.environments import environment
from support.kernel import colab_notebook

from dl4mic_hpc import notebook

PAIRS = {
    "JupyterLab 3, ipywidgets 7": ("jupyterlab==3.6.8", "ipywidgets==7.8.5"),
    "JupyterLab 3, ipywidgets 8": ("jupyterlab==3.6.8", "ipywidgets==8.1.8", "jupyterlab_widgets==3.0.16"),
    "JupyterLab 4, ipywidgets 7": ("jupyterlab==4.6.6", "ipywidgets==7.8.5"),
    "JupyterLab 4, ipywidgets 8": ("jupyterlab==4.6.6", "ipywidgets==8.1.9"),
}

FORM = """\
#@title Every kind of field
#@markdown ### Where things are
Training_source = "" #@param {type:"string"}
model_name = "net" #@param {type:"string"} # becomes a file's name
#@markdown ### How to learn
learning_rate = 0.0004 #@param {type:"number"}
steps = 10 #@param {type:"integer"}
overlap = 20 #@param {type:"slider", min:0, max:90, step:10}
augment = False #@param {type:"boolean"}
recorded = "2020-01-31" #@param {type:"date"}
loss = "mae" #@param ["mae", "mse", "ssim, [0, 1]"]
factor = 8 #@param ["4", "8", "16"] {type:"raw"}
weights = "none" #@param ["none", "nuclei"] {allow-input: true}
shape = (1, 2) #@param {type:"raw"}
patch = 32 #@param
import json, os
os.makedirs("results", exist_ok=True)
names = ("Training_source", "model_name", "learning_rate", "steps", "overlap", "augment", "recorded", "loss", "factor",
         "weights", "shape", "patch")
with open("results/values.json", "w") as file:
    json.dump({name: globals()[name] for name in names}, file)
"""
AUTO = """\
#@title Runs by itself {run: "auto"}
sigma = 1 #@param {type:"integer"}
with open("results/auto.txt", "a") as file:
    print(sigma, file=file)
"""

AT_FIRST = {
    "Training_source": "data/raw", "model_name": "net", "learning_rate": 0.0004, "steps": 10, "overlap": 20,
    "augment": False, "recorded": "2020-01-31", "loss": "mae", "factor": 8, "weights": "none", "shape": [1, 2], "patch": 32,
}  # fmt: skip
TYPED = {
    "Training_source": "data/raw", "model_name": "it's \"mine\"", "learning_rate": 2e-05, "steps": -7, "overlap": 40,
    "augment": True, "recorded": "2021-03-04", "loss": "ssim, [0, 1]", "factor": 16, "weights": "my own.h5",
    "shape": [3, 4, 5], "patch": 64,
}  # fmt: skip


NOTHING_CUT_OFF = "return arguments[0].scrollWidth <= arguments[0].clientWidth"
HOLDER = (
    "./ancestor-or-self::*[contains(@class, 'widget-inline-hbox') or contains(@class, 'widget-checkbox')][1]"
)


@dataclass
class Lab:
    """A running JupyterLab whose folder holds the notebook."""

    url: str
    home: Path

    def values(self) -> object:
        return json.loads((self.home / "results" / "values.json").read_text())


@pytest.fixture(scope="module", params=list(PAIRS))
def lab(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, pip_settings: dict[str, str]
) -> Iterator[Lab]:
    tmp_path = tmp_path_factory.mktemp("lab")
    name = request.param.replace(" ", "").replace(",", "-").lower()
    python = environment(name, *PAIRS[request.param], index=pip_settings.get("index-url")) / "bin" / "python"
    home = tmp_path / "home"
    (home / "data" / "raw").mkdir(parents=True)
    for number in range(3):
        (home / "data" / "raw" / f"{number}.tif").write_bytes(b"II*\0")
    converted = notebook.convert(colab_notebook("# Kinds", FORM, AUTO), name="Kinds.ipynb")
    for path, content in {**notebook.runtime_files(), "Kinds.ipynb": converted.notebook}.items():
        (home / path).parent.mkdir(exist_ok=True)
        (home / path).write_bytes(content)
    token = secrets.token_hex(16)
    settings = home / ".jupyter" / "jupyter_server_config.py"
    settings.parent.mkdir()
    settings.write_text(
        "import jupyter_server\n"
        "new = int(jupyter_server.__version__.split('.')[0]) > 1\n"
        f"(c.IdentityProvider if new else c.ServerApp).token = '{token}'\n"
    )
    own = {
        name: str(home / f".{name.lower()}")
        for name in ("JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    }
    env = (
        os.environ
        | own
        | {"HOME": str(home), "JUPYTER_CONFIG_DIR": str(settings.parent), "JUPYTER_NO_CONFIG": ""}
    )
    env["PATH"] = f"{python.parent}:{env['PATH']}"
    words = [
        "--no-browser",
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port=0",
        f"--ServerApp.root_dir={home}",
    ]
    with (tmp_path / "jupyter.log").open("w") as log:
        server = subprocess.Popen(
            [python, "-m", "jupyterlab", *words], cwd=home, env=env, stdout=log, stderr=log
        )
    try:
        facts = WebDriverWait(tmp_path, 60, poll_frequency=0.1).until(
            lambda _: _server_facts(home, server, log.name)
        )
        yield Lab(url=f"http://127.0.0.1:{facts['port']}/lab/tree/Kinds.ipynb?token={token}", home=home)
    finally:
        server.terminate()
        server.wait(timeout=30)


def _server_facts(home: Path, server: subprocess.Popen[bytes], log: str) -> dict[str, int] | None:
    assert server.poll() is None, Path(log).read_text()
    for file in (home / ".jupyter_runtime_dir").glob("jpserver-*.json"):
        text = file.read_text()
        return json.loads(text) if text.endswith("}") else None
    return None


@pytest.fixture(scope="module")
def page(lab: Lab) -> Iterator[webdriver.Chrome]:
    with chromium(lab.home.parent / "chromium") as browser:
        browser.get(lab.url)
        run_all_cells(browser, forms=2)
        yield browser


def field(page: webdriver.Chrome, name: str, css: str) -> WebElement:
    """What is filled in, found by the field's label as a person finds it."""
    form = page.find_element(By.CSS_SELECTOR, ".dl4mic-form")
    for label in form.find_elements(By.CSS_SELECTOR, ".widget-label, .widget-label-basic"):
        if str(label.get_attribute("textContent")).strip() == name:
            holder = label.find_element(
                By.XPATH,
                "./ancestor-or-self::*[contains(@class, 'widget-inline-hbox') or contains(@class, 'widget-checkbox')][1]",
            )
            found: WebElement = holder.find_element(By.CSS_SELECTOR, css)
            into_view(page, found)
            return found
    raise AssertionError(f"the form has no label {name}")


def type_over(page: webdriver.Chrome, name: str, text: str, css: str = "input") -> None:
    found = field(page, name, css)
    found.click()
    found.send_keys(Keys.CONTROL, "a")
    found.send_keys(text, Keys.TAB)


def status(page: webdriver.Chrome, form: int = 0) -> str:
    return str(page.execute_script(STATUS, form)[1])


def fill_in(page: webdriver.Chrome) -> None:
    """Each field by keyboard or mouse, as its kind is used."""
    type_over(page, "model_name", str(TYPED["model_name"]))
    type_over(page, "learning_rate", "2e-5")
    type_over(page, "steps", "-7")
    handle = field(page, "overlap", ".noUi-handle, .ui-slider-handle")
    handle.click()
    ActionChains(page).send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT).perform()
    field(page, "augment", "input[type=checkbox]").click()
    day = field(page, "recorded", "input[type=date]")
    day.click()
    day.send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT, "03042021")
    Select(field(page, "loss", "select")).select_by_visible_text("ssim, [0, 1]")
    field(page, "factor", "select").send_keys("16")
    type_over(page, "weights", "my own.h5")
    type_over(page, "shape", "(3, 4, 5)")
    type_over(page, "patch", "64")


def test_every_kind_of_field_is_filled_in_run_and_put_back_after_a_reload(lab: Lab, page: webdriver.Chrome):
    assert "fill in Training_source" in press_run(page, 0)
    assert not (lab.home / "results" / "values.json").exists()
    offered = [
        each.get_attribute("value")
        for each in field(page, "Training_source", "input").find_elements(
            By.XPATH, "./following-sibling::datalist/option"
        )
    ]
    assert str(lab.home / "data" / "raw") in offered
    type_over(page, "Training_source", "data/raw")
    WebDriverWait(page, 30).until(
        lambda _: "3 files" in page.find_element(By.CSS_SELECTOR, ".dl4mic-form").text
    )
    assert press_run(page, 0).startswith("done")
    assert lab.values() == AT_FIRST

    fill_in(page)
    assert press_run(page, 0).startswith("done")
    assert lab.values() == TYPED

    page.get(lab.url)
    WebDriverWait(page, 60).until(lambda _: page.find_elements(By.CSS_SELECTOR, ".jp-Notebook .jp-Cell"))
    choose_menu(page, "Kernel", "Restart Kernel and Run All Cells")
    WebDriverWait(page, 30).until(lambda _: page.find_elements(By.CSS_SELECTOR, ".jp-Dialog .jp-mod-accept"))[
        -1
    ].click()
    WebDriverWait(page, 60).until(lambda _: _drawn_anew(page))
    (lab.home / "results" / "values.json").unlink()
    press(page, 0, "Load previous")
    WebDriverWait(page, 30).until(lambda _: "values of the last run put in" in status(page))
    assert press_run(page, 0).startswith("done")
    assert lab.values() == TYPED


def _drawn_anew(page: webdriver.Chrome) -> bool:
    """Whether the form of the restarted kernel is there, with the notebook's own values."""
    try:
        return field(page, "model_name", "input").get_attribute("value") == AT_FIRST["model_name"]
    except Exception:  # the old form goes while we look
        return False


def test_a_form_that_runs_by_itself_follows_its_field(lab: Lab, page: webdriver.Chrome):
    auto = lab.home / "results" / "auto.txt"
    sigma = page.find_elements(By.CSS_SELECTOR, ".dl4mic-form")[1].find_element(By.CSS_SELECTOR, "input")
    into_view(page, sigma)
    sigma.send_keys(Keys.CONTROL, "a")
    sigma.send_keys("3", Keys.TAB)
    assert press_run(page, 1).startswith("done")
    assert auto.read_text() == "3\n"
    sigma.send_keys(Keys.CONTROL, "a")
    sigma.send_keys("5", Keys.TAB)
    WebDriverWait(page, 60).until(lambda _: auto.read_text().endswith("5\n"))


def test_the_code_is_one_click_away_and_nothing_is_cut_off_in_a_narrow_window(
    lab: Lab, page: webdriver.Chrome
):
    cell = page.find_element(
        By.XPATH, "//*[contains(@class, 'jp-CodeCell')][.//*[contains(@class, 'dl4mic-form')]]"
    )
    assert "#@param" not in cell.text
    cell.find_element(
        By.CSS_SELECTOR,
        ".jp-InputPlaceholder .jp-Placeholder-content, .jp-InputPlaceholder .jp-MoreHorizIcon",
    ).click()
    WebDriverWait(page, 30).until(lambda _: "learning_rate = 0.0004" in cell.text)
    ActionChains(page).key_down(Keys.CONTROL).send_keys("b").key_up(Keys.CONTROL).perform()  # no side bar
    for width in (1400, 480):
        page.set_window_size(width, 1400)
        form = page.find_element(By.CSS_SELECTOR, ".dl4mic-form")
        WebDriverWait(page, 30).until(
            lambda _, form=form: page.execute_script(
                "return arguments[0].scrollWidth <= arguments[0].clientWidth", form
            )
        )
        page.save_screenshot(str(lab.home / f"{width}.png"))
        for name in ("Training_source", "learning_rate", "recorded", "loss", "weights", "shape"):
            box = field(page, name, "input, select").rect
            assert box["width"] > 60 and box["x"] + box["width"] <= width, name
