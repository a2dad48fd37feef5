"""Client keys of the gateway: shown once, kept as keyed hashes."""

from __future__ import annotations

import hmac
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
from devflow_core.errors import ConfigurationError, Conflict, NotFound
from devflow_core.ids import new_id

from devflow_store.chain.records import RowKind, from_us, to_us
from devflow_store.chain.transaction import Transaction
from devflow_store.chain.writer import WriteJob
from devflow_store.integrity.settings_seal import KEY_COLUMNS, seal_key

SECRET_PREFIX = "devflow_"  # noqa: S105 - how a client key is told from a provider's
CACHE_TTL_S = 1.0
"""How long a key counts as it was last seen: a revocation holds everywhere after this time."""
_MAX_CACHED = 10_000
_PEPPER_BYTES = 32
_UNSEALED = (
    f"SELECT {', '.join(f'k.{name}' for name in KEY_COLUMNS)}, made.body FROM client_keys k "  # noqa: S608 - constants
    "JOIN chain made ON made.key = k.id LEFT JOIN chain sealed ON sealed.key = 'seal/' || k.id "
    "WHERE sealed.seq IS NULL"
)
"""Keys without a later seal, with the row of the chain that says they were made."""
_COLUMNS = "id, name, prefix, scopes, created_us, expires_us, revoked_us"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientKey:
    """What is known of a client key; the secret itself is nowhere."""

    id: str
    name: str
    prefix: str
    """The first characters of the secret, to recognise it by."""
    scopes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What it may do, as its creator wrote it (models, routes, budgets)."""
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class ClientKeys:
    """The client keys of the ledger.

    Args:
        submit: runs a job and waits until it is durable.
        read_pepper: gives the secret that hashes are keyed with; without it the table is of no use.
    """

    def __init__(
        self, submit: Callable[[WriteJob[Any]], Awaitable[Any]], read_pepper: Callable[[], bytes]
    ) -> None:
        self._submit = submit
        self._read_pepper = read_pepper
        self._pepper: bytes | None = None
        self._cache: dict[bytes, tuple[float, ClientKey | None]] = {}

    async def create(
        self, name: str, scopes: Mapping[str, Any], expires_at: datetime | None = None
    ) -> tuple[ClientKey, str]:
        """A new key and its secret, which can never be read again.

        Args:
            name: what its requests are booked under; unique among keys that are in force.
            scopes: what it may do.
            expires_at: when it ends; None is never.

        Raises:
            Conflict: a key in force has this name.
            StoreError: it could not be written.
        """
        secret = SECRET_PREFIX + secrets.token_urlsafe(32)
        key_hash, key_id = self._hash_secret(secret), new_id("key")
        prefix = secret[: len(SECRET_PREFIX) + 4]
        scopes_text = orjson.dumps(dict(scopes)).decode()

        def run(tx: Transaction) -> ClientKey:
            tx.flush()
            taken = "SELECT 1 FROM client_keys WHERE name = ? AND revoked_us IS NULL"
            if tx.execute(taken, (name,)):
                raise Conflict(f"There is a client key named {name!r} already; revoke it first.")
            ends = to_us(expires_at) if expires_at else None
            tx.execute(
                f"INSERT INTO client_keys ({_COLUMNS}, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - constants
                (key_id, name, prefix, scopes_text, tx.now_us, ends, None, key_hash),
            )
            values = (key_id, name, prefix, scopes_text, tx.now_us, ends, key_hash)
            tx.append(RowKind.CHANGE, key_id, seal_key(dict(zip(KEY_COLUMNS, values, strict=True))))
            return _key_from_row((key_id, name, prefix, scopes_text, tx.now_us, ends, None))

        def recover(tx: Transaction) -> ClientKey:
            return _load_key(tx, key_id)

        return await self._submit(WriteJob(run, key_id, recover)), secret

    async def seal(self) -> None:
        """Seal in the chain what keys may do that were made by a version that did not.

        Raises:
            StoreError: it could not be written.
        """

        def run(tx: Transaction) -> None:
            tx.flush()
            for *row, body in tx.execute(_UNSEALED):
                if body is not None and b'"sealed"' not in bytes(body):
                    values = dict(zip(KEY_COLUMNS, row, strict=True))
                    tx.append(RowKind.CHANGE, f"seal/{row[0]}", seal_key(values))

        await self._submit(WriteJob(run))

    async def list(self) -> list[ClientKey]:
        """All keys, also revoked ones, oldest first."""

        def run(tx: Transaction) -> list[ClientKey]:
            tx.flush()
            rows = tx.execute(f"SELECT {_COLUMNS} FROM client_keys ORDER BY created_us, id")  # noqa: S608 - constants
            return [_key_from_row(row) for row in rows]

        return await self._submit(WriteJob(run))

    async def revoke(self, key_id: str) -> ClientKey:
        """End a key now; other processes follow within a second.

        Raises:
            NotFound: there is none of this id.
        """

        def run(tx: Transaction) -> ClientKey:
            tx.flush()
            found = _load_key(tx, key_id)
            if found.revoked_at is None:
                tx.execute(
                    "UPDATE client_keys SET revoked_us = ? WHERE id = ?", (tx.now_us, key_id)
                )
                change = orjson.dumps({"client_key": key_id, "revoked": True})
                tx.append(RowKind.CHANGE, f"change/{tx.seq + 1}", change)
            return _load_key(tx, key_id)

        revoked = await self._submit(WriteJob(run))
        self._cache.clear()
        return revoked

    async def verify(self, secret: str) -> ClientKey | None:
        """The key with this secret while it is in force; None for anything else.

        The secret is looked up by its keyed hash, so no comparison with a stored secret takes
        place whose time could tell anything.
        """
        key_hash = self._hash_secret(secret)
        cached = self._cache.get(key_hash)
        if cached is None or cached[0] < time.monotonic():
            found = await self._submit(WriteJob(lambda tx: _find_by_hash(tx, key_hash)))
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()  # somebody is guessing
            cached = self._cache[key_hash] = (time.monotonic() + CACHE_TTL_S, found)
        key = cached[1]
        if key is None or key.revoked_at is not None:
            return None
        has_ended = key.expires_at is not None and to_us(key.expires_at) <= time.time_ns() // 1000
        return None if has_ended else key

    def _hash_secret(self, secret: str) -> bytes:
        if self._pepper is None:
            self._pepper = self._read_pepper()
        return hmac.new(self._pepper, secret.encode(errors="replace"), sha256).digest()


def load_pepper(path: Path) -> bytes:
    """The pepper in a file of the owner alone; made when it is missing.

    Raises:
        ConfigurationError: others may read it, it is too short, or it cannot be used.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_pepper(path)
        if path.stat().st_mode & 0o077:
            raise ConfigurationError(f"{path} can be read by others. Run `chmod 600 {path}`.")
        pepper = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be used: {error.strerror}.") from error
    if len(pepper) < _PEPPER_BYTES:
        raise ConfigurationError(
            f"{path} is cut short, so client keys cannot be checked. Restore it, or delete it and "
            "make the client keys anew."
        )
    return pepper


