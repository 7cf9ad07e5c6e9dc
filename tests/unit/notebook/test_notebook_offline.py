"""No call waits long for a network that does not answer: names, connections, shell lines, tables of versions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pip._internal.models.index import PyPI
from support.bare_kernel import RUNTIME, bare_kernel
from support.kernel import Desk
from support.web_server import Answer, WebServer

from dl4mic_hpc.notebook.dl4mic_forms import commands
from dl4mic_hpc.notebook.dl4mic_forms.commands import Fetch, fetches

# ---- What a shell line fetches ---------------------------------------------------------------------------------------

H = "https://host.org"


def of(
    program: str, target: str = "", *, scheme: str = "https", host: str = "host.org", port: int = 443
) -> Fetch:
    return Fetch(program, scheme, host, port, target)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (f"git clone {H}/a/b.git", of("git", "b")),
        (f"git clone {H}/a/b/", of("git", "b")),
        (f"git clone -b main --depth 1 {H}/a/b c > /dev/null 2>&1", of("git", "c")),
        (f"git -C x clone {H}/a/b", of("git", "b")),
        ("git clone git@host.org:a/b.git", of("git", "b", scheme="ssh", port=22)),
        (f"GIT_TRACE=1 sudo git clone '{H}/a/b'", of("git", "b")),
        (f"wget {H}/a/b.zip?dl=0", of("wget", "b.zip")),
        (f"wget -q {H}/a -O b.zip", of("wget", "b.zip")),
        (f"wget --output-document=b.zip {H}/a", of("wget", "b.zip")),
        (f"wget -P there {H}/a.zip", of("wget", "there/a.zip")),
        (f'/usr/bin/wget "{H}/a b.zip"', of("wget", "a b.zip")),
        (f"wget {H}/a  # it's large", of("wget", "a")),
        ("wget host.org/a", of("wget", "a", scheme="http", port=80)),
        (f"curl -L {H}:8080/a", of("curl", port=8080)),
        (f"curl -O {H}/a", of("curl", "a")),
        (f"curl {H}/a --output b", of("curl", "b")),
        ("gdown --id 1a2b -O b.zip", of("gdown", "b.zip", host="drive.google.com")),
        (f"aria2c -d there -o b {H}/a", of("aria2c", "there/b")),
        (f"pip install -q a -i {H}/simple", of("pip")),
        (f"python3 -m pip install a --index-url={H}/simple", of("pip")),
    ],
)
def test_a_line_that_fetches(line: str, found: Fetch) -> None:
    assert fetches(line) == ([found], True)


@pytest.mark.parametrize(
    "line",
    [
        f"echo wget {H}/a", f"ls | grep {H}", "git clone /a/b", "git status", "git pull", "pip list", "wget --version",
        "pip install --no-index a", f"cat < {H}", "", "ls &", "wget http://[",
    ],
)  # fmt: skip
def test_a_line_that_fetches_nothing(line: str) -> None:
    assert fetches(line)[0] == []


@pytest.mark.parametrize(
    ("line", "programs"),
    [
        (f"git clone {H}/a/b; cd b && pip install --no-index .", ["git"]),
        (f"mkdir x\nwget \\\n {H}/a\nwget {H}/b", ["wget", "wget"]),
        (f"(cd x && curl -O {H}/a) || wget {H}/a", ["curl", "wget"]),
        (f"for n in 1 2; do wget {H}/$n; done", ["wget"]),
        (f"wget {H}/a {H}/b", ["wget", "wget"]),
        (f"pip install git+{H}/a/b --no-index", ["address for pip"]),
        (f"echo start; pip install 'a @ {H}/a.whl' --no-index", ["address for pip"]),
    ],
)
def test_a_line_that_does_more(line: str, programs: list[str]) -> None:
    found, alone = fetches(line)
    assert [fetch.program for fetch in found] == programs
    assert alone == line.startswith("pip")


def test_the_index_that_pip_is_set_to_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_INDEX_URL", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(commands, "PIP_FILES", (str(tmp_path / "pip.conf"),))
    hosts = []
    for name, value in (
        ("", ""), ("pip.conf", "[global]\nindex-url = https://one.org/simple"),
        ("own.conf", "[install]\nindex-url = https://two.org/simple"), ("PIP_INDEX_URL", "https://three.org/simple"),
    ):  # fmt: skip
        if name.endswith(".conf"):
            (tmp_path / name).write_text(value, encoding="utf-8")
        if name == "own.conf":
            monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / name))
        if name == "PIP_INDEX_URL":
            monkeypatch.setenv(name, value)
        hosts += [fetch.host for fetch in fetches("pip install a")[0]]
    assert hosts == [urlsplit(PyPI.simple_url).hostname, "one.org", "two.org", "three.org"]


# ---- Names and connections -------------------------------------------------------------------------------------------

# A network that drops packets, told by this process to itself: what waits without a time of its own would wait for ever.
DROPPING = f"""\
import errno, socket, sys, threading, time
sys.path.insert(0, {str(RUNTIME.parent)!r})
asked, for_ever = [], threading.Event()
def connect(self, address):
    asked.append((address[0], self.gettimeout()))
    assert self.gettimeout() is not None, "this would wait for ever"
    raise socket.timeout("timed out")
