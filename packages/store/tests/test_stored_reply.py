"""A reply that is kept under a key is given out again as a whole reply."""

from collections.abc import Callable

from devflow_core.ledger import AttemptStart, LedgerEntry
from devflow_core.testing import a_request, reply_events
from devflow_store.stored_events import decode_reply, encode_reply


async def test_a_stored_reply_has_the_closed_journal_of_its_call(
    request_of: Callable[..., tuple[AttemptStart, LedgerEntry]],
) -> None:
    _, entry = request_of(1)
    reply = decode_reply(encode_reply(reply_events("kept"), entry), a_request())
    assert reply.entry == entry
    assert reply.entry_id == entry.entry_id == reply.journal.entry_id
    assert reply.journal.entry == entry
    assert tuple(reply.journal.ended) == entry.attempts
    assert reply.journal.route == reply.route
    assert reply.journal.served == entry.model
    assert len([event async for event in reply]) == len(reply_events("kept"))
