"""Media are made from files, bytes and URLs, with errors that say what to do."""

from __future__ import annotations

import os
from base64 import b64decode
from pathlib import Path

import pytest
from devflow_core import ChatRequest, media_files
from devflow_core.errors import InvalidRequest
from devflow_core.messages import Media, Text

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
STARTS = [
    (PNG, "image", "image/png"),
    (b"\xff\xd8\xff\xe0", "image", "image/jpeg"),
    (b"GIF89a", "image", "image/gif"),
    (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image", "image/webp"),
    (b"\x00\x00\x00\x20ftypavif", "image", "image/avif"),
    (b"%PDF-1.7", "file", "application/pdf"),
    (b"RIFF\x00\x00\x00\x00WAVEfmt ", "audio", "audio/wav"),
    (b"ID3\x04", "audio", "audio/mp3"),
    (b"fLaC", "audio", "audio/flac"),
    (b"\x00\x00\x00\x20ftypM4A ", "audio", "audio/m4a"),
    (b"\x00\x00\x00\x20ftypisom", "video", "video/mp4"),
    (b"\x1aE\xdf\xa3", "video", "video/webm"),
]


@pytest.mark.parametrize(("content", "kind", "media_type"), STARTS)
def test_the_kind_is_found_from_the_first_bytes(
    tmp_path: Path, content: bytes, kind: str, media_type: str
) -> None:
    file = tmp_path / "no-ending"
    file.write_bytes(content)
    for media in (Media.from_path(file), Media.from_path(str(file)), Media.from_bytes(content)):
        assert (media.kind, media.media_type) == (kind, media_type)
        assert b64decode(media.base64 or "") == content
        assert media.url is None
    assert Media.from_path(file).name == ("no-ending" if kind == "file" else None)


def test_a_type_that_is_named_is_kept(tmp_path: Path) -> None:
    named = Media.from_bytes(b"a,b", media_type="text/csv", name="table.csv")
    assert (named.kind, named.media_type, named.name) == ("file", "text/csv", "table.csv")


def test_a_request_takes_media_with_its_text() -> None:
    media = Media.from_bytes(PNG)
    request = ChatRequest.from_text("What is this?", media=[media])
    assert request.messages[-1].parts == (media, Text(text="What is this?"))


def test_home_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.png").write_bytes(PNG)
    assert Media.from_path("~/a.png").kind == "image"


def test_files_that_cannot_be_sent_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, empty, pipe, large = (tmp_path / name for name in ("a.txt", "empty", "pipe", "large"))
    text.write_text("words")
    empty.write_bytes(b"")
    os.mkfifo(pipe)  # reading it would wait for ever
    large.write_bytes(PNG * 10)
    monkeypatch.setattr(media_files, "MAX_MEDIA_BYTES", 100)
    for path, words in (
        (tmp_path / "missing.png", "No such file"),
        (tmp_path, "not a file"),
        (pipe, "not a file"),
        (empty, "empty"),
        (text, "ChatRequest.from_text"),
        (large, "Media.from_url"),
        ("a\0b", "cannot be read"),
    ):
        with pytest.raises(InvalidRequest, match=words):
            Media.from_path(path)
    with pytest.raises(InvalidRequest, match=r"Media\.from_url"):
        Media.from_bytes(PNG * 10)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://example.org/a.PNG?size=1", "image"),
        ("http://example.org/paper.pdf", "file"),
        ("https://example.org/film.mp4", "video"),
        ("https://example.org/sound.mp3#t=1", "audio"),
    ],
)
def test_a_url_is_sent_as_it_is(url: str, kind: str) -> None:
    assert Media.from_url(url) == Media(kind=kind, url=url)  # type: ignore[arg-type]


def test_urls_that_say_nothing_are_refused() -> None:
    assert Media.from_url("https://example.org/now", kind="image").kind == "image"
    for url, words in (
        ("https://example.org/now", "kind='image'"),
        ("file:///etc/passwd", "Media.from_path"),
        ("/home/me/a.png", "Media.from_path"),
        ("https://[broken/a.png", "https://"),
    ):
        with pytest.raises(InvalidRequest, match=words):
            Media.from_url(url)