def connect_ex(self, address):
    asked.append((address[0], self.gettimeout()))
    return errno.EAGAIN if self.gettimeout() else 0
def getaddrinfo(host, port, *rest, **more):
    if host == "silent.org":
        for_ever.wait()
    if host == "none.org":
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    four = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"192.0.2.{{n}}", port)) for n in (1, 2)]
    six = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", port, 0, 0))]
    return four if host == "four.org" else six + four if host == "both.org" else real(host, port, *rest, **more)
real = socket.getaddrinfo
socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo = connect, connect_ex, getaddrinfo
from dl4mic_forms import network
network.RESOLVE = 0.05
network.bound_sockets(); network.bound_sockets()
def said(call, *arguments, **more):
    try: return call(*arguments, **more)
    except OSError as problem: return type(problem).__name__, str(problem)
def tcp(seconds=None, kind=socket.SOCK_STREAM):
    made = socket.socket(socket.AF_INET, kind); made.settimeout(seconds); return made
"""


def _dropping(code: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", DROPPING + code], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_a_connection_that_is_not_answered_fails_soon_and_then_at_once() -> None:
    answer = _dropping("""
kind, text = said(socket.create_connection, ("four.org", 443))
again = said(socket.create_connection, ("four.org", 443))
other = said(socket.create_connection, ("four.org", 80))
print(kind, "four.org does not answer" in text, "/home/data" in text, again == (kind, text), asked)
""")
    kind = "TimeoutError" if sys.version_info >= (3, 10) else "timeout"
    assert answer == f"{kind} True True True [('192.0.2.1', 2.4), ('192.0.2.1', 2.4)]", "once for each port"


def test_two_families_of_addresses_share_the_time() -> None:
    answer = _dropping('said(socket.create_connection, ("both.org", 443)); print(asked)')
    assert answer == "[('2001:db8::1', 1.2), ('192.0.2.1', 1.2)]"


def test_a_name_that_is_not_answered_fails_soon_and_then_at_once() -> None:
    answer = _dropping("""
print(said(socket.create_connection, ("silent.org", 443)))
network.RESOLVE = 3600
print(said(tcp().connect, ("silent.org", 443))[0], said(socket.getaddrinfo, b"silent.org", 443)[0], asked)
print(said(socket.getaddrinfo, "none.org", 1)[1])
""")
    first, second, third = answer.splitlines()
    assert "gaierror" in first
    assert "silent.org does not answer" in first
    assert second == "gaierror gaierror []"
    assert "Name or service not known: none.org does not answer" in third


def test_the_way_libraries_ask_in_numbers_is_bounded_too() -> None:
    answer = _dropping("""
