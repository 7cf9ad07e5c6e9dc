"""What a site offers: sinfo's answer as values."""

from __future__ import annotations

import re
from dataclasses import dataclass

SINFO_COMMAND = ("sinfo", "--noheader", "--format=%R|%a|%l|%D|%t|%G")


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One partition; `gpus` counts GPUs per node by type ("" where the site gives no types)."""

    name: str
    available: bool
    time_limit: str
    nodes: int
    gpus: dict[str, int]


def parse_sinfo(text: str) -> dict[str, Partition]:
    """Partitions by name; a partition's several lines (one per node state and GRES) are added up."""
    found: dict[str, Partition] = {}
    for line in text.splitlines():
        fields = line.strip().split("|")
        if len(fields) != 6 or not fields[3].isdigit():
            continue
        name, up, limit, nodes, _state, gres = fields
        before = found.get(name)
        gpus = dict(before.gpus) if before else {}
        for kind, count in parse_gres(gres).items():
            gpus[kind] = max(count, gpus.get(kind, 0))
        found[name] = Partition(
            name=name,
            available=up == "up",
            time_limit=limit,
            nodes=int(nodes) + (before.nodes if before else 0),
            gpus=gpus,
        )
    return found


def parse_gres(text: str) -> dict[str, int]:
    """GPUs per type in a node's GRES ("gpu:a100:2(S:0-1),lustre:1" -> {"a100": 2})."""
    gpus: dict[str, int] = {}
    for entry in re.sub(r"\([^)]*\)", "", text).split(","):
        parts = entry.split(":")
        if parts[0] != "gpu":
            continue
        kind = parts[1] if len(parts) > 2 else ""
        count = parts[-1] if len(parts) > 1 and parts[-1].isdigit() else "1"
        gpus[kind] = gpus.get(kind, 0) + int(count)
    return gpus
