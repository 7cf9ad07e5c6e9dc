"""Does an image hold what its notebook needs? Tried inside the image, without a cluster and without a GPU.

`request` is what is asked, `judge` what the answer means; both are values in, values out.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from dl4mic_hpc import __version__, notebook
from dl4mic_hpc.catalog import NotebookSpec
from dl4mic_hpc.errors import ImageError
from dl4mic_hpc.images import local
from dl4mic_hpc.notebook import Converted, imports

Verdict = Literal["ok", "unfit", "gpu", "unknown"]

_REQUEST, _RESULT = ".dl4mic-request.json", ".dl4mic-result.json"
_ENTRY = """\
export HOME=/home TMPDIR=/tmp PYTHONUNBUFFERED=1 IPYTHONDIR=/tmp/ipython MPLCONFIGDIR=/tmp/matplotlib \\
    NUMBA_CACHE_DIR=/tmp/numba XDG_CACHE_HOME=/tmp/cache XDG_RUNTIME_DIR=/tmp/runtime
mkdir -p "$XDG_RUNTIME_DIR"
lab=$(command -v jupyter-lab) || { echo 'error: there is no jupyter-lab in the image' >&2; exit 72; }
# The Python that it runs with. Where that has a long name, pip writes a shell's first.
python=$(sed -n "1s/^#! *//p; 2s/^'''exec' \\"*\\([^\\" ]*\\).*/\\1/p" "$lab" | tail -n 1)
exec ${python:-python3} -m dl4mic_forms.image_check "$1" "$2"
"""
_NEEDS_GPU = re.compile(
    r"libcuda\.so|libnvidia-|nvidia driver|cuda driver|no cuda-capable|no cuda gpus|cuinit|nvml", re.I
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """verdict gpu: it fails here as it does on every computer without a GPU; unknown: it cannot be told here."""

    what: str
    verdict: Verdict
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came of it. `key`: of the image's recipe, "" for an image of another make; `sha256`: of the file tried.

    `packages` are those that the image holds, name and version.
    """

    notebook: str
    title: str
    image: str
    size: int
    sha256: str
    key: str
    tested: str
    program: str
    apptainer: str
    python: str
    jupyterlab: str
    findings: tuple[Finding, ...]
    packages: Mapping[str, str]

    @property
    def fits(self) -> bool:
        return all(one.verdict != "unfit" for one in self.findings)

    def as_json(self) -> dict[str, Any]:
        facts = asdict(self)
        findings, packages = facts.pop("findings"), facts.pop("packages")
        return {"version": 1, **facts, "fits": self.fits, "findings": list(findings), "packages": packages}


def run(image: Path, spec: NotebookSpec, *, said: Callable[[str], None] = lambda line: None) -> Trial:
    """Tries the image with `spec`'s notebook, whose files are on this computer. ImageError if it cannot be started."""
    converted = notebook.convert(
        spec.read_notebook(),
        name=spec.notebook_file,
        sections_to_remove=spec.sections_to_remove,
        python=spec.python_version,
    )
    if not converted.runtime:
        raise ImageError(
            f"{spec.id} runs on Python {spec.python_version}, and images are tried with Python 3.7 or newer",
            hint="launch it and look",
        )
    with tempfile.TemporaryDirectory(prefix="dl4mic-home-") as name:
        home = Path(name)
        for path, content in {**notebook.runtime_files(), "entry.sh": _ENTRY.encode()}.items():
            (home / path).parent.mkdir(exist_ok=True)
            (home / path).write_bytes(content)
        for folder in ("data", "results"):
            (home / folder).mkdir()
        (home / _REQUEST).write_text(json.dumps(request(converted)), encoding="utf-8")
        local.execute(image, "/bin/sh", "/home/entry.sh", _REQUEST, _RESULT, home=home, said=said)
        try:
            found = json.loads((home / _RESULT).read_bytes())
        except (OSError, ValueError) as error:
            raise ImageError(
                f"{image.name} was started and left no word of what is in it",
                hint="look at what it said above",
            ) from error
    with image.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Trial(
        notebook=spec.id,
        title=spec.title,
        image=image.name,
        size=image.stat().st_size,
        sha256=sha256,
        key=found["key"],
        tested=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        program=f"dl4mic-hpc {__version__}",
        apptainer=local.version(),
        python=found["python"],
        jupyterlab=found["jupyterlab"],
        findings=tuple(judge(found, converted, requirements=spec.read_requirements().decode("utf-8-sig"))),
        packages=dict(sorted(found["packages"].items(), key=lambda each: canonicalize_name(each[0]))),
    )


def request(converted: Converted) -> dict[str, Any]:
    """What dl4mic_forms/image_check.py is asked inside the image."""
    return {"imports": imports.of(converted.notebook), "start": imports.start(converted.notebook)}


def judge(found: Mapping[str, Any], converted: Converted, *, requirements: str) -> Iterator[Finding]:
    """What it means that image_check.py has found this."""
    yield _plain("JupyterLab", found["lab"], f"{found['jupyterlab']} starts and serves its page")
    yield _plain("kernel", found["kernel"], f"Python {found['python']} computes")
    if converted.fields:
        yield _front_end(found["front_end"])
    yield from _imports(found["imports"], fetched=bool(converted.report.clones))
    yield from _requirements(found["packages"], requirements, python=found["python"])


def _plain(what: str, problem: str, otherwise: str) -> Finding:
    return Finding(what=what, verdict="unfit" if problem else "ok", detail=problem or otherwise)


def _front_end(said: str) -> Finding:
    word, _, why = said.partition(": ")
    verdict: Verdict = "ok" if word == "fits" else "unfit" if word == "unfit" else "unknown"
    return Finding(
        what="forms", verdict=verdict, detail=why or "its front end for widgets fits its JupyterLab"
    )


def _imports(answers: Mapping[str, Mapping[str, str]], *, fetched: bool) -> Iterator[Finding]:
    good = [module for module, wrong in answers.items() if not wrong]
    if good:
        yield Finding(what="imports", verdict="ok", detail=", ".join(good))
    for module, wrong in answers.items():
        if not wrong:
            continue
        verdict: Verdict = "unfit"
        if _NEEDS_GPU.search(wrong["text"]):
            verdict = "gpu"
        elif fetched and wrong["error"] == "ModuleNotFoundError":
            verdict = "unknown"  # it may lie in what the notebook clones, which a launch brings along
        detail = f"{wrong['statement']}: {wrong['error']}: {wrong['text']}"
        yield Finding(what=f"import {module}", verdict=verdict, detail=detail)


def _requirements(packages: Mapping[str, str], text: str, *, python: str) -> Iterator[Finding]:
    """Whether what the requirements name is there, in a version that they allow."""
    there = {canonicalize_name(name): version for name, version in packages.items()}
    environment = {
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "os_name": "posix",
    }
    good = 0
    for line in re.sub(r"\\\s*\n", " ", text).splitlines():
        words = re.split(r"(?:^|\s)#|\s--hash\b", line)[0].strip()
        try:
            wanted = Requirement(words)
        except InvalidRequirement:
            continue  # an option of pip, or an address without a name
        if wanted.marker is not None and not wanted.marker.evaluate(environment):
            continue
        version = there.get(canonicalize_name(wanted.name))
        if version is not None and wanted.specifier.contains(version, prereleases=True):
            good += 1
            continue
        has = f"the image has {version}" if version else "the image has none"
        yield Finding(what=f"requirement {wanted.name}", verdict="unfit", detail=f"{words}: {has}")
    yield Finding(what="requirements", verdict="ok", detail=f"{good} are there as they are pinned")
