"""A gateway without its ledger is not ready, and says why."""

from typing import Any

from devflow_core.errors import DevFlowError, InvalidRequest, StoreError
from devflow_server.operations.readiness import NotReady, Readiness
from devflow_store import LedgerHealth, LedgerState
from devflow_store.health import COMMIT, LedgerUnavailable


class Table:
    """What is read of the ledger, or cannot be."""

    def __init__(self) -> None:
        self.error: DevFlowError | None = None

    async def read(self) -> None:
        if self.error is not None:
            raise self.error


def test_a_ledger_that_fails_and_comes_back() -> None:
    health = LedgerHealth()
    readiness = Readiness(health)
    assert readiness.problem() is None
    health.note_failure(LedgerUnavailable("The disk is full.", LedgerState.FULL))
    assert readiness.problem() == NotReady(ledger="full", message="The disk is full.")
    health.note_commit(is_proof=False)  # of what only reads
    assert readiness.problem() is not None
    health.note_commit(is_proof=True)
    assert readiness.problem() is None


def test_a_ledger_that_hangs_counts_as_gone() -> None:
    now_s = 0.0
    health = LedgerHealth(clock=lambda: now_s)
    readiness = Readiness(health)
    health.start_step(COMMIT)
    now_s = COMMIT.reported_after_s / 2
    assert readiness.problem() is None
    now_s = 12.0
    silent = "The ledger has not answered for 12.0 s."
    assert readiness.problem() == NotReady(ledger="silent", message=silent)
    health.end_steps()
    assert readiness.problem() is None


async def test_a_table_that_cannot_be_read_is_told() -> None:
    nodes, keys = Table(), Table()
    readiness = Readiness(LedgerHealth(), nodes.read, keys.read)
    for table, error in ((nodes, InvalidRequest("strange")), (keys, StoreError("no such table"))):
        table.error = error
        await readiness.check()
        assert readiness.problem() == NotReady(ledger="ready", message=error.message)
        table.error = None
        await readiness.check()
        assert readiness.problem() is None


async def test_the_page_gives_the_state_and_the_reason(open_server: Any) -> None:
    async with open_server() as server:
        ready = await server.client.get("/readyz")
        assert (ready.status_code, ready.json()) == (200, {"status": "ready", "ledger": "ready"})
        open_server.problem = NotReady(ledger="full", message="The disk is full.")
        reply = await server.client.get("/readyz")
        assert (await server.client.get("/healthz")).status_code == 200
    assert reply.status_code == 503
    assert reply.json() == {
        "status": "not ready",
        "ledger": "full",
        "message": "The disk is full.",
    }