def _make_pepper(path: Path) -> None:
    """Write a new pepper unless there is one; whole or not at all, whoever else tries."""
    if path.exists():
        return
    draft = path.with_name(f"{path.name}.{new_id('draft')}")
    handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        os.write(handle, secrets.token_bytes(_PEPPER_BYTES))
        os.fsync(handle)
        os.link(draft, path)
    except FileExistsError:
        return  # another process was faster; its pepper is the one
    finally:
        os.close(handle)
        draft.unlink()


def _find_by_hash(tx: Transaction, key_hash: bytes) -> ClientKey | None:
    tx.flush()
    rows = tx.execute(f"SELECT {_COLUMNS} FROM client_keys WHERE hash = ?", (key_hash,))  # noqa: S608 - constants
    return _key_from_row(rows[0]) if rows else None


def _load_key(tx: Transaction, key_id: str) -> ClientKey:
    rows = tx.execute(f"SELECT {_COLUMNS} FROM client_keys WHERE id = ?", (key_id,))  # noqa: S608 - constants
    if not rows:
        raise NotFound(f"There is no client key {key_id}.")
    return _key_from_row(rows[0])


def _key_from_row(row: tuple[Any, ...]) -> ClientKey:
    key_id, name, prefix, scopes, created_us, expires_us, revoked_us = row
    return ClientKey(
        id=key_id,
        name=name,
        prefix=prefix,
        scopes=orjson.loads(scopes),
        created_at=from_us(created_us),
        expires_at=None if expires_us is None else from_us(expires_us),
        revoked_at=None if revoked_us is None else from_us(revoked_us),
    )
