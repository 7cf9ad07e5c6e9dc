"""Pretrained weights inside a session's container: bound read-only, found by libraries that may write beside them.

The files lie on shared disk, for all sessions. A library is given a folder of the compute node that holds links to
them: there it may lock, list and add files as it likes, and the next session begins afresh.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from dl4mic_hpc.catalog.weights import NOTEBOOK, ROOTS, Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsBind:
    """The weights that a job finds in `folder` on the cluster. `files` may be fewer than the notebook wants."""

    folder: PurePosixPath
    files: tuple[Weights, ...]

    @property
    def variables(self) -> dict[str, str]:
        """By the libraries that are given files: the variable that names the library's folder."""
        return {root: ROOTS[root] for root in sorted({one.root for one in self.files} - {NOTEBOOK})}

    @property
    def links(self) -> Iterable[tuple[str, str, str]]:
        """Of each file: its place in `folder`, its place among the libraries' folders or "", and its address."""
        for one in self.files:
            yield one.stored, "" if one.root == NOTEBOOK else f"{one.root}/{one.path}", one.url
