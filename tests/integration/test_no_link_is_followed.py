"""Whoever can put a link where DevFlow writes does not choose the file that is written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from devflow_sandbox import Sandbox
from integration.doors import Installation

PRECIOUS = "the user's own words\n"


@pytest.fixture
def user(tmp_path: Path, openrouter_sandbox: Sandbox) -> Installation:
    """Somebody with a key, in a folder that they have cloned."""
    made = Installation(home=tmp_path / "home", folder=tmp_path / "home" / "cloned")
    made.environment["OPENROUTER_API_KEY"] = openrouter_sandbox.api_key
    made.environment["OPENROUTER_BASE_URL"] = openrouter_sandbox.base_url
    return made


@pytest.fixture
def precious(user: Installation) -> Path:
    """A file that nobody may touch."""
    file = user.home / "precious"
    file.write_text(PRECIOUS)
    return file


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ledger.db", ("ask", "hello")),
        ("ledger.db.head", ("ask", "hello")),
        ("ledger.db-wal", ("ask", "hello")),
        ("ledger.db-shm", ("ask", "hello")),
        ("ledger.emergency-0", ("ask", "hello")),
        ("client-keys.pepper", ("keys", "create", "me")),
        ("models.loopback.json", ("models", "refresh")),
        ("models.loopback.json", ("models", "list")),
        ("ledger.db", ("report",)),
        ("ledger.db", ("ledger", "verify")),
    ],
    ids=lambda one: one if isinstance(one, str) else " ".join(one),
)
def test_a_link_in_the_data_folder_is_refused_and_stays(
    user: Installation, precious: Path, name: str, arguments: tuple[str, ...]
) -> None:
    user.data_dir.mkdir(mode=0o700, parents=True)
    link = user.data_dir / name
    link.symlink_to(precious)
    done = user.run(*arguments)
    assert done.returncode in (1, 3), done.stderr
    assert done.stderr.count("\n") == 1
    assert name.removesuffix("-wal").removesuffix("-shm") in done.stderr
    assert precious.read_text() == PRECIOUS
    assert link.is_symlink()


def test_a_link_to_nowhere_makes_no_file(user: Installation) -> None:
    user.data_dir.mkdir(mode=0o700, parents=True)
    for name in ("ledger.db", "ledger.emergency-0", "client-keys.pepper", "models.loopback.json"):
        (user.data_dir / name).symlink_to(user.home / f"new-{name}")
    for arguments in (("ask", "hello"), ("keys", "create", "me"), ("models", "refresh")):
        assert user.run(*arguments).returncode in (1, 3)
    assert list(user.home.glob("new-*")) == []


def test_the_data_folder_itself_may_be_a_link_of_the_users(user: Installation) -> None:
    elsewhere = user.home / "disk"
    elsewhere.mkdir(mode=0o700)
    user.data_dir.parent.mkdir(parents=True)
    user.data_dir.symlink_to(elsewhere)
    assert user.run("ask", "hello").returncode == 0
    assert user.run("report").returncode == 0
    assert (elsewhere / "ledger.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("mode", "arguments"),
    [(0o777, ("ask", "hello")), (0o770, ("keys", "create", "me")), (0o1702, ("models", "refresh"))],
)
def test_a_data_folder_that_others_may_write_is_refused(
    user: Installation, mode: int, arguments: tuple[str, ...]
) -> None:
    user.data_dir.mkdir(parents=True)
    user.data_dir.chmod(mode)
    done = user.run(*arguments)
    assert (done.returncode, f"chmod 700 {user.data_dir}" in done.stderr) == (3, True)
    assert list(user.data_dir.iterdir()) == []
    user.data_dir.chmod(0o700)
    assert user.run(*arguments).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_data_folder_of_another_user_is_refused(user: Installation) -> None:
    user.data_dir.mkdir(parents=True, mode=0o700)
    os.chown(user.data_dir, 4711, 4711)
    done = user.run("ask", "hello")
    assert (done.returncode, "belongs to another user" in done.stderr) == (3, True)


def test_the_copy_for_the_way_back_does_not_lie_in_the_project(
    user: Installation, precious: Path
) -> None:
    side = user.folder / ".mcp.json.before-devflow"
    side.symlink_to(precious)
    file = user.folder / ".mcp.json"
    file.write_text('{"mcpServers": {"other": {"command": "x"}}}')
    before = file.read_bytes()
    assert user.run("integrate", "--mcp", "--yes").returncode == 0
    assert "devflow" in json.loads(file.read_bytes())["mcpServers"]
    assert precious.read_text() == PRECIOUS
    assert side.is_symlink()
    assert user.run("integrate", "--mcp", "--undo", "--yes").returncode == 0
    assert file.read_bytes() == before
    assert precious.read_text() == PRECIOUS


@pytest.mark.parametrize(
    ("link", "arguments"),
    [
        (".mcp.json", ("integrate", "--mcp", "--yes")),
        (".mcp.json", ("integrate", "--mcp", "--undo", "--yes")),
        (".claude", ("integrate", "--settings", ".claude/settings.json", "--yes")),
        (".claude", ("integrate", "--settings", "x/../.claude/settings.json", "--yes")),
        (
            ".claude/settings.local.json",
            ("integrate", "--settings", ".claude/settings.local.json", "--yes"),
        ),
        ("report.html", ("report", "--format", "html", "-o", "report.html")),
        ("out", ("report", "--format", "csv", "-o", "out/settings.json")),
        ("entries.csv", ("ledger", "export", "--csv", "-o", "entries.csv")),
    ],
    ids=lambda one: one if isinstance(one, str) else " ".join(one),
)
def test_nothing_is_written_through_a_link_in_the_project(
    user: Installation, link: str, arguments: tuple[str, ...]
) -> None:
    outside = user.home / "outside"
    outside.mkdir()
    precious = outside / "settings.json"
    precious.write_text("{}")
    path = user.folder / link
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(outside if link in (".claude", "out") else precious)
    if arguments[0] == "ledger":
        assert user.run("ask", "hello").returncode == 0  # else there is nothing to export
    done = user.run(*arguments)
    assert done.returncode in (1, 3)
    assert path.name in done.stderr
    assert precious.read_text() == "{}"
    assert list(outside.iterdir()) == [precious]
    assert path.is_symlink()


def test_settings_of_the_users_own_may_be_kept_elsewhere(user: Installation) -> None:
    dotfiles = user.home / "dotfiles.json"
    dotfiles.write_text("{}")
    own = user.home / ".claude" / "settings.json"
    own.parent.mkdir()
    own.symlink_to(dotfiles)
    assert user.run("integrate", "--yes").returncode == 0
    assert own.is_symlink()
    assert "devflow hook" in dotfiles.read_text()
    assert user.run("integrate", "--undo", "--yes").returncode == 0
    assert dotfiles.read_text() == "{}"
