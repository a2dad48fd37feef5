"""Client keys, idempotency keys and nodes, which the HTTP gateway keeps, survive and are shared."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from devflow_core.errors import ConfigurationError, Conflict, InvalidRequest, NotFound
from devflow_store import Completed, InFlight, Mismatch, NewClaim, Store


@pytest.fixture
def in_store(database: Any, tmp_path: Path) -> Callable[[Callable[[Store], Awaitable[None]]], None]:
    def run(act: Callable[[Store], Awaitable[None]]) -> None:
        async def main() -> None:
            async with Store(database, data_dir=tmp_path) as store:
                await act(store)

        asyncio.run(main())

    return run


def test_a_client_key_opens_until_it_is_revoked(in_store: Any) -> None:
    async def act(store: Store) -> None:
        key, secret = await store.keys.create("ci", {"models": ["x/*"]})
        assert await store.keys.verify(secret) == key
        assert key.scopes == {"models": ["x/*"]}
        assert secret.startswith(key.prefix)
        assert len(key.prefix) < len(secret) / 3
        with pytest.raises(Conflict):
            await store.keys.create("ci", {})
        revoked = await store.keys.revoke(key.id)
        assert revoked.revoked_at is not None
        assert await store.keys.verify(secret) is None
        assert await store.keys.list() == [revoked]
        with pytest.raises(NotFound):
            await store.keys.revoke("key_unknown")
        assert (await store.keys.create("ci", {}))[0].id != key.id

    in_store(act)


def test_an_expired_key_opens_nothing(in_store: Any) -> None:
    async def act(store: Store) -> None:
        now = datetime.now(UTC)
        _key, late = await store.keys.create("a", {}, expires_at=now - timedelta(seconds=1))
        _key, fresh = await store.keys.create("b", {}, expires_at=now + timedelta(hours=1))
        assert await store.keys.verify(late) is None
        assert await store.keys.verify(fresh) is not None

    in_store(act)


@pytest.mark.parametrize(
    "guess", ["", "x", "é", "\x00", "' OR 1=1 --", "devflow_" + "a" * 100_000, "\ud800"]
)
def test_a_strange_secret_is_only_wrong(file: Path, guess: str) -> None:
    async def main() -> None:
        async with Store(file) as store:
            await store.keys.create("ci", {})
            assert await store.keys.verify(guess) is None

    asyncio.run(main())


def test_no_secret_is_in_any_file(file: Path) -> None:
    async def main() -> str:
        async with Store(file) as store:
            _key, secret = await store.keys.create("ci", {})
            await store.keys.verify(secret)
            return secret

    secret = asyncio.run(main())
    found = b"".join(path.read_bytes() for path in file.parent.iterdir())
    assert secret[14:].encode() not in found


def test_the_pepper_is_its_owners_alone_and_whole(file: Path) -> None:
    async def make() -> None:
        async with Store(file) as store:
            await store.keys.create("ci", {})

    asyncio.run(make())
    pepper = file.parent / "client-keys.pepper"
    assert pepper.stat().st_mode & 0o077 == 0
    pepper.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        asyncio.run(make())
    pepper.chmod(0o600)
    pepper.write_bytes(b"short")
    with pytest.raises(ConfigurationError, match="cut short"):
        asyncio.run(make())


def test_an_idempotency_key_is_carried_out_once(in_store: Any) -> None:
    async def act(store: Store) -> None:
        idempotency = store.idempotency
        ids = [f"req_{number}" for number in range(50)]
        claims = await asyncio.gather(*(idempotency.claim("ci", "k", "f", one) for one in ids))
        (mine,) = [ids[at] for at, one in enumerate(claims) if isinstance(one, NewClaim)]
        assert claims.count(InFlight(mine)) == 49
        assert await idempotency.claim("ci", "k", "other body", "req_x") == Mismatch()
        assert isinstance(await idempotency.claim("someone else", "k", "f", "req_y"), NewClaim)
        waiting = asyncio.create_task(idempotency.wait("ci", "k", 10))
        assert await idempotency.wait("ci", "k", 0) == InFlight(mine)
        await idempotency.finish(mine, b"answer")
        assert await waiting == Completed(b"answer")
        assert await idempotency.claim("ci", "k", "f", "req_z") == Completed(b"answer")

    in_store(act)


def test_a_failure_frees_its_key_only_where_nothing_may_be_billed(
    in_store: Any, request_of: Any
) -> None:
    async def act(store: Store) -> None:
        idempotency = store.idempotency
        assert await idempotency.claim("ci", "k", "f", "req_1") == NewClaim()
        assert not await idempotency.abandon("req_1", b"failed")
        assert await idempotency.wait("ci", "k", 10) is None
        with pytest.raises(Conflict):
            await idempotency.finish("req_1", b"too late")
        start, entry = request_of(1)
        assert await idempotency.claim("ci", "k", "f", start.entry_id) == NewClaim()
        await store.begin(start)
        assert await idempotency.abandon(start.entry_id, b"cut off")
        assert await idempotency.wait("ci", "k", 10) == Completed(b"cut off")
        void = replace(entry.attempts[0], cost_status="void", cost_usd=Decimal(0))
        start, entry = request_of(2)
        assert await idempotency.claim("ci", "void", "f", start.entry_id) == NewClaim()
        await store.begin(start)
        await store.close(replace(entry, attempts=(void,)))
        assert not await idempotency.abandon(start.entry_id, b"refused")
        assert await idempotency.wait("ci", "void", 10) is None

    in_store(act)


def test_nodes_are_kept(in_store: Any) -> None:
    async def act(store: Store) -> None:
        assert await store.nodes.get("plan") is None
        await store.nodes.set("plan", {"model": "x/a"})
        await store.nodes.set("plan", {"model": "x/b"})
        await store.nodes.set("code", {"model": "x/c"})
        assert await store.nodes.all() == {"code": {"model": "x/c"}, "plan": {"model": "x/b"}}
        await store.nodes.set("code", None)
        assert await store.nodes.get("code") is None
        assert store.verify().ok

    in_store(act)


async def test_guesses_share_their_readings_and_a_new_key_is_found_among_them(file: Path) -> None:
    async with Store(file) as store:
        jobs: list[object] = []
        submit = store.keys._submit

        async def count(job: Any) -> Any:
            jobs.append(job)
            return await submit(job)

        store.keys._submit = count
        _key, known = await store.keys.create("known", {})
        assert await store.keys.verify(known) is not None
        jobs.clear()
        guesses = [store.keys.verify(f"devflow_guess-{number}") for number in range(500)]
        assert await asyncio.gather(*guesses) == [None] * 500
        assert len(jobs) <= 2
        guessing = asyncio.gather(*[store.keys.verify(f"devflow_{one}") for one in range(500)])
        async with Store(file) as another_process:
            _key, fresh = await another_process.keys.create("fresh", {})
        found = await store.keys.verify(fresh)
        assert found is not None
        assert found.name == "fresh"
        assert store.keys.find_known(fresh) == found
        assert await guessing == [None] * 500
        jobs.clear()
        assert [await store.keys.verify("sk-no-key-of-ours") for _ in range(10)] == [None] * 10
        assert jobs == []  # what cannot be a key is not looked up


async def test_keys_are_made_for_what_there_is_and_revoked_by_name(file: Path) -> None:
    async with Store(file) as store:
        for name, scopes in (
            ("local", {}),
            ("anybody", {}),
            (" ", {}),
            ("a", {"routes": ["fly"]}),
            ("a", {"route": ["chat"]}),
        ):
            with pytest.raises(InvalidRequest):
                await store.keys.create(name, scopes)
        key, secret = await store.keys.create("a", {"routes": ["chat"]})
        assert (await store.keys.revoke("a")).id == key.id
        assert await store.keys.verify(secret) is None
        with pytest.raises(NotFound):
            await store.keys.revoke("a")
