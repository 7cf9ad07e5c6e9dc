"""Pictures of nuclei to train on: bright ellipses on a noisy ground, and their masks. The same ones every time."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Sequence
from pathlib import Path

SIZE = 128
"""Width and height, pixels: about 16 nuclei fit, and the network's patch is the whole picture."""

PARTS = {"training": 12, "test": 3}
"""Folders, with the number of pictures in each."""

_SEED = 42
_SHORT, _LONG = 3, 4


def write(folder: Path) -> None:
    """Makes PART/images/*.tif and PART/masks/*.tif of the same names, 16 bits."""
    rng = random.Random(_SEED)
    for part, count in PARTS.items():
        for kind in ("images", "masks"):
            (folder / part / kind).mkdir(parents=True)
        for number in range(count):
            picture, mask = _nuclei(rng)
            (folder / part / "images" / f"nuclei_{number:02d}.tif").write_bytes(_tiff(picture))
            (folder / part / "masks" / f"nuclei_{number:02d}.tif").write_bytes(_tiff(mask))


def _nuclei(rng: random.Random) -> tuple[list[int], list[int]]:
    """A picture and its mask, in which every nucleus has a number of its own; nuclei do not touch."""
    mask = [0] * SIZE**2
    picture = [rng.gauss(300, 40) for _ in mask]
    for number in range(1, 25):
        inside = _ellipse(rng)
        brightness = rng.uniform(1500, 3000)
        if any(mask[pixel] for pixel in inside):
            continue
        for pixel in inside:
            mask[pixel] = number
            picture[pixel] += brightness
    return [max(0, round(value)) for value in picture], mask


def _ellipse(rng: random.Random) -> list[int]:
    """The pixels of an ellipse with axes of 12 to 18 pixels, anywhere in the picture."""
    y, x = rng.uniform(8, SIZE - 8), rng.uniform(8, SIZE - 8)
    a, b, turn = rng.uniform(6, 9), rng.uniform(6, 9), rng.uniform(0, math.pi)
    along, across = math.cos(turn), math.sin(turn)
    return [
        row * SIZE + column
        for row in range(SIZE)
        for column in range(SIZE)
        if (((column - x) * along + (row - y) * across) / a) ** 2
        + (((row - y) * along - (column - x) * across) / b) ** 2
        <= 1
    ]


def _tiff(pixels: Sequence[int]) -> bytes:
    """A grey TIFF of 16 bits in one strip, little endian (TIFF 6.0, section 4)."""
    strip = struct.pack(f"<{len(pixels)}H", *pixels)
    start = 8
    entries = [
        (256, _SHORT, SIZE),
        (257, _SHORT, SIZE),
        (258, _SHORT, 16),
        (259, _SHORT, 1),
        (262, _SHORT, 1),
        (273, _LONG, start),
        (277, _SHORT, 1),
        (278, _SHORT, SIZE),
        (279, _LONG, len(strip)),
    ]
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    header = struct.pack("<2sHI", b"II", 42, start + len(strip))
    return header + strip + struct.pack("<H", len(entries)) + directory + bytes(4)