made = tcp()
print(made.connect_ex(("four.org", 443)) == errno.ETIMEDOUT, made.gettimeout())
print(tcp().connect_ex(("192.0.2.1", 443)) == errno.ETIMEDOUT, asked)
""")
    assert answer.splitlines() == ["True None", "True [('192.0.2.1', 2.4)]"]


def test_what_is_not_bounded() -> None:
    """Loopback, sockets that do not block, datagrams, shorter times of the program's own."""
    answer = _dropping("""
for made, address in ((tcp(), ("127.0.0.1", 9)), (tcp(), ("localhost", 9)), (tcp(0), ("192.0.2.9", 9)),
                      (tcp(1.5), ("192.0.2.9", 9)), (tcp(None, socket.SOCK_DGRAM), ("192.0.2.9", 9))):
    made.connect_ex(address)
print([seconds for _, seconds in asked], "127.0.0.1" in asked[1][0])
asked.clear(); said(tcp(99).connect, ("192.0.2.9", 9)); print(asked)
""")
    assert answer.splitlines() == ["[None, None, 0.0, 1.5, None] True", "[('192.0.2.9', 2.4)]"]


# ---- In a notebook ---------------------------------------------------------------------------------------------------

PANDAS = '''\
"""As much of pandas as the cells that compare versions use."""
from urllib.request import urlopen
def read_csv(address, **options):
    first, *rows = [line.split(",") for line in urlopen(address).read().decode().split()]
    return DataFrame({name: [row[at] for row in rows] for at, name in enumerate(first)}, options)
class DataFrame:
    def __init__(self, data=None, options=None, columns=()):
        self.data, self.options, self.columns = data, options, columns
'''
TABLE = "Latest_Notebook_versions.csv"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Names that end in .invalid are nobody's (RFC 2606): what has no answer on any network."""
    packages = tmp_path_factory.mktemp("packages")
    (packages / "pandas.py").write_text(PANDAS, encoding="utf-8")
    private = {
        "PIP_INDEX_URL": "https://host.invalid/simple",
        "PIP_CONFIG_FILE": "",
        "HTTP_PROXY": "",
        "http_proxy": "",
    }
    with bare_kernel(tmp_path_factory.mktemp("home"), path=[packages], **private) as found:
        yield found


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer().running() as server:
        server.answer = lambda asked: Answer(body=f"Notebook,{asked.path}".encode())
        yield server


def test_with_a_network_everything_goes_through(desk: Desk, web: WebServer) -> None:
    desk.run(
        f"from urllib.request import urlopen, urlretrieve; text = urlopen('http://{web.host}/one').read()"
    )
    assert desk.value("text") == b"Notebook,/one"
    outcome = desk.run(f"urlretrieve('http://{web.host}/two', 'two.txt'); print(open('two.txt').read())")
    assert outcome.text == "Notebook,/two\n"
    desk.run("from dl4mic_forms import read_csv")
    web.answer = lambda _: Answer(body=b"Notebook,Version\nCARE,1.16")
    desk.run(f"table = read_csv('http://{web.host}/{TABLE}', dtype=str)")
    assert desk.value("table.data, table.options['dtype'] is str") == (
        {"Notebook": ["CARE"], "Version": ["1.16"]},
        True,
    )


@pytest.mark.parametrize(
    ("table", "expression", "value"),
    [
        (TABLE, "table.data", {"Notebook": ["CARE (2D)"], "Version": ["1.15"]}),
        ("Latest_ZeroCostDL4Mic_Release.csv", "list(table.columns)", ["1.15"]),
    ],
)
@pytest.mark.parametrize("own", ["'1.15'", "['1.15']"])
def test_without_a_network_a_notebook_is_its_own_newest_version(
    desk: Desk, table: str, expression: str, value: object, own: str
) -> None:
    cell = f"Network = 'CARE (2D)'\nNotebook_version = {own}\nfrom dl4mic_forms import read_csv\n"
    outcome = desk.run(f"{cell}table = read_csv('https://host.invalid/a/{table}', dtype=str)")
    assert (outcome.status, outcome.text.count("was not checked")) == ("ok", 1)
    assert desk.value(expression) == value


