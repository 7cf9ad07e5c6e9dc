"""Installs are taken out, and nothing else."""

from __future__ import annotations

import ast

import pytest
from IPython.core.inputtransformer2 import TransformerManager

from dl4mic_hpc.notebook.installs import by_python, drop

LEFT_OUT = "# left out: "


@pytest.mark.parametrize(
    ("line", "requirements"),
    [
        ("!pip install -q wget==3.2 'a[b]>=0.5,<0.6' # tools", ("wget==3.2", "a[b]>=0.5,<0.6")),
        ("%pip install x", ("x",)),
        ("!!pip3.9 install x", ("x",)),
        ("!pip uninstall -y numpy", ()),
        ("!pip install tqdm>=4.41.0 > /dev/null 2>&1", ("tqdm>=4.41.0",)),
        ("!pip install -U -i https://e.x/simple --find-links=f y > log", ("y",)),
        ("!pip install -r r.txt -e folder .", ("-r r.txt", "-e folder", ".")),
        ("!pip install --requirement=r.txt", ("-r r.txt",)),
        ("!{sys.executable} -m pip install a", ("a",)),
        ("!python3 -W ignore -m pip install a", ("a",)),
        ("!uv pip install a", ("a",)),
        ("%conda install -y -c conda-forge p=1.2", ("p=1.2",)),
        ("!/opt/conda/bin/mamba remove p", ()),
        ("!sudo -H apt-get -qq install x", ()),
        ("!DEBIAN_FRONTEND=noninteractive apt update", ()),
        ("!apt update && apt install x", ()),
        ("!yes | pip uninstall x", ()),
        ("!cd there && pip install .", (".",)),
        ("!if ! type x; then pip install y; fi", ()),
        ("!(cd x; pip install .)", ()),
        ("%sx pip install x", ("x",)),
        ("%shell pip install x", ("x",)),
    ],
)
def test_an_install_becomes_a_comment(line: str, requirements: tuple[str, ...]) -> None:
    source, (dropped,) = drop(line)
    assert source == LEFT_OUT + line
    assert (dropped.line, dropped.text) == (1, line)
    assert dropped.requirements == requirements


@pytest.mark.parametrize(
    "source",
    [
        "!pip freeze > $path",
        "!pip list | grep x",
        "!conda info",
        "!echo pip install x",
        "# !pip install x",
        "s = '''\n!pip install x\n'''",
        "x = {\n'!pip install': 1}",
        "!git clone https://e.x/y\n%cd y\n!ls",
        "%%writefile setup.sh\npip install x",
        "exit(0)",
        "!python -m pip\n!python train.py install",
        "import pip",
    ],
)
def test_everything_else_stays(source: str) -> None:
    assert drop(source) == (source, ())


@pytest.mark.parametrize(
    ("source", "becomes"),
    [
        ("!git clone u/r; cd r; pip install -q .", "!git clone u/r; cd r"),
        ("!pip install a && wget u", "!wget u"),
        ("!wget u && pip install a && unzip b", "!wget u && unzip b"),
        ("!pip install a || echo failed; ls", "!ls"),
        ("!ls || pip install a", "!ls"),
        ("!ls 2>&1 & pip install a", "!ls 2>&1"),
        ("!echo 'a; pip install b'; pip install c", "!echo 'a; pip install b'"),
        ("out = !pip install x", "out = []  # left out: out = !pip install x"),
        ("x = 1\n!pip install a \\\n  b\ny = 2", "x = 1\n# left out: !pip install a\n#   b\ny = 2"),
        ("!wget u; pip install a \\\n  b", "!wget u\n"),
        ("if a:\n  !pip install b\nelse:\n  c", "if a:\n  pass  # left out: !pip install b\nelse:\n  c"),
        ("try:\n\t%pip install b \\\n\tc\nexcept E: pass", "try:\n\tpass  # left out: %pip install b\n\t#   c\nexcept E: pass"),
        ("%%bash\nif a; then\n  pip install b\nfi", "%%bash\nif a; then\n  :  # left out: pip install b\nfi"),
        ("%%capture\n!pip install a\nimport a", "%%capture\n# left out: !pip install a\nimport a"),
        ("!pip install a\n# again\nexit(0)", "# left out: !pip install a\n# again\n# left out: exit(0)"),
        (
            "if a:\n  !pip install b\n  import os\n  os.kill(os.getpid(), 9)",
            "if a:\n  pass  # left out: !pip install b\n  import os\n  pass  # left out: os.kill(os.getpid(), 9)",
        ),
        ("!pip install a\nif not ok:\n  exit()", "# left out: !pip install a\nif not ok:\n  exit()"),
    ],
)  # fmt: skip
def test_what_a_line_does_besides_stays(source: str, becomes: str) -> None:
    result, dropped = drop(source)
    assert result == becomes
    assert dropped
    assert result.count("\n") == source.count("\n")
    ast.parse(TransformerManager().transform_cell(result))


@pytest.mark.parametrize(
    ("source", "line", "says"),
    [
        ("x\nsubprocess.check_call([sys.executable, '-m', 'pip', 'install', 'a'])", 2, "installs"),
        ("os.system('pip install a')", 1, "installs"),
        ("os.system('apt-get install a -qq')", 1, "installs"),
        ("get_ipython().system('pip install a')", 1, "installs"),
        ("condacolab.install()", 1, "installs"),
        ("!python setup.py install", 1, "installs"),
        ("os._exit(00)", 1, "ends the kernel"),
    ],
)
def test_what_installs_otherwise_is_pointed_to(source: str, line: int, says: str) -> None:
    ((found, text),) = by_python(source)
    assert found == line
    assert says in text
    assert drop(source) == (source, ())
