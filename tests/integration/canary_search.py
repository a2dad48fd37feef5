"""Finds a canary in files, outputs and replies, in any encoding."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

_MIN_CORE_CHARS = 10


def encodings_of(secret: str) -> dict[str, str]:
    """Return a text in every encoding, by name; base64 in every alignment."""
    data = secret.encode()
    found = {
        "plain": secret,
        "upper": secret.upper(),
        "reversed": secret[::-1],
        "percent": "".join(f"%{byte:02X}" for byte in data),
        "percent twice": "".join(f"%25{byte:02x}" for byte in data),
        "hex": data.hex(),
        "hex with colons": data.hex(":"),
        "JSON escapes": "".join(f"\\u{ord(char):04x}" for char in secret),
        "HTML escapes": "".join(f"&#{ord(char)};" for char in secret),
        "zero width": "\u200b".join(secret),
    }
    for before in range(3):
        found[f"base64, {before} before"] = b64encode(b"xyz"[:before] + data).decode()
    return found


def find_canary(canary: str, places: dict[str, bytes]) -> list[str]:
    """Return the places that contain the canary, or one of its halves, in any encoding."""
    half = max(_MIN_CORE_CHARS, len(canary) // 2)
    pieces = {canary, canary[:half], canary[-half:]}
    needles = {needle for piece in pieces for needle in _needles(piece)}
    return [
        name
        for name, content in places.items()
        if any(needle in lowered for lowered in (content.lower(),) for needle in needles)
    ]


def read_places(*folders: Path) -> dict[str, bytes]:
    """Return the contents of every file below these folders."""
    return {
        str(file): file.read_bytes()
        for folder in folders
        for file in folder.rglob("*")
        if file.is_file()
    }


def _needles(text: str) -> set[bytes]:
    """Return what to search for, in lower case; of base64 only what no neighbour changes."""
    plain = {one for name, one in encodings_of(text).items() if not name.startswith("base64")}
    cores: set[str] = set()
    for before, skipped in ((0, 0), (1, 2), (2, 3)):
        encoded = b64encode(bytes(before) + text.encode()).rstrip(b"=").decode()
        cores.add(encoded[skipped:-1])
    return {one.lower().encode() for one in plain | cores} | {text.lower().encode("utf-16-le")}
