"""A damaged file or an upstream that answers nonsense is told in a line, with what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from devflow_sandbox import Sandbox
from integration.doors import Catcher, Installation

NONSENSE = b"nonsense \xff\0" * 500


@pytest.fixture
def user(tmp_path: Path, openrouter_sandbox: Sandbox) -> Installation:
    """Somebody with a key."""
    made = Installation(home=tmp_path / "home", folder=tmp_path / "home" / "work")
    made.environment["OPENROUTER_API_KEY"] = openrouter_sandbox.api_key
    made.environment["OPENROUTER_BASE_URL"] = openrouter_sandbox.base_url
    made.data_dir.mkdir(mode=0o700, parents=True)
    return made


def spoil(path: Path, content: bytes | None) -> None:
    """Put bytes into a file's place; None is a folder."""
    if content is None:
        path.mkdir(mode=0o700)
    else:
        path.write_bytes(content)
        path.chmod(0o600)


@pytest.mark.parametrize(
    ("content", "name", "arguments"),
    [
        (NONSENSE, "models.loopback.json", ("models", "list")),
        (b"", "models.loopback.json", ("ask", "hello")),
        (None, "models.loopback.json", ("report",)),
        (b'{"body": []}', "models.loopback.json", ("explain", "hello")),
        (b'{"body": {}, "fetched_at": 5}', "models.loopback.json", ("whatif",)),
        (NONSENSE, "ledger.db", ("ask", "hello")),
        (NONSENSE, "ledger.db", ("report",)),
        (None, "ledger.db", ("keys", "list")),
        (None, "ledger.emergency-0", ("ask", "hello")),
        (b"", "client-keys.pepper", ("keys", "create", "me")),
        (None, "client-keys.pepper", ("keys", "create", "me")),
    ],
)
def test_a_damaged_file_is_named(
    user: Installation, content: bytes | None, name: str, arguments: tuple[str, ...]
) -> None:
    if arguments[0] in ("report", "whatif"):  # else there is nothing to read
        assert user.run("ask", "hello").returncode == 0
    if name == "ledger.db":
        (user.data_dir / name).unlink(missing_ok=True)
    spoil(user.data_dir / name, content)
    done = user.run(*arguments)
    assert done.returncode in (1, 3)
    assert done.stderr.startswith("devflow: ")
    assert done.stderr.count("\n") == 1
    assert name.removeprefix("ledger.").removesuffix("-0") in done.stderr


def test_a_damaged_list_of_models_is_fetched_anew(user: Installation) -> None:
    spoil(user.data_dir / "models.loopback.json", NONSENSE)
    assert "devflow models refresh" in user.run("models", "list").stderr
    assert user.run("models", "refresh").returncode == 0
    assert user.run("models", "list").returncode == 0


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"nonsense", b'{"data": [1]}', b'{"data": {}}', b'{"error": 5}']
)
def test_an_upstream_that_says_nothing_of_a_key(user: Installation, body: bytes) -> None:
    with Catcher(body) as upstream:
        done = user.run(
            "keys", "status", "--json", environ={"OPENROUTER_BASE_URL": upstream.base_url}
        )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["keys"]
    assert row["usage_usd"] is None
    assert row["note"]


@pytest.mark.parametrize("body", [b'{"data": [1, {"x": 2}]}', b'{"data": 5}', b"nonsense"])
def test_an_upstream_whose_models_are_none(user: Installation, body: bytes) -> None:
    with Catcher(body) as upstream:
        done = user.run("models", "refresh", environ={"OPENROUTER_BASE_URL": upstream.base_url})
    assert done.returncode in (3, 5)
    assert done.stderr.startswith("devflow: ")
    assert list(user.data_dir.iterdir()) == []


@pytest.mark.parametrize("amount", ['"abc"', '"NaN"', "[]"])
def test_an_upstream_whose_amounts_are_none(user: Installation, amount: str) -> None:
    assert user.run("ask", "hello").returncode == 0
    body = f'{{"data": {{"usage_daily": {amount}, "usage_monthly": {amount}}}}}'.encode()
    with Catcher(body) as upstream:
        done = user.run(
            *("ledger", "reconcile", "--patience-s", "0"),
            environ={"OPENROUTER_BASE_URL": upstream.base_url},
        )
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 5)
