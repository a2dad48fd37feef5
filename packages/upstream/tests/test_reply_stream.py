"""A reply that is too late says how long it was given."""

from typing import Any

import pytest
from devflow_core.errors import UpstreamTimeout
from devflow_core.ports import Call
from devflow_core.testing import FakeClock, a_candidate, a_journal, a_request
from devflow_core.wire import get_dialect
from devflow_upstream.reply_stream import Deadlines, ReplyStream
from devflow_upstream.transport.protocol import HttpRequest, UpstreamExchange


class SilentTransport:
    """A `Transport` whose provider never answers, on a clock that it moves."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock

    async def start(self, request: HttpRequest, /, *, deadline_s: float) -> UpstreamExchange:
        self._clock.now_s = deadline_s
        raise TimeoutError

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""


@pytest.mark.parametrize(
    ("left_s", "said"),
    [(12.345, "allowed (12.3 s)"), (-1.0, "(0 s)"), (590.0, "first event (60 s)")],
)
async def test_a_reply_that_is_late_names_the_time_that_it_had(
    loop_clock: object, left_s: float, said: str
) -> None:
    clock = FakeClock()
    journal = a_journal(clock=clock)
    clock.advance(journal.remaining_s() - left_s)
    call = Call(request=a_request(), candidate=a_candidate(), journal=journal)
    request = HttpRequest(method="POST", path="/x", headers={}, body=b"{}")
    dialect = get_dialect("openai_chat")
    reply = ReplyStream(SilentTransport(loop_clock), request, call, dialect, Deadlines())
    with pytest.raises(UpstreamTimeout) as caught:
        await reply.__aenter__()
    assert said in caught.value.message
