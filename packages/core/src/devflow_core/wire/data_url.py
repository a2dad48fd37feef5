"""Converts between media and URLs, including `data:` URLs."""

from __future__ import annotations

from devflow_core.media_files import MediaKind
from devflow_core.messages import CacheTtl, Media


def media_from_url(
    kind: MediaKind,
    url: str,
    *,
    name: str | None = None,
    detail: str | None = None,
    cache_ttl: CacheTtl | None = None,
) -> Media:
    """Return the media of a URL; a base64 `data:` URL becomes content, any other stays a URL.

    Args:
        kind: the kind of media.
        url: the URL.
        name: the file's name, if it was given.
        detail: how closely an image is to be looked at, if it was given.
        cache_ttl: how long the part is to be cached; None: it is not.
    """
    head, comma, content = url.partition(",")
    if comma and head.startswith("data:") and head.endswith(";base64"):
        return Media(
            kind=kind,
            media_type=head[5:-7] or None,
            base64=content,
            name=name,
            detail=detail,
            cache_ttl=cache_ttl,
        )
    return Media(kind=kind, url=url, name=name, detail=detail, cache_ttl=cache_ttl)


_DEFAULT_TYPES: dict[MediaKind, str] = {
    "image": "image/png",
    "file": "application/octet-stream",
    "audio": "audio/wav",
    "video": "video/mp4",
}


def url_of(media: Media) -> str:
    """Return the media as one URL: its own, or a base64 `data:` URL of its content."""
    if media.url is not None:
        return media.url
    return f"data:{media.media_type or _DEFAULT_TYPES[media.kind]};base64,{media.base64 or ''}"
