"""Every session that real Claude Code wrote goes on at another model, or says clearly why not."""

from decimal import Decimal
from pathlib import Path

import pytest
from devflow_claude_code import ClaudeCodeSession, hand_off
from devflow_core.errors import SessionError
from devflow_core.settings import Settings
from devflow_gateway import wiring
from devflow_sandbox import Sandbox

TRANSCRIPTS = Path(__file__).parents[2] / "packages/adapters/claude_code/tests/samples/transcripts"
VERSIONS = sorted(one.name for one in TRANSCRIPTS.iterdir() if one.is_dir())


def sessions(version: str) -> list[Path]:
    """Main files only: those of sub-agents are part of them."""
    return [
        path
        for path in sorted((TRANSCRIPTS / version).glob("*/*.jsonl"))
        if not path.name.startswith(("agent-", "_"))
    ]


@pytest.mark.parametrize("version", VERSIONS)
async def test_each_is_answered_and_billed_exactly(version: str, tmp_path: Path) -> None:
    answered: list[str] = []
    refused: dict[Path, str] = {}
    async with Sandbox(generation_delay_s=0) as sandbox:
        settings = Settings.load(
            {"HOME": str(tmp_path), "OPENROUTER_API_KEY": sandbox.api_key},
            base_url=sandbox.base_url,
        )
        async with wiring.open_gateway(settings) as gateway:
            for path in sessions(version):
                try:
                    prepared = hand_off(ClaudeCodeSession.open(path))
                    reply = await gateway.complete(prepared.request)
                except SessionError as error:
                    refused[path] = str(error)
                    continue
                assert reply.text
                answered.append(path.parent.name)
        bill = sandbox.bill()
    entries = list(wiring.make_store(settings).entries())
    assert len(entries) == len(answered) > 15
    assert sum((one.cost_usd for one in entries), Decimal(0)) == Decimal(bill["total_usd"])
    assert {one.cost_status for one in entries} == {"settled"}
    assert {path.parent.name for path in refused} <= {"cmd-context", "cmd-cost"}
    assert all(path.name in message for path, message in refused.items())
