"""A label of `/metrics` is never a word that a client has made up."""

from __future__ import annotations

from pathlib import Path

from devflow_sandbox.threaded import ThreadedSandbox
from integration.served import serve

MODEL = "anthropic/claude-haiku-4.5"


def test_invented_names_do_not_crowd_out_real_models(tmp_path: Path) -> None:
    with (
        ThreadedSandbox() as sandbox,
        serve(
            tmp_path,
            OPENROUTER_BASE_URL=sandbox.base_url,
            OPENROUTER_API_KEY=sandbox.api_key,
        ) as served,
    ):
        key = served.first_key
        for number in range(210):
            body = {"model": f"invented/name-{number}", "input": "x"}
            served.ask("POST", "/v1/embeddings", body, key=key)
        chat = {"model": MODEL, "max_tokens": 8, "messages": [{"role": "user", "content": "x"}]}
        assert served.ask("POST", "/v1/chat/completions", chat, key=key).status == 200
        text = served.ask("GET", "/metrics", key=key).body.decode()
    assert "invented" not in text
    assert f'model="{MODEL}",outcome="succeeded"' in text
