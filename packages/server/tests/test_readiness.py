"""A gateway without its ledger is not ready, and says why."""

from typing import Any

from devflow_core.errors import StoreError
from devflow_server.operations.readiness import MAX_SILENCE_S, Readiness


class Writer:
    """A ledger that works, or does not."""

    def __init__(self) -> None:
        self.error: StoreError | None = None

    async def probe(self) -> None:
        if self.error is not None:
            raise self.error


async def test_a_ledger_that_fails_and_comes_back() -> None:
    writer = Writer()
    readiness = Readiness(writer.probe)
    await readiness.check()
    assert readiness.problem() is None
    writer.error = StoreError("The disk is full.")
    await readiness.check()
    assert readiness.problem() == "The disk is full."
    writer.error = None
    await readiness.check()
    assert readiness.problem() is None


async def test_a_ledger_that_hangs_counts_as_gone() -> None:
    now_s = 0.0
    readiness = Readiness(Writer().probe, clock=lambda: now_s)
    now_s = MAX_SILENCE_S
    assert readiness.problem() is None
    now_s += 2
    assert readiness.problem() == "The ledger has not answered for 12 s."
    await readiness.check()
    assert readiness.problem() is None


async def test_the_page_gives_the_reason(open_server: Any) -> None:
    async with open_server() as server:
        assert (await server.client.get("/readyz")).status_code == 200
        open_server.problem = "The disk is full."
        reply = await server.client.get("/readyz")
        assert (await server.client.get("/healthz")).status_code == 200
    assert reply.status_code == 503
    assert "The disk is full." in reply.text
