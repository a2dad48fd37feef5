"""No link to a file of ours is followed, and no other user may replace the file."""

import os
from pathlib import Path, PosixPath

import pytest
from devflow_core.errors import ConfigurationError
from devflow_core.private_files import (
    create_file,
    ensure_private_folder,
    open_private_file,
    read_private_file,
    refuse_links_below,
    replace_file,
)


class ContestedPath(PosixPath):
    """A path at which another process seems to make a file right after each call of `exists`."""

    def exists(self) -> bool:
        was_there = super().exists()
        self.write_bytes(b"theirs")
        return was_there


def test_a_file_that_another_process_makes_first_stays(tmp_path: Path) -> None:
    path = ContestedPath(tmp_path / "pepper")
    assert create_file(path, b"ours") is False
    assert path.read_bytes() == b"theirs"
    assert [one.name for one in tmp_path.iterdir()] == ["pepper"]


def test_a_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    before = os.umask(0)
    try:
        ensure_private_folder(folder)
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700
    ensure_private_folder(folder)
    folder.chmod(0o755)
    ensure_private_folder(folder)
    folder.chmod(0o720)
    with pytest.raises(ConfigurationError, match=f"chmod 700 {folder}"):
        ensure_private_folder(folder)


def test_a_folder_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o700)
    owner = folder.stat().st_uid
    if owner == 0:
        os.chown(folder, 4711, -1)
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        ensure_private_folder(folder)


def test_a_file_is_replaced_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "new" / "file"
    replace_file(file, b"one")
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"one", 0o600)
    file.chmod(0o640)
    replace_file(file, b"two")
    assert (read_private_file(file), file.stat().st_mode & 0o777) == (b"two", 0o640)
    assert list(file.parent.iterdir()) == [file]
    replace_file(file, None)
    replace_file(file, None)
    assert list(file.parent.iterdir()) == []


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder" / "full").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        replace_file(tmp_path / "folder", b"x")
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]


def test_no_link_and_no_pipe_is_opened(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(tmp_path / "precious")
    os.mkfifo(pipe)
    for attempt in (
        lambda: open_private_file(link, os.O_CREAT | os.O_WRONLY),
        lambda: read_private_file(link),
        lambda: replace_file(link, b"y"),
        lambda: replace_file(link, None),
    ):
        with pytest.raises(ConfigurationError, match=r"link is a link to .*precious"):
            attempt()
    for path in (pipe, tmp_path):
        with pytest.raises(ConfigurationError, match="not a regular file"):
            read_private_file(path)
    assert (tmp_path / "precious").read_text() == "x"
    with pytest.raises(ConfigurationError, match="larger than 0 bytes"):
        read_private_file(tmp_path / "precious", max_bytes=0)


def test_links_on_the_way_are_refused_below_a_folder_only(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "real" / "folder"
    outside.mkdir()
    folder.mkdir(parents=True)
    (folder / "sub").symlink_to(outside)
    (outside / "link").symlink_to(outside)
    for path in ("sub", "sub/x", "y/../sub/x", "./sub"):
        with pytest.raises(ConfigurationError, match="sub is a link"):
            refuse_links_below(Path(path), folder)
    assert refuse_links_below(Path("sub/../x"), folder) == folder / "x"
    assert refuse_links_below(outside / "link" / "x", folder) == outside / "link" / "x"
    assert refuse_links_below(folder, folder) == folder
