"""What converting a recipe costs, and what the converted image costs to build.

1. CPU time of converting a recipe with the shapes of the notebooks' GPU recipes, once all modules are loaded. Bar:
   50 ms. `--recipe FILE` takes another, with `--build-arg NAME=VALUE`.
2. Time of `apptainer build` for a bundle, against a definition written by hand for the same image, in turn. Bar:
   1.10 times by the median; a bar inside the spread is undecided. In the container of `make conformance`.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dl4mic_hpc.recipe.bundle import convert
from dl4mic_hpc.recipe.outside import Outside
from dl4mic_hpc.recipe.steps import BaseImage, Git, ImageConfig, Url
from dl4mic_hpc.sources.resolver import Resolver
from tests.conformance import oracle

STAND_IN = Path(__file__).parent / "recipe" / "Dockerfile.gpu"
ARGUMENTS = {
    "RELEASE": "22.04",
    "CUDA": "11.8.0",
    "CUDNN": "8.6.0.163",
    "PYTHON": "3.10",
    "NOTEBOOK": "https://notebooks.example/Notebook.ipynb",
    "REQUIREMENTS": "https://notebooks.example/requirements.txt",
    "SECTIONS": "1.1. 1.2. 2. 6.3.",
    "NAME": "Notebook.ipynb",
    "GPU": "1",
}
CONVERSIONS, BUILDS = 50, 5
CPU_BAR, BUILD_BAR = 50.0, 1.10

RECIPE = """\
FROM base.example/glibc:1
ENV GREETING="hello there" PATH=/opt/tool/bin:$PATH
WORKDIR /opt/data
COPY data ./
RUN cat *.bin | sha256sum > sum
RUN for i in $(seq 400); do mkdir -p "/opt/tool/$i/a/b" && cp sum "/opt/tool/$i/a/b/sum"; done
RUN mkdir -p /opt/tool/bin && printf '#!/bin/sh\\necho tool\\n' > /opt/tool/bin/tool && chmod 755 /opt/tool/bin/tool
RUN tool && xz -T1 -1 -k 0.bin && rm 0.bin.xz
LABEL kind=benchmark
CMD ["tool"]
"""
BY_HAND = """\
Bootstrap: oci-archive
From: {archive}

%files
    data /opt/data

%post
    umask 0022
    export GREETING="hello there" PATH=/opt/tool/bin:$PATH
    cd /opt/data
    cat *.bin | sha256sum > sum
    for i in $(seq 400); do mkdir -p "/opt/tool/$i/a/b" && cp sum "/opt/tool/$i/a/b/sum"; done
    mkdir -p /opt/tool/bin && printf '#!/bin/sh\\necho tool\\n' > /opt/tool/bin/tool && chmod 755 /opt/tool/bin/tool
    tool && xz -T1 -1 -k 0.bin && rm 0.bin.xz

%environment
    export GREETING="hello there" PATH=/opt/tool/bin:$PATH

%labels
    kind benchmark

%runscript
    cd /opt/data
    [ $# -gt 0 ] || set -- tool
    exec "$@"
"""
BUILD = """
set -eu
rm -rf /oracle/bench && mkdir -m 0777 /oracle/bench && cp -R "$1/." /oracle/bench
cd /oracle/bench && mkdir t c && chown -R ada .
exec setpriv --reuid ada --regid ada --init-groups env HOME=/home/ada APPTAINER_TMPDIR=/oracle/bench/t \\
    APPTAINER_CACHEDIR=/oracle/bench/c sh -c '
    start=$(date +%s%N)
    if [ -f build.sh ]; then sh build.sh image.sif; else apptainer build --fakeroot image.sif image.def; fi > log 2>&1 \\
        || { tail -n 20 log >&2; exit 1; }
    echo $(($(date +%s%N) - start))'
"""
"""Prints the nanoseconds of one build of the folder $1; the second way is the one that people write by hand."""


class Canned(Outside):
    """Base images with a configuration, one file for every address: no network takes part."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def base(self, reference: str, *, platform: str) -> BaseImage:
        path = ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        config = ImageConfig(environment=(path,), command=("bash",))
        return BaseImage(reference=reference, platform=platform, digest=f"sha256:{'0' * 64}", config=config)

    def url(self, url: Url) -> Path:
        return self.file

    def git(self, git: Git) -> Path:
        return self.file.parent


def conversion(recipe: Path, build_args: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        (context / "file").write_text("one file\n", encoding="utf-8")
        times = []
        for _ in range(CONVERSIONS + 1):
            start = time.process_time()
            convert(recipe, context=context, build_args=build_args, outside=Canned(context / "file"))
            times.append(1000 * (time.process_time() - start))
    first, *rest = times
    print(
        f"conversion          {statistics.median(rest):.1f} ms of CPU (bar: {CPU_BAR:.0f} ms; {len(rest)} times, "
        f"{min(rest):.1f} to {max(rest):.1f}; the first {first:.1f})"
    )


def building() -> None:
    found = oracle.start(lambda text: print(text, file=sys.stderr))
    folder = oracle.CACHE / "bench"
    context, ours, by_hand = folder / "context", folder / "ours", folder / "by-hand"
    for data in (context / "data", by_hand / "data"):
        data.mkdir(parents=True, exist_ok=True)
        for number in range(8):
            (data / f"{number}.bin").write_bytes(bytes(range(number, number + 200)) * 40_000)
    (context / "Dockerfile").write_text(RECIPE, encoding="utf-8")
    shutil.rmtree(ours, ignore_errors=True)
    sources = Resolver(folder=oracle.CACHE / "sources", base_map=found.bases(found.here))
    convert(
        context / "Dockerfile", context=context, build_args={}, outside=sources, pin=True, exact=True
    ).write(ours)
    (by_hand / "image.def").write_text(BY_HAND.format(archive=found.there / "glibc.tar"), encoding="utf-8")

    def seconds(which: Path) -> float:
        words = ("exec", found.container, "sh", "-c", BUILD, "sh", oracle.inside(which))
        return int(found.engine.run(*words, timeout=600).split()[-1]) / 1e9

    mine, theirs = [], []
    seconds(by_hand)
    for _ in range(BUILDS):
        mine.append(seconds(ours))
        theirs.append(seconds(by_hand))
    ratios = sorted(a / b for a, b in zip(mine, theirs, strict=True))
    print(f"build of a bundle   {statistics.median(mine):.2f} s ({min(mine):.2f} to {max(mine):.2f})")
    print(f"written by hand     {statistics.median(theirs):.2f} s ({min(theirs):.2f} to {max(theirs):.2f})")
    print(
        f"ratio               {statistics.median(ratios):.2f} (bar: {BUILD_BAR:.2f}; {BUILDS} pairs, "
        f"{ratios[0]:.2f} to {ratios[-1]:.2f}): {verdict(ratios)}"
    )


def verdict(ratios: list[float]) -> str:
    """A bar that lies inside the spread decides nothing."""
    if ratios[0] <= BUILD_BAR <= ratios[-1]:
        return "undecided, the bar lies inside the spread"
    return "met" if ratios[-1] < BUILD_BAR else "missed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--recipe", type=Path, help="another Dockerfile to convert")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--no-build", action="store_true", help="measure the conversion alone")
    said = parser.parse_args()
    given = dict(word.partition("=")[::2] for word in said.build_arg)
    conversion(said.recipe or STAND_IN, given if said.recipe else ARGUMENTS)
    if not said.no_build:
        building()


if __name__ == "__main__":
    main()
