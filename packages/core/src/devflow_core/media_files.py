"""Reads images, documents, sound and video for a request; finds their kind, limits their size."""

from __future__ import annotations

import mimetypes
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from devflow_core.errors import InvalidRequest

MediaKind = Literal["image", "file", "audio", "video"]
MAX_MEDIA_BYTES = 20 * 1024 * 1024
"""The size of the largest file that is put into a request.

In base64 it is a third longer, and providers refuse bodies of 32 MB and more (Anthropic's limit in
November 2026).
"""
_START_BYTES = 64
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mp3"),
    (b"\xff\xfb", "audio/mp3"),
    (b"\xff\xf3", "audio/mp3"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"\x1aE\xdf\xa3", "video/webm"),
)
"""The bytes that a file of each type begins with (from the types' specifications)."""
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS = {b"M4A ": "audio/m4a", b"qt  ": "video/quicktime", b"heic": "image/heic"}
"""Types of files in ISO's base media format, by brand; all others but `avif` are MP4 videos."""
_HOW = (
    "Name its type, as in media_type='application/pdf', or send text as text: "
    "ChatRequest.from_text(path.read_text())."
)


@dataclass(frozen=True, slots=True)
class MediaSource:
    """The bytes of media, with what they are."""

    kind: MediaKind
    media_type: str
    content: bytes


def read_media(path: str | Path, media_type: str | None = None) -> MediaSource:
    """Read a file for a request.

    Args:
        path: of a regular file; `~` is the home.
        media_type: its MIME type; None: found from its first bytes.

    Raises:
        InvalidRequest: the file is missing, unreadable, empty, too large or of an unknown type.
    """
    file = Path(path).expanduser()
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise InvalidRequest(f"{file}: is not a file. Name one image or document.")
        if found.st_size > MAX_MEDIA_BYTES:
            raise _too_large(str(file), found.st_size)
        content = file.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidRequest(
            f"{file}: cannot be read ({reason}). Check the path and its permissions."
        ) from error
    return check_media(content, media_type, name=str(file))


def check_media(
    content: bytes, media_type: str | None = None, *, name: str = "media"
) -> MediaSource:
    """Return bytes with their kind.

    Args:
        content: the whole file.
        media_type: its MIME type; None: found from its first bytes.
        name: what messages call it.

    Raises:
        InvalidRequest: there are no bytes, too many, or of an unknown type.
    """
    if not content:
        raise InvalidRequest(f"{name}: is empty. Send a file that holds something.")
    if len(content) > MAX_MEDIA_BYTES:
        raise _too_large(name, len(content))
    known = media_type or sniff(content[:_START_BYTES])
    if known is None:
        raise InvalidRequest(f"{name}: its first bytes are of no type that models read. {_HOW}")
    return MediaSource(kind_of(known), known, content)


def sniff(start: bytes) -> str | None:
    """Return the MIME type of a file that begins with these bytes; None if it is unknown."""
    for signature, media_type in _SIGNATURES:
        if start.startswith(signature):
            return media_type
    if start.startswith(b"RIFF"):
        return _RIFF.get(start[8:12])
    if start[4:8] == b"ftyp":
        brand = start[8:12]
        return "image/avif" if brand == b"avif" else _BRANDS.get(brand, "video/mp4")
    return None


def kind_of(media_type: str) -> MediaKind:
    """Return the kind of media of a MIME type: `file` unless it is an image, audio or a video."""
    match media_type.partition("/")[0]:
        case "image":
            return "image"
        case "audio":
            return "audio"
        case "video":
            return "video"
        case _:
            return "file"


def kind_of_url(url: str, kind: MediaKind | None = None) -> MediaKind:
    """Return the kind of media that a URL names by its ending; nothing is fetched.

    Args:
        url: begins with `https://` or `http://`.
        kind: what is there, if the caller knows.

    Raises:
        InvalidRequest: it is not a web address, or no kind is given and its ending says nothing.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidRequest(
            "A URL of media begins with https:// or http:// and names a host. For a file on this "
            "machine use Media.from_path."
        )
    if kind is not None:
        return kind
    guessed = mimetypes.guess_type(f"x{Path(parts.path).suffix.lower()}", strict=False)[0]
    if guessed is None:
        raise InvalidRequest(
            "The URL does not end like a file of a known type. Say what is there: "
            "Media.from_url(url, kind='image')."
        )
    return kind_of(guessed)


def _too_large(name: str, size: int) -> InvalidRequest:
    return InvalidRequest(
        f"{name}: has {size / 2**20:.1f} MB, and at most {MAX_MEDIA_BYTES // 2**20} MB fit into a "
        "request. Send a smaller one (an image of 1,600 pixels is enough for every model), or put "
        "it on the web and send Media.from_url."
    )
