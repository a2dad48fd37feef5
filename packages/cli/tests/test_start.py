"""Starting the command: fast, helpful, and honest about what it cannot do."""

import re
import signal
import subprocess
import sys
import urllib.request
from decimal import Decimal
from pathlib import Path

import orjson
import pytest
from devflow_cli import commands, run
from devflow_cli.testing import Devflow
from devflow_cli.views.reply import describe_interruption
from devflow_core import errors
from devflow_core.ledger import CostStatus
from devflow_core.testing import an_attempt, an_entry
from devflow_core.usage import usd_text


def test_help_lists_every_command(devflow: Devflow) -> None:
    done = devflow("--help")
    names = [one.stem for one in Path(commands.__file__).parent.glob("[a-z]*.py")]
    for name in names:
        assert re.search(rf"^  {name} ", done.out, re.MULTILINE), name


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom devflow_cli import main, commands\n"
        "heavy = {'pydantic', 'httpx', 'numpy', 'rich', 'apsw', 'devflow_server', 'asyncpg'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_version_is_shown(devflow: Devflow) -> None:
    assert re.fullmatch(r"devflow \d+\.\d+\.\d+\n", devflow("--version").out)


def test_a_wrong_option_is_a_usage_error(devflow: Devflow) -> None:
    assert devflow("ask", "x", "--modle", "y").status == 2


def test_a_wrong_setting_is_named(devflow: Devflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVFLOW_PORT", "lots")
    done = devflow("doctor")
    assert (done.status, "DEVFLOW_PORT" in done.err) == (3, True)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ConfigurationError("x"), 3),
        (errors.InvalidRequest("x"), 2),
        (errors.UnknownPrice("x"), 4),
        (errors.AllCandidatesFailed(()), 5),
        (errors.NoCandidate("x"), 1),
        (ValueError("x"), 1),
    ],
)
def test_every_error_has_its_exit_status(error: BaseException, status: int) -> None:
    assert run.exit_status(error) == status


def test_ctrl_c_is_130() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    assert run.run_guarded(interrupted) == 130


def test_what_would_steer_a_terminal_is_taken_out() -> None:
    assert run.strip_control_chars("a\x1b[31m\x07b\u202ec\r\n") == "a[31mbc\n"


def test_the_demo_needs_no_key(devflow: Devflow, home: Path) -> None:
    done = devflow("demo")
    assert done.status == 0
    assert "they agree" in done.out
    (html,) = home.glob("**/report.html")
    assert str(html) in done.out
    page = html.read_text(encoding="utf-8")
    for title in ("Cost by day and model", "The recorded sessions", "Cost by project and model"):
        assert title in page
    assert "is not in the ledger" in done.out
    assert "Refused  anthropic/claude-opus-4.5 by the budget" in done.out
    assert "deepseek/deepseek-v3.2, a configured fallback" in done.out


def test_the_demo_as_a_document(devflow: Devflow) -> None:
    shown = devflow("demo", "--json").document
    assert shown["bill"]["cost_usd"]
    assert shown["context"]["pieces"]
    recorded, booked = shown["recorded"], shown["report"]
    assert recorded["total"]["requests"] == 21
    assert recorded["total"]["estimated_usd"] == recorded["total"]["cost_usd"]
    assert recorded["total"]["total_p50_s"] is None
    assert booked["total"]["requests"] == 2  # what the sessions spent is not in the ledger


def test_the_demo_shows_a_budget_that_refuses(devflow: Devflow, home: Path) -> None:
    scene = devflow("demo", "--json").document["budget_scene"]
    assert scene["refused"] == ["anthropic/claude-opus-4.5", "anthropic/claude-sonnet-4.5"]
    worst = {one["model"]: float(one["worst_case_usd"]) for one in scene["route"]["candidates"]}
    assert all(worst[name] > float(scene["budget_usd"]) for name in scene["refused"])
    assert worst[scene["answered"]] <= float(scene["budget_usd"])
    assert 0 < float(scene["cost_usd"]) <= worst[scene["answered"]]
    (ledger,) = home.glob("**/demo/ledger.db")
    booked = devflow("ledger", "export", "--data-dir", str(ledger.parent)).out
    assert scene["entry_id"] in booked
    assert booked.count('"attempt_id"') == 2  # what was refused was never begun
    left = devflow("budget", "list", "--data-dir", str(ledger.parent), "--json").document
    assert left["budgets"] == []


def test_the_stand_in_runs_until_it_gets_a_signal(home: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "devflow_cli", "sandbox", "--json"], stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        document = b""
        while not document.endswith(b"}\n"):
            document += child.stdout.readline()
        url = orjson.loads(document)["base_url"]
        with urllib.request.urlopen(f"{url}/models", timeout=60) as reply:  # noqa: S310 - loopback
            assert reply.status == 200
    finally:
        child.send_signal(signal.SIGINT)
        try:
            assert child.wait(60) in (0, 130)
        finally:
            child.kill()  # nothing is left running where it has not heeded the signal
            child.communicate()


def test_ctrl_c_in_a_stream_leaves_a_cancelled_entry(home: Path) -> None:
    sandbox = subprocess.Popen(
        [sys.executable, "-m", "devflow_sandbox", "--tokens-per-s", "10"], stdout=subprocess.PIPE
    )
    assert sandbox.stdout is not None
    ready = orjson.loads(sandbox.stdout.readline())
    environment = {
        "HOME": str(home),
        "OPENROUTER_BASE_URL": ready["base_url"],
        "OPENROUTER_API_KEY": ready["api_key"],
        "PATH": "/usr/bin:/bin",
    }
    asking = subprocess.Popen(
        [sys.executable, "-m", "devflow_cli", "ask", "Write a long essay about clocks."],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    try:
        assert asking.stdout is not None
        assert asking.stderr is not None
        assert asking.stdout.read(10)
        asking.send_signal(signal.SIGINT)
        assert asking.wait(60) == 130
        told = asking.stderr.read().decode()
        exported = subprocess.run(
            [sys.executable, "-m", "devflow_cli", "ledger", "export"],
            env=environment,
            capture_output=True,
            check=True,
        ).stdout
        entry = orjson.loads(exported)
        assert entry["outcome"] == "cancelled"
        assert float(entry["attempts"][0]["cost_usd"]) > 0
        (line,) = [one for one in told.splitlines() if one.startswith("Cost ")]
        assert f"{usd_text(Decimal(entry['attempts'][0]['cost_usd']))} USD" in line
        assert entry["entry_id"] in line
    finally:
        for child in (asking, sandbox):
            child.kill()
            child.wait()
            for pipe in (child.stdout, child.stderr):
                if pipe is not None:
                    pipe.close()


@pytest.mark.parametrize(
    ("status", "source", "told"),
    [
        ("settled", None, "0.25 USD (settled)"),
        ("estimated", None, "at least 0.25 USD; `devflow ledger reconcile`"),
        ("observed", "observed", "0.25 USD for what came of the reply"),
        ("observed", "reserved", "0.25 USD: all that was reserved"),
        ("void", None, "nothing: no model had begun"),
    ],
)
def test_a_line_says_how_sure_the_cost_of_an_interrupted_request_is(
    status: CostStatus, source: str | None, told: str
) -> None:
    attempt = an_attempt(
        cost_status=status,
        cost_usd=Decimal(0) if status == "void" else Decimal("0.25"),
        cost_source=source,
    )
    line = describe_interruption(an_entry(attempts=(attempt,)))
    assert told in line
    assert "\n" not in line
