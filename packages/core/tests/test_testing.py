"""The fakes behave as their docstrings say."""

from devflow_core.errors import Overloaded
from devflow_core.ports import Call
from devflow_core.testing import FakeClock, FakeUpstream, a_candidate, a_journal, a_request, a_route


async def test_time_moves_only_when_told() -> None:
    clock = FakeClock(5.0)
    await clock.sleep(2.0)
    assert (clock(), clock.slept_s) == (7.0, [2.0])


async def test_scripts_are_followed_in_order_and_the_last_one_stays() -> None:
    upstream = FakeUpstream((Overloaded("full"),), ())
    call = Call(request=a_request(), candidate=a_candidate("x/y"), journal=a_journal())
    errors = 0
    for _ in range(3):
        try:
            async with upstream.open(call) as events:
                assert [event async for event in events] == []
        except Overloaded:
            errors += 1
    assert (errors, upstream.models, upstream.closed) == (1, ["x/y"] * 3, 3)


def test_a_route_over_several_models() -> None:
    assert [one.model for one in a_route("a/b", "c/d").candidates] == ["a/b", "c/d"]
