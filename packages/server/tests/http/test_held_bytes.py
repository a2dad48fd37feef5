"""The count of bytes that requests hold: shares, evictions, and nothing left over."""

from dataclasses import dataclass, field

from devflow_server.http.held_bytes import HeldBytes
from hypothesis import given
from hypothesis import strategies as st


@dataclass(eq=False)
class Connection:
    """Holds bytes, and notes that it had to go."""

    evicted: list["Connection"] = field(default_factory=list["Connection"])

    def evict(self) -> None:
        self.evicted.append(self)


def test_one_owner_gets_half_of_what_is_for_the_known() -> None:
    held = HeldBytes(1_000)
    assert held.take("a", 375)
    assert not held.take("a", 1)
    assert held.take("b", 375)
    assert not held.take("c", 1)
    held.give_back("b", 375)
    assert held.take("c", 1)


def test_who_began_first_has_to_go_and_the_known_keep_their_place() -> None:
    held, gone = HeldBytes(1_000), list[Connection]()
    slow, others = Connection(gone), [Connection(gone) for _ in range(5)]
    held.hold_unadmitted(slow, 10)
    for one in others[:4]:
        held.hold_unadmitted(one, 60)
    assert gone == []
    held.hold_unadmitted(others[4], 60)
    assert gone == [slow, others[0]]
    assert held.take("a", 375)
    assert held.total == 240 + 375


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 400), st.booleans()), max_size=60))
def test_it_is_never_over_and_empty_in_the_end(steps: list[tuple[str, int, bool]]) -> None:
    held, taken = HeldBytes(1_000), list[tuple[str, int]]()
    for owner, count, is_taken in steps:
        if is_taken and held.take(owner, count):
            taken.append((owner, count))
        elif taken:
            held.give_back(*taken.pop())
        assert held.total == sum(count for _, count in taken) <= 750
    for owner, count in taken:
        held.give_back(owner, count)
    assert held.total == 0
