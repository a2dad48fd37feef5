"""What workers tell each other arrives whole or not at all, and holds nobody up."""

from collections.abc import Iterator
from typing import Any

import pytest
from devflow_core.messages import Reasoning
from devflow_server.peers import MAX_MESSAGE_BYTES, Peers, open_mailboxes
from devflow_server.replies.kept_reasoning import ReasoningMemory


@pytest.fixture
def peers() -> Iterator[list[Peers]]:
    """Three workers."""
    sockets = open_mailboxes(3)
    yield [Peers(one) for one in sockets]
    for worker in sockets:
        for one in (worker.inbox, *worker.outlets):
            one.close()


async def test_all_others_hear_it_and_oneself_does_not(peers: list[Peers], eventually: Any) -> None:
    heard: list[tuple[int, bytes]] = []
    for number, one in enumerate(peers):
        one.listen("news", lambda message, number=number: heard.append((number, message)))
    with peers[0].receiving(), peers[1].receiving(), peers[2].receiving():
        peers[0].tell("of no interest", b"")
        peers[0].tell("news", b"a\0b")
        await eventually(lambda: len(heard) >= 2)
        peers[1].tell("news", b"")
        await eventually(lambda: len(heard) >= 4)
    assert sorted(heard) == [(0, b""), (1, b"a\0b"), (2, b""), (2, b"a\0b")]


async def test_a_worker_that_does_not_read_loses_what_is_told(
    peers: list[Peers], eventually: Any
) -> None:
    heard: list[bytes] = []
    peers[1].listen("news", heard.append)
    long = b"x" * (MAX_MESSAGE_BYTES - len("news") - 1)
    peers[0].tell("news", long + b"x")
    for _ in range(100):
        peers[0].tell("news", long)
    with peers[1].receiving():
        await eventually(lambda: heard)
        kept = len(heard)
        peers[0].tell("news", b"last")
        await eventually(lambda: b"last" in heard)
    assert heard == [long] * (len(heard) - 1) + [b"last"]
    assert 1 <= kept < 100


async def test_reasoning_is_kept_by_all(peers: list[Peers], eventually: Any) -> None:
    first, second = (ReasoningMemory(peers=one) for one in peers[:2])
    thought = (Reasoning(text="I look.", signature="s", detail={"devflow_model": "z-ai/glm-5"}),)
    with peers[1].receiving():
        first.put("odd", {"call_0": (Reasoning(text="\ud800"),)})
        first.put("one", {"call_1": thought})
        await eventually(lambda: second)
    assert second.find("one", "call_1") == thought
    assert not second.find("other", "call_1")
    assert not second.find("odd", "call_0")
    assert first.find("odd", "call_0")
