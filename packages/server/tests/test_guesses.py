"""How long a wrong key waits for its answer, on a clock that a test moves."""

from devflow_core.errors import Unauthorized
from devflow_core.testing import FakeClock
from devflow_server.guesses import MAX_ADDRESSES, MAX_DELAY_S, GuessBrake, TooManyGuesses


class Waits:
    """Sleeps at once and notes for how long."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


async def test_the_delay_grows_and_is_forgotten() -> None:
    clock, waits = FakeClock(), Waits()
    brake = GuessBrake(clock=clock, sleep=waits)
    for _ in range(10):
        assert type(await brake.refuse("10.0.0.1")) is Unauthorized
    for _ in range(8):
        refused = await brake.refuse("10.0.0.1")
        assert isinstance(refused, TooManyGuesses)
        assert refused.retry_after_s == MAX_DELAY_S
        assert "from this address" in refused.message
    assert waits.seconds == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 4.0, 4.0]
    assert type(await brake.refuse("10.0.0.2")) is Unauthorized
    clock.advance(18 * 6.0)
    assert type(await brake.refuse("10.0.0.1")) is Unauthorized


async def test_addresses_of_one_ipv6_customer_are_one() -> None:
    brake = GuessBrake(clock=FakeClock(), sleep=Waits())
    for number in range(10):
        assert type(await brake.refuse(f"2001:db8::{number:x}")) is Unauthorized
    assert isinstance(await brake.refuse("2001:db8::ffff"), TooManyGuesses)
    assert type(await brake.refuse("2001:db8:0:1::1")) is Unauthorized


async def test_many_addresses_are_slowed_together_and_not_all_remembered() -> None:
    clock, waits = FakeClock(), Waits()
    brake = GuessBrake(clock=clock, sleep=waits)
    for number in range(MAX_ADDRESSES + 500):
        refused = await brake.refuse(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        assert "from this address" not in refused.message
    assert "from all addresses" in (await brake.refuse("10.255.0.1")).message
    assert len(waits.seconds) == MAX_ADDRESSES + 501 - 1_000
    assert len(brake._failures) <= MAX_ADDRESSES
