"""Who guesses keys waits ever longer and is counted; who has one never notices."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator

import pytest
from integration.served import Served, read_reply, serve


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("home")) as running:
        yield running


def guess() -> str:
    return "devflow_" + secrets.token_urlsafe(32)


def failures(served: Served) -> float:
    text = served.ask("GET", "/metrics", key=served.first_key).body.decode()
    line = next(x for x in text.splitlines() if x.startswith("devflow_auth_failures_total "))
    return float(line.split()[1])


def test_after_ten_wrong_keys_an_address_is_told_to_wait_and_a_right_key_passes(
    served: Served,
) -> None:
    source = "127.1.1.1"
    before = failures(served)
    replies = [served.ask("GET", "/v1/models", key=guess(), source=source) for _ in range(13)]
    assert [one.status for one in replies] == [401] * 10 + [429] * 3
    assert int(replies[-1].headers["retry-after"]) >= 1
    assert replies[-1].json["error"]["code"] == "too_many_wrong_keys"
    assert failures(served) - before == 13
    right = served.ask("GET", "/v1/models?limit=1", key=served.first_key, source=source)
    assert right.status == 200
    assert served.ask("GET", "/v1/models", key=guess(), source="127.1.1.2").status == 401


def test_a_key_that_is_made_during_the_guessing_passes_at_once(served: Served) -> None:
    source, is_over = "127.1.1.3", threading.Event()

    def keep_guessing() -> None:
        while not is_over.is_set():
            served.ask("GET", "/v1/models", key=guess(), source=source)

    guessers = [threading.Thread(target=keep_guessing) for _ in range(8)]
    for one in guessers:
        one.start()
    try:
        new = served.make_key("made-meanwhile", "--route", "read")
        for _ in range(5):
            assert served.ask("GET", "/v1/models?limit=1", key=new, source=source).status == 200
        assert served.devflow("keys", "revoke", "made-meanwhile").status == 0
    finally:
        is_over.set()
        for one in guessers:
            one.join()


def test_guesses_on_one_connection_wait_for_each_other(served: Served) -> None:
    """Hundreds sent at once: those behind a delayed answer have not been looked up."""
    before = failures(served)
    with served.connect("127.1.1.4") as one:
        for _ in range(300):
            one.sendall(served.head("GET", "/v1/models", {"x-api-key": guess()}, None))
        statuses = [read_reply(one).status]
    assert statuses == [401]
    assert failures(served) - before < 30


def test_a_revoked_key_is_refused_after_a_second(served: Served) -> None:
    key = served.make_key("short", "--route", "read")
    assert served.ask("GET", "/v1/models?limit=1", key=key).status == 200
    assert served.devflow("keys", "revoke", "short").status == 0
    while served.ask("GET", "/v1/models?limit=1", key=key).status == 200:
        pass
    assert served.ask("GET", "/v1/models?limit=1", key=key).status == 401
