"""What the launch has brought is taken from there, whoever in the notebook asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.bare_kernel import bare_kernel
from support.kernel import Desk
from support.web_server import Answer, WebServer

from dl4mic_hpc.notebook.dl4mic_forms.commands import fetches

BROUGHT, SERVED = b"brought " * 9000, b"served"


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("wget -nv --show-progress https://a.org/b?c=d", "https://a.org/b?c=d"),
        ("wget a.org/b", ""),
        ("wget https://a.org/b https://a.org/c", ""),
        ("curl -o x 'http://a.org/b'", "http://a.org/b"),
    ],
)
def test_the_address_of_a_line(line: str, address: str) -> None:
    assert fetches(line)[0][0].address == address


@pytest.fixture(scope="module")
def server() -> Iterator[WebServer]:
    with WebServer().running() as server:
        server.answer = lambda _: Answer(body=SERVED)
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def desk(folder: Path, server: WebServer) -> Iterator[Desk]:
    """A kernel in which model.bin was brought, from an https address whose name says nothing, and gone.bin is gone."""
    (folder / "model.bin").write_bytes(BROUGHT)
    (folder / "weights.tsv").write_text(
        f"https://{server.host}/get?file=model\t{folder}/model.bin\n{server.url}/gone\t{folder}/gone.bin\n"
    )
    with bare_kernel(folder, DL4MIC_WEIGHTS=f"{folder}/weights.tsv") as desk:
        desk.run(f"URL = {server.url + '/get?file=model'!r}")
        yield desk


@pytest.mark.parametrize(
    "code",
    [
        "open('1', 'wb').write(urlopen(URL).read())",
        "open('1', 'wb').write(urlopen(Request(URL, headers={'User-agent': 'a'}), timeout=3).read())",
        "open('1', 'wb').write(urlopen(URL, context=ssl.create_default_context()).read())",
        "urlretrieve(URL, '1')",
        "assert urlretrieve(URL, '1')[1]['Content-Disposition'] == 'attachment; filename=\"model.bin\"'",
        "assert urlopen(URL).info().get_all('Content-Length') == ['72000']; urlretrieve(URL, '1')",
        "!wget -q $URL -O 1",
        "!wget -q {URL} -O 1",
        "!curl -s -o 1 '{URL}'",
    ],
)
def test_what_was_brought_is_not_fetched(desk: Desk, server: WebServer, folder: Path, code: str) -> None:
    (folder / "1").unlink(missing_ok=True)
    before = len(server.asked)
    outcome = desk.run(f"import ssl\nfrom urllib.request import Request, urlopen, urlretrieve\n{code}")
    assert outcome.status == "ok", outcome.text
    assert (folder / "1").read_bytes() == BROUGHT
    assert len(server.asked) == before


@pytest.mark.parametrize(
    "ask",
    [
        "URL.replace('model', 'other')",
        "URL.replace('get?file=model', 'gone')",
        "URL, b'data'",
        "Request(URL, data=b'data')",
    ],
)
def test_anything_else_is_fetched(desk: Desk, server: WebServer, folder: Path, ask: str) -> None:
    before = len(server.asked)
    desk.run(f"from urllib.request import Request, urlopen\nopen('2', 'wb').write(urlopen({ask}).read())")
    assert (folder / "2").read_bytes() == SERVED
    assert len(server.asked) == before + 1
