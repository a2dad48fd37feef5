"""The status line shows what a session has cost by the ledger, and no second, other price."""

import json
from decimal import Decimal
from pathlib import Path

from devflow_cli.testing import run_command
from devflow_sandbox.threaded import ThreadedSandbox
from integration.served import environment, serve

SESSION = "7d3c1f7e-0b55-4c1a-9d6f-2f6f0a3f9c10"
EVENT = {
    "session_id": SESSION,
    "model": {"id": "z-ai/glm-5"},
    "cost": {"total_cost_usd": 5.81},
    "context_window": {"used_percentage": 12},
}


def _status_line(home: Path, **event: object) -> str:
    stdin = json.dumps({**EVENT, **event}).encode()
    done = run_command("statusline", folder=home, environment=environment(home), stdin=stdin)
    assert done.status == 0
    return done.out.rstrip("\n")


def test_the_ledgers_figure_stands_alone(tmp_path: Path) -> None:
    question = {"role": "user", "content": "Hi"}
    body = {"model": "z-ai/glm-5", "max_tokens": 500, "messages": [question]}
    with ThreadedSandbox() as stand_in:
        upstream = {
            "OPENROUTER_BASE_URL": stand_in.base_url,
            "OPENROUTER_API_KEY": stand_in.api_key,
        }
        with serve(tmp_path, "--no-key", **upstream) as served:
            headers = {"x-claude-code-session-id": SESSION, "user-agent": "claude-cli/2.1.332"}
            assert served.ask("POST", "/v1/messages", body, headers).status == 200
        billed = sum((one.cost_usd for one in stand_in.state.billing.calls), Decimal(0))
    cents = billed.quantize(Decimal("0.01"))
    assert _status_line(tmp_path) == f"DevFlow · z-ai/glm-5 · ${cents} in the ledger · window 12 %"
    other = _status_line(tmp_path, session_id="00000000-0b55-4c1a-9d6f-2f6f0a3f9c10")
    assert other == "DevFlow · z-ai/glm-5 · $5.81 by Claude Code · window 12 %"
