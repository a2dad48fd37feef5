"""Real Claude Code with its own choice of models is answered by the stand-in."""

import os
from typing import TYPE_CHECKING

import pytest
from clients.pinned import VERSIONS
from devflow_cli.testing import run_command
from devflow_store import Store

if TYPE_CHECKING:
    from conftest import ClaudeCode


@pytest.mark.parametrize("claude_code", VERSIONS, indirect=True)
def test_the_launcher_with_the_stand_in_answers_the_default_model(
    claude_code: "ClaudeCode",
) -> None:
    folder = claude_code.home / "bin"
    folder.mkdir()
    program = folder / "claude"
    program.write_text(f'#!/bin/sh\nexec {" ".join(claude_code.program)} "$@"\n')
    program.chmod(0o755)
    names = ("HOME", "IS_SANDBOX", "DISABLE_AUTOUPDATER", "CLAUDE_CODE_MAX_RETRIES")
    environment = {name: claude_code.environment[name] for name in names}
    environment["PATH"] = f"{folder}:{os.environ['PATH']}"
    done = run_command(
        "claude",
        "--sandbox",
        "-p",
        "say hi",
        folder=claude_code.project,
        environment=environment,
    )
    assert done.status == 0, done.out + done.err
    assert "say hi" in done.out
    entries = list(Store(claude_code.home / ".local/share/devflow/sandbox/ledger.db").entries())
    assert {entry.outcome for entry in entries} == {"succeeded"}
    assert {entry.model.startswith("anthropic/claude-") for entry in entries} == {True}
