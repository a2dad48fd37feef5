"""`report`, `ledger`, `budget`, `keys`, `models`, `sessions`, `doctor`: over one's own ledger."""

import io
from decimal import Decimal
from pathlib import Path

import pytest
from devflow_claude_code import ClaudeCodeSession
from devflow_claude_code.reading.paths import project_slug
from devflow_cli.testing import CommandResult, Devflow
from devflow_sandbox import Sandbox

PROMPT = "Write a haiku about clocks."


@pytest.fixture
def used(online: Devflow) -> Devflow:
    """After two requests."""
    for _ in range(2):
        assert online("ask", PROMPT, "--json").status == 0
    return online


def test_a_report_agrees_with_the_bill(used: Devflow, openrouter_sandbox: Sandbox) -> None:
    shown = used("report", "--json").document
    assert shown["total"]["requests"] == 2
    assert Decimal(shown["total"]["cost_usd"]) == Decimal(openrouter_sandbox.bill()["total_usd"])


@pytest.mark.parametrize("form", ["csv", "md", "html", "json"])
def test_a_report_in_every_form(used: Devflow, home: Path, form: str) -> None:
    file = home / f"report.{form}"
    assert used("report", "--format", form, "-o", str(file)).status == 0
    assert file.stat().st_size > 100
    assert used("report", "--format", form, "--by", "task", "--since", "2d").out


def test_a_report_for_a_person(used: Devflow) -> None:
    out = used("report", "--until", "2100-01-01").out
    assert "saved" in out
    assert "against anthropic/claude" in out


def test_a_moment_that_is_none_is_a_usage_error(devflow: Devflow) -> None:
    assert devflow("report", "--since", "yesterday-ish").status == 2


def test_an_empty_ledger_still_reports(devflow: Devflow) -> None:
    done = devflow("report", "--json")
    assert (done.status, done.document["rows"]) == (0, [])


def test_the_ledger_is_verified_exported_and_backed_up(used: Devflow, home: Path) -> None:
    assert used("ledger", "verify", "--json").document["ok"] is True
    assert "2 entries" in used("ledger", "verify").out
    assert used("ledger", "export").out.count("\n") == 2
    assert used("ledger", "export", "--csv", "-o", str(home / "out.csv")).status == 0
    assert used("ledger", "backup", str(home / "copy.db")).status == 0
    assert used("ledger", "restore", str(home / "copy.db")).status == 0
    assert used("ledger", "verify", "--json").document["entries"] == 2


def test_a_touched_row_is_named(used: Devflow, home: Path) -> None:
    import sqlite3

    (file,) = home.glob("**/ledger.db")
    with sqlite3.connect(file) as tampered:
        tampered.execute(
            "UPDATE chain SET body = CAST(X'00' || substr(body, 2) AS BLOB) WHERE seq = 3"
        )
    tampered.close()
    done = used("ledger", "verify", "--json")
    assert done.status == 1
    assert done.document["first_bad"] == 3
    assert "Row 3" in used("ledger", "verify").out


def test_requests_are_listed_newest_first_page_by_page(used: Devflow) -> None:
    assert used("ask", PROMPT).status == 0
    whole = used("ledger", "requests", "--json").document
    times = [one["at"] for one in whole["requests"]]
    assert len(times) > 1
    assert times == sorted(times, reverse=True)
    assert whole["cursor"] is None
    first = used("ledger", "requests", "--limit", "1", "--json").document
    rest = used("ledger", "requests", "--cursor", first["cursor"], "--json").document
    assert first["requests"] + rest["requests"] == whole["requests"]
    assert whole["requests"][0]["request"] in used("ledger", "requests", "--wide").out
    dear = used("ledger", "requests", "--min-usd", "1000", "--json").document
    assert dear == {"requests": [], "cursor": None}
    assert "No request" in used("ledger", "requests", "--outcome", "rate_limited").out


def test_a_session_is_erased_and_the_chain_stays(online: Devflow, transcript: Path) -> None:
    assert online("handoff", str(transcript), "--to", "openai/gpt-4o-mini").status == 0
    session = transcript.stem
    assert online("ledger", "export", "--session", session, "--json").document["entries"]
    assert online("ledger", "erase", "--session", session, "--yes", "--json").document["erased"]
    assert online("ledger", "export", "--session", session).status == 1
    assert online("ledger", "verify").status == 0


def test_the_books_are_reconciled(used: Devflow, openrouter_sandbox: Sandbox) -> None:
    shown = used("ledger", "reconcile", "--json", "--patience-s", "0").document
    assert Decimal(shown["difference_usd"]) == 0
    assert shown["orphans"] == []
    assert shown["ghosts"] == []
    assert "Difference" in used("ledger", "reconcile", "--patience-s", "0").out


def test_budgets_are_set_shown_and_hold(used: Devflow) -> None:
    assert "No budget" in used("budget", "list").out
    made = used("budget", "set", "--limit", "0.0000001", "--json").document
    assert used("ask", PROMPT).status == 4
    (budget,) = used("budget", "list", "--json").document["budgets"]
    assert budget["id"] == made["id"]
    assert "month" in used("budget", "list").out
    assert used("budget", "remove", made["id"]).status == 0
    assert used("budget", "remove", made["id"], "--json").status == 1
    assert used("ask", PROMPT).status == 0


def test_an_amount_that_is_none(devflow: Devflow) -> None:
    assert devflow("budget", "set", "--limit", "lots").status == 2


def test_a_budget_of_the_settings_holds_until_it_is_removed(
    used: Devflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENROUTER_COST_BUDGET_USD", "0.0000001")
    assert used("ask", PROMPT).status == 4
    monkeypatch.delenv("OPENROUTER_COST_BUDGET_USD")
    assert used("ask", PROMPT).status == 4
    assert used("budget", "remove", "settings").status == 0
    assert used("ask", PROMPT).status == 0


def test_key_status_never_shows_the_key(used: Devflow, openrouter_sandbox: Sandbox) -> None:
    for arguments in (("keys", "status"), ("keys", "status", "--json")):
        done = used(*arguments)
        assert done.status == 0
        assert openrouter_sandbox.api_key[:20] not in done.out + done.err


def test_client_keys_are_made_once_listed_and_revoked(devflow: Devflow) -> None:
    made = devflow("keys", "create", "ci", "--model", "openai/*", "--days", "3", "--json").document
    assert made["key"].startswith("devflow_")
    assert made["key"] not in devflow("keys", "list", "--json").out
    assert "ci" in devflow("keys", "list").out
    assert devflow("keys", "revoke", made["id"], "--json").document == {"revoked": made["id"]}
    assert devflow("keys", "revoke", "none").status == 1
    assert devflow("keys", "create", "other", "--route", "read").status == 0
    assert devflow("keys", "revoke", "other").status == 0
    wrong = devflow("keys", "create", "bird", "--route", "fly")
    assert wrong.status == 2
    assert all(name in wrong.err for name in ("fly", "chat", "embeddings", "read", "operate"))


def test_a_key_is_for_models_that_there_are(devflow: Devflow) -> None:
    right = ("--model", "openai/gpt-5-mini:nitro", "--model", "z-ai/*", "--model", "@preset/cheap")
    assert devflow("keys", "create", "ci", *right).status == 0
    wrong = devflow("keys", "create", "bird", "--model", "z-ai/*", "--model", "z-ai/glm5")
    assert wrong.status == 1
    assert all(text in wrong.err for text in ("'z-ai/glm5'", "z-ai/glm-5", "--unlisted"))
    other_name = devflow("keys", "create", "bird", "--model", "claude-haiku-4-5")
    assert "Did you mean anthropic/claude-haiku-4.5?" in other_name.err
    assert "bird" not in devflow("keys", "list").out
    assert devflow("keys", "create", "bird", "--model", "z-ai/glm5", "--unlisted").status == 0


def test_a_budget_of_a_model_is_for_one_that_there_is(online: Devflow) -> None:
    def set_budget(*more: str) -> CommandResult:
        return online("budget", "set", "--limit", "0.0000001", "--scope", "model", *more)

    wrong = set_budget("--value", "anthropic/claude-haiku4.5")
    assert wrong.status == 1
    assert "Did you mean anthropic/claude-haiku-4.5" in wrong.err
    assert online("budget", "list", "--json").document == {"budgets": []}
    assert set_budget("--value", "anthropic/claude-haiku-9", "--unlisted").status == 0
    assert set_budget("--value", "*").status == 0
    # a budget of the name itself would hold nothing: calls are booked under the id
    assert set_budget("--value", "claude-haiku-4-5").status == 0
    values = [one["value"] for one in online("budget", "list", "--json").document["budgets"]]
    assert sorted(values) == ["*", "anthropic/claude-haiku-4.5", "anthropic/claude-haiku-9"]


def test_models_are_listed_shown_and_refreshed(used: Devflow) -> None:
    assert "anthropic/claude-haiku-4.5" in used("models", "list", "claude").out
    shown = used("models", "show", "anthropic/claude-haiku-4.5", "--json").document
    assert shown["prompt_usd_per_million"] == "1"
    assert "context length" in used("models", "show", "anthropic/claude-haiku-4.5").out
    assert used("models", "refresh", "--json").document["models"] > 300
    assert used("models", "list", "--json").document["models"]
    assert "changes" in used("models", "refresh").out


def test_sessions_are_listed_shown_and_their_context(
    devflow: Devflow, home: Path, transcript: Path
) -> None:
    assert "No Claude Code sessions" in devflow("sessions", "list").out
    folder = home / ".claude" / "projects" / project_slug(home)
    folder.mkdir(parents=True)
    (folder / transcript.name).write_bytes(transcript.read_bytes())
    (listed,) = devflow("sessions", "list", "--json").document["sessions"]
    assert listed["session_id"] == transcript.stem
    assert transcript.stem[:8] in devflow("sessions", "list").out
    shown = devflow("sessions", "show", transcript.stem, "--json").document
    assert shown["branch"]
    assert "Cost" in devflow("sessions", "show").out
    context = devflow("sessions", "context", "--json", "--budget", "600").document
    assert context["pieces"]
    assert context["tokens"] <= 600
    assert "pieces" in devflow("sessions", "context").out


def test_the_set_up_is_checked(devflow: Devflow, used: Devflow) -> None:
    done = used("doctor", "--json")
    names = {one["name"]: one["ok"] for one in done.document["findings"]}
    assert names["keys"]
    assert names["ledger"]
    assert "keys" in used("doctor").out


def test_whatif_prices_recorded_work_elsewhere(used: Devflow, transcript: Path) -> None:
    shown = used("whatif", "--models", "openai/gpt-4o-mini", "--json").document
    assert shown["models"]
    assert used("whatif", str(transcript), "--models", "openai/gpt-4o-mini").status == 0
    newest = used("whatif", "--models", "claude-haiku-9", "--json").document
    assert {row["model"] for row in newest["models"]} == {"anthropic/claude-haiku-4.5"}
    assert used("whatif", "--models", "claude-symphony-9").status == 1


def test_whatif_of_a_session_keeps_to_the_period(devflow: Devflow, transcript: Path) -> None:
    def priced(*period: str) -> tuple[int, Decimal]:
        shown = devflow("whatif", str(transcript), *period, "--json").document
        return shown["turns"], Decimal(shown["recorded"]["cost_usd"])

    turns = ClaudeCodeSession.find(str(transcript)).turns
    middle = turns[len(turns) // 2].started_at.isoformat()
    earlier, later, whole = priced("--until", middle), priced("--since", middle), priced()
    assert earlier[0] > 0
    assert later[0] > 0
    assert (earlier[0] + later[0], earlier[1] + later[1]) == whole
    empty = devflow("whatif", str(transcript), "--until", "2020-01-01")
    assert empty.status == 0
    assert "No reply of the session came before 2020-01-01" in empty.err


def test_whatif_lists_a_recorded_model_once_at_what_was_recorded(
    online: Devflow, transcript: Path
) -> None:
    for _ in range(2):
        assert online("ask", PROMPT, "--model", "anthropic/claude-haiku-4.5").status == 0
    for arguments in ((), (str(transcript),)):
        shown = online("whatif", *arguments, "--json").document
        names = [one["model"] for one in shown["models"]]
        assert len(names) == len(set(names))
        same = [one for one in shown["models"] if one["notes"] == ["as recorded"]]
        assert [one["cost_usd"] for one in same] == [shown["recorded"]["cost_usd"]]
        assert [one["difference_usd"] for one in same] == ["0"]


def test_a_baseline_without_a_price_is_named(used: Devflow) -> None:
    done = used("report", "--baseline", "nobody/nothing")
    assert done.status == 0
    assert "No savings: no price for nobody/nothing" in done.out
    document = used("report", "--baseline", "nobody/nothing", "--json").document
    assert document["savings"] is None


READING = (
    ("report",), ("report", "--json"), ("whatif",), ("budget", "list"), ("keys", "list"),
    ("ledger", "verify"), ("ledger", "export"), ("ledger", "reconcile"), ("explain", "req_x"),
    ("keys", "revoke", "x"), ("budget", "remove", "x"),
)  # fmt: skip


def test_a_mistyped_data_folder_is_named_and_not_made(used: Devflow, home: Path) -> None:
    wrong = home / "no-such-data"
    for command in READING:
        done = used(*command, "--data-dir", str(wrong))
        assert done.status == 1, command
        assert f"Nothing was ever booked in {wrong}." in done.err, command
        assert not wrong.exists(), command


def test_before_anything_is_booked_lists_are_empty(devflow: Devflow, home: Path) -> None:
    for command in (("report",), ("whatif",), ("budget", "list"), ("keys", "list")):
        done = devflow(*command)
        assert done.status == 0
        assert "Nothing was ever booked" in done.err
    assert not list(home.glob("**/ledger.db"))


def test_variants_of_a_model_are_folded_into_its_row_or_listed(devflow: Devflow) -> None:
    folded = devflow("models", "list", "--limit", "1000").out
    apart = devflow("models", "list", "--limit", "1000", "--variants").out
    base = "deepseek/deepseek-v3.2"
    rows = [line for line in folded.splitlines() if line.startswith(base + " ")]
    assert len(rows) == 1
    assert folded.count("\n") < apart.count("\n")
    variants = [one.split()[0] for one in apart.splitlines() if one.startswith(base + ":")]
    assert all(one.removeprefix(base) in rows[0] for one in variants)


def test_rows_older_than_the_retention_lose_their_labels(
    used: Devflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEVFLOW_RETENTION_DAYS", "1")
    assert used("ask", PROMPT).status == 0
    assert used("ledger", "verify", "--json").document["entries"] == 3


def test_the_ledgers_commands_give_one_json_document(used: Devflow, home: Path) -> None:
    entries = used("ledger", "export", "--json").document["entries"]
    assert [one["outcome"] for one in entries] == ["succeeded", "succeeded"]
    copy = str(home / "copy.db")
    assert used("ledger", "backup", copy, "--json").document == {"path": copy}
    assert used("ledger", "restore", copy, "--json").document["restored"] == copy
    assert used("ledger", "export", "--json", "--csv").status == 2


def test_a_question_is_not_on_stdout(used: Devflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    asked = used("ledger", "erase", "--session", "none", "--json")
    assert (asked.status, asked.out.strip()) == (1, "")


@pytest.mark.parametrize("wrong", [("--window", "eon"), ("--scope", "planet", "--value", "earth")])
def test_a_budget_that_is_none_is_refused_and_the_ledger_goes_on(
    used: Devflow, wrong: tuple[str, ...]
) -> None:
    refused = used("budget", "set", "--limit", "5", *wrong)
    assert refused.status == 2
    assert "is not one of" in refused.err
    assert used("ask", PROMPT, "--json").status == 0


@pytest.mark.parametrize(
    "command", [("report", "--format", "html", "-o"), ("ledger", "export", "-o")]
)
def test_a_file_that_cannot_be_written_is_reported_in_a_line(
    used: Devflow, home: Path, command: tuple[str, ...]
) -> None:
    done = used(*command, str(home / "nowhere" / "file"))
    assert done.status == 1
    assert done.err.startswith("devflow: ")
    assert "nowhere" in done.err


def test_the_model_that_an_alias_led_to_is_in_reports_and_budgets(online: Devflow) -> None:
    haiku = "anthropic/claude-haiku-4.5"
    limit = ("--limit", "1", "--scope", "model", "--value", haiku, "--window", "day")
    assert online("budget", "set", *limit).status == 0
    assert online("ask", PROMPT, "--model", "~anthropic/claude-haiku-latest").status == 0
    rows = online("report", "--by", "model", "--json").document["rows"]
    assert [row["key"] for row in rows] == [haiku]
    budgets = online("budget", "list", "--json").document
    spent = [Decimal(one["spent_usd"]) for one in budgets["budgets"]]
    assert spent == [Decimal(rows[0]["cost_usd"])]
    assert spent[0] > 0


def test_the_fee_of_a_search_is_within_the_ceiling_or_nothing_is_asked(
    online: Devflow, openrouter_sandbox: Sandbox
) -> None:
    # its tokens alone cost 0.032 at the most, and each of its replies is paid for a search as well
    asked = online("ask", PROMPT, "--model", "perplexity/sonar", "--max-cost", "0.05")
    assert asked.status == 4
    assert openrouter_sandbox.bill()["calls"] == []
