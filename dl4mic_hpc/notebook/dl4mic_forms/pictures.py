"""Shows pictures as Colab's replacement of cv2.imshow does. Python 3.7 syntax only."""

from __future__ import annotations

import struct
import zlib
from typing import Any

from IPython.display import Image, display


def show(picture: Any) -> None:
    """Shows an array of shape (height, width), or (height, width, 3 or 4) in OpenCV's order blue, green, red, alpha."""
    pixels = picture.clip(0, 255).astype("uint8")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    elif pixels.ndim == 3:
        pixels = pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    display(Image(data=png(pixels.shape[1], pixels.shape[0], channels, pixels.tobytes())))


def png(width: int, height: int, channels: int, pixels: bytes) -> bytes:
    """A PNG file of bytes in the order of rows, then columns, then channels: grey (1), red green blue (3), alpha (4).

    Written by hand (https://www.w3.org/TR/png-3/), because no one library is in every image.
    """
    kind, row = {1: 0, 3: 2, 4: 6}[channels], width * channels
    lines = b"".join(b"\0" + pixels[at : at + row] for at in range(0, height * row, row))
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )
