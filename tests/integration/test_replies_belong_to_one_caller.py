"""What was answered to one caller is repeated to no other, whatever their names are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from devflow_sandbox.threaded import ThreadedSandbox
from integration.served import serve, upstream_of

MODEL = "anthropic/claude-haiku-4.5"
PATH = "/v1/chat/completions"
IDEMPOTENT = {"Idempotency-Key": "one"}
BODY = {"model": MODEL, "max_tokens": 16, "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
def upstream() -> Iterator[dict[str, str]]:
    with ThreadedSandbox() as sandbox:
        yield upstream_of(sandbox)


def test_a_key_of_the_same_name_does_not_get_the_replies_of_the_old_one(
    tmp_path: Path, upstream: dict[str, str]
) -> None:
    with serve(tmp_path, **upstream) as served:
        old = served.make_key("user")
        first = served.ask("POST", PATH, BODY, IDEMPOTENT, key=old)
        assert first.status == 200
        assert served.ask("POST", PATH, BODY, IDEMPOTENT, key=old).json == first.json
        assert served.devflow("keys", "revoke", "user").status == 0
        new = served.make_key("user", "--model", "deepseek/*")
        reply = served.ask("POST", PATH, BODY, IDEMPOTENT, key=new)
        assert reply.status == 403
        assert "idempotent-replayed" not in reply.headers


@pytest.mark.parametrize("header", ["Authorization", "x-api-key", "X-OpenRouter-Key"])
def test_two_keys_of_their_own_never_share_a_reply(
    tmp_path: Path, upstream: dict[str, str], header: str
) -> None:
    prefix = "Bearer " if header == "Authorization" else ""
    key = prefix + upstream["OPENROUTER_API_KEY"]
    with serve(tmp_path, "--no-key", **upstream) as served:
        mine = {header: key, **IDEMPOTENT}
        first = served.ask("POST", PATH, BODY, mine)
        assert first.status == 200
        again = served.ask("POST", PATH, BODY, mine)
        assert again.json == first.json
        for other in ({header: f"{prefix}sk-or-v1-of-somebody-else"}, {}):
            reply = served.ask("POST", PATH, BODY, {**IDEMPOTENT, **other})
            assert "idempotent-replayed" not in reply.headers
            assert reply.status != 200 or reply.json["id"] != first.json["id"]


def test_names_that_stand_for_callers_without_a_key_are_refused(tmp_path: Path) -> None:
    with serve(tmp_path) as served:
        for name in ("local", "anybody", "", " ", "a\nb"):
            done = served.devflow("keys", "create", name)
            assert done.status != 0, name
            assert "name" in done.err
        assert served.devflow("keys", "create", "ci").status == 0


def test_a_key_is_made_for_routes_that_exist_and_revoked_by_its_name(tmp_path: Path) -> None:
    with serve(tmp_path) as served:
        refused = served.devflow("keys", "create", "ci", "--route", "fly")
        assert refused.status != 0
        assert "chat, embeddings, read, operate" in refused.err
        key = served.make_key("ci", "--route", "read")
        assert served.ask("GET", "/v1/models?limit=1", key=key).status == 200
        assert served.devflow("keys", "revoke", "ci").status == 0
        again = served.devflow("keys", "revoke", "ci")
        assert again.status != 0
        assert "devflow keys list" in again.err
