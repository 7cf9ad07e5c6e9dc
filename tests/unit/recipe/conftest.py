"""What some platforms have not: left out there, not skipped."""

from __future__ import annotations

import platform
import sys

collect_ignore: list[str] = []
if sys.platform != "linux":
    # BuildKit's vectors come from a Debian or Ubuntu package.
    collect_ignore.append("test_recipe_vectors.py")
if (sys.platform, platform.machine()) != ("linux", "x86_64"):
    # The package `dockerfile` has wheels for no other.
    collect_ignore.append("test_recipe_parser_fuzz.py")
