"""Makes images of one colour, as valid PNG files."""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib


def make_png(seed: str, side: int = 16) -> bytes:
    """Return a square of one colour as a PNG file, the same for the same seed.

    `side` is in pixels.
    """
    colour = hashlib.sha256(seed.encode(errors="replace")).digest()[:3]
    rows = zlib.compress((b"\x00" + colour * side) * side)

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def encode_picture(seed: str) -> str:
    """Return the image of `make_png` in base64."""
    return base64.b64encode(make_png(seed)).decode()
