"""Reads the PDFs of a request and counts their pages, since reading is billed by the page."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import cast

from devflow_sandbox.message import JsonObject

_PAGE = re.compile(rb"/Type\s*/Page\b(?!s)")
_PDF = "application/pdf"
_MAX_LINKED_PAGES = 20
"""A linked PDF is not fetched; its URL decides a page count from 1 to this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One PDF of a request."""

    name: str
    hash: str
    """The SHA-256 of the data or URL as sent; a PDF whose hash a client sends back is not read."""
    pages: int
    """The number of pages, at least 1."""


def read_document(part: JsonObject) -> Document | None:
    """Return the PDF in a message part of any dialect; None for other files."""
    inner = part.get("file") or part.get("source") or part
    if not isinstance(inner, dict):
        return None
    holder = cast(JsonObject, inner)
    data = holder.get("file_data") or holder.get("data")
    url = holder.get("file_url") or holder.get("url")
    name = str(holder.get("filename") or part.get("title") or "document.pdf")
    text = data if isinstance(data, str) else url if isinstance(url, str) else ""
    if not text or not _is_pdf(text, str(holder.get("media_type") or ""), name):
        return None
    digest = hashlib.sha256(text.encode(errors="replace"))
    pages = 1 + digest.digest()[0] % _MAX_LINKED_PAGES
    if not text.startswith(("http://", "https://")):
        # a PDF with compressed page objects counts as one page
        pages = max(1, len(_PAGE.findall(_decode(text.rpartition(",")[2]))))
    return Document(name=name, hash=digest.hexdigest(), pages=pages)


def _is_pdf(text: str, media_type: str, name: str) -> bool:
    if text.startswith("data:"):
        return text.startswith(f"data:{_PDF}")
    if media_type:
        return media_type == _PDF
    return text.lower().split("?")[0].endswith(".pdf") or name.lower().endswith(".pdf")


def _decode(data: str) -> bytes:
    try:
        return base64.b64decode(data)
    except binascii.Error:
        return b""
