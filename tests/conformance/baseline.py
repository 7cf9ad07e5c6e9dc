"""spython's converter on one Dockerfile of the current folder; the definition goes to standard output."""

from __future__ import annotations

import contextlib
import sys

from spython.main.parse.parsers import DockerParser
from spython.main.parse.writers import SingularityWriter


def main(dockerfile: str) -> str:
    # It talks while it reads.
    with contextlib.redirect_stdout(sys.stderr):
        return SingularityWriter(DockerParser(dockerfile).parse()).convert()


if __name__ == "__main__":
    print(main(sys.argv[1]))
