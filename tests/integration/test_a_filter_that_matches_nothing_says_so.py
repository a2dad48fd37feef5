"""A filter of any command that matches nothing says so, and names what comes close.

One whose name is unknown, or whose period lies ahead, ends the command with status 1. One that
matches nothing so far gives an empty result with a remark, and status 0.
"""

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from devflow_cli.testing import Devflow, run_command
from devflow_sandbox.threaded import ThreadedSandbox

EXAMPLES = Path(__file__).parents[2] / "examples" / "sessions"
CODING = "b0b4c439-0397-43ca-ab6e-d4217f8a9811"
MISTYPED = [
    ("costs --project demmo", "/home/dev/demo"),
    ("costs --project /home/dev/dem0", "/home/dev/demo"),
    ("costs blocks --project Demo", "/home/dev/demo"),
    ("costs --since 2999-01-01", "The latest is of 2026-11-21 01:29 UTC"),
    ("sessions list --project /home/dev/dema", "/home/dev/demo"),
    ("report --since 2999-01-01", "The latest is of"),
    ("report --since 2999-01-01 --format csv", "The latest is of"),
    ("whatif --since 2999-01-01", "The latest is of"),
    ("models list gpt-4o-minni", "openai/gpt-4o-mini"),
    ("ledger export --session b0b4c439-0397-43ca-ab6e-d4217f8a9812", CODING),
    ("ledger erase --yes --session b0b4c439-0397-43ca-ab6e-d4217f8a9812", CODING),
    ("doctor --url http://127.0.0.1:9 --only messages.usge", "messages.usage"),
    ("keys revoke reviewr", "reviewer"),
    ("budget remove settingz", "settings"),
]
"""Commands with what they offer in place of what was given."""
QUIET = [
    ("costs --until 2026-11-01", "The latest is of 2026-11-21 01:29 UTC"),
    ("costs --until 2026-11-01 --project demo", "The latest is of 2026-11-21 01:29 UTC"),
    ("report --until 2020-01-01", "No call was booked before 2020-01-01 00:00 UTC"),
    ("whatif --until 2020-01-01", "The latest is of"),
]


@pytest.fixture(scope="module")
def devflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devflow]:
    """Runs a command in a home with three sessions, a booked hand-off, a key and a budget."""
    home = tmp_path_factory.mktemp("home")
    folder = home / ".claude" / "projects" / "-home-dev-demo"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("README.md"))
    with ThreadedSandbox() as sandbox:
        environment = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "TZ": "UTC",
            "OPENROUTER_BASE_URL": sandbox.base_url,
            "OPENROUTER_API_KEY": sandbox.api_key,
            "DEVFLOW_COST_BUDGET_USD": "5",
        }
        run = partial(run_command, folder=home, environment=environment)
        assert run("handoff", CODING, "--to", "openai/gpt-4o-mini").status == 0
        assert run("keys", "create", "reviewer").status == 0
        yield run


@pytest.mark.parametrize(("arguments", "offered"), MISTYPED)
def test_a_filter_that_can_match_nothing_offers_what_comes_close(
    devflow: Devflow, arguments: str, offered: str
) -> None:
    done = devflow(*arguments.split(), "--json")
    assert (done.status, done.document["error"]["code"]) == (1, "not_found"), done.err
    assert offered in done.document["error"]["message"]


@pytest.mark.parametrize(("arguments", "remark"), QUIET)
def test_a_filter_that_matches_nothing_so_far_is_answered_with_a_remark(
    devflow: Devflow, arguments: str, remark: str
) -> None:
    done = devflow(*arguments.split(), "--json")
    assert done.status == 0, done.err
    assert remark in done.err
    rows = next(done.document[name] for name in ("rows", "models") if name in done.document)
    assert done.document.get("turns", 0) == 0
    assert "turns" in done.document or rows == []


def test_a_filter_that_matches_needs_no_remark(devflow: Devflow) -> None:
    for arguments in ("costs --project demo", "report", "models list GPT-4o-mini"):
        done = devflow(*arguments.split(), "--json")
        assert (done.status, done.err) == (0, "")
        assert done.document.get("rows") or done.document.get("models")
