import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

import pytest
from devflow_core.ids import new_id


def test_ids_are_never_given_twice_by_threads() -> None:
    with ThreadPoolExecutor(4) as pool:
        many = list(pool.map(_many, [600] * 4))
    assert len({one[-20:] for ids in many for one in ids}) == 2400


def _many(count: int) -> list[str]:
    return [new_id("x") for _ in range(count)]


def _send_one(sender: "Connection[str, str]") -> None:
    sender.send(new_id("x"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_gives_out_ids_of_its_own() -> None:
    new_id("x")
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_send_one, args=(sender,))
    child.start()
    theirs = receiver.recv()
    child.join()
    assert theirs[-20:] != new_id("x")[-20:]