@pytest.mark.parametrize(
    "cell",
    [
        "read_csv('https://host.invalid/a/measurements.csv')",
        f"del Network\nread_csv('https://host.invalid/a/{TABLE}')",
        "read_csv('/no/such/file.csv')",
    ],
)
def test_other_tables_are_still_missing(desk: Desk, cell: str) -> None:
    outcome = desk.run("Network = Notebook_version = ''\nfrom dl4mic_forms import read_csv\n" + cell)
    assert outcome.status == "error"
    assert "was not checked" not in outcome.text


@pytest.mark.posix
@pytest.mark.parametrize(
    ("cell", "says", "code"),
    [
        ("!git clone https://host.invalid/a/b", "not run: git clone https://host.invalid/a/b\nhost.invalid does not answer", 1),
        ("address = 'https://host.invalid/a'\n!wget $address", "finds it there, if it is called a.", 1),
        ("!echo $((40 + 2)); curl https://host.invalid/a", "not run: echo $((40 + 2)); curl", 1),
        ("x = !git clone https://host.invalid/a/b\nprint(x)", "[]\n", 1),
        ("%%bash\necho $((40 + 2))\nwget https://host.invalid/a", "not run: echo $((40 + 2))\nwget", 1),
        ("%%sh\necho $((40 + 2))", "42\n", None),
        ("!mkdir -p b; touch b/file; echo made", "made", 0),
        ("!git clone https://host.invalid/a/b", "already there: b\n", 0),
        ("!git clone https://host.invalid/a/b; echo and on", "and on", 0),
        ("!echo kept > a.zip", "", 0),
        ("!wget https://host.invalid/a.zip", "already there: a.zip (host.invalid does not answer)", 0),
        ("!mkdir -p data/tool; touch data/tool/file data/w.h5; echo put", "put", 0),
        ("!git clone https://host.invalid/a/tool.git; ls tool", "file", 0),
        ("!wget -P weights https://host.invalid/w.h5", "copied: weights/w.h5 from ", 0),
        ("!wget https://host.invalid/w.h5; ls", "not run", 1),
        ("!echo index=$PIP_NO_INDEX; true || pip install a", "index=1", 0),
        ("!echo index=$PIP_NO_INDEX.", "index=.", 0),
    ],
)  # fmt: skip
def test_shell_lines_that_fetch_run_only_where_there_is_an_answer(
    desk: Desk, cell: str, says: str, code: int | None
) -> None:
    desk.run("_exit_code = None")
    outcome = desk.run(cell)
    assert outcome.status == "ok", outcome.text
    assert says in outcome.text
    assert ("42" in outcome.text) == (says == "42\n")
    if code is not None:
        assert desk.value("_exit_code") == code


@pytest.mark.posix
def test_shell_lines_that_reach_their_host_run(desk: Desk, web: WebServer) -> None:
    fetch = "python3 -c 'import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read())'"
    desk.run(f"def wget(where): return f'{fetch}'")
    assert (
        desk.run(f"!curl -s http://{web.host}/one || {fetch} http://{web.host}/one").text.count("/one") == 1
    )


@pytest.mark.posix
def test_a_proxy_of_the_environment_is_asked_instead(desk: Desk, web: WebServer) -> None:
    desk.run(
        f"import os; os.environ['https_proxy'] = 'http://{web.host}'; os.environ['no_proxy'] = 'inside.invalid'"
    )
    try:
        assert "not run" not in desk.run("!true || wget https://host.invalid/a").text
        assert "not run" in desk.run("!true || wget https://inside.invalid/a").text
    finally:
        desk.run("del os.environ['https_proxy'], os.environ['no_proxy']")


@pytest.mark.posix
def test_variables_are_filled_in_once(desk: Desk) -> None:
    desk.run("name = '$other {other}'; other = 'wrong'\ndef shout(word):\n    !echo $word {word} $$HOME")
    assert desk.run("!echo '{name}'").text.strip() == "$other {other}"
    assert desk.run("shout('local')").text.split()[:2] == ["local", "local"]
    desk.run("lines = !echo '{name}'; echo two")
    assert desk.value("list(lines)") == ["$other {other}", "two"]
